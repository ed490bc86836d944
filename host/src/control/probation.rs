//! A version that took over lately, and may have to give way.

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use super::shared::Standing;
use crate::guest::Class;

/// How many calls have to fail before anything is concluded.
const FAILURES_MIN: u64 = 5;

/// How many times as often as the version before a version may fail.
const TIMES_MAX: f64 = 2.0;

/// How often a version may fail in any case.
const RATE_MAX: f64 = 0.01;

/// A version that took over lately.
#[derive(Debug, Clone)]
pub(super) struct Probation {
    pub(super) module: String,
    until: Instant,
    /// What was counted of the module when the version took over.
    before: Counts,
}

/// What is counted of a module.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Counts {
    calls: u64,
    failures: u64,
}

impl Probation {
    /// A version takes over now.
    pub(super) fn begin(module: &str, standing: &Standing, time: Duration) -> Self {
        Self {
            module: module.to_owned(),
            until: Instant::now() + time,
            before: Counts::of(standing),
        }
    }

    pub(super) fn goes_on(&self) -> bool {
        Instant::now() < self.until
    }

    /// Why the version does worse than the one before, if it does.
    pub(super) fn fails(&self, standing: &Standing, is_breaker_open: bool) -> Option<String> {
        if !self.goes_on() {
            return None;
        }
        if is_breaker_open {
            return Some("it failed on one op after the other".to_owned());
        }
        fails(self.before, Counts::of(standing))
    }
}

impl Counts {
    fn of(standing: &Standing) -> Self {
        let stats = &standing.stats;
        let failures = stats
            .failures
            .lock()
            .expect("no holder of this lock panics");
        Self {
            calls: stats.calls.load(Relaxed),
            failures: failures
                .iter()
                // Not the version's fault.
                .filter(|(class, _)| **class != Class::LookupUnavailable.as_str())
                .map(|(_, count)| count)
                .sum(),
        }
    }

    fn rate(self) -> f64 {
        match self.calls {
            0 => 0.0,
            calls => self.failures as f64 / calls as f64,
        }
    }
}

fn fails(before: Counts, now: Counts) -> Option<String> {
    let since = Counts {
        calls: now.calls.saturating_sub(before.calls),
        failures: now.failures.saturating_sub(before.failures),
    };
    let allowed = (before.rate() * TIMES_MAX).max(RATE_MAX);
    (since.failures >= FAILURES_MIN && since.rate() > allowed).then(|| {
        format!(
            "{} of its {} calls failed, before {} of {}",
            since.failures, since.calls, before.failures, before.calls
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(calls: u64, failures: u64) -> Counts {
        Counts { calls, failures }
    }

    #[test]
    fn a_version_gives_way_when_it_fails_more_often_than_the_one_before() {
        let good = counts(1_000, 0);
        assert_eq!(fails(good, counts(1_004, 4)), None, "too few to tell");
        assert!(fails(good, counts(1_005, 5)).is_some());
        assert_eq!(fails(good, counts(2_000, 10)), None, "one in a hundred");
        assert!(fails(good, counts(2_000, 11)).is_some());
        let poor = counts(1_000, 100);
        assert_eq!(fails(poor, counts(2_000, 300)), None, "twice as often");
        assert!(fails(poor, counts(2_000, 301)).is_some());
        assert!(fails(counts(0, 0), counts(10, 5)).is_some());
    }
}
