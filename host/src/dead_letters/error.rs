//! What goes wrong with a store of dead letters.

use std::{io, path::PathBuf};

use crate::mongo::Fault;

/// Why a store of dead letters did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The collection cannot be read or written.
    #[error("cannot use the dead letters in {namespace}")]
    Mongodb {
        /// The collection.
        namespace: String,
        /// What the driver says.
        source: mongodb::error::Error,
    },
    /// The server took the command, but not all that it was to write.
    #[error("cannot write a dead letter to {namespace}: {message} (code {code})")]
    Write {
        /// The collection.
        namespace: String,
        /// The server's code.
        code: i32,
        /// What the server says.
        message: String,
        /// Whether the same write may succeed later.
        is_passing: bool,
    },
    /// The file cannot be read or written.
    #[error("cannot use the dead letters in {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What the store holds is no dead letter.
    #[error("{place} is not a dead letter: {reason}")]
    Invalid {
        /// Where it lies.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Error {
    /// Whether the same may succeed later, without anybody doing anything about it.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Mongodb { source, .. } => Fault::of(source) == Fault::Passing,
            Self::Write { is_passing, .. } => *is_passing,
            Self::File { source, .. } => !matches!(
                source.kind(),
                io::ErrorKind::NotFound
                    | io::ErrorKind::PermissionDenied
                    | io::ErrorKind::IsADirectory
                    | io::ErrorKind::NotADirectory
                    | io::ErrorKind::ReadOnlyFilesystem
            ),
            Self::Invalid { .. } => false,
        }
    }
}
