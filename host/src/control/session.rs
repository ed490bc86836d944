//! Streams and lanes at work, from one set of positions on.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};

use super::{
    Bounds, Error,
    direct::Conductor,
    merging::{Feeder, Merger},
    outflow::Outflow,
    share::Share,
};
use crate::{
    checkpoint::AckWindow,
    flow::{Lanes, Panicked},
    op::{Batch, Cluster, Position, SourceKind},
    source::{self, Source},
};

/// How a stream came to its end.
#[derive(Debug)]
pub(super) enum StreamEnd {
    /// It reached a bound, or was asked to stop.
    Done,
    /// Its deployment is one no more, and it has given all that was left.
    Left {
        /// Which of the run's streams.
        stream: usize,
    },
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
    /// The deployment that it reads, where several are.
    pub(super) cluster: Option<Cluster>,
    pub(super) kind: SourceKind,
    pub(super) source: Source,
    pub(super) bounds: Bounds,
    /// The part of this process, where others have the rest.
    pub(super) share: Option<Arc<Share>>,
    /// Where it stands before its next batch.
    pub(super) position: Position,
    /// Says that what its deployment still has is the last.
    pub(super) leaving: CancellationToken,
    /// Says that nothing more is to be read.
    pub(super) stop: CancellationToken,
}

impl Stream {
    /// What is logged of it says of which deployment it is, where several are read.
    pub(super) fn span(&self) -> Span {
        match &self.cluster {
            Some(cluster) => tracing::info_span!("read", %cluster),
            None => Span::none(),
        }
    }

    /// Reads to the end, and hands what it read to the lanes.
    async fn read(mut self, mut outflow: Outflow) -> StreamEnd {
        let idle_at = self.bounds.idle_at;
        loop {
            outflow.bounds(&mut self.bounds, idle_at);
            let before = self.position.clone();
            let (batch, end) = match self.next().await {
                Ok(next) => next,
                Err(end) => return end,
            };
            if let Err(end) = outflow.pass(self.index, batch, &before).await {
                return end;
            }
            if let Some(end) = end {
                return end;
            }
        }
    }

    /// The next batch, up to the stream's bounds, and how the stream ends behind it, if it does. Not
    /// cancellation safe.
    ///
    /// # Errors
    /// How the stream ends without a batch.
    pub(super) async fn next(&mut self) -> Result<(Batch, Option<StreamEnd>), StreamEnd> {
        let batch = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Err(StreamEnd::Done),
            () = self.bounds.spent() => return Err(StreamEnd::Done),
            batch = self.source.next() => batch,
        };
        let mut batch = batch.map_err(|error| StreamEnd::Failed {
            stream: self.index,
            error,
        })?;
        if let Some(cluster) = &self.cluster {
            batch.set_cluster(cluster.clone());
        }
        let mut is_over = false;
        if let Some(share) = &self.share {
            is_over = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(StreamEnd::Done),
                is_over = share.keep_own(&mut batch) => is_over,
            };
        }
        let len = batch.len();
        let reached = self.bounds.apply(&mut batch, self.kind) || is_over;
        if batch.len() < len {
            // What was cut off is not done: a later run has to read it.
            batch.hold_at(self.position.clone());
        }
        self.position = batch.position().clone();
        let end = match reached {
            true => Some(StreamEnd::Done),
            false if self.leaving.is_cancelled() && batch.is_caught_up() => {
                Some(StreamEnd::Left { stream: self.index })
            }
            false => None,
        };
        Ok((batch, end))
    }
}

/// How the streams of a session are read.
#[derive(Debug)]
pub(super) enum Reading {
    /// Each by itself.
    Apart(Vec<(Stream, Outflow)>),
    /// In one order.
    Merged(Box<Merger>, Vec<Feeder>),
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
        reading: Reading,
        conductor: Option<Conductor>,
        stop: CancellationToken,
    ) -> Self {
        let mut set = JoinSet::new();
        match reading {
            Reading::Apart(streams) => {
                for (stream, outflow) in streams {
                    let span = stream.span();
                    set.spawn(stream.read(outflow).instrument(span));
                }
            }
            Reading::Merged(merger, feeders) => {
                for feeder in feeders {
                    let span = feeder.span();
                    set.spawn(feeder.read().instrument(span));
                }
                set.spawn(merger.run());
            }
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
