//! From what a user writes to where a cursor begins.

use std::time::Duration;

use bson::{Document, doc};
use mongodb::{Client, options::ReadConcern};

use super::{
    default_oplog_namespace,
    resume::{Error, wait_or_fail},
};
use crate::{
    backoff::Backoff,
    mongo::{Server, Topology, answer_in_time},
    op::{Position, Since, SourceKind, Timestamp},
};

/// Where a source begins.
#[derive(Debug, Clone, PartialEq)]
pub enum Start {
    /// With the first op after the position.
    After(Position),
    /// With the oldest entry, which is at this cluster time.
    Oldest(Timestamp),
}

impl Start {
    /// The position before the first op.
    #[must_use]
    pub fn position(&self) -> Position {
        match self {
            Self::After(position) => position.clone(),
            Self::Oldest(timestamp) => Position::Time(*timestamp),
        }
    }

    /// What is behind the source when it begins: the first op comes after this.
    #[must_use]
    pub fn behind(&self) -> Position {
        match self {
            Self::After(position) => position.clone(),
            // The oldest entry is still to come.
            Self::Oldest(timestamp) => Position::Time(timestamp.before()),
        }
    }
}

/// Finds where `since` lies on this server, for this kind of source.
///
/// # Errors
/// [`Error`] when the oplog had to be read and could not.
pub async fn resolve(
    since: &Since,
    kind: SourceKind,
    server: &Server,
    oplog_namespace: &(String, String),
) -> Result<Start, Error> {
    let is_real_oplog = *oplog_namespace == default_oplog_namespace();
    if kind == SourceKind::Oplog && is_real_oplog && server.topology == Topology::Sharded {
        return Err(Error::NoOplog {
            hosts: server.hosts.clone(),
        });
    }
    let time = |timestamp| Start::After(Position::Time(timestamp));
    Ok(match since {
        Since::Now if kind == SourceKind::Oplog && !is_real_oplog => {
            let newest = entry_at_end(&server.client, oplog_namespace, -1).await?;
            time(newest.map_or(Timestamp::default(), |entry| entry.timestamp))
        }
        Since::Now => time(server.operation_time),
        Since::Oldest => match oldest_entry(&server.client, oplog_namespace).await? {
            Some(oldest) => Start::Oldest(oldest.timestamp),
            None => time(Timestamp::default()),
        },
        Since::After(timestamp) => time(*timestamp),
        Since::Ago(span) => time(ago(*span, server.local_time_ms)),
        Since::Token(token) => {
            let cluster_time = super::change_stream::token_time(token.as_bytes());
            match kind {
                SourceKind::ChangeStream => Start::After(Position::ChangeStream {
                    token: token.clone(),
                    cluster_time,
                }),
                // A token's cluster time says where the oplog goes on; the rest of it says which op
                // of a transaction came last, and that transaction is read again whole.
                SourceKind::Oplog => {
                    let before = cluster_time.unwrap_or_default();
                    time(Timestamp::new(
                        before.seconds,
                        before.increment.saturating_sub(1),
                    ))
                }
            }
        }
    })
}

fn ago(span: Duration, server_time_ms: i64) -> Timestamp {
    let seconds = server_time_ms / 1000 - i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    Timestamp::new(u32::try_from(seconds.max(0)).unwrap_or(u32::MAX), 0)
}

/// One end of the oplog.
#[derive(Debug, Clone, Copy)]
pub struct EndEntry {
    /// Its cluster time.
    pub timestamp: Timestamp,
    /// The replica set began with this entry, so that nothing before it was ever there.
    pub is_beginning: bool,
}

/// The oldest entry that the oplog still has; `None` for an empty one. Passing faults are waited out.
///
/// # Errors
/// [`Error`] when it cannot be read.
pub async fn oldest_entry(
    client: &Client,
    oplog_namespace: &(String, String),
) -> Result<Option<EndEntry>, Error> {
    entry_at_end(client, oplog_namespace, 1).await
}

async fn entry_at_end(
    client: &Client,
    (database, collection): &(String, String),
    direction: i32,
) -> Result<Option<EndEntry>, Error> {
    let oplog = client.database(database).collection::<Document>(collection);
    let mut backoff = Backoff::new();
    let entry = loop {
        let entry = oplog
            .find_one(doc! {})
            .sort(doc! {"$natural": direction})
            .projection(doc! {"ts": 1, "op": 1, "o.msg": 1})
            .read_concern(ReadConcern::majority());
        match answer_in_time(entry).await {
            Ok(entry) => break entry,
            Err(error) => {
                let what = format!("read {database}.{collection}");
                wait_or_fail(error, &what, SourceKind::Oplog, None, &mut backoff, None).await?;
            }
        }
    };
    Ok(entry.and_then(|entry| {
        let timestamp = entry.get_timestamp("ts").ok()?.into();
        let message = entry
            .get_document("o")
            .ok()
            .and_then(|body| body.get_str("msg").ok());
        let is_beginning =
            entry.get_str("op").is_ok_and(|op| op == "n") && message == Some("initiating set");
        Some(EndEntry {
            timestamp,
            is_beginning,
        })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ago_is_counted_by_the_servers_clock() {
        assert_eq!(ago(Duration::from_secs(90), 100_000), Timestamp::new(10, 0));
        assert_eq!(ago(Duration::from_secs(900), 100_000), Timestamp::new(0, 0));
    }
}
