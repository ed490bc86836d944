//! From one event to an op.

use super::{
    Commands, ddl,
    event::{Error, Event, document_id, namespace_text},
    lean, token,
};
use crate::op::{BatchBuilder, OpIndex, Operation, Record, Scope, Span, Value};

/// What an event turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decoded {
    /// An op was added.
    Op,
    /// An op was added, of an event that the server would not send whole.
    Lean,
    /// Nothing that is to be delivered.
    Skipped,
    /// The stream ends here, because what it watches was dropped or renamed.
    Invalidate,
}

/// Turns events into ops; holds what saves work from one event of a batch to the next.
#[derive(Debug)]
pub(super) struct Decoder<'a> {
    scope: &'a Scope,
    commands: Commands,
    sharded: bool,
    /// The events are expanded ones.
    expanded: bool,
    /// The namespace made last in this batch, and the `ns` that it was made of: neighbours mostly
    /// share it.
    namespace: Option<(Vec<u8>, Span, bool)>,
}

impl<'a> Decoder<'a> {
    /// A decoder of what lies in `scope`, for the events of one reply.
    pub(super) fn new(scope: &'a Scope, commands: Commands, sharded: bool, expanded: bool) -> Self {
        Self {
            scope,
            commands,
            sharded,
            expanded,
            namespace: None,
        }
    }

    /// What comes next lies in another builder.
    pub(super) fn forget_namespace(&mut self) {
        self.namespace = None;
    }

    /// Decodes one event that lies in the builder's body.
    ///
    /// # Errors
    /// [`Error`]; the builder is then as it was.
    pub(super) fn decode(
        &mut self,
        bytes: &[u8],
        builder: &mut BatchBuilder,
    ) -> Result<Decoded, Error> {
        let event = Event::read(bytes)?;
        let operation = match event.operation_type {
            "insert" => Operation::Insert,
            "update" | "replace" => Operation::Update,
            "delete" => Operation::Delete,
            "invalidate" => return Ok(Decoded::Invalidate),
            "" => return Err(Error::Field("operationType")),
            _ => return self.decode_command(&event, bytes, builder),
        };
        let (namespace, watched) = self.namespace(event.ns.ok_or(Error::Field("ns"))?, builder)?;
        if !watched {
            return Ok(Decoded::Skipped);
        }
        let mut record = self.record(&event, operation, namespace, builder)?;
        record.replace = event.operation_type == "replace";
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
        // What the server could not send with the rest is asked for by itself.
        record.pending = lean::is_left_out(event.left_out, "fullDocument")?;
        builder.push(record);
        Ok(match event.left_out {
            Some(_) => Decoded::Lean,
            None => Decoded::Op,
        })
    }

    /// Decodes the event of a command, or one of a kind that is yet to be invented.
    fn decode_command(
        &mut self,
        event: &Event<'_>,
        bytes: &[u8],
        builder: &mut BatchBuilder,
    ) -> Result<Decoded, Error> {
        let name = ddl::command_name(event.operation_type);
        if name.is_some_and(|name| !self.is_included(name, event)) {
            return Ok(Decoded::Skipped);
        }
        let namespace = match event.ns {
            Some(ns) => {
                let (namespace, watched) = self.namespace(ns, builder)?;
                let watched = watched || event.to.is_some_and(|to| is_watched(to, self.scope));
                if !watched {
                    return Ok(Decoded::Skipped);
                }
                namespace
            }
            None if name.is_some() => return Err(Error::Field("ns")),
            // It is about no namespace, and the server has it in this stream.
            None => builder.make(|_| {}),
        };
        let mut record = self.record(event, Operation::Command, namespace, builder)?;
        let command = match name {
            Some(name) => ddl::command(name, event)?,
            None => ddl::unknown(event.operation_type, bytes)?,
        };
        record.data = Some(builder.make(|extra| extra.extend_from_slice(&command)));
        builder.push(record);
        Ok(Decoded::Op)
    }

