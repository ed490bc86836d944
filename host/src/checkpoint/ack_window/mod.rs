//! Which ops are done, and how far each stream is.

mod stream;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
    time::Instant,
};

use tokio::sync::Notify;

use self::stream::Stream;
use crate::op::{Acknowledge, Batch, BatchTicket, Frontier, Op, Position, Timestamp};

/// How much may be under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowOptions {
    /// Ops that were admitted and lie above their stream's frontier, over all streams. This bounds
    /// what comes again after a crash.
    pub ops_max: u64,
    /// Bytes of batches in which something is not done, over all streams. This bounds memory.
    pub bytes_max: usize,
}

impl Default for WindowOptions {
    fn default() -> Self {
        Self {
            ops_max: 100_000,
            bytes_max: 64 << 20,
        }
    }
}

/// What is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InFlight {
    /// Ops of batches that lie above their stream's frontier.
    pub ops: u64,
    /// Bytes of batches in which something is not done.
    pub bytes: usize,
    /// When the oldest batch in which something is not done was admitted.
    pub oldest: Option<Instant>,
}

/// How far everything is, at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// How far each stream is done, but for direct reads, which have no position.
    pub frontiers: Vec<Frontier>,
    /// Counts the moves of the frontiers; hand it to [`AckWindow::saved`].
    pub mark: u64,
    /// How many ops lie below the frontiers, since the start.
    pub ops: u64,
    /// For each stream, the sequence of its first batch in which something is not done (or that of
    /// the batch to come), and how many ops at the beginning of it are done.
    pub reached: Vec<(u64, u32)>,
}

/// Turns acknowledgements in any order into how far each stream of a run is done.
///
/// Every batch is [admitted](Self::admit) before its ops are given out; that waits while too much is
/// under way. One lock guards all of it, held for a few steps over plain data. Batches are freed
/// outside of it, as soon as all their ops are done.
#[derive(Debug)]
pub struct AckWindow {
    state: Mutex<State>,
    starts: Vec<Frontier>,
    options: WindowOptions,
    /// Whose turn it is to wait for room: first come, first served, so that a large batch of one
    /// stream is not overtaken for ever by small ones of another.
    turn: tokio::sync::Mutex<()>,
    /// There may be room. Only who has the turn waits.
    room: Notify,
    /// A frontier has moved.
    moved: Notify,
    /// Nothing is under way.
    idle: Notify,
    /// Some op was acknowledged.
    told: Notify,
}

#[derive(Debug)]
struct State {
    streams: Vec<Stream>,
    ops: u64,
    bytes: usize,
    /// Ops admitted since the start.
    admitted: u64,
    /// Ops of batches that lie wholly below their frontier.
    passed: u64,
    mark: u64,
    unsaved: Unsaved,
}

/// What is done, but not known to be durable.
#[derive(Debug, Default)]
struct Unsaved {
    is_held: bool,
    /// Ops below the frontiers that were saved last.
    saved_ops: u64,
    /// Which number of ops each mark stands for, of those handed out and not yet saved.
    marks: VecDeque<(u64, u64)>,
}

// === impl AckWindow ===

impl AckWindow {
    /// A window over streams that begin at `starts`.
    #[must_use]
    pub fn new(starts: Vec<Frontier>, options: WindowOptions) -> Arc<Self> {
        Self::with_reads(starts, 0, options)
    }

    /// The same with so many streams behind these that have no position: of batches that were read
    /// directly. They share the bounds, and are told in [`Progress::reached`] alone.
    #[must_use]
    pub fn with_reads(starts: Vec<Frontier>, reads: usize, options: WindowOptions) -> Arc<Self> {
        let nowhere = Frontier::at(Position::Time(Timestamp::default()));
        let all = starts.iter().cloned();
        let all = all.chain(std::iter::repeat_n(nowhere, reads));
        Arc::new(Self {
            state: Mutex::new(State {
                streams: all.map(Stream::new).collect(),
                ops: 0,
                bytes: 0,
                admitted: 0,
                passed: 0,
                mark: 0,
                unsaved: Unsaved::default(),
            }),
            starts,
            options,
            turn: tokio::sync::Mutex::default(),
            room: Notify::new(),
            moved: Notify::new(),
            idle: Notify::new(),
            told: Notify::new(),
        })
    }

