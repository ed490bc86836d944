//! What processes leave behind on a server that have died, or lost their lease, while they wrote.

use std::time::Duration;

use bson::{Uuid, doc};
use mongodb::{Client, error::Error};
use tokio::time::{Instant, sleep};

use super::{describe, end_sessions};

/// How long a connection must have done nothing for it to be believed to hold nothing unread. Only
/// those are waited for that stay, since whoever has them is suspended or cut off: those of a process
/// that has ended are closed by the server once it has read them to their end.
const SILENCE: Duration = Duration::from_secs(1);

/// How long it may take in all.
const TIME: Duration = Duration::from_secs(10);

/// How often is looked.
const POLL: Duration = Duration::from_millis(20);

/// How many bytes a server keeps of a client's name.
const NAME_BYTES_MAX: usize = 128;

/// What others have left behind: commands that a server has not read yet, or still works on. Until they
/// are through, what is written now could be overwritten by what was meant to come before it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remains {
    /// By which ids they named their connections.
    pub writers: Vec<String>,
    /// The server sessions that they wrote by.
    pub sessions: Vec<Uuid>,
}

impl Remains {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writers.is_empty() && self.sessions.is_empty()
    }

    /// Ends it all: sessions, with what runs in them, and then waits until the server has closed the
    /// connections of these writers, and so has read all that they ever sent. A connection that stays
    /// open is not waited for once it does nothing. Whatever fails is left to run out by itself.
    ///
    /// A mongos tells of its own connections alone.
    pub async fn end(&self, client: &Client) {
        if self.is_empty() {
            return;
        }
        end_sessions(client, &self.sessions).await;
        let begin = Instant::now();
        let mut silent_since = begin;
        while begin.elapsed() < TIME && silent_since.elapsed() < SILENCE {
            match connections(client, &self.writers).await {
                Ok(found) if found.is_empty() => break,
                Ok(found) if found.contains(&true) => {
                    silent_since = Instant::now();
                    end_sessions(client, &self.sessions).await;
                }
                Ok(_) => {}
                // Then for as long as for one that does nothing.
                Err(error) => tracing::debug!(
                    error = describe(&error),
                    "the server does not tell of its connections"
                ),
            }
            sleep(POLL).await;
        }
        // What was read last may have begun a session anew.
        end_sessions(client, &self.sessions).await;
    }
}

/// The name by which a client that writes shows itself to servers: the user's own, or `oplet`, and an
/// id that is not used twice.
pub(super) fn writer_name(app_name: Option<&str>, id: &str) -> String {
    let name = app_name.unwrap_or("oplet");
    let room = NAME_BYTES_MAX.saturating_sub(id.len() + 1);
    let end = (0..=room.min(name.len())).rfind(|end| name.is_char_boundary(*end));
    format!("{} {id}", &name[..end.unwrap_or_default()])
}

/// The connections of these writers: for each, whether the server works on something of it.
///
/// Source: <https://www.mongodb.com/docs/manual/reference/operator/aggregation/currentOp/>. Users see
/// what is theirs without a privilege. A driver's own watch of the server writes nothing, and its answer may be
/// pending long after its client is gone.
async fn connections(client: &Client, writers: &[String]) -> Result<Vec<bool>, Error> {
    // They were read from a store.
    let is_plain = |id: &&String| !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric());
    let ids: Vec<_> = writers.iter().filter(is_plain).cloned().collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let pattern = format!(" ({})$", ids.join("|"));
    let pipeline = vec![
        doc! {"$currentOp": {"allUsers": false, "idleConnections": true, "localOps": true}},
        doc! {"$match": {
            "appName": {"$regex": pattern},
            "command.hello": {"$exists": false},
            "command.isMaster": {"$exists": false},
            "command.ismaster": {"$exists": false},
        }},
        doc! {"$project": {"active": 1}},
    ];
    let command = doc! {"aggregate": 1, "pipeline": pipeline, "cursor": {"batchSize": 10_000}};
    let reply = client.database("admin").run_command(command).await?;
    let batch = reply.get_document("cursor")?.get_array("firstBatch")?;
    let is_active = |found: &bson::Bson| {
        let found = found.as_document();
        found.is_some_and(|found| found.get_bool("active").unwrap_or(true))
    };
    Ok(batch.iter().map(is_active).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writers_name_ends_with_its_id() {
        assert_eq!(writer_name(None, "ab12"), "oplet ab12");
        assert_eq!(writer_name(Some("shop"), "ab12"), "shop ab12");
        let long = "ä".repeat(100);
        let name = writer_name(Some(&long), "ab12");
        assert_eq!(name.len(), 127);
        assert!(name.ends_with("ä ab12"), "{name}");
    }
}
