//! What a stream's batches pass on their way to the lanes while something is read directly.

use std::sync::Arc;

use tokio::sync::watch;

use super::DirectReads;
use crate::op::{Batch, Position, Timestamp};

/// The way of one stream's batches: see [`coverage`](super::coverage).
#[derive(Debug)]
pub(in crate::control) struct Stage {
    reads: Arc<DirectReads>,
    stream: usize,
    /// All streams are given in one order.
    is_merged: bool,
    changes: watch::Receiver<()>,
}

impl Stage {
    pub(super) fn new(
        reads: Arc<DirectReads>,
        stream: usize,
        changes: watch::Receiver<()>,
    ) -> Self {
        Self {
            reads,
            stream,
            is_merged: false,
            changes,
        }
    }

    /// The same for a stream that is given with all others in one order: while one waits, all do.
    pub(in crate::control) fn merged(mut self) -> Self {
        self.is_merged = true;
        self
    }

    /// Says when the stream is idle.
    pub(in crate::control) fn idleness(&self) -> Idleness {
        Idleness {
            reads: self.reads.clone(),
            stream: self.stream,
        }
    }

    /// Leaves out what need not be given. Where something has to wait, takes off what comes before
    /// it, as a batch that ends at `before`; with the time of what waits.
    pub(in crate::control) fn sift(
        &mut self,
        batch: &mut Batch,
        before: &Position,
    ) -> Option<(Timestamp, Batch)> {
        self.changes.mark_unchanged();
        self.reads.coverage().sift(self.stream, batch, before)
    }

    /// The lanes have a batch, up to that last op of it and that position; the stream was `before` it. Where
    /// more of it follows, it ends at the position of what came before it.
    pub(in crate::control) fn reached(
        &self,
        before: &Position,
        last: Option<Timestamp>,
        (position, is_caught_up): (&Position, bool),
    ) {
        if let Some(last) = last
            && position == before
        {
            self.reached_before(last);
            return;
        }
        let mut coverage = self.reads.coverage();
        coverage.reached(self.stream, position, is_caught_up);
        drop(coverage);
        self.reads.moved();
    }

    /// The lanes have everything before what has to wait; waits until that may be over. Cancellation
    /// safe.
    pub(in crate::control) async fn wait(&mut self, at: Timestamp) {
        self.reached_before(at);
        if self.is_given_up() {
            return;
        }
        // The sender lives as long as we do.
        let _ = self.changes.changed().await;
    }

    /// The lanes have everything before that time, and perhaps more: their position does not tell.
    fn reached_before(&self, at: Timestamp) {
        let mut coverage = self.reads.coverage();
        match self.is_merged {
            true => coverage.all_reached_before(self.stream, at),
            false => coverage.reached_before(self.stream, at),
        }
        drop(coverage);
        // Who reads a segment that follows the streams waits for that word.
        self.reads.moved();
    }

    /// Whether what has to wait would wait in vain: nothing more is read.
    pub(in crate::control) fn is_given_up(&self) -> bool {
        self.reads.are_given_up()
    }

    /// Whether no change that comes will be covered or has to wait.
    pub(in crate::control) fn is_over(&self) -> bool {
        self.reads.coverage().is_over(self.stream)
    }
}

/// When a stream is idle, while something is read directly. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::control) struct Idleness {
    reads: Arc<DirectReads>,
    stream: usize,
}

impl Idleness {
    /// While something is to be read, the run is not idle; none. Then the stream is to be beyond
    /// everything that was read of its deployment.
    pub(in crate::control) fn idle_at(&self, idle_at: Option<Timestamp>) -> Option<Timestamp> {
        let coverage = self.reads.coverage();
        let is_given = coverage.is_given();
        idle_at
            .filter(|_| is_given)
            .map(|idle_at| idle_at.max(coverage.read_up_to(self.stream)))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.reads.coverage().over(self.stream);
        self.reads.moved();
    }
}
