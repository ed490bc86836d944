//! From one event to an op.

use oplet_sdk::raw::{Element, Malformed, Walk, Writer};

use super::token;
use crate::op::{BatchBuilder, OpIndex, Operation, Record, Scope, Span, Timestamp, Value};

/// What an event turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decoded {
    /// An op was added.
    Op,
    /// Nothing that Oplet delivers.
    Skipped,
    /// The stream ends here, because what it watches was dropped or renamed.
    Invalidate,
}

/// Why an event could not be decoded.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("the event has no usable `{0}`")]
    Field(&'static str),
}

/// Turns events into ops; holds what saves work from one event of a batch to the next.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// The namespace made last in this batch, and the `ns` that it was made of: neighbours mostly
    /// share it.
    namespace: Option<(Vec<u8>, Span, bool)>,
}

/// The parts of an event that matter, as they stand in it.
#[derive(Default)]
struct Event<'a> {
    token: Option<&'a [u8]>,
    operation_type: &'a str,
    cluster_time: Option<Timestamp>,
    wall_time_ms: Option<i64>,
    ns: Option<&'a [u8]>,
    to: Option<&'a [u8]>,
    document_key: Option<&'a [u8]>,
    full_document: Option<&'a [u8]>,
    before: Option<&'a [u8]>,
    update_description: Option<&'a [u8]>,
    lsid: Option<&'a [u8]>,
    txn_number: Option<i64>,
}

impl<'a> Event<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut event = Self::default();
        for element in Walk::new(bytes)? {
            let element = element?;
            match element.key {
                b"_id" => event.token = element.document(),
                b"operationType" => event.operation_type = element.text().unwrap_or_default(),
                b"clusterTime" => event.cluster_time = element.timestamp().map(Timestamp::from),
                b"wallTime" => event.wall_time_ms = element.date_ms(),
                b"ns" => event.ns = element.document(),
                b"to" => event.to = element.document(),
                b"documentKey" => event.document_key = element.document(),
                b"fullDocument" => event.full_document = element.document(),
                b"fullDocumentBeforeChange" => event.before = element.document(),
                b"updateDescription" => event.update_description = element.document(),
                b"lsid" => event.lsid = element.document(),
                b"txnNumber" => event.txn_number = element.int64(),
                _ => {}
            }
        }
        Ok(event)
    }
}

impl Decoder {
    /// Decodes one event that lies in the builder's body.
    ///
    /// # Errors
    /// [`Error`]; the builder is then as it was.
    pub(super) fn decode(
        &mut self,
        bytes: &[u8],
        scope: &Scope,
        sharded: bool,
        builder: &mut BatchBuilder,
    ) -> Result<Decoded, Error> {
        let event = Event::read(bytes)?;
        let operation = match event.operation_type {
            "insert" => Operation::Insert,
            "update" | "replace" => Operation::Update,
            "delete" => Operation::Delete,
            "drop" | "dropDatabase" | "rename" => Operation::Command,
            "invalidate" => return Ok(Decoded::Invalidate),
            "" => return Err(Error::Field("operationType")),
            // Expanded events are asked for because of what they add to updates; they are not
            // delivered themselves.
            _ => return Ok(Decoded::Skipped),
        };
        let (namespace, watched) =
            self.namespace(event.ns.ok_or(Error::Field("ns"))?, scope, builder)?;
        let watched = watched || event.to.is_some_and(|to| is_watched(to, scope));
        if !watched {
            return Ok(Decoded::Skipped);
        }
        let timestamp = event.cluster_time.ok_or(Error::Field("clusterTime"))?;
        let mut record = Record::new(operation, namespace, timestamp);
        record.index = index(event.token);
        record.sharded = sharded;
        record.wall_time_ms = event.wall_time_ms;
        record.replace = event.operation_type == "replace";
        if let (Some(lsid), Some(txn_number)) = (event.lsid, event.txn_number) {
            record.txn = Some((builder.span_of(lsid), txn_number));
        }
        if operation == Operation::Command {
            record.data = Some(command(&event, builder)?);
        } else {
            let document_key = event.document_key.ok_or(Error::Field("documentKey"))?;
            let (id, is_alone) = document_id(document_key)?;
            record.id = Some(Value {
                kind: id.kind,
                span: builder.span_of(id.value),
            });
            record.document_key = (!is_alone).then(|| builder.span_of(document_key));
            record.data = event
                .full_document
                .map(|document| builder.span_of(document));
            record.before = event.before.map(|document| builder.span_of(document));
            record.update_description = event
                .update_description
                .map(|description| builder.span_of(description));
        }
        builder.push(record);
        Ok(Decoded::Op)
    }

