//! How long things took.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, TypedMetric},
};

/// Upper bounds of the buckets, in nanoseconds: 10 us to 5 s, in steps of 2 to 2.5.
const BOUNDS: [u64; 18] = [
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
];

/// The bounds, and one bucket for what is longer.
const BUCKETS: usize = BOUNDS.len() + 1;

/// Which bucket a time falls into.
fn bucket(nanoseconds: u64) -> usize {
    BOUNDS.partition_point(|bound| *bound < nanoseconds)
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Times that were taken and not yet added to the [`Times`] of the run: plain numbers of one thread.
#[derive(Debug, Clone)]
pub struct LocalTimes {
    buckets: [u64; BUCKETS],
    sum_nanoseconds: u64,
    count: u64,
}

impl Default for LocalTimes {
    fn default() -> Self {
        Self {
            buckets: [0; BUCKETS],
            sum_nanoseconds: 0,
            count: 0,
        }
    }
}

impl LocalTimes {
    /// Notes how long one thing took.
    pub fn observe(&mut self, time: Duration) {
        let nanoseconds = nanoseconds(time);
        self.buckets[bucket(nanoseconds)] += 1;
        self.sum_nanoseconds = self.sum_nanoseconds.saturating_add(nanoseconds);
        self.count += 1;
    }

    /// How many were noted since they were added last.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }
}

/// A histogram of times. The one of the crate takes a lock for each value.
#[derive(Debug, Clone, Default)]
pub struct Times(Arc<Numbers>);

#[derive(Default)]
struct Numbers {
    buckets: [AtomicU64; BUCKETS],
    sum_nanoseconds: AtomicU64,
}

impl fmt::Debug for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Numbers").finish_non_exhaustive()
    }
}

impl Times {
    /// Notes how long one thing took.
    pub fn observe(&self, time: Duration) {
        let nanoseconds = nanoseconds(time);
        self.0.buckets[bucket(nanoseconds)].fetch_add(1, Relaxed);
        self.0.sum_nanoseconds.fetch_add(nanoseconds, Relaxed);
    }

    /// Adds what a thread has noted, and lets it begin anew.
    pub fn add(&self, local: &mut LocalTimes) {
        if local.count == 0 {
            return;
        }
        for (bucket, noted) in self.0.buckets.iter().zip(&local.buckets) {
            if *noted > 0 {
                bucket.fetch_add(*noted, Relaxed);
            }
        }
        let sum = local.sum_nanoseconds;
        self.0.sum_nanoseconds.fetch_add(sum, Relaxed);
        *local = LocalTimes::default();
    }
}

impl TypedMetric for Times {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Times {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let seconds = |nanoseconds: u64| nanoseconds as f64 / 1e9;
        let counts = self.0.buckets.each_ref().map(|count| count.load(Relaxed));
        let bounds = BOUNDS.iter().map(|bound| seconds(*bound));
        let bounds = bounds.chain([f64::INFINITY]);
        let buckets: Vec<_> = bounds.zip(counts).collect();
        let sum = seconds(self.0.sum_nanoseconds.load(Relaxed));
        // Counted from the buckets, so that the whole is never less than its parts.
        encoder.encode_histogram::<NoLabelSet>(sum, counts.iter().sum(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(times: &Times) -> Vec<(usize, u64)> {
        let counts = times.0.buckets.iter().map(|count| count.load(Relaxed));
        counts.enumerate().filter(|(_, n)| *n > 0).collect()
    }

    #[test]
    fn a_time_falls_below_its_bound_or_on_it() {
        let times = Times::default();
        for (time, expected) in [
            (Duration::ZERO, 0),
            (Duration::from_micros(10), 0),
            (Duration::from_nanos(10_001), 1),
            (Duration::from_secs(5), 17),
            (Duration::from_secs(6), 18),
            (Duration::MAX, 18),
        ] {
            assert_eq!(bucket(nanoseconds(time)), expected, "{time:?}");
        }
        times.observe(Duration::from_micros(10));
        assert_eq!(counts(&times), [(0, 1)]);
    }

    #[test]
    fn what_a_thread_noted_is_added_once() {
        let times = Times::default();
        let mut local = LocalTimes::default();
        local.observe(Duration::from_micros(1));
        local.observe(Duration::from_millis(1));
        times.add(&mut local);
        times.add(&mut local);
        assert_eq!(counts(&times), [(0, 1), (6, 1)]);
        assert_eq!(times.0.sum_nanoseconds.load(Relaxed), 1_001_000);
        assert_eq!(local.count(), 0);
    }
}
