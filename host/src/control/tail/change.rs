//! One change, as a program sees it.

use std::sync::Arc;

use bson::{RawBson, RawDocument, RawDocumentBuf};
use oplet_sdk::raw::Writer;
use serde::de::DeserializeOwned;

use super::batch::Part;
use crate::op::{
    DocumentKey, DocumentState, Op, OpId, Operation, Origin, Timestamp, partition_of,
    split_namespace,
};

/// Why a change could not be decoded, as a program says it.
pub type DecodeError = Box<dyn std::error::Error + Send + Sync>;

/// One change, with its document. Cheap to clone; it keeps the batch that it came in.
#[derive(Debug, Clone)]
pub struct Change {
    part: Arc<Part>,
    place: u32,
}

impl Change {
    pub(super) fn new(part: Arc<Part>, place: u32) -> Self {
        Self { part, place }
    }

    /// The op as it lies in the server's reply.
    #[must_use]
    pub fn op(&self) -> Op<'_> {
        self.part.op(self.place)
    }

    /// What happened.
    #[must_use]
    pub fn operation(&self) -> Operation {
        self.op().operation()
    }

    /// Whether a document was inserted.
    #[must_use]
    pub fn is_insert(&self) -> bool {
        self.operation() == Operation::Insert
    }

    /// Whether a document was updated or replaced.
    #[must_use]
    pub fn is_update(&self) -> bool {
        self.operation() == Operation::Update
    }

    /// Whether an update replaced the whole document.
    #[must_use]
    pub fn is_replace(&self) -> bool {
        self.op().is_replace()
    }

    /// Whether a document was deleted.
    #[must_use]
    pub fn is_delete(&self) -> bool {
        self.operation() == Operation::Delete
    }

    /// Whether a command changed a collection or a database; [`data`](Self::data) is the command.
    #[must_use]
    pub fn is_command(&self) -> bool {
        self.operation() == Operation::Command
    }

    /// The collection that was dropped, if one was.
    #[must_use]
    pub fn dropped_collection(&self) -> Option<&str> {
        self.command()?.get_str("drop").ok()
    }

    /// The database that was dropped, if one was.
    #[must_use]
    pub fn dropped_database(&self) -> Option<&str> {
        self.command()?.get("dropDatabase").ok()??;
        Some(self.database())
    }

    fn command(&self) -> Option<&RawDocument> {
        self.data().filter(|_| self.is_command())
    }

    /// `db.coll`; `db` alone when a database was dropped.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.op().namespace()
    }

    /// What stands before the namespace's first dot.
    #[must_use]
    pub fn database(&self) -> &str {
        split_namespace(self.namespace()).0
    }

    /// What stands after the namespace's first dot; empty when a database was dropped.
    #[must_use]
    pub fn collection(&self) -> &str {
        split_namespace(self.namespace()).1
    }

    /// The document's `_id`; none for commands.
    #[must_use]
    pub fn id(&self) -> Option<RawBson> {
        let op = self.op();
        let (kind, value) = op.document_id()?;
        // The reply holds type and value apart; BSON is read by the document.
        let mut bytes = Vec::with_capacity(value.len() + 16);
        let mut writer = Writer::new(&mut bytes);
        writer.raw(b"_id", kind, value);
        writer.finish();
        let id = document(&bytes)?.get("_id").ok()??;
        Some(id.into())
    }

    /// The document's `_id` to compare by, as MongoDB compares: numbers of all types are alike.
    #[must_use]
    pub fn key(&self) -> Option<DocumentKey> {
        self.op().key()
    }

    /// The same on every redelivery, and the same from the oplog and a change stream.
    #[must_use]
    pub fn op_id(&self) -> OpId {
        self.op().id()
    }

    /// Whether it is a document that was [read directly](super::TailBuilder::direct_read), and no change: an
    /// insert by its operation.
    #[must_use]
    pub fn is_direct_read(&self) -> bool {
        self.source() == Origin::DirectRead
    }

    /// Cluster time; of a document that was read directly, the one at which it was so.
    #[must_use]
    pub fn timestamp(&self) -> Timestamp {
        self.op().timestamp()
    }

    /// Which reader it came through.
    #[must_use]
    pub fn source(&self) -> Origin {
        self.op().source()
    }

    /// The document: what was inserted or put in its place; of an update, as it was when it was looked
    /// up; of a command, the command. As the server sent it, with field order, types and duplicates.
    #[must_use]
    pub fn data(&self) -> Option<&RawDocument> {
        self.data_bytes().and_then(document)
    }

    fn data_bytes(&self) -> Option<&[u8]> {
        let op = self.op();
        match self.part.document(&op) {
            DocumentState::LookedUp(found) => found,
            DocumentState::NotAsked => op.data(),
        }
    }

    /// Whether this is an update whose document was gone when it was looked up.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.op().is_pending() && self.data_bytes().is_none()
    }

    /// The document, decoded; `None` where there is none.
    ///
    /// # Errors
    /// When it is not of that form.
    pub fn data_as<T: DeserializeOwned>(&self) -> Result<Option<T>, bson::error::Error> {
        self.data_bytes()
            .map(bson::deserialize_from_slice)
            .transpose()
    }

    /// What an update changed: `updatedFields`, `removedFields`, `truncatedArrays`,
    /// `disambiguatedPaths`, the same from both sources.
    #[must_use]
    pub fn update_description(&self) -> Option<&RawDocument> {
        self.op().update_description().and_then(document)
    }

    /// The document before the change, when it was asked for and there is one.
    #[must_use]
    pub fn before(&self) -> Option<&RawDocument> {
        self.before_bytes().and_then(document)
    }

    fn before_bytes(&self) -> Option<&[u8]> {
        self.op().before()
    }

    /// The partition that it belongs to, in `0..64`: changes of one document have the same, in every
    /// process and version. For programs that share the work and keep the order of each document.
    #[must_use]
    pub fn partition(&self) -> u8 {
        let op = self.op();
        partition_of(op.namespace(), op.document_id(), &mut Vec::new())
    }

    /// The op document, with the fields that `oplet tail` prints and modules see.
    #[must_use]
    pub fn to_document(&self) -> RawDocumentBuf {
        let mut bytes = Vec::new();
        let op = self.op();
        op.encode(self.part.document(&op), &mut bytes);
        RawDocumentBuf::from_bytes(bytes).expect("the writer frames what it writes")
    }

    /// It is done. May be repeated.
    pub fn ack(&self) {
        self.part.acknowledge(&[self.place]);
    }
}

fn document(bytes: &[u8]) -> Option<&RawDocument> {
    RawDocument::from_bytes(bytes).ok()
}
