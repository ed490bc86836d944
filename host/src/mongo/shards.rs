//! The shards of a sharded cluster, as its config servers list them.

use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::{
    error::{Error, Result},
    options::{ConnectionString, HostInfo, ReadConcern, ServerAddress},
};

use super::{Server, answer_in_time};

/// A shard, as it stands in the collection `config.shards` of the config servers:
///
/// ```json
/// {_id: "shard01", host: "rs1/h1:27018,h2:27018", state: 1}
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// What the cluster calls it.
    pub id: String,
    /// The name of its replica set.
    pub set: String,
    hosts: Vec<ServerAddress>,
}

impl Shard {
    /// Reads a document of `config.shards`.
    ///
    /// # Errors
    /// When it is none, as a sentence.
    fn read(document: &Document) -> std::result::Result<Self, String> {
        let id = document
            .get_str("_id")
            .map_err(|_| "a shard has no `_id`")?;
        let host = document.get_str("host");
        let host = host.map_err(|_| format!("the shard `{id}` has no `host`"))?;
        let (set, hosts) = host
            .split_once('/')
            .ok_or_else(|| format!("the shard `{id}` at {host} is no replica set"))?;
        let hosts: Result<_> = hosts.split(',').map(ServerAddress::parse).collect();
        Ok(Self {
            id: id.to_owned(),
            set: set.to_owned(),
            hosts: hosts
                .map_err(|_| format!("the shard `{id}` is at {host}, which are no hosts"))?,
        })
    }

    /// Where it is found, with the credentials and options of another connection string.
    #[must_use]
    pub fn uri(&self, like: &ConnectionString) -> ConnectionString {
        let mut uri = like.clone();
        uri.host_info = HostInfo::HostIdentifiers(self.hosts.clone());
        uri.replica_set = Some(self.set.clone());
        uri.direct_connection = None;
        uri
    }
}

/// The shards that a majority of the config servers knows, also those that are being drained.
///
/// # Errors
/// The server's; and when something in the list is no replica set.
pub async fn shards(config: &Server) -> Result<Vec<Shard>> {
    let listed = config
        .client
        .database("config")
        .collection::<Document>("shards");
    let listed = async {
        let cursor = listed.find(doc! {}).read_concern(ReadConcern::majority());
        cursor.await?.try_collect::<Vec<_>>().await
    };
    let listed = answer_in_time(listed).await?;
    let shards = listed.iter().map(Shard::read);
    shards
        .collect::<std::result::Result<_, _>>()
        .map_err(Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_found_as_the_config_servers_are() {
        let listed = doc! { "_id": "one", "host": "rs1/h1:1,h2", "state": 1, "draining": true };
        let shard = Shard::read(&listed).unwrap();
        assert_eq!((shard.id.as_str(), shard.set.as_str()), ("one", "rs1"));
        let like = "mongodb://ann:s3cret@c1,c2/?replicaSet=config&tls=true&authSource=admin&directConnection=false";
        let like = ConnectionString::parse(like).unwrap();
        let uri = shard.uri(&like);
        let HostInfo::HostIdentifiers(hosts) = &uri.host_info else {
            panic!("{uri:?}");
        };
        let hosts: Vec<_> = hosts.iter().map(ToString::to_string).collect();
        assert_eq!(hosts, ["h1:1", "h2:27017"]);
        assert_eq!(uri.replica_set.as_deref(), Some("rs1"));
        assert_eq!((&uri.credential, &uri.tls), (&like.credential, &like.tls));
        assert!(uri.credential.is_some() && uri.tls.is_some());
    }

    #[test]
    fn what_is_no_replica_set_is_told() {
        for (listed, expected) in [
            (doc! { "_id": "one", "host": "h1:1" }, "is no replica set"),
            (doc! { "_id": "one" }, "no `host`"),
            (doc! { "_id": "one", "host": "rs/:x" }, "no hosts"),
            (doc! { "host": "rs/h1" }, "no `_id`"),
        ] {
            let error = Shard::read(&listed).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
