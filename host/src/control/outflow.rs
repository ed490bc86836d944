//! The way of batches into the window and the lanes.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{
    Bounds, Stats, barrier::Barrier, bounds::OpsLeft, direct::Stage, session::StreamEnd,
    transaction::Ledger,
};
use crate::{
    checkpoint::AckWindow,
    op::{Batch, Position, SourceKind, Timestamp},
    telemetry::NamespaceCounts,
};

/// Hands batches to the lanes, as soon as there is room for them.
#[derive(Debug)]
pub(super) struct Outflow {
    window: Arc<AckWindow>,
    lanes: Barrier,
    /// Where outputs wait that are written with the checkpoint.
    ledger: Option<Arc<Ledger>>,
    stats: Arc<Stats>,
    counts: NamespaceCounts,
    /// What the stream's batches pass on their way, while something is read directly.
    stage: Option<Stage>,
    /// How many ops may be given, where these are counted here: what need not be given does not count.
    counted: Bounds,
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
            stage: None,
            counted: Bounds::default(),
            stop,
        }
    }

    /// The same for the one stream whose batches pass that.
    pub(super) fn behind(mut self, stage: Option<Stage>) -> Self {
        self.stage = stage;
        self
    }

    /// The same that counts what is given of all streams.
    pub(super) fn counting(mut self, ops_left: Option<Arc<OpsLeft>>) -> Self {
        self.counted.ops_left = ops_left;
        self
    }

    /// Waits until no more ops may be given. Cancellation safe.
    pub(super) async fn spent(&self) {
        self.counted.spent().await;
    }

    /// Where a stream ends that hands its batches over here; while something is read directly, that it is
    /// idle is no end.
    pub(super) fn bounds(&mut self, bounds: &mut Bounds, idle_at: Option<Timestamp>) {
        let Some(stage) = &self.stage else {
            return;
        };
        bounds.idle_at = stage.idleness().idle_at(idle_at);
        let is_over = stage.is_over();
        bounds.counts_later = !is_over;
        self.counted.ops_left.clone_from(&bounds.ops_left);
        if is_over {
            self.stage = None;
        }
    }

    /// Hands over a batch of a stream in as many parts as it takes: what has to wait for documents that
    /// are read comes behind them. Only with the last part the stream is further.
    ///
    /// # Errors
    /// As [`give_counted`](Self::give_counted).
    pub(super) async fn pass(
        &mut self,
        stream: usize,
        batch: Batch,
        before: &Position,
    ) -> Result<(), StreamEnd> {
        let Some(mut stage) = self.stage.take() else {
            return self.give(stream, batch).await;
        };
        self.pass_by(&mut stage, stream, batch, before).await?;
        self.stage = Some(stage);
        Ok(())
    }

    /// The same by that stage.
    ///
    /// # Errors
    /// As [`give_counted`](Self::give_counted).
    pub(super) async fn pass_by(
        &mut self,
        stage: &mut Stage,
        stream: usize,
        mut batch: Batch,
        before: &Position,
    ) -> Result<(), StreamEnd> {
        let (position, is_caught_up) = (batch.position().clone(), batch.is_caught_up());
        let last = batch.len().checked_sub(1);
        let last = last.map(|last| batch.op(last).timestamp());
        while let Some((waits, part)) = stage.sift(&mut batch, before) {
            self.give_counted(stream, part, before).await?;
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(StreamEnd::Done),
                () = stage.wait(waits) => {}
            }
            if stage.is_given_up() {
                return Err(StreamEnd::Done);
            }
        }
        self.give_counted(stream, batch, before).await?;
        stage.reached(before, last, (&position, is_caught_up));
        Ok(())
    }

    /// Hands over as much of a batch as may be given; where that is not all, the stream is still `before` it.
    ///
    /// # Errors
    /// As [`give`](Self::give); also when no more may be given.
    pub(super) async fn give_counted(
        &mut self,
        stream: usize,
        mut batch: Batch,
        before: &Position,
    ) -> Result<(), StreamEnd> {
        let len = batch.len();
        let is_last = self.counted.apply(&mut batch, SourceKind::Oplog);
        if batch.len() < len {
            batch.hold_at(before.clone());
        }
        self.give(stream, batch).await?;
        match is_last {
            true => Err(StreamEnd::Done),
            false => Ok(()),
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
