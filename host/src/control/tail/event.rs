//! What happens beside changes.

use std::time::Duration;

use tokio::sync::broadcast;

use crate::op::{Position, Timestamp};

/// How many events are kept for who is slow to look at them; older ones are forgotten.
pub(super) const EVENTS_KEPT: usize = 256;

/// Something that happened beside changes. Nothing need be done about any of these.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// Reading broke off by a fault that passes; it is tried again.
    Reconnecting {
        /// What was attempted, on what, as in "cannot {what}".
        what: String,
        /// What went wrong.
        error: String,
        /// Which attempt in a row has failed, from 1.
        attempt: u32,
        /// How long it waits before the next.
        retry_in: Duration,
    },
    /// Reading goes on after such a fault, without a gap.
    Recovered {
        /// Up to where was read.
        position: Position,
    },
    /// A position was lost, and by policy the tail goes on behind the gap.
    PositionLost {
        /// Changes after this are missing.
        from: Position,
        /// Up to this cluster time, where it is known.
        to: Option<Timestamp>,
        /// How that showed.
        reason: String,
    },
    /// A collection or view is being read directly from now on.
    DirectReadBegun {
        /// Which one.
        namespace: String,
        /// How many documents there are, by the server's estimate.
        documents_expected: Option<u64>,
    },
    /// Everything that was to be read of it was given and is done, now or by a process before.
    DirectReadComplete {
        /// Which one.
        namespace: String,
        /// Documents that were given, before the filters; also by processes before.
        documents: u64,
        /// Segments that this process has read it in.
        segments: u64,
    },
    /// It was dropped, renamed or replaced while it was read: what is left of it is not read.
    DirectReadEnded {
        /// Which one.
        namespace: String,
        /// Documents that were given, before the filters.
        documents: u64,
        /// What became of it.
        reason: String,
    },
    /// The tail was paused.
    Paused,
    /// The tail was resumed.
    Resumed,
    /// The tail goes on from another position, as it was told.
    Moved {
        /// Where.
        to: Position,
    },
    /// The tail has ended.
    Stopped,
}

/// Events of one tail, from when it was asked for them.
#[derive(Debug)]
pub struct Events(pub(super) broadcast::Receiver<Event>);

impl Events {
    /// The next event; `None` when the tail is gone. Events that were forgotten are passed over.
    /// Cancellation safe.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            match self.0.recv().await {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}