    /// Takes in the next batch of a stream, as soon as there is room for it. A batch larger than a
    /// bound goes alone. One without ops needs no room: it is done at once, and moves the position.
    ///
    /// Cancellation safe: a batch whose admission was not waited for was not taken in.
    ///
    /// # Panics
    /// When there is no such stream.
    pub async fn admit(&self, stream: usize, batch: &Arc<Batch>) -> BatchTicket {
        if batch.is_empty() {
            return self.take_in(stream, batch);
        }
        let _turn = self.turn.lock().await;
        while !self
            .lock()
            .has_room(batch.len() as u64, batch.bytes(), &self.options)
        {
            // A permit that was given in between is kept, so none is missed.
            self.room.notified().await;
        }
        self.take_in(stream, batch)
    }

    fn take_in(&self, stream: usize, batch: &Arc<Batch>) -> BatchTicket {
        let mut state = self.lock();
        let len = batch.len() as u64;
        let taken_in = state.streams[stream].push(batch);
        state.ops += len;
        state.admitted += len;
        if len > 0 {
            state.bytes += batch.bytes();
        }
        if taken_in.has_moved {
            state.mark += 1;
            self.moved.notify_one();
        }
        BatchTicket {
            stream,
            sequence: taken_in.sequence,
        }
    }

    /// Where each stream began.
    #[must_use]
    pub fn starts(&self) -> &[Frontier] {
        &self.starts
    }

    /// How far each stream is done.
    #[must_use]
    pub fn frontiers(&self) -> Vec<Frontier> {
        self.lock().frontiers(self.starts.len())
    }

