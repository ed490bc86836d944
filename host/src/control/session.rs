//! Streams and lanes at work, from one set of positions on.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    Bounds, Error, Stats,
    direct::{Conductor, Stage},
    transaction::Ledger,
};
use crate::{
    checkpoint::AckWindow,
    flow::{Dispatcher, Lanes, Panicked},
    op::{Batch, Position, SourceKind},
    source::{self, Source},
    telemetry::NamespaceCounts,
};

/// How a stream came to its end.
#[derive(Debug)]
pub(super) enum StreamEnd {
    /// It reached a bound, or was asked to stop.
    Done,
    /// A lane has ended, and noted why.
    LaneEnded,
    /// A fault in the program.
    Panicked,
    /// It cannot go on.
    Failed {
        /// Which of the run's streams.
        stream: usize,
        /// Why.
        error: source::Error,
    },
    /// Something cannot be read directly.
    ReadFailed(Error),
}

/// One stream of a session.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) index: usize,
    pub(super) kind: SourceKind,
    pub(super) source: Source,
    pub(super) bounds: Bounds,
    /// Where it stands before its first batch.
    pub(super) position: Position,
    pub(super) window: Arc<AckWindow>,
    pub(super) dispatcher: Dispatcher,
    /// The way of the batches to the lanes, while something is read directly.
    pub(super) stage: Option<Stage>,
    /// Where outputs wait that are written with the checkpoint.
    pub(super) ledger: Option<Arc<Ledger>>,
    pub(super) stats: Arc<Stats>,
    /// Says that nothing more is to be read.
    pub(super) stop: CancellationToken,
}

impl Stream {
    /// Reads to the end, and hands what it read to the lanes.
    async fn read(mut self) -> StreamEnd {
        let stats = self.stats.clone();
        let mut counts = stats.namespaces.counts();
        loop {
            let batch = tokio::select! {
                biased;
                () = self.stop.cancelled() => return StreamEnd::Done,
                batch = self.source.next() => batch,
            };
            let mut batch = match batch {
                Ok(batch) => batch,
                Err(error) => {
                    return StreamEnd::Failed {
                        stream: self.index,
                        error,
                    };
                }
            };
            let len = batch.len();
            let reached = self.bounds().apply(&mut batch, self.kind);
            if batch.len() < len {
                // What was cut off is not done: a later run has to read it.
                batch.hold_at(self.position.clone());
            }
            let before = std::mem::replace(&mut self.position, batch.position().clone());
            let given = match self.stage.take() {
                None => self.give(batch, &mut counts).await,
                Some(mut stage) => {
                    let given = self.sift(batch, &before, &mut stage, &mut counts).await;
                    self.stage = Some(stage);
                    given
                }
            };
            if let Err(end) = given {
                return end;
            }
            if reached {
                return StreamEnd::Done;
            }
        }
    }

    /// Where the stream ends; while something is read directly, that it is idle is no end.
    fn bounds(&self) -> Bounds {
        let Some(stage) = &self.stage else {
            return self.bounds.clone();
        };
        let idle_at = self.bounds.idle_at.and_then(|idle_at| {
            let read_up_to = stage.read_up_to()?;
            Some(idle_at.max(read_up_to))
        });
        Bounds {
            idle_at,
            ..self.bounds.clone()
        }
    }

    /// Hands over a batch in as many parts as it takes: what has to wait for documents that are read
    /// comes behind them. Only with the last part the stream is further.
    async fn sift(
        &mut self,
        batch: Batch,
        before: &Position,
        stage: &mut Stage,
        counts: &mut NamespaceCounts,
    ) -> Result<(), StreamEnd> {
        let mut next = Some(batch);
        while let Some(mut batch) = next.take() {
            let rest = stage.sift(&mut batch);
            let Some(rest) = rest else {
                let (position, is_caught_up) = (batch.position().clone(), batch.is_caught_up());
                self.give(batch, counts).await?;
                stage.reached(&position, is_caught_up);
                return Ok(());
            };
            batch.hold_at(before.clone());
            self.give(batch, counts).await?;
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(StreamEnd::Done),
                () = stage.wait(&rest) => {}
            }
            next = Some(rest);
        }
        Ok(())
    }

    /// Hands a batch to the lanes, when there is room for it.
    async fn give(&mut self, batch: Batch, counts: &mut NamespaceCounts) -> Result<(), StreamEnd> {
        let batch = Arc::new(batch);
        let admitted = async {
            if let Some(ledger) = &self.ledger {
                ledger.room().await;
            }
            self.window.admit(self.index, &batch).await
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
        batch.ops().for_each(|op| counts.of(&op).read += 1);
        counts.tell();
        // Not given up half way: the ops of one batch are handled together or not at all.
        let dispatched = self.dispatcher.dispatch(batch, ticket).await;
        dispatched.map_err(|_| StreamEnd::LaneEnded)
    }
}

/// Streams and lanes at work.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) window: Arc<AckWindow>,
    lanes: Lanes,
    streams: JoinSet<StreamEnd>,
    stop: CancellationToken,
}

impl Session {
    pub(super) fn start(
        window: Arc<AckWindow>,
        lanes: Lanes,
        streams: Vec<Stream>,
        conductor: Option<Conductor>,
        stop: CancellationToken,
    ) -> Self {
        let mut set = JoinSet::new();
        for stream in streams {
            set.spawn(stream.read());
        }
        if let Some(conductor) = conductor {
            set.spawn(conductor.run());
        }
        Self {
            window,
            lanes,
            streams: set,
            stop,
        }
    }

    /// The next stream that has come to its end; `None` when all have. Cancellation safe.
    pub(super) async fn stream_ended(&mut self) -> Option<StreamEnd> {
        match self.streams.join_next().await? {
            Ok(end) => Some(end),
            Err(error) if error.is_panic() => Some(StreamEnd::Panicked),
            Err(_) => Some(StreamEnd::Done),
        }
    }

    /// Whether a lane has ended, though there may be work for it.
    pub(super) fn has_lost_a_lane(&self) -> bool {
        self.lanes.has_lost_one()
    }

    /// Makes idle lanes look for orders.
    pub(super) fn wake_lanes(&self) {
        self.lanes.wake();
    }

    /// Asks the streams to read nothing more.
    pub(super) fn stop_reading(&self) {
        self.stop.cancel();
    }

    /// Waits for the streams, then until the lanes have done what they have. Not cancellation safe.
    pub(super) async fn finish(&mut self) -> Result<(), Panicked> {
        self.stop_reading();
        while let Some(ended) = self.streams.join_next().await {
            if ended.is_err_and(|error| error.is_panic()) {
                return Err(Panicked);
            }
        }
        self.lanes.drain().await
    }
}
