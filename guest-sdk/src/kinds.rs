//! What happened, and where an op comes from.

use crate::{
    abi::{field, operation, source},
    raw::{Needle, kind},
};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A document was inserted, or read by a direct read.
    Insert,
    /// A document was updated or replaced, see [`Op::is_replace`](crate::Op::is_replace).
    Update,
    /// A document was deleted.
    Delete,
    /// A command: `drop`, `dropDatabase`, `renameCollection`; [`Op::data`](crate::Op::data) holds it.
    Command,
}

/// Where an op comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// The oplog of a replica set.
    Oplog,
    /// A change stream.
    ChangeStream,
    /// A collection that is read as a whole.
    DirectRead,
}

/// The first field of an op's document, which is its operation.
#[inline]
pub(crate) fn operation_of(document: &[u8]) -> Option<Operation> {
    const HEAD: Needle<'static> = Needle::new(field::OPERATION.as_bytes());
    const INSERT: u8 = operation::INSERT.as_bytes()[0];
    const UPDATE: u8 = operation::UPDATE.as_bytes()[0];
    const DELETE: u8 = operation::DELETE.as_bytes()[0];
    const COMMAND: u8 = operation::COMMAND.as_bytes()[0];

    let (&kind, rest) = document.get(4..)?.split_first()?;
    if kind != kind::STRING || !HEAD.begins(rest) {
        return None;
    }
    Some(match rest.get(HEAD.key.len() + 1..)?.first_chunk()? {
        [2, 0, 0, 0, INSERT, 0] => Operation::Insert,
        [2, 0, 0, 0, UPDATE, 0] => Operation::Update,
        [2, 0, 0, 0, DELETE, 0] => Operation::Delete,
        [2, 0, 0, 0, COMMAND, 0] => Operation::Command,
        _ => return None,
    })
}

impl Source {
    pub(crate) fn of_text(text: &[u8]) -> Option<Self> {
        [Self::Oplog, Self::ChangeStream, Self::DirectRead]
            .into_iter()
            .find(|source| source.as_str().as_bytes() == text)
    }

    /// As it stands in an op: `oplog`, `changeStream`, `directRead`.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Oplog => source::OPLOG,
            Self::ChangeStream => source::CHANGE_STREAM,
            Self::DirectRead => source::DIRECT_READ,
        }
    }
}
