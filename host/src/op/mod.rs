//! The nouns: what a change is, where it happened, where a source stands.
//!
//! Nothing here does any input or output, and nothing here knows MongoDB's driver or wasm, so that
//! every other room may build on it. A source fills a [`BatchBuilder`] with [`Record`]s, which say
//! where in the server's reply the parts of each op lie; the [`Batch`] that comes out is shared with
//! the lanes, and each looks at its ops through an [`Op`]. Only [`Op::encode`] copies: it splices the
//! parts into the op document that guests and users see. No document is decoded on the way.

mod ack;
mod batch;
mod batch_builder;
mod cluster;
mod frontier;
mod id;
#[cfg(test)]
mod ids;
mod json;
mod key;
mod key_order;
mod key_range;
mod namespace;
mod number;
mod position;
mod single;
mod store_spec;
mod successor;
mod timestamp;
mod view;

pub use ack::{Ack, Acknowledge, BatchTicket};
pub use batch::{Additions, Batch, Record, Span, Value};
pub use batch_builder::BatchBuilder;
pub use cluster::Cluster;
pub use frontier::{Frontier, OpPoint};
pub use id::{OpId, OpIdText, OpIndex};
#[cfg(test)]
pub(crate) use ids::any_id;
pub use json::{Format, write_json};
pub use key::{DocumentKey, PARTITIONS, partition_of};
pub(crate) use key::{canonical_id, key_hash};
pub use key_order::compare_keys;
pub use key_range::{Key, KeyRange};
pub use namespace::{Namespace, NamespaceError, OWN_DATABASE, Scope, split_namespace};
pub use position::{OpTime, Position, Since, SinceError};
pub use single::{OpDocumentError, batch_of};
pub use store_spec::{StoreSpec, StoreSpecError};
pub use timestamp::Timestamp;
pub use view::{DocumentState, Op};

use oplet_sdk::abi;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A document was inserted.
    Insert,
    /// A document was updated or replaced.
    Update,
    /// A document was deleted.
    Delete,
    /// A command changed a collection or a database.
    Command,
}

impl Operation {
    const ALL: [Self; 4] = [Self::Insert, Self::Update, Self::Delete, Self::Command];

    /// The one letter that the op document carries.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Insert => abi::operation::INSERT,
            Self::Update => abi::operation::UPDATE,
            Self::Delete => abi::operation::DELETE,
            Self::Command => abi::operation::COMMAND,
        }
    }
}

/// Where changes are read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SourceKind {
    /// The replica set's oplog.
    Oplog,
    /// A change stream.
    ChangeStream,
}

impl SourceKind {
    /// The word that the op document carries.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Oplog => abi::source::OPLOG,
            Self::ChangeStream => abi::source::CHANGE_STREAM,
        }
    }
}

/// Which reader an op came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A reader of changes.
    Changes(SourceKind),
    /// A direct read: the op is a document as it stood, told as an insert.
    DirectRead,
}

impl Origin {
    const ALL: [Self; 3] = [
        Self::Changes(SourceKind::Oplog),
        Self::Changes(SourceKind::ChangeStream),
        Self::DirectRead,
    ];

    /// The word that the op document carries.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Changes(kind) => kind.as_str(),
            Self::DirectRead => abi::source::DIRECT_READ,
        }
    }
}

impl From<SourceKind> for Origin {
    fn from(kind: SourceKind) -> Self {
        Self::Changes(kind)
    }
}