    /// Whether a command is delivered. A view has no documents that could be gone.
    fn is_included(&self, name: &str, event: &Event<'_>) -> bool {
        let is_of_view = self.expanded && name == "drop" && !event.has_collection;
        match self.commands {
            Commands::Data => self.commands.include(name) && !is_of_view,
            Commands::All => true,
        }
    }

    /// What all ops have.
    fn record(
        &self,
        event: &Event<'_>,
        operation: Operation,
        namespace: Span,
        builder: &BatchBuilder,
    ) -> Result<Record, Error> {
        let timestamp = event.cluster_time.ok_or(Error::Field("clusterTime"))?;
        let mut record = Record::new(operation, namespace, timestamp);
        record.index = index(event.token);
        record.sharded = self.sharded;
        record.wall_time_ms = event.wall_time_ms;
        if let (Some(lsid), Some(txn_number)) = (event.lsid, event.txn_number) {
            record.txn = Some((builder.span_of(lsid), txn_number));
        }
        Ok(record)
    }

    /// The text of an event's namespace, and whether it is watched.
    fn namespace(&mut self, ns: &[u8], builder: &mut BatchBuilder) -> Result<(Span, bool), Error> {
        if let Some((last, span, watched)) = &self.namespace
            && last == ns
        {
            return Ok((*span, *watched));
        }
        let text = namespace_text(ns).ok_or(Error::Field("ns"))?;
        let watched = self.scope.contains(&text);
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

#[cfg(test)]
pub(super) mod tests {
    use bson::{Bson, Document, RawDocumentBuf, doc};

    use super::*;
    use crate::op::{Batch, DocumentState, Namespace, Position, SourceKind, Timestamp};

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

    fn decode(
        event: &Document,
        scope: &[&str],
        commands: Commands,
    ) -> (Result<Decoded, Error>, Batch) {
        let body = RawDocumentBuf::try_from(event).unwrap().into_bytes();
        let mut builder = BatchBuilder::new(body.into());
        let scope = Scope::new(scope.iter().map(|text| text.parse::<Namespace>().unwrap()));
        let body = builder.body();
        let decoded = Decoder::new(&scope, commands, false, true).decode(&body, &mut builder);
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
        op_of(fields, Commands::Data).expect("it is delivered")
    }

    /// The same, or nothing for an event that is not delivered.
    pub(in super::super) fn op_of(fields: Document, commands: Commands) -> Option<Document> {
        let (decoded, batch) = decode(&event(fields), &["*"], commands);
        if decoded.unwrap() == Decoded::Skipped {
            return None;
        }
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
        Some(document)
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
    fn what_the_server_left_out_is_told_and_looked_up() {
        let ns = doc! {"db": "shop", "coll": "orders"};
        let mut update = doc! {"operationType": "update", "ns": &ns, "documentKey": {"_id": 7},
        "updateDescription": {"updatedFields": {}}, "opletLeftOut": ["fullDocument"]};
        let (decoded, batch) = decode(&event(update.clone()), &["*"], Commands::Data);
        assert_eq!(decoded.unwrap(), Decoded::Lean);
        assert!(batch.op(0).is_pending());
        update.insert("opletLeftOut", ["fullDocumentBeforeChange"]);
        update.insert("fullDocument", doc! {"_id": 7});
        let (decoded, batch) = decode(&event(update), &["*"], Commands::Data);
        assert_eq!(decoded.unwrap(), Decoded::Lean);
        assert!(!batch.op(0).is_pending() && batch.op(0).data().is_some());
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
            let (decoded, batch) = decode(event, &[scope], Commands::Data);
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
            let (decoded, batch) = decode(&event, &["*"], Commands::Data);
            assert!(
                matches!(decoded, Err(Error::Field(name)) if name == field),
                "{field}"
            );
            assert!(batch.is_empty());
        }
    }
}
