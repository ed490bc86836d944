//! A batch of one op, made of an op document.

use bytes::Bytes;
use oplet_sdk::{
    abi::field,
    raw::{Element, Malformed, Walk},
};

use super::{
    Batch, BatchBuilder, Cluster, OpId, OpIndex, Operation, Origin, Position, Record, Timestamp,
    Value,
};

/// An op document is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpDocumentError {
    /// The bytes are no document.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A field that every op has is missing, or is not what it should be.
    #[error("the field `{field}` of the op is missing or wrong")]
    Field {
        /// The field's name.
        field: &'static str,
    },
    /// The op's id names another document than the op does.
    #[error("the id {op_id} is not that of the op's document")]
    OtherDocument {
        /// The id in the op.
        op_id: String,
    },
}

/// The batch that an op would have come in alone: the inverse of [`Op::encode`](super::Op::encode).
///
/// Its op has the same id, document id and order as the one that the document was made of, and so
/// what is emitted for it has the same keys. Unknown fields are passed over.
///
/// # Errors
/// [`OpDocumentError`].
pub fn batch_of(op: &[u8]) -> Result<Batch, OpDocumentError> {
    let mut builder = BatchBuilder::new(Bytes::copy_from_slice(op));
    let body = builder.body();
    let fields = Fields(&body);
    let op_id = fields.text(field::OP_ID)?;
    let wrong = |field| OpDocumentError::Field { field };
    let mut id: OpId = op_id.parse().map_err(|()| wrong(field::OP_ID))?;
    let operation = fields.word(field::OPERATION, &Operation::ALL, Operation::as_str)?;
    let source = fields.word(field::SOURCE, &Origin::ALL, Origin::as_str)?;
    let timestamp = fields.get(field::TIMESTAMP, |element| element.timestamp())?;
    if matches!(id.index, OpIndex::Read(_)) {
        // It says what was read, not when.
        id.timestamp = timestamp.into();
    }
    if Timestamp::from(timestamp) != id.timestamp {
        return Err(wrong(field::TIMESTAMP));
    }
    let namespace = fields.text(field::NAMESPACE)?;
    let document = |field| {
        let found = fields.find(field)?.and_then(|element| element.document());
        Ok::<_, OpDocumentError>(found.map(|document| builder.span_of(document)))
    };
    let is_set = |field| {
        let found = fields.find(field)?.and_then(|element| element.bool());
        Ok::<_, OpDocumentError>(found.unwrap_or(false))
    };
    let txn = fields.find(field::TXN)?.and_then(|txn| txn.document());
    let txn = txn.map(|txn| {
        let txn = Fields(txn);
        let lsid = txn.find("lsid")?.and_then(|lsid| lsid.document());
        let number = txn.find("txnNumber")?.and_then(|number| number.int64());
        let txn = lsid.map(|lsid| builder.span_of(lsid)).zip(number);
        txn.ok_or(wrong(field::TXN))
    });
    let wall_time = fields.find(field::WALL_TIME)?;
    let record = Record {
        replace: is_set(field::REPLACE)?,
        pending: is_set(field::PENDING)?,
        index: id.index,
        sharded: id.shard_key_hash.is_some(),
        id: fields.find(field::ID)?.map(|id| Value {
            kind: id.kind,
            span: builder.span_of(id.value),
        }),
        document_key: document(field::DOCUMENT_KEY)?,
        data: document(field::DATA)?,
        update_description: document(field::UPDATE_DESCRIPTION)?,
        before: document(field::BEFORE)?,
        wall_time_ms: wall_time.and_then(|time| time.date_ms()),
        txn: txn.transpose()?,
        ..Record::new(
            operation,
            builder.span_of(namespace.as_bytes()),
            id.timestamp,
        )
    };
    builder.push(record);
    let mut batch = builder.finish(source, Position::Time(id.timestamp), false);
    if let Some(cluster) = fields.find(field::CLUSTER)? {
        let name = cluster.text().ok_or(wrong(field::CLUSTER))?;
        batch.set_cluster(Cluster::new(name, None));
    }
    // The hash in the id is not kept, but made of the document's key, and the mark of the name.
    match batch.op(0).id() == id {
        true => Ok(batch),
        false => Err(OpDocumentError::OtherDocument {
            op_id: op_id.to_owned(),
        }),
    }
}

