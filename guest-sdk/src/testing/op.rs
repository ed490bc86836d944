//! Ops for tests.

use bson::{Bson, DateTime, Document, RawDocumentBuf, Timestamp, doc};

use crate::{
    Op, Source,
    abi::{field, operation},
};

/// An op for a test, made by [`insert`], [`update`], [`replace`], [`delete`] or [`command`] and refined by its methods.
#[derive(Debug, Clone, PartialEq)]
pub struct TestOp {
    fields: Document,
    pending: bool,
}

/// An insert of that document into `db.collection`.
#[must_use]
pub fn insert(namespace: &str, document: Document) -> TestOp {
    TestOp::new(operation::INSERT, namespace).document(document)
}

/// An update after which the document is this one. Say what it changed with [`updated`](TestOp::updated),
/// [`removed`](TestOp::removed) and [`truncated`](TestOp::truncated).
#[must_use]
pub fn update(namespace: &str, document: Document) -> TestOp {
    TestOp::new(operation::UPDATE, namespace)
        .document(document)
        .described(|_| ())
}

/// A replacement by that document.
#[must_use]
pub fn replace(namespace: &str, document: Document) -> TestOp {
    TestOp::new(operation::UPDATE, namespace)
        .document(document)
        .with(field::REPLACE, true)
}

/// A delete of the document with that `_id`.
#[must_use]
pub fn delete(namespace: &str, id: impl Into<Bson>) -> TestOp {
    TestOp::new(operation::DELETE, namespace).with(field::ID, id)
}

/// A command, as in the oplog: `command("shop.orders", doc! {"drop": "orders"})`.
#[must_use]
pub fn command(namespace: &str, command: Document) -> TestOp {
    TestOp::new(operation::COMMAND, namespace).with(field::DATA, command)
}

/// Ops for native tests, as by the functions of the same names in [`testing`](crate::testing).
impl Op<'_> {
    /// An insert of that document into `db.collection`.
    #[must_use]
    pub fn insert(namespace: &str, document: Document) -> TestOp {
        insert(namespace, document)
    }

    /// An update after which the document is this one, refined by [`TestOp::updated`] and its sisters.
    #[must_use]
    pub fn update(namespace: &str, document: Document) -> TestOp {
        update(namespace, document)
    }

    /// A replacement by that document.
    #[must_use]
    pub fn replace(namespace: &str, document: Document) -> TestOp {
        replace(namespace, document)
    }

    /// A delete of the document with that `_id`.
    #[must_use]
    pub fn delete(namespace: &str, id: impl Into<Bson>) -> TestOp {
        delete(namespace, id)
    }

    /// A command, as in the oplog: `Op::command("shop.orders", doc! {"drop": "orders"})`.
    #[must_use]
    pub fn command(namespace: &str, command: Document) -> TestOp {
        self::command(namespace, command)
    }
}

impl TestOp {
    fn new(operation: &str, namespace: &str) -> Self {
        let fields = doc! {
            field::OPERATION: operation, field::NAMESPACE: namespace, field::OP_ID: "1700000000:1",
            field::TIMESTAMP: Timestamp { time: 1_700_000_000, increment: 1 },
            field::SOURCE: Source::ChangeStream.as_str(),
        };
        Self {
            fields,
            pending: false,
        }
    }

    /// The op that this document is, as `oplet tail` prints it; a field `pending` counts as
    /// [`pending`](Self::pending).
    #[must_use]
    pub fn from_document(mut fields: Document) -> Self {
        let pending = fields.remove(field::PENDING) == Some(Bson::Boolean(true));
        Self { fields, pending }
    }

    /// An update from the oplog whose document is fetched only when the filter asks for it, or has kept the op.
    #[must_use]
    pub fn pending(mut self) -> Self {
        self.pending = true;
        self.source(Source::Oplog)
    }

    /// The document was gone when it was looked up.
    #[must_use]
    pub fn gone(mut self) -> Self {
        self.fields.remove(field::DATA);
        self
    }

