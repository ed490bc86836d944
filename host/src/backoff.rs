//! How long to wait before trying again.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// The first delay; short, since most faults are a fail-over that is over soon.
const DELAY_MIN: Duration = Duration::from_millis(100);

/// The longest delay before jitter.
const DELAY_MAX: Duration = Duration::from_secs(10);

/// Delays that double from 100 ms to 10 s, each with a random part added, so that many clients of
/// one server do not come back in step.
#[derive(Debug)]
pub struct Backoff {
    delays: ExponentialBackoff,
    delay_min: Duration,
    delay_max: Duration,
    attempts: u32,
}

impl Backoff {
    /// Starts at the shortest delay.
    #[must_use]
    pub fn new() -> Self {
        Self::between(DELAY_MIN, DELAY_MAX)
    }

    /// The same between other bounds.
    #[must_use]
    pub fn between(delay_min: Duration, delay_max: Duration) -> Self {
        let delays = ExponentialBuilder::new()
            .with_min_delay(delay_min)
            .with_max_delay(delay_max)
            .with_jitter()
            .without_max_times()
            .build();
        Self {
            delays,
            delay_min,
            delay_max,
            attempts: 0,
        }
    }

    /// How long to wait now.
    pub fn next_delay(&mut self) -> Duration {
        self.attempts += 1;
        let delay = self.delays.next().unwrap_or(self.delay_max);
        // As it is told in the log: nobody reads nanoseconds.
        Duration::from_millis(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX))
    }

    /// How many delays were given since the start or the last success.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// After a success: the next delay is the shortest again.
    pub fn reset(&mut self) {
        if self.attempts > 0 {
            *self = Self::between(self.delay_min, self.delay_max);
        }
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_bound_and_never_end() {
        let mut backoff = Backoff::new();
        let delays: Vec<_> = (0..40).map(|_| backoff.next_delay()).collect();
        assert!(
            delays[0] >= DELAY_MIN && delays[0] <= DELAY_MIN * 2,
            "{:?}",
            delays[0]
        );
        assert!(
            delays[39] >= DELAY_MAX && delays[39] <= DELAY_MAX * 2,
            "{:?}",
            delays[39]
        );
        backoff.reset();
        assert!(backoff.next_delay() <= DELAY_MIN * 2);
    }
}
