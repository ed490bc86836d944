//! How long calls took.

use std::time::Duration;

/// Steps between a power of two and the next: a time is told at most one in thirty-two too long.
const STEPS: u64 = 32;

/// Bits of the number of steps.
const STEP_BITS: u32 = STEPS.trailing_zeros();

/// Times of calls, counted by length, so that memory does not grow with their number.
#[derive(Debug, Clone)]
pub struct Times {
    /// By length: up to 32 ns each nanosecond for itself, then 32 steps for each doubling.
    counts: Vec<u64>,
    count: u64,
    sum: Duration,
    max: Duration,
}

impl Default for Times {
    fn default() -> Self {
        let slots = (u64::BITS - STEP_BITS + 1) as usize * STEPS as usize;
        Self {
            counts: vec![0; slots],
            count: 0,
            sum: Duration::ZERO,
            max: Duration::ZERO,
        }
    }
}

impl Times {
    /// Counts one.
    #[inline]
    pub fn add(&mut self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.counts[slot(nanoseconds)] += 1;
        self.count += 1;
        self.sum += time;
        self.max = self.max.max(time);
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// All together.
    #[must_use]
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// The longest.
    #[must_use]
    pub fn max(&self) -> Duration {
        self.max
    }

    /// The time that this share of them, from 0 to 1, did not exceed; up to one in thirty-two too
    /// long. Zero when there is none.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        let rank = ((self.count as f64 * share).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        let reaches = |count: &u64| {
            seen += count;
            seen >= rank
        };
        match self.counts.iter().position(reaches) {
            Some(slot) => Duration::from_nanos(longest_of(slot)).min(self.max),
            None => Duration::ZERO,
        }
    }
}

fn slot(nanoseconds: u64) -> usize {
    if nanoseconds < STEPS {
        return nanoseconds as usize;
    }
    // The leading bit is the doubling, the five behind it the step.
    let doubling = nanoseconds.ilog2() - STEP_BITS;
    let step = (nanoseconds >> doubling) - STEPS;
    ((u64::from(doubling) + 1) * STEPS + step) as usize
}

/// The longest time that is counted there.
fn longest_of(slot: usize) -> u64 {
    let slot = slot as u64;
    if slot < STEPS {
        return slot;
    }
    let (doubling, step) = (slot / STEPS - 1, slot % STEPS);
    let next = u128::from(STEPS + step + 1) << doubling;
    u64::try_from(next - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantiles_are_of_all_that_was_counted() {
        let mut times = Times::default();
        assert_eq!(times.quantile(0.5), Duration::ZERO);
        (1..=100).for_each(|n| times.add(Duration::from_nanos(n * 1_000)));
        let near = |share: f64, expected: u64| {
            let got = times.quantile(share).as_nanos() as u64;
            assert!(
                (expected..=expected + expected / 32).contains(&got),
                "{got}"
            );
        };
        near(0.5, 50_000);
        near(0.99, 99_000);
        assert_eq!(times.quantile(1.0), times.max());
        assert_eq!(times.quantile(0.0).as_nanos() / 1_000, 1);
        assert_eq!(
            (times.count(), times.sum()),
            (100, Duration::from_micros(5_050))
        );
    }

    proptest! {
        #[test]
        fn each_length_has_a_slot_that_is_hardly_longer(nanoseconds: u64) {
            let longest = longest_of(slot(nanoseconds));
            prop_assert!(longest >= nanoseconds);
            prop_assert!(longest - nanoseconds <= nanoseconds / STEPS);
            if longest < u64::MAX {
                prop_assert_eq!(slot(longest + 1), slot(nanoseconds) + 1);
            }
        }
    }
}
