//! How a sink is set up.

use std::{fmt, path::PathBuf, time::Duration};

use super::{Encoding, SpecError, http, mongodb};
use crate::op::Format;

/// The longest duration, for what has no limit.
pub(super) const NO_LIMIT: Duration = Duration::MAX;

/// A sink as it is asked for: where documents go, and how they are gathered on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// The name that modules emit to.
    pub name: String,
    /// What kind of sink, and where.
    pub kind: Kind,
    /// The same for people, without secrets.
    pub target: String,
    /// What is delivered together.
    pub batching: Batching,
    /// How faults that may pass are met.
    pub retry: Retry,
    /// How long one delivery may take.
    pub time_limit: Duration,
    /// How many bytes of documents may wait for the sink, those under way included; who has more
    /// waits. What is larger goes alone.
    pub queue_bytes: usize,
    /// How many deliveries may be under way at a time. Documents of one order key share a worker.
    pub workers: usize,
}

/// The kinds of sinks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// The process's standard output.
    Stdout(StdoutOptions),
    /// A file.
    File(FileOptions),
    /// A collection.
    Mongodb(mongodb::Options),
    /// An HTTP server.
    Http(http::Options),
    /// Nowhere.
    Null,
}

/// How the standard output is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StdoutOptions {
    /// How documents are written.
    pub format: Encoding,
}

/// How a file is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOptions {
    /// Where it lies; its folder must exist.
    pub path: PathBuf,
    /// How documents are written.
    pub format: Encoding,
    /// A file that would become larger than this many bytes is put aside first.
    pub rotate_bytes: Option<u64>,
    /// A file that is older than this is put aside before the next document.
    pub rotate_age: Option<Duration>,
}

/// What is delivered together. A batch is closed by whichever comes first; while one is under way, the
/// next one gathers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batching {
    /// How many documents a batch has, at most.
    pub documents_max: usize,
    /// How many bytes of documents a batch has, at most. A document that is larger goes alone.
    pub bytes_max: usize,
    /// How long a document waits for others, at most. With zero a batch is whatever is there when the
    /// one before is done, so that batches grow by themselves when the sink is slower than the source.
    pub age_max: Duration,
}

/// How faults that may pass are met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// The first delay; each further one is twice as long, with a random part added.
    pub backoff_min: Duration,
    /// The longest delay, before the random part.
    pub backoff_max: Duration,
    /// End the run when a batch was not delivered for this long; `None` tries for ever.
    pub give_up_after: Option<Duration>,
}

impl Kind {
    /// The word for the kind, and the name of a sink that was given none.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Stdout(_) => "stdout",
            Self::File(_) => "file",
            Self::Mongodb(_) => "mongodb",
            Self::Http(_) => "http",
            Self::Null => "null",
        }
    }

    /// Whether several deliveries may be under way at a time, and each may be cut short.
    pub(super) const fn is_concurrent(&self) -> bool {
        matches!(self, Self::Mongodb(_) | Self::Http(_) | Self::Null)
    }
}

impl Spec {
    /// A sink of that kind with the defaults for it.
    #[must_use]
    pub fn new(name: &str, kind: Kind, target: String) -> Self {
        let (documents_max, bytes_max) = match &kind {
            // One delivery is one request, and takes as long.
            Kind::Http(options) if options.body == http::Body::Document => (1, 1 << 20),
            Kind::Http(_) => (500, 1 << 20),
            Kind::Mongodb(_) => (5_000, 8 << 20),
            Kind::Stdout(_) | Kind::File(_) | Kind::Null => (20_000, 4 << 20),
        };
        let workers = match kind {
            Kind::Http(_) => 4,
            Kind::Mongodb(_) => 2,
            Kind::Stdout(_) | Kind::File(_) | Kind::Null => 1,
        };
        let time_limit = match kind {
            Kind::Http(_) | Kind::Mongodb(_) => Duration::from_secs(30),
            // A write to a file or a pipe cannot be called off.
            Kind::Stdout(_) | Kind::File(_) | Kind::Null => NO_LIMIT,
        };
        Self {
            name: name.to_owned(),
            kind,
            target,
            batching: Batching {
                documents_max,
                bytes_max,
                age_max: Duration::ZERO,
            },
            retry: Retry {
                backoff_min: Duration::from_millis(100),
                backoff_max: Duration::from_secs(10),
                give_up_after: None,
            },
            time_limit,
            queue_bytes: 32 << 20,
            workers,
        }
    }

    /// The standard output with one Extended JSON document a line: the sink of a run that names none.
    #[must_use]
    pub fn stdout(format: Format) -> Self {
        let format = Encoding::JsonLines(format);
        let kind = Kind::Stdout(StdoutOptions { format });
        Self::new("stdout", kind, "stdout".to_owned())
    }

    /// Whether outputs and checkpoint are to be written in one transaction.
    #[must_use]
    pub const fn is_transactional(&self) -> bool {
        matches!(&self.kind, Kind::Mongodb(options) if options.transactional)
    }

    /// How the lanes have to encode documents for this sink.
    #[must_use]
    pub const fn encoding(&self) -> Encoding {
        match &self.kind {
            Kind::Stdout(options) => options.format,
            Kind::File(options) => options.format,
            Kind::Http(_) => Encoding::JsonLines(Format::Relaxed),
            Kind::Mongodb(_) | Kind::Null => Encoding::Bson,
        }
    }

    /// Refuses sinks that a module could not tell apart.
    ///
    /// # Errors
    /// When two have one name.
    pub fn check_names(specs: &[Self]) -> Result<(), SpecError> {
        for (index, spec) in specs.iter().enumerate() {
            if specs[..index].iter().any(|other| other.name == spec.name) {
                return Err(SpecError {
                    sink: spec.name.clone(),
                    key: None,
                    reason: "another sink has the same name".to_owned(),
                    nearest: Some(format!("{}{}", spec.name, index + 1)),
                });
            }
        }
        Ok(())
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name == self.target {
            true => f.write_str(&self.name),
            false => write!(f, "{}={}", self.name, self.target),
        }
    }
}
