//! Where the streams of a run begin.

use std::sync::Arc;

use tracing::{info, warn};

use super::{Error, Options, Plan, board::earliest, share::Share, shared::Standing};
use crate::{
    checkpoint::{self, Checkpoint, StreamCheckpoint, StreamIdentity},
    mongo::Server,
    op::{Frontier, OpPoint, Position, Since, Timestamp},
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
pub(super) fn identities(plan: &Plan, options: &Options) -> Vec<StreamIdentity> {
    let name = |module: &usize| plan.modules[*module].module.name().to_owned();
    plan.streams
        .iter()
        .map(|stream| StreamIdentity {
            digest: checkpoint::digest_of(
                options.source,
                &stream.scope,
                &stream.pipeline,
                &options.oplog_namespace,
                &[],
            ),
            modules: stream.modules.iter().map(name).collect(),
        })
        .collect()
}

/// A checkpoint of the run, but for how far it is.
pub(super) fn template(
    plan: &Plan,
    options: &Options,
    standings: &[Arc<Standing>],
) -> Arc<Checkpoint> {
    let streams = identities(plan, options).into_iter().zip(&plan.streams);
    let streams = streams.map(|(identity, stream)| StreamCheckpoint {
        digest: identity.digest,
        scope: stream.scope.to_string(),
        modules: identity.modules,
        frontier: Frontier::at(Position::Time(Timestamp::new(0, 0))),
    });
    Arc::new(Checkpoint {
        name: options.name.clone(),
        source: options.source,
        streams: streams.collect(),
        modules: standings
            .iter()
            .map(|standing| standing.versions().to_ref())
            .collect(),
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
    (from, to): (&Plan, &Plan),
    options: &Options,
) -> Result<Vec<Begin>, Error> {
    let mut checkpoint = Checkpoint::clone(&template(from, options, &[]));
    for (stream, frontier) in checkpoint.streams.iter_mut().zip(frontiers) {
        stream.frontier = frontier.clone();
    }
    let frontiers = checkpoint.resume(&identities(to, options))?;
    Ok(frontiers.into_iter().map(Begin::after).collect())
}

/// Finds where each stream begins: where the user said, else at the checkpoint, else where this worker
/// came into the list, else now.
///
/// # Errors
/// When the server cannot be asked, or the checkpoint cannot be gone on from.
pub(super) async fn find(
    server: &Server,
    plan: &Plan,
    options: &Options,
    saved: Option<&Checkpoint>,
    share: Option<&Share>,
) -> Result<Vec<Begin>, Error> {
    if let (None, Some(saved)) = (&options.since, saved) {
        let frontiers = saved.resume(&identities(plan, options))?;
        info!(name = saved.name, "going on at the checkpoint");
        return Ok(frontiers.into_iter().map(Begin::after).collect());
    }
    let joined = || share.and_then(|share| share.joined(server.operation_time));
    let since = options.since.clone().or_else(joined).unwrap_or(Since::Now);
    let start = source::resolve(&since, options.source, server, &options.oplog_namespace).await?;
    if let Some(saved) = saved {
        let frontiers = saved.streams.iter().map(|stream| stream.frontier.clone());
        let at = earliest(&frontiers.collect::<Vec<_>>()).map(|at| at.to_string());
        warn!(checkpoint = at, since = %since,
            "the checkpoint is passed over, since a position was asked for");
    }
    Ok(vec![Begin::at(start); plan.streams.len()])
}
