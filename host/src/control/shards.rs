//! The shards of a cluster, which come and go while a run reads them.

use std::time::Duration;

use mongodb::options::ConnectionString;
use tokio::{
    sync::mpsc,
    task::AbortHandle,
    time::{Instant, sleep},
};
use tracing::{info, warn};

use super::Deployment;
use crate::{
    mongo::{self, Server, Shard, describe, shards},
    op::{Cluster, Timestamp},
};

/// How often the config servers are asked. Their list is no secret, but change streams on it are refused.
/// A shard that joins is read from where it joined, so that this is only how late its first ops come.
const EVERY: Duration = Duration::from_secs(5);

/// How long a shard that has joined is looked for before the list is read again.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// How long a shard that has left may take to give what it still has.
const LEAVE_TIME: Duration = Duration::from_secs(60);

/// What the config servers said last.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    pub(super) config: Server,
    /// Where that is found: how shards are.
    pub(super) uri: ConnectionString,
    pub(super) shards: Vec<(Shard, Cluster)>,
    /// A shard that is not among them joined later than this cluster time.
    pub(super) at: Timestamp,
}

/// What changes in the list.
#[derive(Debug)]
pub(super) enum Change {
    /// There is another shard, whose ops behind that time are the cluster's.
    Joined(Box<Deployment>, Timestamp),
    /// A shard has been drained and removed: what it still has is the last.
    Left(Cluster),
    /// It has had its time to give that.
    Gone(Cluster),
}

/// Looks at the list again and again, until it is dropped.
#[derive(Debug)]
pub(super) struct ShardWatch {
    changes: mpsc::Receiver<Change>,
    task: AbortHandle,
}

impl ShardWatch {
    pub(super) fn start(listed: Listed) -> Self {
        let (sender, changes) = mpsc::channel(1);
        let task = tokio::spawn(watch(listed, sender)).abort_handle();
        Self { changes, task }
    }

    /// The next change. Cancellation safe.
    pub(super) async fn next(&mut self) -> Change {
        match self.changes.recv().await {
            Some(change) => change,
            None => std::future::pending().await,
        }
    }
}

impl Drop for ShardWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Listed {
    /// Reads the list once more; tells from which time on shards have joined that are not on it.
    async fn look(&self) -> Result<(Vec<Shard>, Timestamp), String> {
        // First the time: what a majority has by then, the list that is read later has, too.
        let time = self.config.newest_time().await;
        let time = time.ok_or("the config servers do not answer")?;
        let listed = shards(&self.config).await;
        Ok((listed.map_err(|error| describe(&error))?, time))
    }

    fn knows(&self, shard: &Shard) -> bool {
        let is_it = |known: &Shard| known.id == shard.id && known.set == shard.set;
        self.shards.iter().any(|(known, _)| is_it(known))
    }
}

async fn watch(mut known: Listed, changes: mpsc::Sender<Change>) {
    let mut joining: Vec<(Shard, Timestamp)> = Vec::new();
    let mut leaving: Vec<(Cluster, Instant)> = Vec::new();
    let mut is_told = false;
    loop {
        sleep(EVERY).await;
        let mut news = Vec::new();
        let now = Instant::now();
        leaving.retain(|(cluster, gone_at)| {
            let is_gone = now >= *gone_at;
            if is_gone {
                news.push(Change::Gone(cluster.clone()));
            }
            !is_gone
        });
        match known.look().await {
            Ok((listed, time)) => {
                is_told = false;
                known.shards.retain(|(shard, cluster)| {
                    let stays = listed
                        .iter()
                        .any(|other| other.id == shard.id && other.set == shard.set);
                    if !stays {
                        leaving.push((cluster.clone(), now + LEAVE_TIME));
                        news.push(Change::Left(cluster.clone()));
                    }
                    stays
                });
                joining.retain(|(shard, _)| listed.contains(shard));
                for shard in listed {
                    let is_joining = joining.iter().any(|(other, _)| *other == shard);
                    if !is_joining && !known.knows(&shard) {
                        info!(shard = shard.id, set = shard.set, after = %known.at, "a shard joins");
                        joining.push((shard, known.at));
                    }
                }
                known.at = time;
            }
            Err(error) if !std::mem::replace(&mut is_told, true) => {
                warn!(error, "the list of shards cannot be read; trying again");
            }
            Err(_) => {}
        }
        let mut still_joining = Vec::new();
        for (shard, after) in joining.drain(..) {
            match connect(&shard, &known.uri).await {
                Ok(deployment) => {
                    leaving.retain(|(cluster, _)| !cluster.is_same(&deployment.cluster));
                    known.shards.push((shard, deployment.cluster.clone()));
                    news.push(Change::Joined(Box::new(deployment), after));
                }
                Err(error) => {
                    warn!(shard = shard.id, %error, "a shard that joins cannot be used; trying again");
                    still_joining.push((shard, after));
                }
            }
        }
        joining = still_joining;
        for change in news {
            // Nobody listens any more when the run is over.
            if changes.send(change).await.is_err() {
                return;
            }
        }
    }
}

async fn connect(shard: &Shard, like: &ConnectionString) -> Result<Deployment, mongo::Error> {
    let options = mongo::Options {
        connect_timeout: Some(CONNECT_TIME),
    };
    let server = Server::connect(&shard.uri(like), &options).await?;
    Ok(Deployment::new(server.cluster().await, server))
}
