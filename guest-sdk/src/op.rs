//! The op that a handler sees: a view of raw bytes, decoded only where it is asked.

use std::{cell::Cell, fmt};

use bson::{DateTime, RawBsonRef, RawDocument, Timestamp, oid::ObjectId};
#[cfg(feature = "serde")]
use serde::Deserialize;

#[cfg(feature = "serde")]
use crate::decode::{DecodeError, decode_quickly};
use crate::{
    Namespace, Operation, Source, UpdateDescription,
    fields::{Field, Fields, Offsets},
    value::{Value, raw_document},
};
#[cfg(not(target_family = "wasm"))]
use crate::{
    kinds::operation_of,
    raw::{self, Malformed},
};

/// One change in MongoDB.
///
/// It borrows the bytes that the host wrote: fields are found on the way to the first that is asked for, and read in
/// place. Fields that an op cannot have are `None`, as are values of another type than the one asked for.
///
/// # Paths
/// [`get`](Self::get) and its typed sisters take a dotted path from the top of the op: `data.address.city`,
/// `data.items.0.price`, `_id`, `updateDescription.updatedFields`. A key that contains a dot cannot be named so.
pub struct Op<'a> {
    fields: Fields<'a>,
    operation: Operation,
    wants_document: Cell<bool>,
}

