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
            changes,
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

    /// The lanes have a batch that ends there.
    pub(in crate::control) fn reached(&self, position: &Position, is_caught_up: bool) {
        let mut coverage = self.reads.coverage();
        coverage.reached(self.stream, position, is_caught_up);
        drop(coverage);
        self.reads.moved();
    }

    /// The lanes have everything before what has to wait; waits until that may be over. Cancellation
    /// safe.
    pub(in crate::control) async fn wait(&mut self, at: Timestamp) {
        self.reads.reached_before(self.stream, at);
        if self.is_given_up() {
            return;
        }
        // The sender lives as long as we do.
        let _ = self.changes.changed().await;
    }

    /// Whether what has to wait would wait in vain: nothing more is read.
    pub(in crate::control) fn is_given_up(&self) -> bool {
        self.reads.are_given_up()
    }

    /// Where a stream ends that is to end when it is idle; none while something is to be read. Then it has
    /// to be beyond everything that was read.
    pub(in crate::control) fn idle_at(&self, idle_at: Option<Timestamp>) -> Option<Timestamp> {
        let coverage = self.reads.coverage();
        let read_up_to = coverage.is_given().then(|| coverage.read_up_to())?;
        Some(idle_at?.max(read_up_to))
    }

    /// Whether no change that comes will be covered or has to wait.
    pub(in crate::control) fn is_over(&self) -> bool {
        self.reads.coverage().is_over(self.stream)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.reads.coverage().over(self.stream);
        self.reads.moved();
    }
}
