//! What can go wrong with a store.

use std::{io, time::Duration};

use mongodb::error::ErrorKind;

use super::{Holder, Holding};
use crate::mongo::Fault;

/// What a driver or the operating system said.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a checkpoint or a lease could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store does not answer now.
    #[error("cannot {what} now")]
    Away {
        /// What was attempted, on what.
        what: String,
        /// How that showed.
        #[source]
        source: Cause,
    },
    /// Another process works under this name.
    #[error("`{name}` is held by {}, {}", .by.holder, .by.times())]
    Held {
        /// The name.
        name: String,
        /// Who, since when, and when it was last heard of.
        by: Box<Holding>,
    },
    /// Another process has taken over: this one may not save any more.
    #[error("the lease of `{name}` is lost: its epoch {epoch} is over, {}", taken_by(.by.as_deref()))]
    Fenced {
        /// The name.
        name: String,
        /// The epoch of the lost lease.
        epoch: u64,
        /// Who holds it now, if anyone does.
        by: Option<Box<Holder>>,
    },
    /// What is stored is no checkpoint.
    #[error("what is stored as the checkpoint of `{name}` in {store} cannot be read: {reason}")]
    Garbage {
        /// The name.
        name: String,
        /// Where it is kept.
        store: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A newer Oplet has written the checkpoint.
    #[error(
        "the checkpoint of `{name}` in {store} has format {found}, and this Oplet knows {known}"
    )]
    NewerFormat {
        /// The name.
        name: String,
        /// Where it is kept.
        store: String,
        /// Its format.
        found: i64,
        /// The newest format that is known here.
        known: i64,
    },
    /// A file holds the checkpoint of one name.
    #[error("{store} holds the checkpoint of `{found}`, not of `{name}`")]
    OtherName {
        /// The name that was asked for.
        name: String,
        /// The file.
        store: String,
        /// The name whose checkpoint it holds.
        found: String,
    },
    /// Streams have changed, and a stored position cannot be told as a time.
    #[error(
        "the checkpoint of `{name}` holds for other streams, and the position of its stream {scope} has no cluster time"
    )]
    NoClusterTime {
        /// The name.
        name: String,
        /// What the stored stream watched.
        scope: String,
    },
    /// A document of the store cannot hold that module.
    #[error(
        "the version {} of the module `{module}` has {bytes} bytes, and {store} holds {bytes_max} at most",
        short(.digest)
    )]
    VersionTooLarge {
        /// The module's name.
        module: String,
        /// SHA-256 of the version, in hex.
        digest: String,
        /// How large it is.
        bytes: usize,
        /// How large it may be.
        bytes_max: usize,
        /// Where it was to be kept.
        store: String,
    },
    /// What is kept is not what was put there.
    #[error(
        "what {store} keeps as the version {} of the module `{module}` is something else: {reason}",
        short(.digest)
    )]
    WrongVersion {
        /// The module's name.
        module: String,
        /// SHA-256 of the version that it should be, in hex.
        digest: String,
        /// Where it is kept.
        store: String,
        /// What shows that.
        reason: String,
    },
    /// The user may not do this.
    #[error("not allowed to {what}")]
    Unauthorized {
        /// What was attempted, on what.
        what: String,
        /// What the store said.
        #[source]
        source: Cause,
    },
    /// The store cannot do this, now or later.
    #[error("cannot {what}")]
    Refused {
        /// What was attempted, on what.
        what: String,
        /// What the store said.
        #[source]
        source: Cause,
    },
}

/// As much of a digest as people compare.
fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

fn taken_by(by: Option<&Holder>) -> String {
    match by {
        Some(holder) => format!("{holder} has taken over"),
        None => "it was given away".to_owned(),
    }
}

impl Error {
    /// Whether it passes by itself, so that trying again helps.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Away { .. })
    }

    /// Whether another process has taken over.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        matches!(self, Self::Fenced { .. })
    }

    /// What to do about it, when something can be done.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Held { .. } => "one process works under a name: stop that one, give this one \
                another `--name`, or let it wait with `--standby`"
                .to_owned(),
            Self::Garbage { name, .. } | Self::NoClusterTime { name, .. } => format!(
                "`oplet checkpoint show {name}` shows what is stored, `oplet checkpoint clear {name}` removes it"
            ),
            Self::NewerFormat { name, .. } => format!(
                "run it with the newer Oplet; `oplet checkpoint show {name}` shows what is stored, \
                 `oplet checkpoint clear {name}` removes it"
            ),
            Self::OtherName { found, .. } => format!(
                "give each name a file of its own; `oplet checkpoint clear {found}` removes what the file holds"
            ),
            Self::Unauthorized { .. } => {
                "grant the user `readWrite` on the database of the checkpoints, or name another place with \
                 `--checkpoint`"
                    .to_owned()
            }
            Self::VersionTooLarge { .. } => "strip its debug information (`wasm-opt -O3 --strip-debug`), or keep \
                the checkpoint in files (`--checkpoint file:PATH`), which hold a module of any size"
                .to_owned(),
            Self::WrongVersion { .. } => {
                "start with the file that is to run: a file that differs from the one before counts".to_owned()
            }
            Self::Away { .. } | Self::Fenced { .. } | Self::Refused { .. } => return None,
        })
    }

    /// What an error of the driver means for a store.
    #[must_use]
    pub fn of_driver(what: String, error: mongodb::error::Error) -> Self {
        let passes = error.contains_label("TransientTransactionError")
            || error.contains_label("RetryableWriteError")
            || matches!(
                &*error.kind,
                // It was written, but not by a majority: it is not known to be durable.
                ErrorKind::Write(mongodb::error::WriteFailure::WriteConcernError(_))
            );
        let fault = Fault::of(&error);
        let source = Box::new(error);
        match fault {
            _ if passes => Self::Away { what, source },
            Fault::Passing => Self::Away { what, source },
            Fault::Authentication | Fault::Unauthorized => Self::Unauthorized { what, source },
            Fault::PositionLost | Fault::NotReplicaSet | Fault::Permanent => {
                Self::Refused { what, source }
            }
        }
    }

    /// What an error of the operating system means for a store: a full disk or a stale mount pass,
    /// a path that leads nowhere does not.
    pub(super) fn of_file(what: String, error: io::Error) -> Self {
        let kind = error.kind();
        let source = Box::new(error);
        match kind {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::Unauthorized { what, source }
            }
            io::ErrorKind::NotFound
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::InvalidFilename
            | io::ErrorKind::Unsupported => Self::Refused { what, source },
            _ => Self::Away { what, source },
        }
    }

    pub(crate) fn too_late(what: String, waited: Duration) -> Self {
        let text = format!("no answer within {}", humantime::format_duration(waited));
        let source = Box::new(io::Error::new(io::ErrorKind::TimedOut, text));
        Self::Away { what, source }
    }
}
