//! What keeps a broken module from failing on op after op.

use std::{
    sync::{
        Mutex, MutexGuard,
        atomic::{
            AtomicBool, AtomicU8, AtomicU32,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::{Duration, Instant, SystemTime},
};

use super::{FailurePolicy, OnError, WhenOpen, failure::Failure};

/// How often an op is tried while ops go straight into the dead letters.
const TRIAL_INTERVAL: Duration = Duration::from_secs(10);

/// Counts one module's failed ops in a row, over all lanes, and opens when there are too many.
///
/// A success costs one relaxed load; the lock is only taken where something failed.
#[derive(Debug)]
pub(super) struct Breaker {
    /// 0 for never.
    failures_max: u32,
    when_open: WhenOpen,
    failures: AtomicU32,
    /// Whether the last one was in `filter`: then an op that it drops is a success.
    in_filter: AtomicBool,
    /// A [`Position`]; written under the lock.
    position: AtomicU8,
    detail: Mutex<Detail>,
}

/// What is only wanted when something fails, and by who asks how the module stands.
#[derive(Debug, Default)]
struct Detail {
    open_since: Option<SystemTime>,
    last_error: Option<String>,
    next_trial: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// Ops are called.
    Closed,
    /// Something is wrong with the module.
    Open,
    /// Ops are called again, and the first one decides.
    HalfOpen,
}

/// Whether a module is called for an op.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Admission {
    /// It is.
    Call,
    /// It is not: the op goes into the dead letters, with the module's last error.
    DeadLetter(String),
}

/// What the breaker says to a failed op.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Advice {
    /// The module's policy decides.
    Policy,
    /// The breaker opened just now: the run is to pause, and the op waits as if it had not been tried.
    Trip,
    /// It was open already, and the run is about to pause: the op waits likewise.
    Hold,
    /// The op was tried to see whether the module works again, and goes into the dead letters.
    DeadLetter,
}

/// How a breaker stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct BreakerState {
    /// Ops that failed, one after the other, since the last that did not.
    pub(super) failures_in_a_row: u32,
    /// Since when it is open, or half open; none when it is closed.
    pub(super) open_since: Option<SystemTime>,
    /// How the module failed last.
    pub(super) last_error: Option<String>,
}

impl Breaker {
    pub(super) fn new(policy: &FailurePolicy) -> Self {
        let is_wanted = matches!(policy.on_error, OnError::Retry | OnError::DeadLetter);
        Self {
            failures_max: if is_wanted {
                policy.breaker_failures
            } else {
                0
            },
            when_open: policy.breaker,
            failures: AtomicU32::new(0),
            in_filter: AtomicBool::new(false),
            position: AtomicU8::new(Position::Closed as u8),
            detail: Mutex::default(),
        }
    }

    /// Asked before each call.
    pub(super) fn admit(&self, now: Instant) -> Admission {
        if self.position() != Position::Open || self.when_open == WhenOpen::Pause {
            return Admission::Call;
        }
        let mut detail = self.detail();
        if detail.next_trial.is_none_or(|trial| trial <= now) {
            // The other lanes do not try at the same time.
            detail.next_trial = Some(now + TRIAL_INTERVAL);
            return Admission::Call;
        }
        Admission::DeadLetter(detail.last_error.clone().unwrap_or_default())
    }

    /// Whether calls would go straight into the dead letters.
    pub(super) fn is_shunting(&self) -> bool {
        self.when_open == WhenOpen::DeadLetter && self.position() == Position::Open
    }

    /// Told after each op that was handled.
    #[inline]
    pub(super) fn succeeded(&self) {
        if self.failures.load(Relaxed) > 0 {
            self.reset();
        }
    }

    /// Told after each op that the filter did not want, which says nothing about `handle`.
    #[inline]
    pub(super) fn dropped(&self) {
        if self.failures.load(Relaxed) > 0 {
            self.dropped_after_failures();
        }
    }

    #[cold]
    fn dropped_after_failures(&self) {
        if self.in_filter.load(Relaxed) {
            return self.reset();
        }
        // If this was the trial, the next op is one in its place.
        self.detail().next_trial = None;
    }

    #[cold]
    fn reset(&self) {
        let mut detail = self.detail();
        // An op that was under way when the breaker opened does not undo a pause that was called.
        if self.position() == Position::Open && self.when_open == WhenOpen::Pause {
            return;
        }
        self.failures.store(0, Relaxed);
        self.set(Position::Closed);
        detail.open_since = None;
        detail.next_trial = None;
    }

    /// Told after each failed call. `is_counted` says that the op was counted at an earlier one.
    pub(super) fn failed(&self, failure: &Failure, is_counted: bool, now: Instant) -> Advice {
        let mut detail = self.detail();
        self.in_filter.store(!failure.is_in_handle(), Relaxed);
        let error = failure.message();
        detail.last_error = Some(error.to_owned());
        let failures = match is_counted {
            true => self.failures.load(Relaxed),
            false => self.failures.fetch_add(1, Relaxed) + 1,
        };
        let opens = match self.position() {
            Position::Closed => {
                !is_counted && self.failures_max > 0 && failures >= self.failures_max
            }
            Position::HalfOpen => true,
            Position::Open => {
                return match self.when_open {
                    WhenOpen::Pause => Advice::Hold,
                    WhenOpen::DeadLetter => Advice::DeadLetter,
                };
            }
        };
        if !opens {
            return Advice::Policy;
        }
        detail.open_since.get_or_insert_with(SystemTime::now);
        detail.next_trial = Some(now + TRIAL_INTERVAL);
        self.set(Position::Open);
        match self.when_open {
            WhenOpen::Pause => Advice::Trip,
            WhenOpen::DeadLetter => Advice::Policy,
        }
    }