    /// The text of an event's namespace, and whether it is watched.
    fn namespace(
        &mut self,
        ns: &[u8],
        scope: &Scope,
        builder: &mut BatchBuilder,
    ) -> Result<(Span, bool), Error> {
        if let Some((last, span, watched)) = &self.namespace
            && last == ns
        {
            return Ok((*span, *watched));
        }
        let text = namespace_text(ns).ok_or(Error::Field("ns"))?;
        let watched = scope.contains(&text);
        let span = builder.make(|extra| extra.extend_from_slice(text.as_bytes()));
        self.namespace = Some((ns.to_vec(), span, watched));
        Ok((span, watched))
    }
}

/// Which op of its cluster time an event is.
fn index(token: Option<&[u8]>) -> OpIndex {
    let token = token.unwrap_or_default();
    match token::token_index(token) {
        Some(index) => OpIndex::Known(index),
        None => OpIndex::TokenHash(xxhash_rust::xxh3::xxh3_64(token)),
    }
}

fn is_watched(ns: &[u8], scope: &Scope) -> bool {
    namespace_text(ns).is_some_and(|namespace| scope.contains(&namespace))
}

/// `db.coll`, or `db`, of `{db, coll}`.
fn namespace_text(ns: &[u8]) -> Option<String> {
    let mut text = Walk::find(ns, "db").ok()??.text()?.to_owned();
    if let Some(collection) = Walk::find(ns, "coll").ok()? {
        text.push('.');
        text.push_str(collection.text()?);
    }
    Some(text)
}

/// The `_id` of a document key, and whether it is all of the key.
fn document_id(document_key: &[u8]) -> Result<(Element<'_>, bool), Error> {
    let mut id = None;
    let mut len = 0;
    for element in Walk::new(document_key)? {
        let element = element?;
        len += 1;
        if element.key == b"_id" {
            id = Some(element);
        }
    }
    Ok((id.ok_or(Error::Field("documentKey._id"))?, len == 1))
}

/// The command as the oplog has it: `{drop: "coll"}`, `{dropDatabase: 1}`, `{renameCollection, to}`.
fn command(event: &Event<'_>, builder: &mut BatchBuilder) -> Result<Span, Error> {
    let ns = event.ns.ok_or(Error::Field("ns"))?;
    let mut document = Vec::new();
    let mut writer = Writer::new(&mut document);
    match event.operation_type {
        "drop" => {
            let collection = Walk::find(ns, "coll")?.and_then(|element| element.text());
            writer.text(b"drop", collection.ok_or(Error::Field("ns.coll"))?);
        }
        "dropDatabase" => writer.int32(b"dropDatabase", 1),
        _ => {
            writer.text(
                b"renameCollection",
                &namespace_text(ns).ok_or(Error::Field("ns"))?,
            );
            let to = event
                .to
                .and_then(namespace_text)
                .ok_or(Error::Field("to"))?;
            writer.text(b"to", &to);
        }
    }
    writer.finish();
    Ok(builder.make(|extra| extra.extend_from_slice(&document)))
}

#[cfg(test)]
mod tests {
    use bson::{Bson, Document, RawDocumentBuf, doc};

    use super::*;
    use crate::op::{Batch, DocumentState, Namespace, Position, SourceKind};

    /// A token of a 6.0.5 server's event, the second op of a transaction.
    const TOKEN: &str = "8263F5C5AB000000012B022C01002B025A1004";

    fn event(fields: Document) -> Document {
        let mut event = doc! {
            "_id": {"_data": TOKEN}, "clusterTime": bson::Timestamp { time: 9, increment: 1 },
            "wallTime": bson::DateTime::from_millis(1000),
        };
        event.extend(fields);
        event
    }

    fn decode(event: &Document, scope: &[&str]) -> (Result<Decoded, Error>, Batch) {
        let body = RawDocumentBuf::try_from(event).unwrap().into_bytes();
        let mut builder = BatchBuilder::new(body.into());
        let scope = Scope::new(scope.iter().map(|text| text.parse::<Namespace>().unwrap()));
        let body = builder.body();
        let decoded = Decoder::default().decode(&body, &scope, false, &mut builder);
        (
            decoded,
            builder.finish(
                SourceKind::ChangeStream,
                Position::Time(Timestamp::default()),
                true,
            ),
        )
    }

