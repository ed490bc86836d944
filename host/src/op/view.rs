//! A look at one op of a batch, and the op document that is made of it.

use oplet_sdk::{
    abi::field,
    raw::{Writer, kind},
};

use super::{
    Batch, Cluster, DocumentKey, OpId, OpIndex, OpPoint, Operation, Origin, Record, Span,
    Timestamp, key,
};

/// What is known of the document of an update that has to be looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocumentState<'a> {
    /// Nothing yet: the op document says `pending`.
    NotAsked,
    /// It was looked up, and is this, or gone.
    LookedUp(Option<&'a [u8]>),
}

/// A look at one op of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Op<'a> {
    batch: &'a Batch,
    record: &'a Record,
}

impl<'a> Op<'a> {
    pub(super) fn new(batch: &'a Batch, record: &'a Record) -> Self {
        Self { batch, record }
    }

    /// What happened.
    #[must_use]
    pub fn operation(&self) -> Operation {
        self.record.operation
    }

    /// Whether an update replaced the whole document.
    #[must_use]
    pub fn is_replace(&self) -> bool {
        self.record.replace
    }

    /// Whether the document has to be looked up.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.record.pending
    }

    /// `db.coll`; `db` alone for `dropDatabase`. Empty when the server sent something other than text.
    #[must_use]
    pub fn namespace(&self) -> &'a str {
        std::str::from_utf8(self.namespace_bytes()).unwrap_or_default()
    }

    /// The namespace's bytes, without a look at whether they are text.
    #[must_use]
    pub fn namespace_bytes(&self) -> &'a [u8] {
        self.batch.slice(self.record.namespace)
    }

    /// Cluster time.
    #[must_use]
    pub fn timestamp(&self) -> Timestamp {
        self.record.timestamp
    }

    /// Where the op stands in the order of its stream; none where ops have no order of their own.
    #[must_use]
    pub fn point(&self) -> Option<OpPoint> {
        match self.record.index {
            OpIndex::Known(index) if !self.record.sharded => Some(OpPoint {
                timestamp: self.record.timestamp,
                index,
            }),
            _ => None,
        }
    }

    /// Which reader the op came through.
    #[must_use]
    pub fn source(&self) -> Origin {
        self.batch.source()
    }

    /// The deployment that it is of, where several are read.
    #[must_use]
    pub fn cluster(&self) -> Option<&'a Cluster> {
        self.batch.cluster()
    }

    /// The id that is the same on every redelivery.
    #[must_use]
    pub fn id(&self) -> OpId {
        let shard_key_hash = self.record.sharded.then(|| {
            let key = self
                .record
                .document_key
                .map(|span| (kind::DOCUMENT, self.batch.slice(span)));
            key::key_hash(
                self.namespace(),
                key.or(self.document_id()),
                &mut Vec::new(),
            ) as u32
        });
        OpId {
            timestamp: self.record.timestamp,
            index: self.record.index,
            shard_key_hash,
            cluster: self.batch.cluster().map(Cluster::mark),
        }
    }

    /// Type byte and value of the document's `_id`; none for commands.
    #[must_use]
    pub fn document_id(&self) -> Option<(u8, &'a [u8])> {
        self.record
            .id
            .map(|id| (id.kind, self.batch.slice(id.span)))
    }

    /// The document's `_id` as a key to compare by.
    #[must_use]
    pub fn key(&self) -> Option<DocumentKey> {
        self.document_id()
            .map(|(kind, value)| DocumentKey::new(kind, value))
    }

    /// The document, or the command; for a pending update, none.
    #[must_use]
    pub fn data(&self) -> Option<&'a [u8]> {
        self.part(self.record.data)
    }

    /// What an update changed.
    #[must_use]
    pub fn update_description(&self) -> Option<&'a [u8]> {
        self.part(self.record.update_description)
    }

    /// The document before the change, when it was asked for and there is one.
    #[must_use]
    pub fn before(&self) -> Option<&'a [u8]> {
        self.part(self.record.before)
    }

    /// Appends the op document, its fields in the order of the guest ABI.
    ///
    /// `document` says what is known of the document of a pending update; other ops ignore it.
    pub fn encode(&self, document: DocumentState<'_>, out: &mut Vec<u8>) {
        let record = self.record;
        let mut writer = Writer::new(out);
        writer.text(field::OPERATION.as_bytes(), record.operation.as_str());
        writer.text(field::NAMESPACE.as_bytes(), self.namespace());
        writer.text(field::OP_ID.as_bytes(), self.id().text().as_str());
        writer.timestamp(
            field::TIMESTAMP.as_bytes(),
            record.timestamp.seconds,
            record.timestamp.increment,
        );
        writer.text(field::SOURCE.as_bytes(), self.batch.source().as_str());
        let not_asked = record.pending && document == DocumentState::NotAsked;
        if not_asked {
            writer.bool(field::PENDING.as_bytes(), true);
        }
        if record.replace {
            writer.bool(field::REPLACE.as_bytes(), true);
        }
        if let Some(wall_time_ms) = record.wall_time_ms {
            writer.date_ms(field::WALL_TIME.as_bytes(), wall_time_ms);
        }
        if let Some((lsid, txn_number)) = record.txn {
            writer.begin(field::TXN.as_bytes(), kind::DOCUMENT);
            writer.document(b"lsid", self.batch.slice(lsid));
            writer.int64(b"txnNumber", txn_number);
            if let OpIndex::Known(index) = record.index {
                writer.int64(b"index", i64::from(index));
            }
            writer.end();
        }
        if let Some(cluster) = self.batch.cluster() {
            writer.text(field::CLUSTER.as_bytes(), cluster.name());
        }
        if let Some(document_key) = self.part(record.document_key) {
            writer.document(field::DOCUMENT_KEY.as_bytes(), document_key);
        }
        if let Some((kind, value)) = self.document_id() {
            writer.raw(field::ID.as_bytes(), kind, value);
        }
        if let Some(description) = self.update_description() {
            writer.document(field::UPDATE_DESCRIPTION.as_bytes(), description);
        }
        let data = match document {
            DocumentState::LookedUp(found) if record.pending => found,
            _ => self.data(),
        };
        if let Some(data) = data {
            writer.document(field::DATA.as_bytes(), data);
        }
        if let Some(before) = self.part(record.before) {
            writer.document(field::BEFORE.as_bytes(), before);
        }
        writer.finish();
    }

    fn part(&self, span: Option<Span>) -> Option<&'a [u8]> {
        span.map(|span| self.batch.slice(span))
    }
}

