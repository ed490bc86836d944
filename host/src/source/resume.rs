//! From an error of the server to what a source does about it.

use mongodb::Client;

use super::{Stats, Trouble, oldest_entry};
use crate::{
    backoff::Backoff,
    mongo::{Fault, code, describe, has_code},
    op::{Position, Scope, SourceKind, Timestamp},
};

/// Why a source is at its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What follows the position is no longer there.
    #[error("the position {position} is lost: {reason}")]
    PositionLost {
        /// Where the source stood.
        position: Position,
        /// The oldest cluster time from which on all is left, when it could be read: where the oplog
        /// begins, or behind the transaction that is no longer there whole.
        oldest: Option<Timestamp>,
        /// How that showed.
        reason: String,
    },
    /// A mongos has no oplog; each shard has its own.
    #[error("{hosts} is a mongos, which has no oplog")]
    NoOplog {
        /// The server.
        hosts: String,
    },
    /// The user may not read this.
    #[error("not allowed to {what}")]
    Unauthorized {
        /// What was attempted, on what.
        what: String,
        /// Which reader needs it.
        kind: SourceKind,
        /// What the server said.
        #[source]
        source: mongodb::error::Error,
    },
    /// Documents as they were before or after a change, which the server's version does not record.
    #[error("the server does not record documents as they were before or after a change")]
    NoImages,
    /// A change without a recorded document that is required.
    #[error(
        "a change on {scope} behind the position {position} has no document on record, which is required"
    )]
    NoImage {
        /// What is watched.
        scope: Scope,
        /// Where the source stood.
        position: Position,
        /// What the server said, if that was the one who noticed.
        #[source]
        source: Option<mongodb::error::Error>,
    },
    /// A change that the server cannot send, not even without what can be left out.
    #[error(
        "a change on {scope} behind the position {position} is larger than the server can send"
    )]
    EventTooLarge {
        /// What is watched.
        scope: Scope,
        /// Where the source stood.
        position: Position,
        /// What the server said.
        #[source]
        source: mongodb::error::Error,
    },
    /// The server cannot do this, now or later.
    #[error("cannot {what}")]
    Refused {
        /// What was attempted, on what.
        what: String,
        /// What the server said.
        #[source]
        source: mongodb::error::Error,
    },
}

impl Error {
    /// What a reply held that is no BSON cannot be told, and reading on would be a gap.
    pub(super) fn broken_reply(malformed: oplet_sdk::raw::Malformed) -> Self {
        let source = mongodb::error::Error::custom(malformed);
        Self::Refused {
            what: format!("decode a reply of the server: {malformed}"),
            source,
        }
    }

    /// Adds to a lost position where the oplog begins now, when the user may read that.
    pub(super) async fn with_oldest(
        self,
        client: &Client,
        oplog_namespace: &(String, String),
    ) -> Self {
        match self {
            Self::PositionLost {
                position, reason, ..
            } => {
                let oldest = oldest_entry(client, oplog_namespace).await.ok().flatten();
                Self::PositionLost {
                    position,
                    oldest: oldest.map(|entry| entry.timestamp),
                    reason,
                }
            }
            other => other,
        }
    }

    /// Whether the position is lost, so that a policy decides about what follows.
    #[must_use]
    pub fn is_position_lost(&self) -> bool {
        matches!(self, Self::PositionLost { .. })
    }
}

/// The server will not take the resume token: the position cannot be gone on from.
const TOKEN_REFUSED: [i32; 6] = [
    code::INVALID_RESUME_TOKEN,
    code::KEY_STRING_FORMAT,
    code::CHANGE_STREAM_FATAL_ERROR,
    // Up to MongoDB 4.0.
    code::RESUME_POINT_GONE,
    code::RESUME_TOKEN_NOT_FOUND,
    code::RESUME_TOKEN_REFUSED,
];

/// Decides about an error: after a passing fault it waits for the next attempt's turn and returns;
/// everything else is the source's end.
///
/// `what` says what was attempted and on what, as in "cannot {what}"; `position` is what is read on
/// from, if anything is; `stats` tell who listens.
pub(super) async fn wait_or_fail(
    source: mongodb::error::Error,
    what: &str,
    kind: SourceKind,
    position: Option<&Position>,
    backoff: &mut Backoff,
    stats: Option<&Stats>,
) -> Result<(), Error> {
    let what = what.to_owned();
    let is_lost = |fault| fault == Fault::PositionLost || has_code(&source, &TOKEN_REFUSED);
    match Fault::of(&source) {
        Fault::Passing => {
            let delay = backoff.next_delay();
            let (attempt, error) = (backoff.attempts(), describe(&source));
            let position = position.map(tracing::field::display);
            tracing::warn!(what, position, attempt, retry_in = ?delay, error,
                "reading broke off; trying again");
            if let Some(stats) = stats {
                stats.tell_trouble(&Trouble {
                    what: &what,
                    error: &error,
                    attempt,
                    retry_in: delay,
                });
            }
            tokio::time::sleep(delay).await;
            Ok(())
        }
        Fault::Authentication | Fault::Unauthorized => {
            Err(Error::Unauthorized { what, kind, source })
        }
        fault => match position {
            Some(position) if is_lost(fault) => Err(Error::PositionLost {
                position: position.clone(),
                oldest: None,
                reason: describe(&source),
            }),
            _ => Err(Error::Refused { what, source }),
        },
    }
}