    /// The update set these paths: `doc! {"address.city": "Ulm"}`.
    #[must_use]
    pub fn updated(self, fields: Document) -> Self {
        self.described(|description| {
            description
                .get_document_mut("updatedFields")
                .expect("it has them")
                .extend(fields);
        })
    }

    /// The update removed these paths.
    #[must_use]
    pub fn removed<'a>(self, paths: impl IntoIterator<Item = &'a str>) -> Self {
        self.described(|description| {
            let removed = description
                .get_array_mut("removedFields")
                .expect("it has them");
            removed.extend(paths.into_iter().map(Bson::from));
        })
    }

    /// The update cut the array at this path to that many elements.
    #[must_use]
    pub fn truncated(self, path: &str, new_size: i32) -> Self {
        self.described(|description| {
            let truncated = description
                .get_array_mut("truncatedArrays")
                .expect("it has them");
            truncated.push(doc! {"field": path, "newSize": new_size}.into());
        })
    }

    /// The pre-image.
    #[must_use]
    pub fn before(self, document: Document) -> Self {
        self.with(field::BEFORE, document)
    }

    /// Where the op comes from; a change stream if not said.
    #[must_use]
    pub fn source(self, source: Source) -> Self {
        self.with(field::SOURCE, source.as_str())
    }

    /// Cluster time, and the `opId` that goes with it.
    #[must_use]
    pub fn timestamp(self, time: u32, increment: u32) -> Self {
        self.with(field::TIMESTAMP, Timestamp { time, increment })
            .with(field::OP_ID, format!("{time}:{increment}"))
    }

    /// The server's clock.
    #[must_use]
    pub fn wall_time(self, wall_time: DateTime) -> Self {
        self.with(field::WALL_TIME, wall_time)
    }

    /// Any other field of the op, see [`abi::field`](crate::abi::field).
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Bson>) -> Self {
        self.fields.insert(field, value);
        self
    }

    /// The op's stable id.
    #[must_use]
    pub fn op_id(&self) -> &str {
        self.fields.get_str(field::OP_ID).unwrap_or_default()
    }

    /// Whether the document is fetched only when it is asked for.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.pending
    }

    /// The op as it lies in a module's memory, with its document.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.bytes(&[])
    }

    /// The op as a filter sees it first: like [`to_bytes`](Self::to_bytes), or marked pending and without the document.
    #[must_use]
    pub fn to_pending_bytes(&self) -> Vec<u8> {
        if self.pending {
            self.clone()
                .with(field::PENDING, true)
                .bytes(&[field::DATA])
        } else {
            self.to_bytes()
        }
    }

    /// Calls `look` with the op, for testing a function that takes one.
    pub fn with_op<R>(&self, look: impl FnOnce(&Op<'_>) -> R) -> R {
        let bytes = self.to_bytes();
        look(&Op::from_bytes(&bytes).expect("a test's op has an operation"))
    }

    fn document(self, document: Document) -> Self {
        let id = document.get("_id").cloned();
        let op = self.with(field::DATA, document);
        match id {
            Some(id) => op.with(field::ID, id),
            None => op,
        }
    }

    fn described(mut self, change: impl FnOnce(&mut Document)) -> Self {
        let description = self
            .fields
            .entry(field::UPDATE_DESCRIPTION.to_owned())
            .or_insert_with(|| {
                doc! {"updatedFields": {}, "removedFields": [], "truncatedArrays": []}.into()
            });
        change(
            description
                .as_document_mut()
                .expect("the description is a document"),
        );
        self
    }

    /// In the order of the ABI, without what is left out; other fields go last.
    fn bytes(&self, left_out: &[&str]) -> Vec<u8> {
        let mut ordered = Document::new();
        let known = field::ORDER
            .into_iter()
            .filter(|key| !left_out.contains(key));
        for key in known {
            if let Some(value) = self.fields.get(key) {
                ordered.insert(key, value.clone());
            }
        }
        let others = self
            .fields
            .iter()
            .filter(|(key, _)| !field::ORDER.contains(&key.as_str()));
        ordered.extend(others.map(|(key, value)| (key.clone(), value.clone())));
        RawDocumentBuf::try_from(&ordered)
            .expect("the op's fields are BSON")
            .into_bytes()
    }
}
