//! Streams and lanes at work, from one set of positions on.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{Bounds, Stats, barrier::Barrier, share::Share, transaction::Ledger};
use crate::{
    checkpoint::AckWindow,
    flow::{Lanes, Panicked},
    op::{Position, SourceKind},
    source::{self, Source},
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
}

/// One stream of a session.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) index: usize,
    pub(super) kind: SourceKind,
    pub(super) source: Source,
    pub(super) bounds: Bounds,
    /// The part of this process, where others have the rest.
    pub(super) share: Option<Arc<Share>>,
    /// Where it stands before its first batch.
    pub(super) position: Position,
    pub(super) window: Arc<AckWindow>,
    pub(super) lanes: Barrier,
    /// Where outputs wait that are written with the checkpoint.
    pub(super) ledger: Option<Arc<Ledger>>,
    pub(super) stats: Arc<Stats>,
    /// Says that nothing more is to be read.
    pub(super) stop: CancellationToken,
}

impl Stream {
    /// Reads to the end, and hands what it read to the lanes.
    async fn read(mut self) -> StreamEnd {
        let mut counts = self.stats.namespaces.counts();
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
            let mut is_over = false;
            if let Some(share) = &self.share {
                let kept = tokio::select! {
                    biased;
                    () = self.stop.cancelled() => return StreamEnd::Done,
                    kept = share.keep_own(&mut batch) => kept,
                };
                Stats::add(&self.stats.of_others, kept.others as u64);
                is_over = kept.is_over;
                if is_over {
                    info!(position = %batch.position(),
                        "the worker is not in the list any more: it ends when it has done its part");
                }
            }
            let len = batch.len();
            let reached = self.bounds.apply(&mut batch, self.kind) || is_over;
            if batch.len() < len {
                // What was cut off is not done: a later run has to read it.
                batch.hold_at(self.position.clone());
            }
            self.position = batch.position().clone();
            let batch = Arc::new(batch);
            let admitted = async {
                if let Some(ledger) = &self.ledger {
                    ledger.room().await;
                }
                self.window.admit(self.index, &batch).await
            };
            let ticket = tokio::select! {
                biased;
                () = self.stop.cancelled() => return StreamEnd::Done,
                ticket = admitted => ticket,
            };
            if !batch.is_empty() {
                Stats::add(&self.stats.read, batch.len() as u64);
                batch.ops().for_each(|op| counts.of(&op).read += 1);
                counts.tell();
                // Not given up half way: the ops of one batch are handled together or not at all.
                if self.lanes.dispatch(&batch, ticket).await.is_err() {
                    return StreamEnd::LaneEnded;
                }
            }
            if reached {
                return StreamEnd::Done;
            }
        }
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
        stop: CancellationToken,
    ) -> Self {
        let mut set = JoinSet::new();
        for stream in streams {
            set.spawn(stream.read());
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
