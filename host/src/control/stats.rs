//! What a run has done.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::telemetry::{COUNTS_MAX, Namespaces, OTHER};

/// Counters of one run; any thread may add and read.
#[derive(Debug, Default)]
pub struct Stats {
    /// Ops that sources gave to the lanes.
    pub read: AtomicU64,
    /// Ops that were left out, since they belong to other workers.
    pub of_others: AtomicU64,
    /// Ops that a module's filter kept, per module.
    pub kept: AtomicU64,
    /// Ops that a module handled, per module.
    pub handled: AtomicU64,
    /// Documents that handlers emitted.
    pub emitted: AtomicU64,
    /// Calls into a module that failed.
    pub failed: AtomicU64,
    /// Ops that were given up after a failure, per module.
    pub skipped: AtomicU64,
    /// Further tries of ops, per module.
    pub retries: AtomicU64,
    /// Ops that were put into the dead letters, per module.
    pub dead_lettered: AtomicU64,
    /// Times that the checkpoint was saved.
    pub checkpoint_saves: AtomicU64,
    /// Times that it could not be.
    pub checkpoint_failures: AtomicU64,
    /// Positions that were lost.
    pub gaps: AtomicU64,
    /// The same by deployment, where several are read. The lock is held to count one, or to show all.
    pub gaps_of: Mutex<BTreeMap<String, u64>>,
    /// What became of the ops, by namespace.
    pub namespaces: Namespaces,
    /// Counters of the modules' own, by module and name. The lock is held to add one batch's counts.
    pub counts: Mutex<BTreeMap<(String, String), i64>>,
}

impl Stats {
    /// Adds to a counter.
    pub(super) fn add(counter: &AtomicU64, count: u64) {
        if count > 0 {
            counter.fetch_add(count, Relaxed);
        }
    }

    /// Adds to a module's own counter. Guests choose these names, so beyond [`COUNTS_MAX`] they share
    /// one.
    pub(super) fn count(&self, module: &str, name: &str, delta: i64) {
        let mut counts = self.counts.lock().expect("no holder of this lock panics");
        let mut key = (module.to_owned(), name.to_owned());
        if counts.len() >= COUNTS_MAX && !counts.contains_key(&key) {
            OTHER.clone_into(&mut key.1);
        }
        let count = counts.entry(key).or_default();
        *count = count.saturating_add(delta);
    }

    /// Counts a lost position; of which deployment, where several are read.
    pub(super) fn count_gap(&self, cluster: Option<&str>) {
        Self::add(&self.gaps, 1);
        if let Some(cluster) = cluster {
            let mut gaps = self.gaps_of.lock().expect("no holder of this lock panics");
            *gaps.entry(cluster.to_owned()).or_default() += 1;
        }
    }

    /// How the run stands.
    #[must_use]
    pub fn summary(&self, sources: &crate::source::Stats) -> Summary {
        let counts = self
            .counts
            .lock()
            .expect("no holder of this lock panics")
            .clone();
        Summary {
            read: self.read.load(Relaxed),
            of_others: self.of_others.load(Relaxed),
            kept: self.kept.load(Relaxed),
            handled: self.handled.load(Relaxed),
            emitted: self.emitted.load(Relaxed),
            failed: self.failed.load(Relaxed),
            skipped: self.skipped.load(Relaxed),
            retries: self.retries.load(Relaxed),
            dead_lettered: self.dead_lettered.load(Relaxed),
            undecodable: sources.undecodable.load(Relaxed),
            counts,
        }
    }
}

/// What a run has done, as numbers; see [`Stats`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Ops read.
    pub read: u64,
    /// Ops of other workers.
    pub of_others: u64,
    /// Ops that a filter kept.
    pub kept: u64,
    /// Ops handled.
    pub handled: u64,
    /// Documents emitted.
    pub emitted: u64,
    /// Failed calls.
    pub failed: u64,
    /// Ops given up.
    pub skipped: u64,
    /// Further tries of ops.
    pub retries: u64,
    /// Ops put into the dead letters.
    pub dead_lettered: u64,
    /// Entries or events that could not be decoded.
    pub undecodable: u64,
    /// Counters of the modules' own, by module and name.
    pub counts: BTreeMap<(String, String), i64>,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            read,
            kept,
            handled,
            emitted,
            failed,
            ..
        } = self;
        write!(
            f,
            "ops: {read} read, {kept} kept, {handled} handled, {emitted} emitted, {failed} failed"
        )?;
        if self.of_others > 0 {
            write!(f, ", {} of other workers", self.of_others)?;
        }
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        if self.dead_lettered > 0 {
            write!(f, ", {} dead-lettered", self.dead_lettered)?;
        }
        if self.undecodable > 0 {
            write!(f, ", {} undecodable", self.undecodable)?;
        }
        for ((module, name), count) in &self.counts {
            write!(f, "\ncount: {module}.{name} = {count}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_that_guests_name_are_bounded() {
        let stats = Stats::default();
        for n in 0..COUNTS_MAX + 10 {
            stats.count("audit", &format!("n{n}"), 1);
        }
        stats.count("audit", "n0", 1);
        let counts = stats.counts.lock().unwrap();
        assert_eq!(counts.len(), COUNTS_MAX + 1);
        let count = |name: &str| counts[&("audit".to_owned(), name.to_owned())];
        assert_eq!((count("n0"), count(OTHER)), (2, 10));
    }
}