#[derive(Clone, Copy)]
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn find(self, field: &str) -> Result<Option<Element<'a>>, Malformed> {
        Walk::find(self.0, field)
    }

    fn get<T>(
        self,
        field: &'static str,
        read: impl Fn(Element<'a>) -> Option<T>,
    ) -> Result<T, OpDocumentError> {
        let found = self.find(field)?.and_then(read);
        found.ok_or(OpDocumentError::Field { field })
    }

    fn text(self, field: &'static str) -> Result<&'a str, OpDocumentError> {
        self.get(field, |element| element.text())
    }

    fn word<T: Copy>(
        self,
        field: &'static str,
        all: &[T],
        as_str: impl Fn(T) -> &'static str,
    ) -> Result<T, OpDocumentError> {
        let word = self.text(field)?;
        let found = all.iter().copied().find(|known| as_str(*known) == word);
        found.ok_or(OpDocumentError::Field { field })
    }
}

#[cfg(test)]
mod tests {
    use bson::{Document, RawDocumentBuf, doc};

    use super::*;
    use crate::op::{DocumentState, SourceKind};

    fn raw(document: &Document) -> Vec<u8> {
        RawDocumentBuf::try_from(document).unwrap().into_bytes()
    }

    /// An op document with that index, as a source's own batch encodes it.
    fn op(index: OpIndex, sharded: bool, pending: bool) -> Vec<u8> {
        let body = raw(
            &doc! { "ns": "shop.orders", "_id": 7_i64, "key": { "region": "eu", "_id": 7_i64 } },
        );
        let mut builder = BatchBuilder::new(body.into());
        let body = builder.body();
        let find = |key: &str| Walk::find(&body, key).unwrap().unwrap();
        let namespace = builder.span_of(find("ns").text().unwrap().as_bytes());
        let mut made = |part: Document| Some(builder.make(|extra| extra.extend(raw(&part))));
        let mut record = Record::new(Operation::Update, namespace, Timestamp::new(9, 2));
        record.update_description = made(doc! { "updatedFields": { "n": 1 } });
        record.before = made(doc! { "_id": 7_i64, "n": 0 });
        record.txn = made(doc! { "id": 1 }).map(|lsid| (lsid, 5));
        if !pending {
            record.data = made(doc! { "_id": 7_i64, "n": 1 });
        }
        record.wall_time_ms = Some(1_000);
        record.replace = true;
        record.pending = pending;
        record.index = index;
        record.sharded = sharded;
        record.document_key = Some(builder.span_of(find("key").value));
        record.id = Some(Value {
            kind: find("_id").kind,
            span: builder.span_of(find("_id").value),
        });
        builder.push(record);
        encoded(&builder.finish(
            SourceKind::Oplog,
            Position::Time(Timestamp::new(9, 2)),
            true,
        ))
    }

    fn encoded(batch: &Batch) -> Vec<u8> {
        let mut bytes = Vec::new();
        batch.op(0).encode(DocumentState::NotAsked, &mut bytes);
        bytes
    }

    #[test]
    fn encodes_to_what_it_was_made_of() {
        for index in [OpIndex::Known(3), OpIndex::TokenHash(0xAB)] {
            for (sharded, pending) in [(false, false), (true, false), (false, true), (true, true)] {
                let op = op(index, sharded, pending);
                let batch = batch_of(&op).unwrap();
                assert_eq!(encoded(&batch), op, "{index:?} {sharded} {pending}");
                let id = batch.op(0).id();
                assert_eq!((id.index, id.shard_key_hash.is_some()), (index, sharded));
            }
        }
    }

    #[test]
    fn the_deployment_stays_with_the_op() {
        let op = op(OpIndex::Known(3), false, false);
        let mut batch = batch_of(&op).unwrap();
        batch.set_cluster(Cluster::new("eu", None));
        let of_eu = encoded(&batch);
        let read = batch_of(&of_eu).unwrap();
        assert_eq!((encoded(&read), read.op(0).id()), (of_eu, batch.op(0).id()));
    }

    #[test]
    fn a_command_has_no_document() {
        let command = raw(&doc! {
            "operation": "c", "namespace": "shop", "opId": "9:2:0", "timestamp": bson::Timestamp { time: 9, increment: 2 },
            "source": "changeStream", "data": { "dropDatabase": 1 },
        });
        let batch = batch_of(&command).unwrap();
        assert_eq!(encoded(&batch), command);
        assert_eq!(batch.op(0).key(), None);
    }

    #[test]
    fn what_is_no_op_is_refused() {
        let good = doc! {
            "operation": "i", "namespace": "shop.orders", "opId": "9:2:0", "timestamp": bson::Timestamp { time: 9, increment: 2 },
            "source": "oplog", "_id": 1,
        };
        batch_of(&raw(&good)).unwrap();
        for (field, wrong) in [
            ("operation", "x"),
            ("namespace", ""),
            ("opId", "9:2"),
            ("opId", "9:3:0"),
            ("timestamp", "9:2"),
            ("source", "elsewhere"),
        ] {
            let mut bad = good.clone();
            match wrong {
                "" => bad.remove(field),
                _ => bad.insert(field, wrong),
            };
            let error = batch_of(&raw(&bad)).unwrap_err();
            assert!(
                matches!(error, OpDocumentError::Field { .. }),
                "{field}: {error}"
            );
        }
        assert!(matches!(
            batch_of(b"rubbish"),
            Err(OpDocumentError::Malformed(_))
        ));
        let mut other = good;
        other.insert("opId", "9:2:0:00000000");
        let error = batch_of(&raw(&other)).unwrap_err();
        assert!(
            matches!(error, OpDocumentError::OtherDocument { .. }),
            "{error}"
        );
    }
}
