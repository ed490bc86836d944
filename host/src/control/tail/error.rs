//! Why there is no tail, or none any more.

use crate::{
    checkpoint, control, mongo,
    op::{Namespace, OpId},
    source,
};

/// Why there is no tail, or none any more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// These options do not go together.
    #[error("the options cannot be: {reason}")]
    Options {
        /// Why not.
        reason: String,
    },
    /// There is no server to work with.
    #[error(transparent)]
    Connect(#[from] mongo::Error),
    /// The source is at its end: the position is lost, or the server refuses.
    #[error(transparent)]
    Source(#[from] source::Error),
    /// The position cannot be loaded, kept, or is another's.
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::Error),
    /// A collection cannot be read directly.
    #[error("the direct read of {namespace} has failed")]
    DirectRead {
        /// The collection or view.
        namespace: Namespace,
        /// What is wrong.
        #[source]
        source: Box<source::direct_read::Error>,
    },
    /// Another process has taken over under the same name.
    #[error("the lease of `{name}` is lost: {reason}")]
    LeaseLost {
        /// The name.
        name: String,
        /// How that showed.
        reason: String,
    },
    /// What was done last could not be saved: it comes again.
    #[error("the last position of `{name}` could not be saved")]
    NotSaved {
        /// The name.
        name: String,
    },
    /// The documents of updates could not be looked up.
    #[error("cannot look up the documents of updates")]
    Lookup(#[source] mongodb::error::Error),
    /// A document is not what the program takes it for, and the policy is to end.
    #[error("cannot decode the op {op_id} of {namespace}")]
    Decode {
        /// The op.
        op_id: OpId,
        /// Its namespace.
        namespace: String,
        /// What is wrong with it.
        #[source]
        source: super::DecodeError,
    },
    /// The history does not reach to where a seek was to lead.
    #[error("{to} lies outside of what the server still has: {window}")]
    OutsideWindow {
        /// Where it was to lead.
        to: String,
        /// What there is.
        window: String,
    },
    /// The tail was stopped.
    #[error("the tail was stopped")]
    Stopped,
    /// A filter panicked, or a part of the tail itself.
    #[error("{0} panicked")]
    Panicked(&'static str),
}

impl Error {
    /// Whether the position is lost, so that changes are missing whatever comes next.
    #[must_use]
    pub fn is_position_lost(&self) -> bool {
        matches!(self, Self::Source(error) if error.is_position_lost())
    }

    /// What the server does not allow, and what it said, where that is the reason.
    pub(super) fn refusal(&self) -> Option<(&str, &mongodb::error::Error)> {
        match self {
            Self::Source(source::Error::Unauthorized { what, source, .. }) => Some((what, source)),
            Self::DirectRead { source, .. } => match &**source {
                source::direct_read::Error::Unauthorized { what, source } => Some((what, source)),
                _ => None,
            },
            _ => None,
        }
    }
}

impl From<control::Error> for Error {
    /// What ends a saver, or a direct read.
    fn from(error: control::Error) -> Self {
        match error {
            control::Error::Checkpoint(error) => Self::Checkpoint(error),
            control::Error::LeaseLost { name, reason } => Self::LeaseLost { name, reason },
            control::Error::DirectRead { namespace, source } => {
                Self::DirectRead { namespace, source }
            }
            _ => Self::Panicked("the saver"),
        }
    }
}