    /// Somebody said to go on: the next op decides whether the module works again.
    pub(super) fn half_open(&self) {
        let _detail = self.detail();
        if self.position() == Position::Open {
            self.set(Position::HalfOpen);
        }
    }

    /// How it stands.
    pub(super) fn state(&self) -> BreakerState {
        let detail = self.detail();
        BreakerState {
            failures_in_a_row: self.failures.load(Relaxed),
            open_since: detail.open_since,
            last_error: detail.last_error.clone(),
        }
    }

    fn position(&self) -> Position {
        match self.position.load(SeqCst) {
            0 => Position::Closed,
            1 => Position::Open,
            _ => Position::HalfOpen,
        }
    }

    fn set(&self, position: Position) {
        self.position.store(position as u8, SeqCst);
    }

    fn detail(&self) -> MutexGuard<'_, Detail> {
        self.detail.lock().expect("no holder of this lock panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker(on_error: OnError, when_open: WhenOpen) -> Breaker {
        Breaker::new(&FailurePolicy {
            on_error,
            breaker_failures: 3,
            breaker: when_open,
            ..FailurePolicy::default()
        })
    }

    fn told_to() -> Failure {
        Failure::Retry("told to".into())
    }

    fn fail(breaker: &Breaker, times: usize) -> Vec<Advice> {
        let failed = |_| breaker.failed(&told_to(), false, Instant::now());
        (0..times).map(failed).collect()
    }

    #[test]
    fn opens_after_so_many_in_a_row_and_not_before() {
        let breaker = breaker(OnError::Retry, WhenOpen::Pause);
        assert_eq!(fail(&breaker, 2), [Advice::Policy; 2]);
        breaker.succeeded();
        assert_eq!(
            fail(&breaker, 3),
            [Advice::Policy, Advice::Policy, Advice::Trip]
        );
        let state = breaker.state();
        assert_eq!(state.failures_in_a_row, 3);
        assert!(state.open_since.is_some());
        assert_eq!(state.last_error.as_deref(), Some("told to"));
    }

    #[test]
    fn further_tries_of_an_op_are_not_counted() {
        let breaker = breaker(OnError::Retry, WhenOpen::Pause);
        fail(&breaker, 2);
        for _ in 0..10 {
            let advice = breaker.failed(&told_to(), true, Instant::now());
            assert_eq!(advice, Advice::Policy);
        }
        assert_eq!(breaker.state().failures_in_a_row, 2);
    }

    #[test]
    fn an_op_that_the_filter_drops_says_nothing_about_the_handler() {
        let breaker = breaker(OnError::Retry, WhenOpen::Pause);
        fail(&breaker, 2);
        breaker.dropped();
        assert_eq!(fail(&breaker, 1), [Advice::Trip]);
    }

    #[test]
    fn a_pause_ends_by_word_only_and_the_next_op_decides() {
        let breaker = breaker(OnError::Retry, WhenOpen::Pause);
        fail(&breaker, 3);
        breaker.succeeded();
        assert_eq!(fail(&breaker, 1), [Advice::Hold], "it is still open");
        breaker.half_open();
        let advice = breaker.failed(&told_to(), true, Instant::now());
        assert_eq!(advice, Advice::Trip, "whichever op it is");
        breaker.half_open();
        assert!(breaker.state().open_since.is_some());
        breaker.succeeded();
        assert_eq!(breaker.state().failures_in_a_row, 0);
        assert_eq!(breaker.state().open_since, None);
        assert_eq!(fail(&breaker, 1), [Advice::Policy]);
    }

    #[test]
    fn an_op_is_tried_every_so_often_while_others_go_to_the_dead_letters() {
        let breaker = breaker(OnError::DeadLetter, WhenOpen::DeadLetter);
        assert_eq!(fail(&breaker, 3), [Advice::Policy; 3]);
        assert!(breaker.is_shunting());
        let start = Instant::now();
        let shunted = Admission::DeadLetter("told to".into());
        assert_eq!(breaker.admit(start), shunted);
        let later = start + TRIAL_INTERVAL + Duration::from_secs(1);
        assert_eq!(breaker.admit(later), Admission::Call);
        assert_eq!(breaker.admit(later), shunted, "only one");
        assert_eq!(breaker.failed(&told_to(), false, later), Advice::DeadLetter);
        assert_eq!(breaker.admit(later + 2 * TRIAL_INTERVAL), Admission::Call);
        breaker.succeeded();
        assert_eq!(breaker.admit(later), Admission::Call);
        assert!(!breaker.is_shunting());
    }

    #[test]
    fn there_is_none_where_skipping_or_stopping_was_asked_for() {
        for on_error in [OnError::Skip, OnError::Stop] {
            let breaker = breaker(on_error, WhenOpen::Pause);
            assert_eq!(fail(&breaker, 100), [Advice::Policy; 100]);
            assert_eq!(breaker.state().failures_in_a_row, 100);
        }
    }
}
