//! A throwaway replica set of several members, for fail-overs and rollbacks.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bson::{Bson, Document, doc};
use mongodb::Client;
use tokio::time::timeout;

use crate::options::{Mode, Options, REPLICA_SET_NAME};
use crate::replica_set::{ReplicaSet, connect};
use crate::wait::eventually;

/// How long the members may take to agree on a primary, and a majority to copy its first entry: ten
/// seconds as a rule, more than a minute now and then where one is suspended and the machine is busy.
const ELECTION_TIMEOUT: Duration = Duration::from_secs(180);
/// How long a member that works may take to say how it is; one that is suspended says nothing.
const HELLO_TIMEOUT: Duration = Duration::from_millis(300);

/// Running mongods that form one replica set. Dropping it kills them and removes their data.
///
/// Each member is a [`ReplicaSet`] of its own kind: killed, suspended, resumed, restarted by itself,
/// and its [`uri`](ReplicaSet::uri) is a direct connection to it.
///
/// # Example
/// ```no_run
/// # use oplet_testkit::Cluster;
/// # async fn example() -> anyhow::Result<()> {
/// let cluster = Cluster::start(3).await?;
/// let old = cluster.primary().await?;
/// cluster.member(old).kill().await?;
/// let new = cluster.primary().await?;
/// assert_ne!(old, new);
/// cluster.member(old).restart().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Cluster {
    members: Vec<ReplicaSet>,
}

impl Cluster {
    /// Starts members with a small oplog and cache, that elect a new primary about a second after
    /// the last one is gone, and waits until there is one.
    ///
    /// # Errors
    /// As [`ReplicaSet::start`]; when they do not agree on a primary.
    pub async fn start(members: usize) -> Result<Self> {
        let options = Options {
            mode: Mode::Uninitiated,
            oplog_megabytes: 64,
            ..Options::default()
        };
        Self::start_with(members, options).await
    }

    /// As [`start`](Self::start), with these options for each member but for their mode.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_with(members: usize, options: Options) -> Result<Self> {
        let mut cluster = Self {
            members: Vec::new(),
        };
        for _ in 0..members {
            let mut options = Options {
                mode: Mode::Uninitiated,
                ..options.clone()
            };
            // A member that copies from one that is suspended notices it by these alone. Until it
            // does, what a new primary writes has no majority; the server's own are 60 s and 5 s.
            for waits in [
                "oplogInitialFindMaxSeconds=2",
                "oplogNetworkTimeoutBufferSeconds=1",
            ] {
                let arguments = &mut options.arguments;
                arguments.extend(["--setParameter".into(), waits.into()]);
            }
            cluster.members.push(ReplicaSet::start(options).await?);
        }
        cluster.initiate().await?;
        cluster.primary().await?;
        Ok(cluster)
    }

    async fn initiate(&self) -> Result<()> {
        let hosts = self.members.iter().enumerate();
        let members: Vec<Bson> = hosts
            .map(|(id, member)| doc! { "_id": id as i32, "host": member.host() }.into())
            .collect();
        let config = doc! {
            "_id": REPLICA_SET_NAME,
            "members": members,
            "settings": {
                "electionTimeoutMillis": 1000,
                "heartbeatIntervalMillis": 200,
                // A new primary waits no longer than this for entries that only others have.
                "catchUpTimeoutMillis": 2000,
            },
        };
        let client = self.members[0].client().await?;
        let admin = client.database("admin");
        let initiate = admin.run_command(doc! { "replSetInitiate": config });
        initiate.await.context("cannot initiate the replica set")?;
        client.shutdown().await;
        Ok(())
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// One of the members.
    pub fn member(&self, index: usize) -> &ReplicaSet {
        &self.members[index]
    }

    /// All members but one.
    pub fn others(&self, index: usize) -> impl Iterator<Item = &ReplicaSet> {
        let members = self.members.iter().enumerate();
        members.filter_map(move |(at, member)| (at != index).then_some(member))
    }

    /// The connection string, which lists all members.
    pub fn uri(&self) -> String {
        let hosts: Vec<String> = self.members.iter().map(ReplicaSet::host).collect();
        format!(
            "mongodb://{}/?replicaSet={REPLICA_SET_NAME}",
            hosts.join(",")
        )
    }

    /// A new driver client that finds the primary by itself, of the runtime that this is called in.
    ///
    /// # Errors
    /// None but the driver's refusal of our own connection string.
    pub async fn client(&self) -> Result<Client> {
        connect(&self.uri()).await
    }

    /// Waits until one of the members that answer takes writes, and its own first entry has reached
    /// the majority; gives its index.
    ///
    /// # Errors
    /// When there is none in time.
    pub async fn primary(&self) -> Result<usize> {
        let mut clients = Vec::new();
        for member in &self.members {
            clients.push(member.client().await?);
        }
        let mut primary = None;
        let elected = eventually(ELECTION_TIMEOUT, async || {
            let mut newest = None;
            for (index, client) in clients.iter().enumerate() {
                if let Some(term) = primary_term(client).await {
                    // One that has been suspended does not know yet that there is another.
                    newest = newest.max(Some((term, index)));
                }
            }
            primary = newest.map(|(_, index)| index);
            primary.is_some()
        });
        let elected = elected.await.context("there is no primary");
        for client in clients {
            client.shutdown().immediate(true).await;
        }
        elected?;
        primary.context("there is no primary")
    }

    /// Makes the primary step down and waits for another; gives its index.
    ///
    /// # Errors
    /// When there is none in time.
    pub async fn step_down(&self) -> Result<usize> {
        let old = self.primary().await?;
        let client = self.members[old].client().await?;
        // It goes as soon as another one has caught up, and must not come back before that one is elected.
        let step_down = doc! { "replSetStepDown": 30, "secondaryCatchUpPeriodSecs": 20 };
        let stepped_down = client.database("admin").run_command(step_down).await;
        client.shutdown().immediate(true).await;
        stepped_down.context("the primary does not step down")?;
        let new = self.primary().await?;
        ensure!(new != old, "the same member was elected again");
        Ok(new)
    }
}

/// The term in which the member is a primary whose first entry has reached the majority.
async fn primary_term(client: &Client) -> Option<i64> {
    let admin = client.database("admin");
    let hello = timeout(
        HELLO_TIMEOUT,
        admin.run_command(doc! { "hello": 1 }).into_future(),
    );
    let hello: Document = hello.await.ok()?.ok()?;
    if !hello.get_bool("isWritablePrimary").ok()? {
        return None;
    }
    let last = hello.get_document("lastWrite").ok()?;
    let term = |field: &str| last.get_document(field).ok()?.get_i64("t").ok();
    let (written, majority) = (term("opTime")?, term("majorityOpTime")?);
    (majority > 0 && written == majority).then_some(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn another_member_takes_over() {
        let cluster = Cluster::start(3).await.unwrap();
        let client = cluster.client().await.unwrap();
        let documents = client.database("shop").collection::<Document>("orders");
        let killed = cluster.primary().await.unwrap();
        documents.insert_one(doc! { "_id": 1 }).await.unwrap();
        cluster.member(killed).kill().await.unwrap();
        let second = cluster.primary().await.unwrap();
        assert_ne!(second, killed);
        cluster.member(killed).restart().await.unwrap();
        let third = cluster.step_down().await.unwrap();
        assert_ne!(third, second);
        cluster.member(third).suspend().await.unwrap();
        assert_ne!(cluster.primary().await.unwrap(), third);
        cluster.member(third).resume().await.unwrap();
        assert_eq!(documents.count_documents(doc! {}).await.unwrap(), 1);
        client.shutdown().await;
    }
}