    /// The op document of an event, without the fields that all share.
    fn op(fields: Document) -> Document {
        let (decoded, batch) = decode(&event(fields), &["*"]);
        assert_eq!(decoded.unwrap(), Decoded::Op);
        let mut bytes = Vec::new();
        batch.op(0).encode(DocumentState::NotAsked, &mut bytes);
        let mut document = Document::try_from(RawDocumentBuf::from_bytes(bytes).unwrap()).unwrap();
        for (shared, value) in [
            ("opId", Bson::from("9:1:1")),
            ("source", Bson::from("changeStream")),
            ("wallTime", bson::DateTime::from_millis(1000).into()),
            (
                "timestamp",
                bson::Timestamp {
                    time: 9,
                    increment: 1,
                }
                .into(),
            ),
        ] {
            assert_eq!(document.remove(shared), Some(value));
        }
        document
    }

    #[test]
    fn each_kind_of_event_becomes_its_op() {
        let ns = doc! {"db": "shop", "coll": "a.b"};
        let key = doc! {"_id": 7};
        let full = doc! {"_id": 7, "n": 1};
        let description = doc! {"updatedFields": {"n": 1}, "removedFields": []};
        let insert =
            doc! {"operationType": "insert", "ns": &ns, "documentKey": &key, "fullDocument": &full};
        assert_eq!(
            op(insert),
            doc! {"operation": "i", "namespace": "shop.a.b", "_id": 7, "data": &full}
        );
        let update = doc! {
            "operationType": "update", "ns": &ns, "documentKey": {"region": 1, "_id": 7}, "updateDescription": &description,
            "fullDocument": Bson::Null,
        };
        assert_eq!(
            op(update),
            doc! {"operation": "u", "namespace": "shop.a.b", "documentKey": {"region": 1, "_id": 7}, "_id": 7,
            "updateDescription": &description}
        );
        let replace = doc! {"operationType": "replace", "ns": &ns, "documentKey": &key, "fullDocument": &full};
        assert_eq!(
            op(replace),
            doc! {"operation": "u", "namespace": "shop.a.b", "replace": true, "_id": 7, "data": &full}
        );
        let delete = doc! {"operationType": "delete", "ns": &ns, "documentKey": &key, "lsid": {"id": 1}, "txnNumber": 4_i64};
        assert_eq!(
            op(delete),
            doc! {"operation": "d", "namespace": "shop.a.b", "txn": {"lsid": {"id": 1}, "txnNumber": 4_i64, "index": 1_i64}, "_id": 7}
        );
        let drop = doc! {"operationType": "drop", "ns": &ns};
        assert_eq!(
            op(drop),
            doc! {"operation": "c", "namespace": "shop.a.b", "data": {"drop": "a.b"}}
        );
        let drop_database = doc! {"operationType": "dropDatabase", "ns": {"db": "shop"}};
        assert_eq!(
            op(drop_database),
            doc! {"operation": "c", "namespace": "shop", "data": {"dropDatabase": 1}}
        );
        let rename = doc! {"operationType": "rename", "ns": &ns, "to": {"db": "shop", "coll": "c"}};
        assert_eq!(
            op(rename),
            doc! {"operation": "c", "namespace": "shop.a.b", "data": {"renameCollection": "shop.a.b", "to": "shop.c"}}
        );
    }

    #[test]
    fn what_is_not_delivered_is_told_apart_from_what_cannot_be_read() {
        let ns = doc! {"db": "shop", "coll": "orders"};
        let delete = event(doc! {"operationType": "delete", "ns": &ns, "documentKey": {"_id": 1}});
        let rename =
            event(doc! {"operationType": "rename", "ns": &ns, "to": {"db": "shop", "coll": "c"}});
        for (event, scope, expected) in [
            (&delete, "shop", Decoded::Op),
            (&delete, "crm", Decoded::Skipped),
            (&rename, "shop.c", Decoded::Op),
            (&rename, "shop.d", Decoded::Skipped),
            (
                &event(doc! {"operationType": "createIndexes", "ns": &ns}),
                "shop",
                Decoded::Skipped,
            ),
            (
                &event(doc! {"operationType": "invalidate"}),
                "shop",
                Decoded::Invalidate,
            ),
        ] {
            let (decoded, batch) = decode(event, &[scope]);
            assert_eq!(decoded.unwrap(), expected);
            assert_eq!(batch.len(), usize::from(expected == Decoded::Op));
        }
        for (event, field) in [
            (event(doc! {"ns": &ns}), "operationType"),
            (event(doc! {"operationType": "insert"}), "ns"),
            (
                event(doc! {"operationType": "insert", "ns": &ns}),
                "documentKey",
            ),
            (
                event(doc! {"operationType": "insert", "ns": &ns, "documentKey": {"a": 1}}),
                "documentKey._id",
            ),
            (event(doc! {"operationType": "rename", "ns": &ns}), "to"),
        ] {
            let (decoded, batch) = decode(&event, &["*"]);
            assert!(
                matches!(decoded, Err(Error::Field(name)) if name == field),
                "{field}"
            );
            assert!(batch.is_empty());
        }
    }
}
