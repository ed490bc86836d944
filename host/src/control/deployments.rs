//! The deployments that a run reads.

use futures_util::future::{join_all, try_join_all};
use mongodb::{Client, options::ConnectionString};
use tokio_util::sync::CancellationToken;

use super::{Plan, StreamPlan, shards::Listed};
use crate::{
    mongo::{self, Server, Topology, shards},
    op::Cluster,
};

/// A deployment whose changes a run reads. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// What it is known by, from run to run.
    pub cluster: Cluster,
    /// Where it is found.
    pub server: Server,
    /// Says that what it still has is the last.
    pub(super) leaving: CancellationToken,
    /// Says that nothing more of it is waited for.
    pub(super) gone: CancellationToken,
}

impl Deployment {
    pub(super) fn new(cluster: Cluster, server: Server) -> Self {
        Self {
            cluster,
            server,
            leaving: CancellationToken::new(),
            gone: CancellationToken::new(),
        }
    }
}

/// The deployments that a run reads. Cheap to clone.
///
/// A run has a stream for each deployment and each stream of its [`Plan`]: first those of the first
/// deployment, in the plan's order.
#[derive(Debug, Clone)]
pub struct Deployments {
    home: Server,
    read: Vec<Deployment>,
    /// Whether ops say which of them they are of.
    are_told_apart: bool,
    /// Where it is listed which they are, when they are the shards of a cluster.
    listed: Option<Listed>,
}

/// One stream of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct StreamOf<'a> {
    /// Which of the deployments it reads.
    pub(super) at: usize,
    pub(super) deployment: &'a Deployment,
    pub(super) plan: &'a StreamPlan,
}

/// Why deployments cannot be read together.
#[derive(Debug, thiserror::Error)]
pub enum DeploymentsError {
    /// Two ways lead to one deployment: each of its changes would come twice.
    #[error("{first} and {second} are the same deployment, `{cluster}`")]
    Same {
        /// Where the one is found.
        first: String,
        /// Where the other is found.
        second: String,
        /// What it is called.
        cluster: String,
    },
    /// Two deployments have one name, and do not tell their ids.
    #[error(
        "{first} and {second} are both called `{cluster}`, and do not tell whether they are the same deployment"
    )]
    Alike {
        /// Where the one is found.
        first: String,
        /// Where the other is found.
        second: String,
        /// What both are called.
        cluster: String,
    },
    /// A deployment cannot be used.
    #[error(transparent)]
    Connect(#[from] mongo::Error),
    /// The list of a cluster's shards cannot be read.
    #[error("cannot read the list of shards at {hosts}")]
    List {
        /// Where it should be.
        hosts: String,
        /// What the server said.
        #[source]
        source: mongodb::error::Error,
    },
    /// What should be config servers is none.
    #[error("{hosts} {reason}")]
    NoShards {
        /// What was looked at.
        hosts: String,
        /// What is there instead.
        reason: &'static str,
    },
}

impl From<&Server> for Deployments {
    /// One deployment, which also holds what the run keeps. It is known by its name alone.
    fn from(server: &Server) -> Self {
        let name = match &server.topology {
            Topology::ReplicaSet(name) => name,
            Topology::Sharded => &server.hosts,
        };
        Self {
            home: server.clone(),
            read: vec![Deployment::new(Cluster::new(name, None), server.clone())],
            are_told_apart: false,
            listed: None,
        }
    }
}

impl Deployments {
    /// These deployments; the first also holds what the run keeps. Each is asked who it is.
    ///
    /// # Errors
    /// [`DeploymentsError`].
    pub async fn of(home: Server, others: Vec<Server>) -> Result<Self, DeploymentsError> {
        let mut read = Vec::new();
        for server in std::iter::once(home.clone()).chain(others) {
            read.push(Deployment::new(server.cluster().await, server));
        }
        let are_told_apart = read.len() > 1;
        tell_apart(&mut read)?;
        Ok(Self {
            home,
            read,
            are_told_apart,
            listed: None,
        })
    }

    /// The shards of a cluster, as its config servers list them, each found as these are, at `uri`, but
    /// for the hosts. While a run reads them, more join and others leave.
    ///
    /// `home` holds what the run keeps; where it is a mongos, documents are looked up there: they may
    /// have moved to another shard meanwhile.
    ///
    /// # Errors
    /// [`DeploymentsError`].
    pub async fn of_shards(
        home: Server,
        config: Server,
        uri: &ConnectionString,
        options: &mongo::Options,
    ) -> Result<Self, DeploymentsError> {
        let hosts = config.hosts.clone();
        if config.topology == Topology::Sharded {
            let reason =
                "is a mongos; the list of shards is read from the config servers themselves";
            return Err(DeploymentsError::NoShards { hosts, reason });
        }
        // First the time: what a majority had when the server answered, the list that is read now has, too.
        let at = config.majority_time;
        let found = match shards(&config).await {
            Ok(found) if found.is_empty() => {
                let reason = "lists no shards: is it the config servers' replica set?";
                return Err(DeploymentsError::NoShards { hosts, reason });
            }
            Ok(found) => found,
            Err(source) => return Err(DeploymentsError::List { hosts, source }),
        };
        let uris: Vec<_> = found.iter().map(|shard| shard.uri(uri)).collect();
        let servers = uris.iter().map(|uri| Server::connect(uri, options));
        let mut read = Vec::new();
        for server in try_join_all(servers).await? {
            read.push(Deployment::new(server.cluster().await, server));
        }
        tell_apart(&mut read)?;
        let clusters = read.iter().map(|deployment| deployment.cluster.clone());
        Ok(Self {
            home,
            listed: Some(Listed {
                config,
                uri: uri.clone(),
                shards: found.into_iter().zip(clusters).collect(),
                at,
            }),
            read,
            are_told_apart: true,
        })
    }

