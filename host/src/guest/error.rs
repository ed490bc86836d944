//! What goes wrong: with loading, which is an [`Error`], and in a guest, which is a [`GuestError`].

use std::fmt;
use std::io;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::findings::Finding;

/// Why there is no engine or no module.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory of compiled modules cannot be made or read.
    #[error("cannot use the directory of compiled modules `{}`", path.display())]
    CacheDirectory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others could put code of theirs into the directory of compiled modules.
    #[error("others can write to the directory of compiled modules `{}`: {reason}", path.display())]
    CacheDirectoryOpen {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The engine cannot be set up on this machine.
    #[error("cannot set up the WebAssembly engine")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The thread that interrupts calls at their deadline cannot be started.
    #[error("cannot start the thread that watches over deadlines")]
    Ticker(#[source] io::Error),
    /// The bytes are no module that can be run here; `findings` is never empty.
    #[error("module `{module}` is refused: {}", sentences(findings))]
    Refused {
        /// The module's name.
        module: String,
        /// All that is wrong with it.
        findings: Vec<Finding>,
    },
    /// Nobody waits longer for it to be compiled.
    #[error("module `{module}` is not compiled after {}", humantime::format_duration(*limit))]
    CompileTime {
        /// The module's name.
        module: String,
        /// How long it may take.
        limit: Duration,
    },
}

impl Error {
    /// What to do about it, as one sentence; for a refused module the first finding's.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::CacheDirectoryOpen { path, .. } => Some(format!(
                "compiled modules run as native code, so only their owner may write them: \
                 `chmod 700 {}`, or choose another directory",
                path.display()
            )),
            Self::Refused { findings, .. } => findings.iter().find_map(Finding::hint),
            Self::CompileTime { .. } => Some(
                "where compiled modules are kept, it may be there when it is asked for again later; \
                 a smaller module, or one without very large functions, takes less"
                    .to_owned(),
            ),
            Self::CacheDirectory { .. } | Self::Engine(_) | Self::Ticker(_) => None,
        }
    }

    /// What is wrong with a refused module; empty for the other errors.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        match self {
            Self::Refused { findings, .. } => findings,
            _ => &[],
        }
    }

    pub(super) fn engine(error: wasmtime::Error) -> Self {
        Self::Engine(error.into_boxed_dyn_error())
    }
}

fn sentences(findings: &[Finding]) -> String {
    let texts: Vec<String> = findings.iter().map(Finding::to_string).collect();
    texts.join("; ")
}

/// How a guest's call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The guest trapped: `unreachable`, a wild pointer, a call that the host does not allow here.
    Trap,
    /// The call took longer than [`Limits::call_time`](super::Limits::call_time).
    Deadline,
    /// The call took more than [`Settings::fuel`](super::Settings::fuel).
    OutOfFuel,
    /// The guest trapped after its memory could not grow, or an op does not fit into it.
    MemoryLimit,
    /// The guest ran out of stack.
    StackOverflow,
    /// The guest answered something that the ABI does not know.
    BadReturn,
    /// The guest called `proc_exit`, with this code.
    Exit(i32),
    /// The guest failed after a lookup that the server refused, or that took too long or found too
    /// much.
    Lookup,
    /// The guest failed after it looked something up while the server could not be asked: no fault of
    /// its own, and the same will succeed later.
    LookupUnavailable,
    /// The module refused its configuration.
    Refused,
    /// The guest itself reports that it failed.
    GuestReported,
    /// No instance could be made; the reason lies with the host, as a full pool does.
    Instantiation,
    /// The instance ended with an earlier failure, and was called again.
    Ended,
}

impl Class {
    /// The name used in logs, metrics and dead letters.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Deadline => "deadline",
            Self::OutOfFuel => "out-of-fuel",
            Self::MemoryLimit => "memory-limit",
            Self::StackOverflow => "stack-overflow",
            Self::BadReturn => "bad-return",
            Self::Exit(_) => "exit",
            Self::Lookup => "lookup",
            Self::LookupUnavailable => "lookup-unavailable",
            Self::Refused => "refused",
            Self::GuestReported => "guest-reported",
            Self::Instantiation => "instantiation",
            Self::Ended => "ended",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The record of a guest's failed call. Data about the guest, not a failure of ours; whoever called
/// adds the op and follows the module's error policy. Its fields are those of [`Failure`].
#[derive(Clone, PartialEq, Eq)]
pub struct GuestError {
    // Boxed: results of the hot path stay small.
    failure: Box<Failure>,
}

/// What is known about a failed call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Name of the module.
    pub module: Arc<str>,
    /// Its version: the SHA-256 digest of its bytes, in hex.
    pub version: Arc<str>,
    /// The export that was called; `start` for the start section.
    pub export: &'static str,
    /// How it failed.
    pub class: Class,
    /// What happened, as one sentence; the reason that the guest gave by `fail`, when it gave one.
    pub message: String,
    /// The last lines that the call wrote to stdout and stderr: with a panic, its text.
    pub stderr: Vec<String>,
    /// The guest's functions, the innermost first, without those of the standard library: by name,
    /// and with file and line where the module has debug information.
    pub backtrace: Vec<String>,
    /// File, line and column of the guest's source where it failed, where they are known.
    pub location: Option<String>,
}

impl GuestError {
    pub(super) fn new(failure: Failure) -> Self {
        Self {
            failure: Box::new(failure),
        }
    }

    /// The record itself.
    #[must_use]
    pub fn into_failure(self) -> Failure {
        *self.failure
    }
}

impl Deref for GuestError {
    type Target = Failure;

    fn deref(&self) -> &Failure {
        &self.failure
    }
}

impl fmt::Debug for GuestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.failure.fmt(f)
    }
}

impl fmt::Display for GuestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "module `{}` failed in `{}` ({}): {}",
            self.module, self.export, self.class, self.message
        )?;
        match &self.location {
            Some(location) => write!(f, " (at {location})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for GuestError {}
