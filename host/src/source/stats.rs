//! What a source did besides giving ops.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters of the sources of one run; any thread may add and read.
#[derive(Debug, Default)]
pub struct Stats {
    /// Entries or events that could not be decoded.
    pub undecodable: AtomicU64,
    /// Times that a cursor was opened again after a fault.
    pub reopened: AtomicU64,
}

impl Stats {
    /// Counts an entry or event that could not be decoded.
    pub fn count_undecodable(&self) {
        self.undecodable.fetch_add(1, Relaxed);
    }

    /// Counts a cursor that was opened again.
    pub fn count_reopened(&self) {
        self.reopened.fetch_add(1, Relaxed);
    }
}
