//! What the parts of a run count with: each has the series that are its own. Clones count into the
//! same series; nothing here takes a lock but [`ModuleMetrics::add_failure`] and
//! [`ModuleMetrics::add_count`].

use std::{sync::Arc, time::Duration};

use prometheus_client::metrics::counter::Counter;

use super::{
    metrics::{CountLabels, FailureLabels, Families},
    times::{LocalTimes, Times},
};

/// What the sources count.
#[derive(Debug, Clone, Default)]
pub struct SourceMetrics {
    pub(super) batches: Counter,
    pub(super) bytes: Counter,
    pub(super) reconnects: Counter,
    pub(super) undecodable: Counter,
    pub(super) gaps: Counter,
}

impl SourceMetrics {
    /// A batch of so many bytes was read.
    pub fn add_batch(&self, bytes: u64) {
        self.batches.inc();
        self.bytes.inc_by(bytes);
    }

    /// Cursors were opened again.
    pub fn add_reconnects(&self, count: u64) {
        self.reconnects.inc_by(count);
    }

    /// Entries or events could not be decoded.
    pub fn add_undecodable(&self, count: u64) {
        self.undecodable.inc_by(count);
    }

    /// A position was lost.
    pub fn add_gap(&self) {
        self.gaps.inc();
    }
}

/// What the saver of checkpoints counts.
#[derive(Debug, Clone, Default)]
pub struct CheckpointMetrics {
    pub(super) saves: Counter,
    pub(super) failures: Counter,
}

impl CheckpointMetrics {
    /// A checkpoint was saved.
    pub fn add_save(&self) {
        self.saves.inc();
    }

    /// An attempt to save one failed.
    pub fn add_failure(&self) {
        self.failures.inc();
    }
}

/// What is counted for one module.
#[derive(Debug, Clone)]
pub struct ModuleMetrics {
    pub(super) name: Arc<str>,
    pub(super) families: Arc<Families>,
    pub(super) calls: Counter,
    pub(super) times: Times,
    pub(super) emitted: Counter,
    pub(super) retries: Counter,
    pub(super) dead_letters: Counter,
    pub(super) skipped: Counter,
}

impl ModuleMetrics {
    /// Calls were made whose time was not taken.
    pub fn add_calls(&self, count: u64) {
        self.calls.inc_by(count);
    }

    /// Calls were made that took so long; empties `times`. For lanes, once a batch.
    pub fn add_times(&self, times: &mut LocalTimes) {
        self.calls.inc_by(times.count());
        self.times.add(times);
    }

    /// A call was made that took so long.
    pub fn observe_call(&self, time: Duration) {
        self.calls.inc();
        self.times.observe(time);
    }

    /// A call failed; `class` is one of a fixed set of words.
    pub fn add_failure(&self, class: &'static str) {
        let labels = FailureLabels {
            module: self.name.clone(),
            class,
        };
        self.families.failures.get_or_create(&labels).inc();
    }

    /// Documents were emitted.
    pub fn add_emitted(&self, count: u64) {
        self.emitted.inc_by(count);
    }

    /// Ops were tried again.
    pub fn add_retries(&self, count: u64) {
        self.retries.inc_by(count);
    }

    /// Ops were put into the dead letters.
    pub fn add_dead_letters(&self, count: u64) {
        self.dead_letters.inc_by(count);
    }

    /// Ops were given up.
    pub fn add_skipped(&self, count: u64) {
        self.skipped.inc_by(count);
    }

    /// Adds to a counter of the module's own. Guests choose these names, so beyond
    /// [`COUNTS_MAX`](super::COUNTS_MAX) they share one. Lanes gather first, and add once a batch.
    pub fn add_count(&self, name: &str, delta: i64) {
        let labels = CountLabels {
            module: self.name.clone(),
            name: self.families.count_label(&self.name, name),
        };
        self.families.counts.get_or_create(&labels).inc_by(delta);
    }
}

/// What is counted for one sink.
#[derive(Debug, Clone, Default)]
pub struct SinkMetrics {
    pub(super) delivered: Counter,
    pub(super) rejected: Counter,
    pub(super) failures: Counter,
    pub(super) times: Times,
}

impl SinkMetrics {
    /// Documents were accepted.
    pub fn add_delivered(&self, count: u64) {
        self.delivered.inc_by(count);
    }

    /// Documents were refused for good.
    pub fn add_rejected(&self, count: u64) {
        self.rejected.inc_by(count);
    }

    /// An attempt failed, and will be made again.
    pub fn add_failure(&self) {
        self.failures.inc();
    }

    /// An attempt to deliver a batch took so long, however it ended.
    pub fn observe_delivery(&self, time: Duration) {
        self.times.observe(time);
    }
}
