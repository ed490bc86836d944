//! How a module failed on an op.

use std::time::Duration;

use super::{FailurePolicy, OnError};
use crate::{
    guest::{Class, GuestError},
    op::Op,
};

/// Why a module did not handle an op.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// The call failed.
    Guest(GuestError),
    /// The handler answered that it wants another try.
    Retry(String),
    /// The handler answered that this op can never be handled.
    Reject(String),
    /// What the handler emitted cannot be written.
    Output(String),
    /// It was not called: it has failed on one op after the other, last in this way.
    Breaker(String),
}

/// What becomes of an op that a module failed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// It is tried again, with the next delay of its back-off.
    Retry,
    /// It is tried again at once when the run goes on, as if it had not been tried.
    Hold,
    /// It goes into the dead letters.
    DeadLetter,
    /// It is given up, for this module.
    Skip,
    /// The run stops.
    Stop,
}

impl Next {
    /// What the log says.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "the op is tried again",
            Self::Hold => "the run pauses",
            Self::DeadLetter => "the op goes into the dead letters",
            Self::Skip => "the op is skipped",
            Self::Stop => "the run stops",
        }
    }
}

impl Failure {
    /// What a policy says to this failure at the given attempt, counted from 1.
    pub(super) fn next(&self, policy: &FailurePolicy, attempt: u32) -> Next {
        match policy.on_error {
            OnError::Skip => Next::Skip,
            OnError::Stop => Next::Stop,
            OnError::Retry if attempt < policy.attempts_max && self.can_be_retried() => Next::Retry,
            OnError::Retry | OnError::DeadLetter => Next::DeadLetter,
        }
    }

    /// Whether another try of the same op can end differently.
    fn can_be_retried(&self) -> bool {
        !matches!(self, Self::Reject(_) | Self::Breaker(_))
    }

    /// Whether the module could not look up what it wanted while the server was away: then the op
    /// waits for the server, whatever the module's policy says, and neither is at fault.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::Guest(error) if error.class == Class::LookupUnavailable)
    }

    /// The name used in logs, metrics and dead letters.
    pub(super) fn class(&self) -> &'static str {
        match self {
            Self::Guest(error) => error.class.as_str(),
            Self::Retry(_) => "retry",
            Self::Reject(_) => "reject",
            Self::Output(_) => "output",
            Self::Breaker(_) => "breaker",
        }
    }

    /// Whether the filter had kept the op.
    pub(super) fn is_in_handle(&self) -> bool {
        self.export() == "handle" && !matches!(self, Self::Breaker(_))
    }

    /// What was called.
    pub(super) fn export(&self) -> &'static str {
        match self {
            Self::Guest(error) => error.export,
            _ => "handle",
        }
    }

    /// What happened, for people.
    pub(super) fn message(&self) -> &str {
        match self {
            Self::Guest(error) => &error.message,
            Self::Retry(reason)
            | Self::Reject(reason)
            | Self::Output(reason)
            | Self::Breaker(reason) => reason,
        }
    }

    /// The last lines on standard error, and the backtrace.
    pub(super) fn traces(&self) -> (&[String], &[String]) {
        match self {
            Self::Guest(error) => (&error.stderr, &error.backtrace),
            _ => (&[], &[]),
        }
    }

    /// Writes the failure record to the log.
    pub(super) fn log(&self, module: &str, version: &str, op: &Op<'_>, attempt: u32, next: Next) {
        let (op_id, namespace, position) = (op.id(), op.namespace(), op.timestamp());
        let (export, class, reason) = (self.export(), self.class(), self.message());
        let (stderr, backtrace) = self.traces();
        let (stderr, backtrace) = (stderr.join("\n"), backtrace.join(" < "));
        let (stderr, backtrace) = (some(&stderr), some(&backtrace));
        tracing::error!(module, version, export, class, reason, %op_id, namespace, %position,
            attempt, next = next.as_str(), stderr, backtrace, "a module failed on an op");
    }
}

/// Fields that hold nothing are left out of the log.
fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// How a call into a module ended.
#[derive(Debug)]
pub(super) enum Called {
    /// Its filter does not want the op.
    Dropped,
    /// It has handled the op, and emitted so many documents.
    Handled(u64),
    /// It asks for time, which is no failure.
    Later(Duration),
    Failed(Failure),
}

impl From<GuestError> for Failure {
    fn from(error: GuestError) -> Self {
        Self::Guest(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_decides_by_kind_and_attempt() {
        let of = |on_error| FailurePolicy {
            on_error,
            attempts_max: 3,
            ..FailurePolicy::default()
        };
        let retry = Failure::Retry("soon".into());
        let reject = Failure::Reject("never".into());
        let cases = [
            (OnError::Retry, &retry, 1, Next::Retry),
            (OnError::Retry, &retry, 2, Next::Retry),
            (OnError::Retry, &retry, 3, Next::DeadLetter),
            (OnError::Retry, &reject, 1, Next::DeadLetter),
            (OnError::DeadLetter, &retry, 1, Next::DeadLetter),
            (OnError::Skip, &retry, 1, Next::Skip),
            (OnError::Skip, &reject, 1, Next::Skip),
            (OnError::Stop, &reject, 1, Next::Stop),
        ];
        for (on_error, failure, attempt, next) in cases {
            let got = failure.next(&of(on_error), attempt);
            assert_eq!(got, next, "{on_error:?} {failure:?} {attempt}");
        }
    }
}
