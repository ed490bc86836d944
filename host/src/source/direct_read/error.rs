//! Why something cannot be read directly.

use std::time::Duration;

use crate::{
    backoff::Backoff,
    mongo::{Fault, code, describe, has_code},
    op::Namespace,
};

/// Why a direct read is at its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Only a collection or a view can be read.
    #[error("`{namespace}` cannot be read directly: it names no collection")]
    NoCollection {
        /// What was asked for.
        namespace: Namespace,
    },
    /// The server keeps it for itself.
    #[error("`{namespace}` cannot be read directly: it is a system collection")]
    System {
        /// What was asked for.
        namespace: Namespace,
    },
    /// What was examined is no longer there: it was dropped, renamed, or made anew since.
    #[error("`{namespace}` is no longer the collection that was to be read")]
    Gone {
        /// Where it was.
        namespace: Namespace,
    },
    /// The user may not read this.
    #[error("not allowed to {what}")]
    Unauthorized {
        /// What was attempted, on what.
        what: String,
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
    /// Whether the collection was dropped, renamed or made anew: its name may be examined again.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Gone { .. })
    }

    /// What a reply held that is no BSON cannot be told, and reading on would be a gap.
    pub(super) fn broken_reply(malformed: oplet_sdk::raw::Malformed) -> Self {
        Self::Refused {
            what: format!("decode a reply of the server: {malformed}"),
            source: mongodb::error::Error::custom(malformed),
        }
    }
}

/// How often a time is asked for that the server takes for one that is yet to come. It answers so to
/// other mistakes, too.
const AHEAD_ATTEMPTS: u32 = 8;

/// Decides about an error: after a passing fault it waits for the next attempt's turn and returns;
/// everything else is the read's end. `what` is as in "cannot {what}".
pub(super) async fn wait_or_fail(
    source: mongodb::error::Error,
    what: &str,
    backoff: &mut Backoff,
) -> Result<(), Error> {
    let what = what.to_owned();
    // A snapshot may not be there yet: of a collection that was just made, or whose indexes were.
    // And what another client has seen, this server may not have heard of.
    let is_ahead =
        has_code(&source, &[code::INVALID_OPTIONS]) && backoff.attempts() < AHEAD_ATTEMPTS;
    let is_early = is_ahead || has_code(&source, &[code::SNAPSHOT_UNAVAILABLE]);
    match Fault::of(&source) {
        fault if is_early || fault == Fault::Passing => {
            let delay = backoff.next_delay();
            tracing::warn!(what, attempt = backoff.attempts(), retry_in = ?delay,
                error = describe(&source), "reading broke off; trying again");
            tokio::time::sleep(delay).await;
            Ok(())
        }
        Fault::Authentication | Fault::Unauthorized => Err(Error::Unauthorized { what, source }),
        _ => Err(Error::Refused { what, source }),
    }
}

/// Asks until the server answers, through passing faults.
pub(super) async fn ask<T, F>(what: &str, mut question: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = mongodb::error::Result<T>>,
{
    let mut backoff = Backoff::new();
    loop {
        match question().await {
            Ok(answer) => return Ok(answer),
            Err(error) => wait_or_fail(error, what, &mut backoff).await?,
        }
    }
}

/// How long a single answer may take: the server may have to look at many keys for it.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(120);
