//! Where the streams of a run begin.

use std::sync::Arc;

use tracing::{info, warn};

use super::{
    Deployment, Deployments, Error, Options, Plan, board::earliest, share::Share, shared::Standing,
};
use crate::{
    checkpoint::{self, Checkpoint, Store, StreamCheckpoint, StreamIdentity},
    mongo::Server,
    op::{Frontier, OpPoint, Position, Since, StoreSpec, Timestamp},
    source::{self, Start},
};

/// Where one stream begins.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Begin {
    pub(super) start: Start,
    /// The ops up to here are done, also where the source gives them once more.
    pub(super) behind: Option<OpPoint>,
}

impl Begin {
    pub(super) fn at(start: Start) -> Self {
        Self {
            start,
            behind: None,
        }
    }

    /// Goes on behind what is done.
    pub(super) fn after(frontier: Frontier) -> Self {
        Self {
            start: Start::After(frontier.position),
            behind: frontier.done,
        }
    }

    /// What is done before the first op.
    pub(super) fn frontier(&self) -> Frontier {
        Frontier {
            position: self.start.behind(),
            done: self.behind,
        }
    }
}

/// What the streams are, for who keeps their positions.
pub(super) fn identities(
    deployments: &Deployments,
    plan: &Plan,
    options: &Options,
) -> Vec<StreamIdentity> {
    let name = |module: &usize| plan.modules[*module].module.name().to_owned();
    deployments
        .streams(plan)
        .map(|stream| StreamIdentity {
            digest: checkpoint::digest_of(
                options.source,
                &stream.plan.scope,
                &stream.plan.pipeline,
                &options.oplog_namespace,
                &[],
            ),
            modules: stream.plan.modules.iter().map(name).collect(),
            cluster: Some(stream.deployment.cluster.clone()),
        })
        .collect()
}

/// A checkpoint of the run, but for how far it is.
pub(super) fn template(
    deployments: &Deployments,
    plan: &Plan,
    options: &Options,
    standings: &[Arc<Standing>],
) -> Arc<Checkpoint> {
    let identities = identities(deployments, plan, options).into_iter();
    let streams = identities.zip(deployments.streams(plan));
    let streams = streams.map(|(identity, stream)| StreamCheckpoint {
        digest: identity.digest,
        scope: stream.plan.scope.to_string(),
        modules: identity.modules,
        frontier: Frontier::at(Position::Time(Timestamp::new(0, 0))),
        cluster: identity.cluster,
    });
    Arc::new(Checkpoint {
        name: options.name.clone(),
        source: options.source,
        streams: streams.collect(),
        modules: standings
            .iter()
            .map(|standing| standing.versions().to_ref())
            .collect(),
        direct_reads: Vec::new(),
        epoch: 0,
        saved_ms: 0,
    })
}

/// Where the streams of another plan go on when those of this one have come so far. Modules that were
/// not there before see what comes from now on.
///
/// # Errors
/// When a stream has no predecessor at all.
pub(super) fn go_on(
    frontiers: &[Frontier],
    deployments: &Deployments,
    (from, to): (&Plan, &Plan),
    options: &Options,
) -> Result<Vec<Begin>, Error> {
    let mut checkpoint = Checkpoint::clone(&template(deployments, from, options, &[]));
    for (stream, frontier) in checkpoint.streams.iter_mut().zip(frontiers) {
        stream.frontier = frontier.clone();
    }
    let frontiers = checkpoint.resume(&identities(deployments, to, options))?;
    // All deployments have been read before, so that only a plan without streams leaves any unknown.
    let unknown = || Frontier::at(Position::Time(Timestamp::default()));
    let begins = frontiers
        .into_iter()
        .map(|frontier| Begin::after(frontier.unwrap_or_else(unknown)));
    Ok(begins.collect())
}