    /// How far everything is, all of it at the same moment.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let mut state = self.lock();
        let progress = state.progress(self.starts.len());
        state.unsaved.hand_out(progress.mark, progress.ops);
        progress
    }

    /// The same, to be looked at and not to be saved.
    #[must_use]
    pub fn look(&self) -> Progress {
        self.lock().progress(self.starts.len())
    }

    /// The progress of that mark is durable.
    pub fn saved(&self, mark: u64) {
        self.lock().unsaved.saved(mark);
        self.room.notify_one();
    }

    /// While held (the store is away), [`admit`](Self::admit) also waits when as many ops as may be
    /// under way were admitted since what was saved last: what would come again after a crash stays
    /// bounded.
    pub fn hold_unsaved(&self, hold: bool) {
        self.lock().unsaved.is_held = hold;
        self.room.notify_one();
    }

    /// Waits until some frontier has moved since this was last waited for; at once when one has
    /// already. For one waiter (the saver): each move is told to one only. Cancellation safe.
    pub async fn moved(&self) {
        self.moved.notified().await;
    }

    /// Waits until every op that was admitted is done. Cancellation safe.
    pub async fn idle(&self) {
        loop {
            let mut idle = std::pin::pin!(self.idle.notified());
            // First listen, then look: who becomes idle in between is heard.
            idle.as_mut().enable();
            if self.lock().ops == 0 {
                return;
            }
            idle.await;
        }
    }

    /// Waits until of a stream's ops up to `places` places of that batch those are done that are meant.
    /// Cancellation safe.
    pub async fn done_up_to(
        &self,
        ticket: BatchTicket,
        places: usize,
        is_meant: impl Fn(&Op<'_>) -> bool,
    ) {
        self.until(|state| {
            let stream = &state.streams[ticket.stream];
            stream.is_done_up_to(ticket.sequence, places, &is_meant)
        })
        .await;
    }

    /// Waits until of the ops that were admitted so far of direct reads those are done that are meant.
    /// Cancellation safe.
    pub async fn reads_done(&self, is_meant: impl Fn(&Op<'_>) -> bool) {
        let reads = self.starts.len();
        let so_far: Vec<u64> = {
            let streams = &self.lock().streams[reads..];
            streams.iter().map(Stream::next_sequence).collect()
        };
        self.until(|state| {
            let streams = state.streams[reads..].iter().zip(&so_far);
            let mut streams = streams.map(|(stream, end)| (stream, *end));
            streams.all(|(stream, end)| stream.is_done_up_to(end, 0, &is_meant))
        })
        .await;
    }

    /// Waits until that is so, after some op was acknowledged.
    async fn until(&self, is_so: impl Fn(&State) -> bool) {
        loop {
            let mut told = std::pin::pin!(self.told.notified());
            // First listen, then look: who is acknowledged in between is heard.
            told.as_mut().enable();
            if is_so(&self.lock()) {
                return;
            }
            told.await;
        }
    }

    /// Whether every op of that stream, and of those behind it, is done.
    #[must_use]
    pub fn is_idle_from(&self, stream: usize) -> bool {
        let state = self.lock();
        state.streams[stream..]
            .iter()
            .all(|stream| stream.oldest().is_none())
    }

    /// What is under way.
    #[must_use]
    pub fn in_flight(&self) -> InFlight {
        let state = self.lock();
        InFlight {
            ops: state.ops,
            bytes: state.bytes,
            oldest: state.streams.iter().filter_map(Stream::oldest).min(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }
}

impl Acknowledge for AckWindow {
    fn acknowledge(&self, ticket: BatchTicket, places: &[u32]) {
        let mut state = self.lock();
        let acknowledged = state.streams[ticket.stream].acknowledge(ticket.sequence, places);
        if acknowledged.has_moved {
            state.mark += 1;
        }
        if let Some(batch) = &acknowledged.freed {
            state.bytes -= batch.bytes();
        }
        state.ops -= acknowledged.passed;
        state.passed += acknowledged.passed;
        let is_idle = state.ops == 0;
        drop(state);
        debug_assert!(
            acknowledged.told_twice == 0,
            "an op of {ticket:?} was acknowledged twice"
        );
        if acknowledged.has_moved {
            self.moved.notify_one();
        }
        if acknowledged.freed.is_some() || acknowledged.passed > 0 {
            self.room.notify_one();
        }
        if is_idle {
            self.idle.notify_waiters();
        }
        self.told.notify_waiters();
    }
}

// === impl State ===

impl State {
    fn frontiers(&self, streams: usize) -> Vec<Frontier> {
        self.streams[..streams]
            .iter()
            .map(Stream::frontier)
            .collect()
    }

    fn progress(&self, streams: usize) -> Progress {
        let leading: u64 = self.streams.iter().map(Stream::leading).sum();
        Progress {
            frontiers: self.frontiers(streams),
            mark: self.mark,
            ops: self.passed + leading,
            reached: self.streams.iter().map(Stream::reached).collect(),
        }
    }

    fn has_room(&self, ops: u64, bytes: usize, options: &WindowOptions) -> bool {
        let is_alone = self.ops == 0;
        let fits = self.ops + ops <= options.ops_max && self.bytes + bytes <= options.bytes_max;
        let unsaved = self.admitted - self.unsaved.saved_ops;
        let is_held = self.unsaved.is_held && unsaved > 0 && unsaved + ops > options.ops_max;
        (is_alone || fits) && !is_held
    }
}

// === impl Unsaved ===

impl Unsaved {
    fn hand_out(&mut self, mark: u64, ops: u64) {
        // While only positions move, one mark stands for all: the earliest.
        let newest = self.marks.back().map_or(self.saved_ops, |(_, ops)| *ops);
        if ops > newest {
            self.marks.push_back((mark, ops));
        }
    }

    fn saved(&mut self, mark: u64) {
        while let Some(&(handed_out, ops)) = self.marks.front()
            && handed_out <= mark
        {
            self.saved_ops = ops;
            self.marks.pop_front();
        }
    }
}
