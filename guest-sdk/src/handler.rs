//! What an author writes: a [`Handler`], and what it answers.

use std::{fmt, time::Duration};

use bson::{DateTime, Document};

use crate::{Namespace, Op, Source, State, emit_raw};

/// A module's code. Every method may be left out.
///
/// [`export!`](crate::export) makes a module of it. One handler lives in each lane, is never shared between threads, and
/// is replaced by a fresh one after a panic.
///
/// A method with another signature does not compile, and the compiler points at it:
///
/// ```compile_fail,E0053
/// # use oplet_sdk::{Handler, Op, Outcome};
/// # struct Orders;
/// impl Handler for Orders {
///     fn filter(&self, op: &Op) -> i32 { // expected `bool`, found `i32`
///         1
///     }
/// }
/// ```
///
/// So does one that is misspelt:
///
/// ```compile_fail,E0407
/// # use oplet_sdk::{Handler, Op, Outcome};
/// # struct Orders;
/// impl Handler for Orders {
///     fn handel(&mut self, op: &Op) -> Outcome { // not a member of trait `Handler`
///         Ok(())
///     }
/// }
/// ```
pub trait Handler {
    /// Whether the op is wanted. Asked for every op, so it should decide by the envelope where it can.
    ///
    /// A plain condition on `data` is right for every op: when the document of an update has not been fetched yet, the
    /// SDK notices the read, has it fetched, and asks again; the first answer does not count then.
    fn filter(&self, op: &Op) -> bool {
        let _ = op;
        true
    }

    /// Stages that the server applies to what it sends of this namespace, to this module alone.
    ///
    /// Asked once for each watched namespace before a source opens. With [`Source::ChangeStream`] the stages see change
    /// events, with [`Source::DirectRead`] the collection's documents; the oplog cannot run stages. `None` asks for all.
    fn pipeline(&self, ns: &Namespace, source: Source) -> Option<Vec<Document>> {
        let _ = (ns, source);
        None
    }

    /// Handles an op that [`filter`](Handler::filter) kept. Left out, it passes the op on: emits it as it is.
    ///
    /// # Errors
    /// [`Error`] says what becomes of the op; what was emitted for it is dropped. `?` on any other error rejects the op.
    fn handle(&mut self, op: &Op) -> Outcome {
        emit_raw(op.as_raw())?;
        Ok(())
    }

    /// Emits what was aggregated. Called at the end of a batch of ops and before the handler is dropped.
    ///
    /// # Errors
    /// As for [`handle`](Handler::handle).
    fn flush(&mut self) -> Outcome {
        Ok(())
    }

    /// Closes time windows and the like. Called about as often as the module's `tick` says, between two ops, with the
    /// host's time; never when there is no such setting.
    ///
    /// # Errors
    /// As for [`flush`](Handler::flush).
    fn tick(&mut self, now: DateTime) -> Outcome {
        let _ = now;
        Ok(())
    }

    /// The state that the next version of the module is to go on with; `None` for none. Called when a version takes
    /// over while the host runs, after [`flush`](Handler::flush), once for each lane.
    ///
    /// The handler must stay as it is: when the new version is refused, it goes on.
    ///
    /// # Errors
    /// The swap fails with the error's text, and this version goes on.
    fn save(&self) -> Result<Option<State<'_>>, Error> {
        Ok(None)
    }

    /// Takes the state of the version before, in the same lane, before the first op.
    ///
    /// # Errors
    /// The swap fails with the error's text, and the version before goes on. See [`State::unknown`].
    fn restore(&mut self, state: &State<'_>) -> Outcome {
        let _ = state;
        Ok(())
    }
}

/// What [`Handler::handle`] answers: `Ok(())` for done, or the [`Error`] that says what becomes of the op.
pub type Outcome = Result<(), Error>;

/// Why an op was not handled, and what is to become of it.
///
/// Every [`std::error::Error`] turns into [`Error::Reject`] by `?`: with the same op it would happen again. Where trying
/// again helps, say so: `fetch(op).map_err(Error::retry)?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// Try again, for this reason. Counts as an attempt; the module's `on-error` policy limits them.
    Retry(String),
    /// Try again after the delay (whole milliseconds). Costs no attempt.
    RetryAfter(Duration),
    /// The op can never be handled, for this reason: it goes to the dead letters.
    Reject(String),
}

impl Error {
    /// Try again, for this reason.
    pub fn retry(reason: impl fmt::Display) -> Self {
        Self::Retry(reason.to_string())
    }

    /// Try again after this delay.
    #[must_use]
    pub fn retry_after(delay: Duration) -> Self {
        Self::RetryAfter(delay)
    }

    /// The op can never be handled, for this reason.
    pub fn reject(reason: impl fmt::Display) -> Self {
        Self::Reject(reason.to_string())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Retry(reason) => write!(f, "retry: {reason}"),
            Self::RetryAfter(delay) => write!(f, "retry after {} ms", delay.as_millis()),
            Self::Reject(reason) => write!(f, "reject: {reason}"),
        }
    }
}

// `Error` is no `std::error::Error` itself: only so can every other error convert into it.
impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        Self::Reject(chain(&error))
    }
}

/// The error's text and those of its causes, each said once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_error_rejects_with_its_text() {
        fn parse(text: &str) -> Result<i32, Error> {
            Ok(text.parse()?)
        }
        assert_eq!(parse("7"), Ok(7));
        assert_eq!(
            parse("x"),
            Err(Error::reject("invalid digit found in string"))
        );
    }
}
