//! A deployment that answered, and what it says of itself.

use std::time::Duration;

use bson::{Document, doc};
use mongodb::{Client, options::ClientOptions};

use super::{Capabilities, Error, remains::writer_name};
use crate::op::Timestamp;

/// What kind of deployment the server belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topology {
    /// A replica set of that name.
    ReplicaSet(String),
    /// A sharded cluster, through a mongos.
    Sharded,
}

/// A deployment that was seen to answer.
#[derive(Debug, Clone)]
pub struct Server {
    /// The driver's client.
    pub client: Client,
    /// Where it was found.
    pub hosts: String,
    /// Replica set or sharded cluster.
    pub topology: Topology,
    /// The server's version, such as `6.0.5`.
    pub version: String,
    /// Major and minor version.
    pub major_minor: (u32, u32),
    /// The newest cluster time that the server knew when it answered.
    pub operation_time: Timestamp,
    /// The newest cluster time that a majority had acknowledged then.
    pub majority_time: Timestamp,
    /// The server's clock when it answered, in milliseconds since 1970.
    pub local_time_ms: i64,
    /// What the client was made of; not known of one that somebody else has made.
    pub(super) options: Option<ClientOptions>,
}

impl Server {
    pub(super) fn from_answers(
        (client, options): (Client, Option<ClientOptions>),
        hosts: &str,
        hello: &Document,
        build: &Document,
    ) -> Self {
        let version = build.get_str("version").unwrap_or("unknown").to_owned();
        let mut numbers = version.split('.').map(|part| part.parse().unwrap_or(0));
        let major_minor = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        let last_write = |field: &str| {
            let last_write = hello.get_document("lastWrite").ok()?;
            last_write
                .get_document(field)
                .ok()?
                .get_timestamp("ts")
                .ok()
                .map(Timestamp::from)
        };
        let operation_time = hello
            .get_timestamp("operationTime")
            .ok()
            .map(Timestamp::from);
        let operation_time = operation_time
            .or_else(|| last_write("opTime"))
            .unwrap_or_default();
        let topology = match hello.get_str("setName") {
            Ok(name) => Topology::ReplicaSet(name.to_owned()),
            Err(_) => Topology::Sharded,
        };
        Self {
            client,
            hosts: hosts.to_owned(),
            topology,
            version,
            major_minor,
            operation_time,
            majority_time: last_write("majorityOpTime").unwrap_or(operation_time),
            local_time_ms: hello
                .get_datetime("localTime")
                .map_or(0, |time| time.timestamp_millis()),
            options,
        }
    }

    /// What it can be asked for.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        Capabilities::of_version(&self.version)
    }

    /// Another client of the same deployment, with connections and sessions of its own; the same one
    /// where somebody else has made it. For `writer` see [`connect_client`](super::connect_client).
    ///
    /// # Errors
    /// The driver's; the options were good for the first one.
    pub fn another_client(&self, writer: &str) -> Result<Client, Error> {
        let Some(mut options) = self.options.clone() else {
            return Ok(self.client.clone());
        };
        options.app_name = Some(writer_name(options.app_name.as_deref(), writer));
        Client::with_options(options).map_err(|source| Error::Refused {
            hosts: self.hosts.clone(),
            source,
        })
    }

    /// The newest cluster time that a majority has now; `None` while nobody answers.
    pub async fn newest_time(&self) -> Option<Timestamp> {
        let admin = self.client.database("admin");
        let hello = admin.run_command(doc! {"hello": 1}).await.ok()?;
        let last_write = hello.get_document("lastWrite").ok();
        let majority = last_write.and_then(|written| written.get_document("majorityOpTime").ok());
        let time = majority.and_then(|majority| majority.get_timestamp("ts").ok());
        time.or_else(|| hello.get_timestamp("operationTime").ok())
            .map(Timestamp::from)
    }

    /// The same server, with the times that it tells now.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn refreshed(&self) -> Result<Self, mongodb::error::Error> {
        let admin = self.client.database("admin");
        let hello = admin.run_command(doc! {"hello": 1}).await?;
        let build = doc! { "version": &self.version };
        Ok(Self::from_answers(
            (self.client.clone(), self.options.clone()),
            &self.hosts,
            &hello,
            &build,
        ))
    }

    /// Ends the client's background work. Without it, a cursor that is still being killed when the
    /// runtime ends makes the driver panic.
    pub async fn shutdown(self) {
        // A cursor's reader may hold on for as long as its server does not answer.
        let _ = tokio::time::timeout(Duration::from_secs(2), self.client.shutdown()).await;
    }
}
