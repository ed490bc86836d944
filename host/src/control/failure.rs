//! What becomes of an op that a module failed on.

use crate::{guest::GuestError, op::Op};

/// Why a module did not handle an op.
#[derive(Debug)]
pub(super) enum Failure {
    /// The call failed.
    Guest(GuestError),
    /// The handler answered that it wants another try.
    Retry(String),
    /// The handler answered that this op can never be handled.
    Reject(String),
    /// What the handler emitted cannot be written.
    Output(String),
}

impl Failure {
    /// Whether another try of the same op can end differently.
    pub(super) fn can_be_retried(&self) -> bool {
        !matches!(self, Self::Reject(_))
    }

    /// Writes the failure record to the log.
    pub(super) fn log(&self, module: &str, version: &str, op: &Op<'_>, attempt: u32, next: &str) {
        let (op_id, namespace, position) = (op.id(), op.namespace(), op.timestamp());
        let (export, class, reason) = match self {
            Self::Guest(error) => (error.export, error.class.as_str(), error.message.as_str()),
            Self::Retry(reason) => ("handle", "retry", reason.as_str()),
            Self::Reject(reason) => ("handle", "reject", reason.as_str()),
            Self::Output(reason) => ("handle", "output", reason.as_str()),
        };
        let (stderr, backtrace) = match self {
            Self::Guest(error) => (error.stderr.join("\n"), error.backtrace.join(" < ")),
            _ => Default::default(),
        };
        let (stderr, backtrace) = (some(&stderr), some(&backtrace));
        tracing::error!(module, version, export, class, reason, %op_id, namespace, %position,
            attempt, next, stderr, backtrace, "a module failed on an op");
    }
}

/// Fields that hold nothing are left out of the log.
fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}
