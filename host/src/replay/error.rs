//! What is wrong with a recording.

use std::{fmt, io};

use oplet_sdk::raw::Malformed;

use super::OpFault;

/// Where something lies in a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A line, from 1.
    Line {
        /// The recording.
        name: String,
        /// Which line.
        line: u64,
    },
    /// A document of BSON, from 1.
    Document {
        /// The recording.
        name: String,
        /// Which document.
        number: u64,
        /// The byte at which it begins.
        at: u64,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { name, line } => write!(f, "{name}:{line}"),
            Self::Document { name, number, at } => {
                write!(f, "{name}, document {number}, at byte {at}")
            }
        }
    }
}

/// Why a recording cannot be read, or not any further.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system does not give it.
    #[error("cannot read {name}")]
    Io {
        /// The recording.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// It ends in the middle of a document.
    #[error("{place}: the recording ends in the middle of this document")]
    Cut {
        /// Which document.
        place: Place,
    },
    /// What should be a document is none.
    #[error("{place}: not BSON")]
    NotBson {
        /// Which document.
        place: Place,
        /// Where in the document that showed.
        source: Malformed,
    },
    /// What should be a document is none.
    #[error("{place}: not a document in Extended JSON: {reason}")]
    NotJson {
        /// Which line.
        place: Place,
        /// What is wrong with it.
        reason: String,
    },
    /// A document is neither an op nor an oplog entry, or not of the kind of the first one.
    #[error("{place}: not an op")]
    NotAnOp {
        /// Which document.
        place: Place,
        /// What is wrong with it.
        source: OpFault,
    },
    /// It is compressed.
    #[error("{name} is compressed")]
    Compressed {
        /// The recording.
        name: String,
    },
    /// Nothing is in it.
    #[error("{name} holds no op")]
    Empty {
        /// The recording.
        name: String,
    },
}
