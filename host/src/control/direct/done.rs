//! How far streams are, for who waits for them.

use crate::op::{Frontier, Timestamp};

/// How far a stream is done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Done {
    time: Timestamp,
    /// Everything that the stream has given is done, and that reaches so far.
    all: Option<Timestamp>,
}

impl Done {
    pub(super) fn new(frontier: &Frontier, all: Option<Timestamp>) -> Self {
        let time = frontier.position.timestamp().unwrap_or_default();
        Self { time, all }
    }

    /// Whether every change up to then is done. A position may lie in the midst of the changes of its
    /// own cluster time.
    pub(super) fn is_at(&self, at: Timestamp) -> bool {
        self.time > at || self.all.is_some_and(|all| all >= at)
    }
}
