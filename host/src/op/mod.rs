//! The nouns: what a change is, where it happened, where a source stands.
//!
//! Nothing here does any input or output, and nothing here knows MongoDB's driver or wasm, so that
//! every other room may build on it. A source fills a [`BatchBuilder`] with [`Record`]s, which say
//! where in the server's reply the parts of each op lie; the [`Batch`] that comes out is shared with
//! the lanes, and each looks at its ops through an [`Op`]. Only [`Op::encode`] copies: it splices the
//! parts into the op document that guests and users see. No document is decoded on the way.

mod ack;
mod batch;
mod cluster;
mod frontier;
mod id;
mod json;
mod key;
mod namespace;
mod position;
mod single;
mod store_spec;
mod timestamp;
mod view;

pub use ack::{Ack, Acknowledge, BatchTicket};
pub use batch::{Batch, BatchBuilder, Record, Span, Value};
pub use cluster::Cluster;
pub use frontier::{Frontier, OpPoint};
pub use id::{OpId, OpIdText, OpIndex};
pub use json::{Format, write_json};
pub use key::{DocumentKey, PARTITIONS, partition_of};
pub(crate) use key::{canonical_id, key_hash};
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

/// Which reader an op came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SourceKind {
    /// The replica set's oplog.
    Oplog,
    /// A change stream.
    ChangeStream,
}

impl SourceKind {
    const ALL: [Self; 2] = [Self::Oplog, Self::ChangeStream];

    /// The word that the op document carries.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Oplog => abi::source::OPLOG,
            Self::ChangeStream => abi::source::CHANGE_STREAM,
        }
    }
}