    /// Where the run keeps what has no other place: checkpoint, dead letters, sinks on "its own"
    /// deployment.
    #[must_use]
    pub fn home(&self) -> &Server {
        &self.home
    }

    /// Those that are read.
    #[must_use]
    pub fn read(&self) -> &[Deployment] {
        &self.read
    }

    /// Whether ops say which of them they are of, and have ids of their own for that.
    #[must_use]
    pub fn are_told_apart(&self) -> bool {
        self.are_told_apart
    }

    /// Ends the background work of the clients, see [`Server::shutdown`].
    pub async fn shutdown(self) {
        let mut servers: Vec<_> = self.read.into_iter().map(|one| one.server).collect();
        if let Some(Listed { config, .. }) = self.listed {
            // Where there is no list, the home is one of those that are read.
            servers.extend([config, self.home]);
        }
        join_all(servers.into_iter().map(Server::shutdown)).await;
    }

    /// Ends the background work of those that joined later than these were there.
    pub(super) async fn shutdown_others(self, before: &Self) {
        let is_new = |one: &Deployment| {
            let mut known = before.read.iter();
            !known.any(|known| known.cluster.is_same(&one.cluster))
        };
        let joined = self.read.into_iter().filter(is_new);
        join_all(joined.map(|one| one.server.shutdown())).await;
    }

    /// The list of shards, when they are such.
    pub(super) fn listed(&self) -> Option<&Listed> {
        self.listed.as_ref()
    }

    /// Others in the place of those that are read.
    ///
    /// # Errors
    /// When they cannot be told apart.
    pub(super) fn with(&self, mut read: Vec<Deployment>) -> Result<Self, DeploymentsError> {
        tell_apart(&mut read)?;
        Ok(Self {
            read,
            ..self.clone()
        })
    }

    /// Where the documents of a deployment are looked up.
    pub(super) fn client_for_lookups<'a>(&'a self, deployment: &'a Deployment) -> &'a Client {
        match self.listed.is_some() && self.home.topology == Topology::Sharded {
            true => &self.home.client,
            false => &deployment.server.client,
        }
    }

    /// The streams of a run, by number.
    pub(super) fn streams<'a>(
        &'a self,
        plan: &'a Plan,
    ) -> impl ExactSizeIterator<Item = StreamOf<'a>> {
        let count = self.read.len() * plan.streams.len();
        (0..count).map(|stream| self.stream(plan, stream))
    }

    /// The stream of that number.
    pub(super) fn stream<'a>(&'a self, plan: &'a Plan, stream: usize) -> StreamOf<'a> {
        let (at, of_plan) = (stream / plan.streams.len(), stream % plan.streams.len());
        StreamOf {
            at,
            deployment: &self.read[at],
            plan: &plan.streams[of_plan],
        }
    }
}

/// Gives each a name of its own; that does not depend on their order.
fn tell_apart(deployments: &mut [Deployment]) -> Result<(), DeploymentsError> {
    let found: Vec<_> = deployments
        .iter()
        .map(|one| (one.cluster.clone(), one.server.hosts.clone()))
        .collect();
    for (deployment, cluster) in deployments.iter_mut().zip(names_of(&found)?) {
        deployment.cluster = cluster;
    }
    Ok(())
}

/// What clusters are called together: one whose name another has, too, by its id as well.
fn names_of(found: &[(Cluster, String)]) -> Result<Vec<Cluster>, DeploymentsError> {
    let mut names: Vec<Cluster> = Vec::new();
    for (at, (cluster, hosts)) in found.iter().enumerate() {
        let others = || found.iter().enumerate().filter(|(other, _)| *other != at);
        let words = |other: &str| (other.to_owned(), hosts.clone(), cluster.name().to_owned());
        if let Some((_, (same, other))) = others().find(|(_, (other, _))| other.is_same(cluster)) {
            let (first, second, cluster_name) = words(other);
            return Err(match same.id().zip(cluster.id()) {
                Some(_) => DeploymentsError::Same {
                    first,
                    second,
                    cluster: cluster_name,
                },
                None => DeploymentsError::Alike {
                    first,
                    second,
                    cluster: cluster_name,
                },
            });
        }
        let is_called_the_same = others().any(|(_, (other, _))| other.name() == cluster.name());
        names.push(match is_called_the_same {
            true => cluster.with_id_in_name(),
            false => cluster.clone(),
        });
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(found: &[(&str, Option<&str>)]) -> Result<Vec<String>, DeploymentsError> {
        let found: Vec<_> = found
            .iter()
            .enumerate()
            .map(|(at, (name, id))| (Cluster::new(name, *id), format!("h{at}")))
            .collect();
        let names = names_of(&found)?;
        Ok(names.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_name_that_two_have_is_not_enough() {
        let named = |found: &[_]| names(found).unwrap();
        assert_eq!(named(&[("a", None), ("b", Some("1"))]), ["a", "b"]);
        assert_eq!(
            named(&[("a", Some("1")), ("b", None), ("a", Some("2"))]),
            ["a.1", "b", "a.2"]
        );
    }

    #[test]
    fn the_same_deployment_is_not_read_twice() {
        let error = names(&[("a", Some("1")), ("b", None), ("a", Some("1"))]).unwrap_err();
        assert_eq!(error.to_string(), "h2 and h0 are the same deployment, `a`");
        let error = names(&[("a", Some("1")), ("a", None)]).unwrap_err();
        assert!(matches!(error, DeploymentsError::Alike { .. }), "{error}");
    }
}