#[cfg(test)]
mod tests {
    use bson::{Bson, Document, RawDocumentBuf, doc};
    use oplet_sdk::raw::Walk;

    use super::*;
    use crate::op::{BatchBuilder, Position, SourceKind, Value};

    fn raw(document: &Document) -> Vec<u8> {
        RawDocumentBuf::try_from(document).unwrap().into_bytes()
    }

    /// A batch of one update with every part that an op can have.
    fn full(pending: bool) -> Batch {
        let body = raw(&doc! {
            "ns": "shop.orders", "_id": 7, "key": {"region": "eu", "_id": 7}, "lsid": {"id": 1}, "before": {"_id": 7, "n": 0},
        });
        let mut builder = BatchBuilder::new(body.into());
        let body = builder.body();
        let find = |key: &str| Walk::find(&body, key).unwrap().unwrap();
        let namespace = builder.span_of(find("ns").text().unwrap().as_bytes());
        let mut record = Record::new(Operation::Update, namespace, Timestamp::new(9, 2));
        record.pending = pending;
        record.replace = true;
        record.index = OpIndex::Known(3);
        record.id = Some(Value {
            kind: find("_id").kind,
            span: builder.span_of(find("_id").value),
        });
        record.document_key = Some(builder.span_of(find("key").value));
        record.before = Some(builder.span_of(find("before").value));
        record.txn = Some((builder.span_of(find("lsid").value), 5));
        record.wall_time_ms = Some(1000);
        let description = raw(&doc! {"updatedFields": {"n": 1}});
        record.update_description =
            Some(builder.make(|extra| extra.extend_from_slice(&description)));
        if !pending {
            let data = raw(&doc! {"_id": 7, "n": 1});
            record.data = Some(builder.make(|extra| extra.extend_from_slice(&data)));
        }
        builder.push(record);
        builder.finish(
            SourceKind::Oplog,
            Position::Time(Timestamp::new(9, 2)),
            true,
        )
    }

