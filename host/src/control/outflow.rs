//! The way of batches into the window and the lanes.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{Stats, barrier::Barrier, session::StreamEnd, transaction::Ledger};
use crate::{checkpoint::AckWindow, op::Batch, telemetry::NamespaceCounts};

/// Hands batches to the lanes, as soon as there is room for them.
#[derive(Debug)]
pub(super) struct Outflow {
    window: Arc<AckWindow>,
    lanes: Barrier,
    /// Where outputs wait that are written with the checkpoint.
    ledger: Option<Arc<Ledger>>,
    stats: Arc<Stats>,
    counts: NamespaceCounts,
    /// Says that nothing more is to be read.
    stop: CancellationToken,
}

impl Outflow {
    pub(super) fn new(
        window: Arc<AckWindow>,
        lanes: Barrier,
        ledger: Option<Arc<Ledger>>,
        stats: Arc<Stats>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            window,
            lanes,
            ledger,
            counts: stats.namespaces.counts(),
            stats,
            stop,
        }
    }

    /// Hands over the next batch of a stream; waits until there is room for it.
    ///
    /// # Errors
    /// How the stream ends, when it does: a stop was asked for, and the batch was not taken in, or a lane
    /// has ended.
    pub(super) async fn give(&mut self, stream: usize, batch: Batch) -> Result<(), StreamEnd> {
        let batch = Arc::new(batch);
        let admitted = async {
            if let Some(ledger) = &self.ledger {
                ledger.room().await;
            }
            self.window.admit(stream, &batch).await
        };
        let ticket = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Err(StreamEnd::Done),
            ticket = admitted => ticket,
        };
        if batch.is_empty() {
            return Ok(());
        }
        Stats::add(&self.stats.read, batch.len() as u64);
        batch.ops().for_each(|op| self.counts.of(&op).read += 1);
        self.counts.tell();
        // Not given up half way: the ops of one batch are handled together or not at all.
        let dispatched = self.lanes.dispatch(&batch, ticket).await;
        dispatched.map_err(|_| StreamEnd::LaneEnded)
    }
}
