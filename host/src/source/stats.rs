//! What a source did besides giving ops.

use std::{
    fmt,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::op::{Position, Timestamp};

/// Counters of the sources of one run; any thread may add and read.
#[derive(Debug, Default)]
pub struct Stats {
    /// Entries or events that could not be decoded.
    pub undecodable: AtomicU64,
    /// Events that a server sent without some of their parts, since they were too large.
    pub oversized: AtomicU64,
    /// Times that a cursor was opened again after a fault.
    pub reopened: AtomicU64,
    /// Replies of cursors, also those that held nothing.
    pub replies: AtomicU64,
    /// Bytes of these replies.
    pub bytes: AtomicU64,
    /// The newest cluster time that was read up to, as seconds and increment in one number.
    newest: AtomicU64,
    observer: Observer,
}

/// A fault that passes, and how long it is waited out.
#[derive(Debug, Clone, Copy)]
pub struct Trouble<'a> {
    /// What was attempted, on what, as in "cannot {what}".
    pub what: &'a str,
    /// What went wrong.
    pub error: &'a str,
    /// Which attempt in a row has failed, from 1.
    pub attempt: u32,
    /// How long it is until the next.
    pub retry_in: Duration,
}

type OnTrouble = Box<dyn Fn(&Trouble<'_>) + Send + Sync>;

/// Who is told of faults.
#[derive(Default)]
struct Observer(OnceLock<OnTrouble>);

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_there = self.0.get().is_some();
        f.debug_tuple("Observer").field(&is_there).finish()
    }
}

impl Stats {
    /// Tells this one of each fault that passes, before it is waited out; only the first that asks for
    /// it. It must not block.
    pub fn on_trouble(&self, observer: impl Fn(&Trouble<'_>) + Send + Sync + 'static) {
        let _ = self.observer.0.set(Box::new(observer));
    }

    /// Tells of a fault that passes.
    pub fn tell_trouble(&self, trouble: &Trouble<'_>) {
        if let Some(observer) = self.observer.0.get() {
            observer(trouble);
        }
    }

    /// The newest cluster time up to which a source of the run has read; none before the first
    /// position that tells it. An idle source's moves, too.
    #[must_use]
    pub fn newest_time(&self) -> Option<Timestamp> {
        let packed = self.newest.load(Relaxed);
        (packed > 0).then(|| Timestamp::new((packed >> 32) as u32, packed as u32))
    }

    /// Counts an entry or event that could not be decoded.
    pub fn count_undecodable(&self) {
        self.undecodable.fetch_add(1, Relaxed);
    }

    /// Counts an event that came without some of its parts.
    pub fn count_oversized(&self) {
        self.oversized.fetch_add(1, Relaxed);
    }

    /// Counts a cursor that was opened again.
    pub fn count_reopened(&self) {
        self.reopened.fetch_add(1, Relaxed);
    }

    /// Counts a reply of that many bytes.
    pub fn count_reply(&self, bytes: usize) {
        self.replies.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// Notes up to where was read.
    pub fn note_position(&self, position: &Position) {
        if let Some(Timestamp { seconds, increment }) = position.timestamp() {
            let packed = u64::from(seconds) << 32 | u64::from(increment);
            self.newest.fetch_max(packed, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_time_never_goes_back() {
        let stats = Stats::default();
        assert_eq!(stats.newest_time(), None);
        for (noted, newest) in [((5, 7), (5, 7)), ((4, u32::MAX), (5, 7)), ((6, 1), (6, 1))] {
            stats.note_position(&Position::Time(noted.into()));
            assert_eq!(stats.newest_time(), Some(newest.into()));
        }
    }
}