/// Finds where each stream begins: where the user said, else at the checkpoint, else where this worker
/// came into the list, else now.
///
/// # Errors
/// When the server cannot be asked, or the checkpoint cannot be gone on from.
pub(super) async fn find(
    deployments: &Deployments,
    plan: &Plan,
    options: &Options,
    saved: Option<&Checkpoint>,
    share: Option<&Share>,
) -> Result<Vec<Begin>, Error> {
    if let (None, Some(saved)) = (&options.since, saved) {
        let frontiers = saved.resume(&identities(deployments, plan, options))?;
        info!(name = saved.name, "going on at the checkpoint");
        return go_on_or_begin(deployments, plan, options, frontiers, saved).await;
    }
    if let (Some(Since::Token(_)), 2..) = (&options.since, deployments.read().len()) {
        return Err(Error::TokenOfOne);
    }
    let mut starts = Vec::new();
    for Deployment { server, .. } in deployments.read() {
        let joined = || share.and_then(|share| share.joined(server.operation_time));
        let since = options.since.clone().or_else(joined);
        starts.push(start_of(server, &since.unwrap_or(Since::Now), options).await?);
    }
    if let Some(saved) = saved {
        let at = earliest_of(saved).map(|at| at.to_string());
        let since = options.since.as_ref().map(ToString::to_string);
        warn!(
            checkpoint = at,
            since, "the checkpoint is passed over, since a position was asked for"
        );
    }
    Ok(everywhere(deployments, plan, &starts))
}

/// Begins every stream where its deployment does.
pub(super) fn everywhere(deployments: &Deployments, plan: &Plan, starts: &[Start]) -> Vec<Begin> {
    let streams = deployments.streams(plan);
    streams
        .map(|stream| Begin::at(starts[stream.at].clone()))
        .collect()
}

/// A deployment that the checkpoint does not know begins now. But one that is a shard of a cluster has
/// joined since, and begins where the others have come to: they have one time.
async fn go_on_or_begin(
    deployments: &Deployments,
    plan: &Plan,
    options: &Options,
    frontiers: Vec<Option<Frontier>>,
    saved: &Checkpoint,
) -> Result<Vec<Begin>, Error> {
    let mut begins = Vec::new();
    for (stream, frontier) in deployments.streams(plan).zip(frontiers) {
        begins.push(match frontier {
            Some(frontier) => Begin::after(frontier),
            None => {
                let Deployment {
                    cluster, server, ..
                } = stream.deployment;
                let start = match (deployments.listed(), earliest_of(saved)) {
                    (Some(_), Some(time)) => Start::After(Position::Time(time)),
                    _ => start_of(server, &Since::Now, options).await?,
                };
                warn!(%cluster, position = %start.position(),
                    "the checkpoint does not know this deployment, which begins there");
                Begin::at(start)
            }
        });
    }
    Ok(begins)
}

async fn start_of(server: &Server, since: &Since, options: &Options) -> Result<Start, Error> {
    let (kind, oplog) = (options.source, &options.oplog_namespace);
    Ok(source::resolve(since, kind, server, oplog).await?)
}

fn earliest_of(saved: &Checkpoint) -> Option<Timestamp> {
    let frontiers = saved.streams.iter().map(|stream| stream.frontier.clone());
    earliest(&frontiers.collect::<Vec<_>>())
}

/// Looks whether the checkpoint is on another deployment, which was the first when it was saved: to begin
/// anew would be a gap.
///
/// # Errors
/// When it is, or cannot be looked for.
pub(super) async fn look_elsewhere(
    deployments: &Deployments,
    options: &Options,
) -> Result<(), Error> {
    let Some(spec @ StoreSpec::Mongodb { .. }) = &options.checkpoint else {
        return Ok(());
    };
    for Deployment { server, .. } in deployments.read().iter().skip(1) {
        let store = Store::open(spec, &server.client);
        if store.load(&options.name).await?.is_some() {
            return Err(Error::CheckpointElsewhere {
                name: options.name.clone(),
                hosts: server.hosts.clone(),
            });
        }
    }
    Ok(())
}
