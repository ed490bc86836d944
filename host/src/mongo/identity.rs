//! Which deployment it is that answers.

use std::time::Duration;

use bson::{Bson, Document, doc};
use tokio::time::timeout;
use tracing::debug;

use super::{Fault, Server, Topology, describe};
use crate::{backoff::Backoff, op::Cluster};

/// How long a server is asked for its id. Without it the name has to do.
const ASK_TIME: Duration = Duration::from_secs(10);

impl Server {
    /// What the deployment is called, and the id that it was given when it was made: of a replica set
    /// `settings.replicaSetId` of its configuration, of a sharded cluster `clusterId` in
    /// `config.version`. A user may not be allowed to see the id, and then the name is all there is.
    ///
    /// A sharded cluster has no name: it is called by its id, else by its hosts.
    pub async fn cluster(&self) -> Cluster {
        let id = match timeout(ASK_TIME, self.id()).await {
            Ok(Ok(id)) => id,
            Ok(Err(error)) => {
                debug!(
                    hosts = self.hosts,
                    error = describe(&error),
                    "the deployment does not tell its id"
                );
                None
            }
            Err(_) => None,
        };
        let id = id.as_deref();
        match &self.topology {
            Topology::ReplicaSet(name) => Cluster::new(name, id),
            Topology::Sharded => Cluster::new(id.unwrap_or(&self.hosts), id),
        }
    }

    /// The id, if there is one; passing faults are waited out.
    async fn id(&self) -> Result<Option<String>, mongodb::error::Error> {
        let mut backoff = Backoff::new();
        loop {
            match self.ask_id().await {
                Err(error) if Fault::of(&error) == Fault::Passing => {
                    tokio::time::sleep(backoff.next_delay()).await;
                }
                answer => return answer,
            }
        }
    }

    async fn ask_id(&self) -> Result<Option<String>, mongodb::error::Error> {
        let id = match &self.topology {
            Topology::ReplicaSet(_) => {
                let admin = self.client.database("admin");
                let reply = admin.run_command(doc! { "replSetGetConfig": 1 }).await?;
                let config = reply.get_document("config").ok();
                let settings = config.and_then(|config| config.get_document("settings").ok());
                settings.and_then(|settings| settings.get("replicaSetId").cloned())
            }
            Topology::Sharded => {
                let config = self.client.database("config");
                let version = config.collection::<Document>("version");
                let version = version.find_one(doc! {}).await?;
                version.and_then(|version| version.get("clusterId").cloned())
            }
        };
        Ok(id.and_then(|id| match id {
            Bson::ObjectId(id) => Some(id.to_hex()),
            _ => None,
        }))
    }
}
