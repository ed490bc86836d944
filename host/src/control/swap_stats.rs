//! What is counted of the swaps of a module.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crate::telemetry::{Samples, Times, names};

/// Upper bounds of the buckets that pauses are counted in; longer ones are in one more.
pub(super) const PAUSE_BUCKETS: [Duration; 12] = [
    Duration::from_micros(10),
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(250),
    Duration::from_secs(1),
];

/// Counts of one module's swaps.
#[derive(Debug)]
pub(super) struct SwapStats {
    /// Swaps that a version took over by.
    done: AtomicU64,
    /// Swaps that led to nothing.
    refused: AtomicU64,
    /// Versions that had to give way to the one before.
    rolled_back: AtomicU64,
    /// The generation that works.
    generation: AtomicU64,
    /// How long lanes stood still, by [`PAUSE_BUCKETS`].
    pauses: [AtomicU64; PAUSE_BUCKETS.len() + 1],
    /// How long they stood still together, in nanoseconds.
    paused_ns: AtomicU64,
}

impl SwapStats {
    /// A module that begins with this generation.
    pub(super) fn new(generation: u64) -> Self {
        Self {
            done: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            rolled_back: AtomicU64::new(0),
            generation: AtomicU64::new(generation),
            pauses: Default::default(),
            paused_ns: AtomicU64::new(0),
        }
    }

    /// A version has taken over.
    pub(super) fn done(&self, generation: u64) {
        self.done.fetch_add(1, Relaxed);
        self.generation.store(generation, Relaxed);
    }

    /// The version before goes on: what was asked for was refused, or undone.
    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    /// The version before has taken over again: it was asked for, or the new one failed too often.
    pub(super) fn rolled_back(&self, generation: u64) {
        self.rolled_back.fetch_add(1, Relaxed);
        self.generation.store(generation, Relaxed);
    }

    /// A lane stood still for so long, for one swap.
    pub(super) fn paused(&self, pause: Duration) {
        let bucket = PAUSE_BUCKETS.partition_point(|bound| *bound < pause);
        self.pauses[bucket].fetch_add(1, Relaxed);
        let pause_ns = u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX);
        self.paused_ns.fetch_add(pause_ns, Relaxed);
    }

    /// Adds the module's numbers of this moment.
    pub(super) fn collect(&self, module: &str, samples: &mut Samples) {
        for (outcome, counter) in [
            ("done", &self.done),
            ("refused", &self.refused),
            ("rolled-back", &self.rolled_back),
        ] {
            let count = counter.load(Relaxed);
            samples.count(names::MODULE_SWAPS, &[module, outcome], count);
        }
        let generation = self.generation.load(Relaxed) as f64;
        samples.gauge(names::MODULE_GENERATION, &[module], generation);
        let pauses = self.pauses.iter().map(|count| count.load(Relaxed));
        let times = Times {
            bounds: &PAUSE_BUCKETS,
            counts: pauses.collect(),
            sum: Duration::from_nanos(self.paused_ns.load(Relaxed)),
        };
        samples.times(names::MODULE_SWAP_SECONDS, &[module], times);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_swap_is_counted_as_what_it_led_to() {
        let stats = SwapStats::new(3);
        stats.done(4);
        stats.done(5);
        stats.refused();
        stats.rolled_back(6);
        // A pause as long as a bound is within it.
        for pause in [
            Duration::ZERO,
            PAUSE_BUCKETS[0],
            PAUSE_BUCKETS[11],
            Duration::from_secs(2),
        ] {
            stats.paused(pause);
        }
        let mut samples = Samples::default();
        stats.collect("audit", &mut samples);
        let mut expected = Samples::default();
        for (outcome, count) in [("done", 2), ("refused", 1), ("rolled-back", 1)] {
            expected.count(names::MODULE_SWAPS, &["audit", outcome], count);
        }
        expected.gauge(names::MODULE_GENERATION, &["audit"], 6.0);
        let mut counts = vec![0; PAUSE_BUCKETS.len() + 1];
        (counts[0], counts[11], counts[12]) = (2, 1, 1);
        let times = Times {
            bounds: &PAUSE_BUCKETS,
            counts,
            sum: Duration::from_micros(3_000_010),
        };
        expected.times(names::MODULE_SWAP_SECONDS, &["audit"], times);
        assert_eq!(samples, expected);
    }
}