impl<'a> Op<'a> {
    /// The op whose document `bytes` begin with, for tools and tests; not in a module, where the exported functions
    /// make it.
    ///
    /// # Errors
    /// [`Malformed`] when these bytes are no document, or do not begin with a known `operation`.
    #[cfg(not(target_family = "wasm"))]
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let bytes = &bytes[..raw::document_len(bytes)?];
        Ok(Self {
            operation: operation_of(bytes).ok_or(Malformed { at: 4 })?,
            fields: Fields::with_own_offsets(bytes),
            wants_document: Cell::new(false),
        })
    }

    /// Apart from the checks, so that it is built where it lies: moving an op costs a guest as much as reading a field.
    #[inline]
    pub(crate) fn new(document: &'a [u8], operation: Operation, offsets: &'a Offsets) -> Self {
        Self {
            fields: Fields::new(document, offsets),
            operation,
            wants_document: Cell::new(false),
        }
    }

    /// What happened.
    #[must_use]
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// A document was inserted, or read by a direct read.
    #[must_use]
    pub fn is_insert(&self) -> bool {
        self.operation == Operation::Insert
    }

    /// A document was updated or replaced.
    #[must_use]
    pub fn is_update(&self) -> bool {
        self.operation == Operation::Update
    }

    /// A document was deleted.
    #[must_use]
    pub fn is_delete(&self) -> bool {
        self.operation == Operation::Delete
    }

    /// A command: `drop`, `dropDatabase`, `renameCollection`.
    #[must_use]
    pub fn is_command(&self) -> bool {
        self.operation == Operation::Command
    }

    /// Whether an update replaced the whole document.
    #[must_use]
    pub fn is_replace(&self) -> bool {
        self.flag(Field::Replace)
    }

    /// Whether the document of this update has not been fetched yet; only [`Handler::filter`](crate::Handler::filter)
    /// of an oplog's ops meets such.
    ///
    /// There is no need to ask: a filter that reads `data` of such an op is asked again with the document.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.flag(Field::Pending)
    }

    /// Where it happened.
    #[must_use]
    pub fn namespace(&self) -> Namespace<'a> {
        // A text is framed by its length and an end byte; another kind may be shorter.
        let text = self
            .fields
            .get(Field::Namespace)
            .filter(|element| element.kind == crate::raw::kind::STRING)
            .and_then(|element| element.value.get(4..element.value.len() - 1));
        Namespace::from_bytes(text.unwrap_or_default())
    }

    /// The op's stable id: the same on every redelivery, so a good `_id` for what is emitted.
    #[must_use]
    pub fn op_id(&self) -> &'a str {
        self.value(Field::OpId)
            .and_then(|id| id.string())
            .unwrap_or_default()
    }

    /// Cluster time; of a direct read, the cluster time of the read.
    #[must_use]
    pub fn timestamp(&self) -> Timestamp {
        let timestamp = self
            .value(Field::Timestamp)
            .and_then(|value| value.timestamp());
        timestamp.unwrap_or(Timestamp {
            time: 0,
            increment: 0,
        })
    }

    /// Where the op comes from.
    #[must_use]
    pub fn source(&self) -> Source {
        let source = self
            .value(Field::Source)
            .and_then(|value| Source::of_text(value.string()?.as_bytes()));
        source.unwrap_or(Source::ChangeStream)
    }

    /// The server's clock, when it tells.
    #[must_use]
    pub fn wall_time(&self) -> Option<DateTime> {
        self.value(Field::WallTime)?.date()
    }

    /// The transaction that the op was part of.
    #[must_use]
    pub fn txn(&self) -> Option<Txn<'a>> {
        self.value(Field::Txn).map(|value| Txn { value })
    }

    /// The replica set's name, when several are tailed.
    #[must_use]
    pub fn cluster(&self) -> Option<&'a str> {
        self.value(Field::Cluster)?.string()
    }

    /// The document's `_id`; commands have none.
    #[must_use]
    pub fn id(&self) -> Option<RawBsonRef<'a>> {
        self.value(Field::Id)?.to_raw_bson()
    }

    /// Shard key and `_id`, when that is more than `_id`.
    #[must_use]
    pub fn document_key(&self) -> Option<&'a RawDocument> {
        self.value(Field::DocumentKey)?.document()
    }

    /// What an update changed; replacements have none.
    #[must_use]
    pub fn update_description(&self) -> Option<UpdateDescription<'a>> {
        let description = self.fields.get(Field::UpdateDescription)?;
        Some(UpdateDescription::new(description.document()?))
    }

    /// The document; of a command, the command.
    ///
    /// Updates carry the document as it was when it was looked up, which may be later than the update, and `None` when
    /// it was gone by then. Deletes have none.
    #[must_use]
    pub fn data(&self) -> Option<&'a RawDocument> {
        self.value(Field::Data)?.document()
    }

    /// The document as serde sees it; `None` where [`data`](Self::data) is.
    ///
    /// # Errors
    /// [`DecodeError`], which names the field, when the document does not fit `T`. In
    /// [`handle`](crate::Handler::handle), `?` rejects the op.
    #[cfg(feature = "serde")]
    pub fn data_as<T: Deserialize<'a>>(&self) -> Result<Option<T>, DecodeError> {
        self.decode(Field::Data)
    }

    /// The document as it was before the change, when pre-images were asked for and there is one.
    #[must_use]
    pub fn before(&self) -> Option<&'a RawDocument> {
        self.value(Field::Before)?.document()
    }

    /// The pre-image as serde sees it; `None` where [`before`](Self::before) is.
    ///
    /// # Errors
    /// As for [`data_as`](Self::data_as).
    #[cfg(feature = "serde")]
    pub fn before_as<T: Deserialize<'a>>(&self) -> Result<Option<T>, DecodeError> {
        self.decode(Field::Before)
    }

    /// The value at a path.
    #[must_use]
    #[inline]
    pub fn get(&self, path: &str) -> Option<RawBsonRef<'a>> {
        self.at(path)?.to_raw_bson()
    }

    /// The string at a path.
    #[must_use]
    #[inline]
    pub fn get_str(&self, path: &str) -> Option<&'a str> {
        self.at(path)?.string()
    }

    /// The integer at a path: 32 or 64 bits, or a double that holds one exactly.
    #[must_use]
    #[inline]
    pub fn get_i64(&self, path: &str) -> Option<i64> {
        self.at(path)?.integer()
    }

    /// The number at a path, any but a decimal.
    #[must_use]
    #[inline]
    pub fn get_f64(&self, path: &str) -> Option<f64> {
        self.at(path)?.element.double()
    }

    /// The boolean at a path.
    #[must_use]
    #[inline]
    pub fn get_bool(&self, path: &str) -> Option<bool> {
        self.at(path)?.element.bool()
    }

    /// The date at a path.
    #[must_use]
    #[inline]
    pub fn get_date(&self, path: &str) -> Option<DateTime> {
        self.at(path)?.date()
    }

    /// The object id at a path.
    #[must_use]
    #[inline]
    pub fn get_object_id(&self, path: &str) -> Option<ObjectId> {
        self.at(path)?.object_id()
    }

    /// The document at a path.
    #[must_use]
    #[inline]
    pub fn get_document(&self, path: &str) -> Option<&'a RawDocument> {
        self.at(path)?.document()
    }

    /// The whole op, as `oplet tail` prints it.
    #[must_use]
    pub fn as_raw(&self) -> &'a RawDocument {
        raw_document(Some(self.fields.bytes()))
    }

    /// Whether `data` was read while it was pending.
    pub(crate) fn wants_document(&self) -> bool {
        self.wants_document.get()
    }

    /// Inlined up to the first dot: for a literal path the compiler finds the field.
    #[inline(always)]
    fn at(&self, path: &str) -> Option<Value<'a>> {
        let bytes = path.as_bytes();
        let mut dot = 0;
        while dot < bytes.len() && bytes[dot] != b'.' {
            dot += 1;
        }
        let value = self.value(Field::of_key(&bytes[..dot])?)?;
        match path.get(dot + 1..) {
            Some(rest) => value.descend(rest),
            None => Some(value),
        }
    }

    /// The one door to a field's value, so that no read of `data` goes unnoticed.
    fn value(&self, field: Field) -> Option<Value<'a>> {
        if field == Field::Data && self.is_pending() {
            self.wants_document.set(true);
        }
        let element = self.fields.get(field)?;
        Some(Value {
            parent: self.fields.bytes(),
            element,
        })
    }

    #[cfg(feature = "serde")]
    fn decode<T: Deserialize<'a>>(&self, field: Field) -> Result<Option<T>, DecodeError> {
        match self.value(field).and_then(|value| value.element.document()) {
            Some(bytes) => decode_quickly(bytes, field.key()).map(Some),
            None => Ok(None),
        }
    }

    fn flag(&self, field: Field) -> bool {
        self.fields.get(field).and_then(|element| element.bool()) == Some(true)
    }
}

impl fmt::Debug for Op<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Op({:?})", self.as_raw())
    }
}

/// The transaction that an op was part of.
#[derive(Clone, Copy)]
pub struct Txn<'a> {
    value: Value<'a>,
}

impl<'a> Txn<'a> {
    /// The session's id.
    #[must_use]
    pub fn lsid(&self) -> Option<&'a RawDocument> {
        self.value.descend("lsid")?.document()
    }

    /// The transaction's number in its session.
    #[must_use]
    pub fn number(&self) -> Option<i64> {
        self.value.descend("txnNumber")?.integer()
    }

    /// The op's place in the transaction.
    #[must_use]
    pub fn index(&self) -> Option<i64> {
        self.value.descend("index")?.integer()
    }
}

impl fmt::Debug for Txn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Txn({:?})", self.value.document())
    }
}