    fn encoded(batch: &Batch, document: DocumentState<'_>) -> Document {
        let mut bytes = Vec::new();
        batch.op(0).encode(document, &mut bytes);
        RawDocumentBuf::from_bytes(bytes)
            .unwrap()
            .try_into()
            .unwrap()
    }

    #[test]
    fn encodes_in_the_order_of_the_abi() {
        let document = encoded(&full(false), DocumentState::NotAsked);
        let expected = doc! {
            "operation": "u", "namespace": "shop.orders", "opId": "9:2:3", "timestamp": bson::Timestamp { time: 9, increment: 2 },
            "source": "oplog", "replace": true, "wallTime": bson::DateTime::from_millis(1000),
            "txn": {"lsid": {"id": 1}, "txnNumber": 5_i64, "index": 3_i64}, "documentKey": {"region": "eu", "_id": 7}, "_id": 7,
            "updateDescription": {"updatedFields": {"n": 1}}, "data": {"_id": 7, "n": 1}, "before": {"_id": 7, "n": 0},
        };
        assert_eq!(document, expected);
        let order: Vec<_> = field::ORDER
            .into_iter()
            .filter(|name| document.contains_key(name))
            .collect();
        assert_eq!(document.keys().collect::<Vec<_>>(), order);
    }

    #[test]
    fn one_of_several_deployments_is_named_and_has_ids_of_its_own() {
        let mut batch = full(false);
        let alone = batch.op(0).id();
        batch.set_cluster(Cluster::new("eu", None));
        let document = encoded(&batch, DocumentState::NotAsked);
        assert_eq!(document.get_str("cluster").unwrap(), "eu");
        let order: Vec<_> = field::ORDER
            .into_iter()
            .filter(|name| document.contains_key(name))
            .collect();
        assert_eq!(document.keys().collect::<Vec<_>>(), order);
        let of_eu = batch.op(0).id();
        batch.set_cluster(Cluster::new("us", None));
        let of_us = batch.op(0).id();
        assert!(of_eu != of_us && of_eu != alone && of_us != alone);
    }

    #[test]
    fn a_pending_update_says_so_until_it_is_looked_up() {
        let batch = full(true);
        let asked = encoded(&batch, DocumentState::NotAsked);
        assert_eq!(
            (asked.get("pending"), asked.get("data")),
            (Some(&Bson::Boolean(true)), None)
        );
        let found = raw(&doc! {"_id": 7, "n": 2});
        let known = encoded(&batch, DocumentState::LookedUp(Some(&found)));
        assert_eq!(
            (known.get("pending"), known.get_document("data").ok()),
            (None, Some(&doc! {"_id": 7, "n": 2}))
        );
        let gone = encoded(&batch, DocumentState::LookedUp(None));
        assert_eq!((gone.get("pending"), gone.get("data")), (None, None));
    }

    #[test]
    fn on_a_sharded_cluster_the_id_tells_documents_apart() {
        let mut batch = full(false);
        assert_eq!(batch.op(0).id().shard_key_hash, None);
        batch.records[0].sharded = true;
        let hash = batch.op(0).id().shard_key_hash;
        assert!(hash.is_some());
        batch.records[0].document_key = None;
        assert_ne!(batch.op(0).id().shard_key_hash, hash);
    }
}
