use bson::{Bson, Document, RawDocumentBuf, doc};
use bytes::Bytes;

use super::*;
use crate::{
    op::{Batch, DocumentState, Position, SourceKind},
    source::oplog::{Link, UpdateFault},
};

fn raw(document: &Document) -> Vec<u8> {
    RawDocumentBuf::try_from(document).unwrap().into_bytes()
}

fn timestamp(increment: u32) -> Bson {
    Bson::Timestamp(bson::Timestamp { time: 9, increment })
}

/// A whole entry: what every entry has, and these fields.
fn entry(fields: Document) -> Document {
    let mut entry = doc! {"op": "n", "ns": "shop.orders", "o": {}};
    entry.extend(fields);
    entry.extend(
        doc! {"ts": timestamp(3), "t": 1_i64, "v": 2, "wall": bson::DateTime::from_millis(5)},
    );
    entry
}

/// The fields of a transaction that has that previous part.
fn session(prev: Option<u32>) -> Document {
    let prev = match prev {
        Some(increment) => doc! {"ts": timestamp(increment), "t": 1_i64},
        None => doc! {"ts": bson::Timestamp { time: 0, increment: 0 }, "t": -1_i64},
    };
    doc! {"lsid": {"id": "s"}, "txnNumber": 4_i64, "prevOpTime": prev}
}

fn command(o: Document, more: Document) -> Document {
    let mut fields = doc! {"op": "c", "ns": "admin.$cmd", "o": o};
    fields.extend(more);
    entry(fields)
}

fn insert(ns: &str, id: i32) -> Document {
    doc! {"op": "i", "ns": ns, "o": {"_id": id}, "o2": {"_id": id}}
}

fn scope(list: &str) -> Scope {
    Scope::new(list.split(' ').map(|text| text.parse().unwrap()))
}

/// The ops of a batch as documents, without what is the same in all of them.
fn ops(builder: BatchBuilder) -> Vec<Document> {
    let batch: Batch = builder.finish(
        SourceKind::Oplog,
        Position::Time(Timestamp::default()),
        true,
    );
    let ops = batch.ops().map(|op| {
        let mut bytes = Vec::new();
        op.encode(DocumentState::NotAsked, &mut bytes);
        let mut document: Document = RawDocumentBuf::from_bytes(bytes)
            .unwrap()
            .try_into()
            .unwrap();
        for same in ["source", "wallTime", "timestamp"] {
            assert!(document.remove(same).is_some(), "{same}");
        }
        document
    });
    ops.collect()
}

/// Decodes one entry that lies in the middle of a reply.
fn decode(watched: &str, entry: &Document) -> (Result<String, EntryError>, Vec<Document>) {
    let entry = raw(entry);
    let mut body = b"before".to_vec();
    body.extend_from_slice(&entry);
    body.extend_from_slice(b"after");
    let mut builder = BatchBuilder::new(body.into());
    let body = builder.body();
    let bytes = &body[6..6 + entry.len()];
    let decoded = Decoder::new(scope(watched)).entry(bytes, &mut builder);
    (decoded.map(|decoded| format!("{decoded:?}")), ops(builder))
}

fn description(updated: Document, removed: &[&str]) -> Document {
    doc! {"updatedFields": updated, "removedFields": removed.to_vec(), "truncatedArrays": [], "disambiguatedPaths": {}}
}

#[test]
fn writes_become_ops() {
    let op = |letter: &str, more: Document| {
        let mut op = doc! {"operation": letter, "namespace": "shop.orders", "opId": "9:3:0"};
        op.extend(more);
        op
    };
    let key = doc! {"region": "eu", "_id": 7};
    let rows = [
        (
            "insert, before 5.3",
            doc! {"op": "i", "o": {"_id": 7, "total": 5}},
            op("i", doc! {"_id": 7, "data": {"_id": 7, "total": 5}}),
        ),
        (
            "insert, from 5.3, by an upsert",
            doc! {"op": "i", "o": {"total": 5, "_id": 7}, "o2": {"_id": 7}, "b": true},
            op("i", doc! {"_id": 7, "data": {"total": 5, "_id": 7}}),
        ),
        (
            "insert, sharded",
            doc! {"op": "i", "o": {"_id": 7, "region": "eu"}, "o2": key.clone()},
            op(
                "i",
                doc! {"documentKey": key.clone(), "_id": 7, "data": {"_id": 7, "region": "eu"}},
            ),
        ),
        (
            "insert, retryable: not a transaction",
            doc! {"op": "i", "o": {"_id": 7}, "o2": {"_id": 7}, "lsid": {"id": "s"}, "txnNumber": 4_i64, "stmtId": 0, "prevOpTime": {"ts": timestamp(1), "t": 1_i64}},
            op("i", doc! {"_id": 7, "data": {"_id": 7}}),
        ),
        (
            "update, $v: 1",
            doc! {"op": "u", "o2": {"_id": 7}, "o": {"$v": 1, "$set": {"a.b": 1}, "$unset": {"old": true}}},
            op(
                "u",
                doc! {"pending": true, "_id": 7, "updateDescription": description(doc! {"a.b": 1}, &["old"])},
            ),
        ),
        (
            "update, $v: 2, sharded",
            doc! {"op": "u", "o2": {"_id": 7, "region": "eu"}, "o": {"$v": 2, "diff": {"u": {"a": 1}, "d": {"b": false}}}},
            op(
                "u",
                doc! {"pending": true, "documentKey": {"_id": 7, "region": "eu"}, "_id": 7, "updateDescription": description(doc! {"a": 1}, &["b"])},
            ),
        ),
        (
            "replacement",
            doc! {"op": "u", "o2": {"_id": {"a": 1}}, "o": {"_id": {"a": 1}, "total": 9}},
            op(
                "u",
                doc! {"replace": true, "_id": {"a": 1}, "data": {"_id": {"a": 1}, "total": 9}},
            ),
        ),
        (
            "delete",
            doc! {"op": "d", "o": {"_id": 7}},
            op("d", doc! {"_id": 7}),
        ),
        (
            "delete, sharded",
            doc! {"op": "d", "o": key.clone()},
            op("d", doc! {"documentKey": key.clone(), "_id": 7}),
        ),
    ];
    for (name, fields, expected) in rows {
        for watched in ["*", "shop", "shop.orders crm.x"] {
            let (decoded, ops) = decode(watched, &entry(fields.clone()));
            assert_eq!(decoded.unwrap(), "Ops(1)", "{name}");
            assert_eq!(ops, std::slice::from_ref(&expected), "{name}");
        }
        let (decoded, ops) = decode("shop.other", &entry(fields));
        assert_eq!(decoded.unwrap(), "Skipped(Unwatched)", "{name}");
        assert!(ops.is_empty());
    }
}

#[test]
fn commands_act_on_a_namespace() {
    let uuid = "0";
    let rename =
        doc! {"renameCollection": "shop.a", "to": "crm.b", "stayTemp": false, "dropTarget": uuid};
    let turned =
        doc! {"renameCollection": "shop.a", "stayTemp": false, "to": "crm.b", "dropTarget": uuid};
    let renamed =
        doc! {"renameCollection": "shop.a", "to": "crm.b", "stayTemp": false, "dropTarget": uuid};
    let rows = [
        (
            "shop.a.b",
            doc! {"drop": "a.b"},
            Some(("shop.a.b", doc! {"drop": "a.b"})),
        ),
        (
            "shop",
            doc! {"drop": "a.b", "extra": 1},
            Some(("shop.a.b", doc! {"drop": "a.b"})),
        ),
        ("shop.a", doc! {"drop": "a.b"}, None),
        ("*", doc! {"drop": "system.views"}, None),
        (
            "shop",
            doc! {"dropDatabase": 1},
            Some(("shop", doc! {"dropDatabase": 1})),
        ),
        (
            "*",
            doc! {"dropDatabase": 1, "extra": 1},
            Some(("shop", doc! {"dropDatabase": 1})),
        ),
        ("shop.a crm", doc! {"dropDatabase": 1}, None),
        ("shop.a", rename.clone(), Some(("shop.a", rename.clone()))),
        ("crm.b", rename.clone(), Some(("shop.a", rename.clone()))),
        ("crm", rename.clone(), Some(("shop.a", rename.clone()))),
        ("shop.b", rename, None),
    ];
    for (watched, o, expected) in rows {
        let whole =
            entry(doc! {"op": "c", "ns": "shop.$cmd", "o": o.clone(), "o2": {"numRecords": 3}});
        let (decoded, ops) = decode(watched, &whole);
        let (count, expected) = match expected {
            None => ("Skipped(Unwatched)", vec![]),
            Some((namespace, data)) => (
                "Ops(1)",
                vec![
                    doc! {"operation": "c", "namespace": namespace, "opId": "9:3:0", "data": data},
                ],
            ),
        };
        assert_eq!(decoded.unwrap(), count, "{watched}: {o}");
        assert_eq!(ops, expected, "{watched}: {o}");
    }
    let whole = entry(doc! {"op": "c", "ns": "shop.$cmd", "o": turned});
    let (_, ops) = decode("shop", &whole);
    assert_eq!(raw(ops[0].get_document("data").unwrap()), raw(&renamed));
}

#[test]
fn what_is_nothing_to_deliver_says_why() {
    let drop_all = doc! {"op": "c", "ns": "shop.$cmd"};
    let with = |o: Document| {
        let mut fields = drop_all.clone();
        fields.insert("o", o);
        entry(fields)
    };
    let mut migrated = insert("shop.orders", 1);
    migrated.insert("fromMigrate", true);
    let mut history = doc! {"op": "n", "o": {"$sessionMigrateInfo": 1}};
    history.insert("o2", insert("shop.orders", 1));
    for (entry, expected) in [
        (
            entry(doc! {"op": "n", "ns": "", "o": {"msg": "periodic noop"}}),
            "NoOp",
        ),
        (entry(history), "NoOp"),
        (entry(migrated), "Skipped(Migration)"),
        (
            entry(insert("config.transactions", 1)),
            "Skipped(Unwatched)",
        ),
        (entry(insert("shop.system.views", 1)), "Skipped(Unwatched)"),
        (
            entry(doc! {"op": "xi", "o": {}}),
            r#"Skipped(Internal("xi"))"#,
        ),
        (
            with(doc! {"create": "a", "idIndex": {}}),
            r#"Skipped(Command("create"))"#,
        ),
        (
            with(doc! {"commitIndexBuild": "a"}),
            r#"Skipped(Command("commitIndexBuild"))"#,
        ),
        (
            with(doc! {"collMod": "a"}),
            r#"Skipped(Command("collMod"))"#,
        ),
        (
            command(
                doc! {"applyOps": [insert("shop.a", 1)], "partialTxn": true},
                session(None),
            ),
            "Skipped(PartialTransaction)",
        ),
        (
            command(
                doc! {"applyOps": [insert("shop.a", 1)], "prepare": true, "count": 3},
                session(Some(1)),
            ),
            "Skipped(PreparedTransaction)",
        ),
        (
            command(doc! {"abortTransaction": 1}, session(Some(1))),
            "Skipped(AbortedTransaction)",
        ),
        (command(doc! {"applyOps": []}, session(None)), "Ops(0)"),
    ] {
        let (decoded, ops) = decode("*", &entry);
        assert_eq!(
            (decoded.unwrap().as_str(), ops),
            (expected, vec![]),
            "{entry}"
        );
    }
}

/// Namespace, op id and index in the transaction of each op.
fn places(ops: &[Document]) -> Vec<(&str, &str, Option<i64>)> {
    let place = |op| -> (&str, &str, Option<i64>) {
        let op: &Document = op;
        let txn = op.get_document("txn").ok();
        if let Some(txn) = txn {
            assert_eq!(txn.get_document("lsid").unwrap(), &doc! {"id": "s"});
            assert_eq!(txn.get_i64("txnNumber").unwrap(), 4);
        }
        let index = txn.map(|txn| txn.get_i64("index").unwrap());
        (
            op.get_str("namespace").unwrap(),
            op.get_str("opId").unwrap(),
            index,
        )
    };
    ops.iter().map(place).collect()
}

#[test]
fn a_transaction_in_one_entry_is_unwound() {
    let inner = [
        insert("crm.x", 1),
        doc! {"op": "u", "ns": "shop.a", "o2": {"_id": 1}, "o": {"$v": 2, "diff": {"u": {"n": 1}}}},
        doc! {"op": "n", "ns": "shop.a", "o": {}},
        doc! {"op": "c", "ns": "shop.$cmd", "o": {"create": "b"}},
        doc! {"op": "d", "ns": "shop.a", "o": {"_id": 1}},
    ];
    let whole = command(
        doc! {"applyOps": inner.to_vec(), "count": 5_i64},
        session(None),
    );
    let (decoded, ops) = decode("shop", &whole);
    assert_eq!(decoded.unwrap(), "Ops(2)");
    assert_eq!(
        places(&ops),
        [("shop.a", "9:3:1", Some(1)), ("shop.a", "9:3:4", Some(4))]
    );
    assert!(ops[0].get_bool("pending").unwrap());
}

#[test]
fn grouped_writes_are_no_transaction() {
    let group = doc! {"applyOps": [insert("shop.a", 1), insert("crm.x", 2), insert("shop.a", 3)]};
    let mut retryable = session(Some(1));
    retryable.insert("multiOpType", 1);
    for (name, more) in [
        (
            "no session: a batched delete, or a user's applyOps",
            doc! {},
        ),
        ("vectored inserts of 8.0", doc! {"multiOpType": 1}),
        (
            "the same, retryable, after another write of the session",
            retryable,
        ),
    ] {
        let (decoded, ops) = decode("shop", &command(group.clone(), more));
        assert_eq!(decoded.unwrap(), "Ops(2)", "{name}");
        assert_eq!(
            places(&ops),
            [("shop.a", "9:3:0", None), ("shop.a", "9:3:2", None)],
            "{name}"
        );
    }
}

#[test]
fn apply_ops_nest() {
    let nest =
        |inner: Vec<Document>| doc! {"op": "c", "ns": "admin.$cmd", "o": {"applyOps": inner}};
    let nested = nest(vec![
        insert("shop.b", 2),
        nest(vec![]),
        nest(vec![insert("shop.c", 3)]),
    ]);
    let drop = doc! {"op": "c", "ns": "shop.$cmd", "o": {"drop": "e"}};
    let whole = command(
        doc! {"applyOps": [insert("shop.a", 1), nested, drop, insert("shop.d", 4)]},
        doc! {},
    );
    let (decoded, ops) = decode("shop", &whole);
    assert_eq!(decoded.unwrap(), "Ops(5)");
    let expected = [
        ("shop.a", "9:3:0", None),
        ("shop.b", "9:3:1", None),
        ("shop.c", "9:3:2", None),
        ("shop.e", "9:3:3", None),
        ("shop.d", "9:3:4", None),
    ];
    assert_eq!(places(&ops), expected);

    let deep = (0..NESTING_MAX).fold(insert("shop.a", 1), |inner, _| nest(vec![inner]));
    let whole = command(deep.get_document("o").unwrap().clone(), doc! {});
    assert_eq!(decode("shop", &whole).0.unwrap(), "Ops(1)");
    let whole = command(nest(vec![deep]).get_document("o").unwrap().clone(), doc! {});
    assert_eq!(decode("shop", &whole).0.unwrap_err().fault, Fault::TooDeep);
}

/// Adds parts, each from a reply of its own.
fn add_parts(chain: &Chain, parts: &[Document]) -> Vec<Document> {
    let mut decoder = Decoder::new(scope("shop"));
    let mut index = 0;
    let mut all = Vec::new();
    for part in parts {
        let mut builder = BatchBuilder::new(Bytes::from(raw(part)));
        let body = builder.body();
        index = decoder.part(&body, chain, index, &mut builder).unwrap();
        all.extend(ops(builder));
    }
    all
}

fn chain_of(entry: &Document) -> Chain {
    let mut builder = BatchBuilder::new(raw(entry).into());
    let body = builder.body();
    match Decoder::new(scope("shop")).entry(&body, &mut builder) {
        Ok(Decoded::Chain(chain)) => chain,
        other => panic!("{other:?}"),
    }
}

/// As an earlier entry than the others.
fn earlier(mut part: Document, increment: u32) -> Document {
    part.insert("ts", timestamp(increment));
    part.insert("wall", bson::DateTime::from_millis(1));
    part
}

#[test]
fn a_chain_is_delivered_at_its_end() {
    let first = earlier(
        command(
            doc! {"applyOps": [insert("shop.a", 1), insert("crm.x", 2)], "partialTxn": true},
            session(None),
        ),
        1,
    );
    let second = earlier(
        command(doc! {"applyOps": [], "partialTxn": true}, session(Some(1))),
        2,
    );
    let last = command(
        doc! {"applyOps": [insert("shop.b", 3)], "count": 3_i64},
        session(Some(2)),
    );
    let chain = chain_of(&last);
    assert_eq!(
        chain.prev_op_time,
        OpTime {
            timestamp: Timestamp::new(9, 2),
            term: 1
        }
    );
    assert!(!chain.commit);
    let links: Vec<_> = [&second, &first]
        .map(|part| Link::read(&raw(part)).unwrap())
        .to_vec();
    assert_eq!(links[0].op_time, chain.prev_op_time);
    assert_eq!(links[0].prev_op_time, Some(links[1].op_time));
    assert_eq!(links[1].prev_op_time, None);
    let ops = add_parts(&chain, &[first, second, last]);
    assert_eq!(
        places(&ops),
        [("shop.a", "9:3:0", Some(0)), ("shop.b", "9:3:2", Some(2))]
    );
}

#[test]
fn a_prepared_transaction_is_delivered_at_its_commit() {
    let prepared = earlier(
        command(
            doc! {"applyOps": [insert("crm.x", 1), insert("shop.a", 2)], "prepare": true},
            session(None),
        ),
        2,
    );
    let commit = command(
        doc! {"commitTransaction": 1, "commitTimestamp": timestamp(2)},
        session(Some(2)),
    );
    let chain = chain_of(&commit);
    assert!(chain.commit);
    assert_eq!(chain.wall_time_ms, Some(5));
    let ops = add_parts(&chain, &[prepared]);
    assert_eq!(places(&ops), [("shop.a", "9:3:1", Some(1))]);
}

#[test]
fn a_part_must_be_of_the_same_transaction() {
    let chain = chain_of(&command(doc! {"applyOps": []}, session(Some(2))));
    let mut other = session(None);
    other.insert("txnNumber", 5_i64);
    for part in [
        entry(insert("shop.a", 1)),
        command(doc! {"applyOps": []}, other),
        command(doc! {"applyOps": []}, doc! {}),
        command(doc! {"abortTransaction": 1}, session(None)),
    ] {
        let mut builder = BatchBuilder::new(raw(&part).into());
        let body = builder.body();
        let error = Decoder::new(scope("shop"))
            .part(&body, &chain, 0, &mut builder)
            .unwrap_err();
        assert_eq!(error.fault, Fault::NotAPart, "{part}");
    }
}

#[test]
fn a_faulty_entry_leaves_no_op_and_names_field_and_time() {
    let wrong = |field, kind| Fault::WrongType { field, kind };
    let with = |fields: Document| {
        let mut faulty = entry(insert("shop.a", 1));
        faulty.extend(fields);
        faulty
    };
    let without = |field: &str, mut from: Document| {
        from.remove(field);
        from
    };
    let string = oplet_sdk::raw::kind::STRING;
    let update = |o: Document| entry(doc! {"op": "u", "o2": {"_id": 1}, "o": o});
    for (faulty, fault) in [
        (
            with(doc! {"op": "zz"}),
            Fault::UnknownOperation("zz".into()),
        ),
        (with(doc! {"op": 1}), wrong("op", 0x10)),
        (with(doc! {"ns": 1}), wrong("ns", 0x10)),
        (with(doc! {"o": "x"}), wrong("o", string)),
        (with(doc! {"o2": "x"}), wrong("o2", string)),
        (with(doc! {"o2": {}}), Fault::Missing("o2._id")),
        (with(doc! {"o": {"n": 1}}), Fault::Missing("o._id")),
        (with(doc! {"t": "x"}), wrong("t", string)),
        (with(doc! {"lsid": "x"}), wrong("lsid", string)),
        (
            with(doc! {"prevOpTime": {"ts": 1}}),
            wrong("prevOpTime.ts", 0x10),
        ),
        (with(doc! {"fromMigrate": 1}), wrong("fromMigrate", 0x10)),
        (without("ns", with(doc! {})), Fault::Missing("ns")),
        (without("o", with(doc! {})), Fault::Missing("o")),
        (without("op", with(doc! {})), Fault::Missing("op")),
        (with(doc! {"op": "c", "o": {}}), Fault::Missing("o")),
        (
            with(doc! {"op": "c", "o": {"drop": 1}}),
            wrong("o.drop", 0x10),
        ),
        (
            with(doc! {"op": "c", "o": {"renameCollection": "a.b"}}),
            Fault::Missing("o.to"),
        ),
        (
            command(doc! {"commitTransaction": 1}, session(None)),
            Fault::Missing("prevOpTime"),
        ),
        (without("o2", update(doc! {"_id": 1})), Fault::Missing("o2")),
        (update(doc! {"$v": 2}), Fault::Update(UpdateFault::NoDiff)),
        // Of two ops the first was added already.
        (
            command(
                doc! {"applyOps": [insert("shop.a", 1), {"op": "i"}]},
                doc! {},
            ),
            Fault::Missing("ns"),
        ),
        (
            command(doc! {"applyOps": [insert("shop.a", 1), 5]}, doc! {}),
            wrong("applyOps", 0x10),
        ),
        (
            command(doc! {"applyOps": {}}, doc! {}),
            wrong("applyOps", 0x03),
        ),
    ] {
        let (decoded, ops) = decode("*", &faulty);
        let timestamp = Some(Timestamp::new(9, 3));
        assert_eq!(decoded, Err(EntryError { timestamp, fault }), "{faulty}");
        assert!(ops.is_empty(), "{faulty}");
    }
    let error = decode("*", &without("ts", with(doc! {}))).0.unwrap_err();
    assert_eq!(
        (error.timestamp, &error.fault),
        (None, &Fault::Missing("ts"))
    );
    assert_eq!(
        error.to_string(),
        "cannot decode an oplog entry without a timestamp"
    );
}

#[test]
fn optional_fields_may_be_missing_or_odd() {
    let mut old = entry(insert("shop.a", 1));
    old.remove("t");
    old.extend(doc! {"h": 5_i64, "wall": "?", "unknown": {"x": 1}});
    let old = raw(&old);
    let entry = Entry::read(&old).unwrap();
    assert_eq!(entry.link.op_time.term, -1);
    assert_eq!(entry.wall_time_ms, None);
}

proptest::proptest! {
    /// Damaged bytes are refused or decoded to ops that can be encoded; nothing panics.
    #[test]
    fn damage_is_no_panic(at: proptest::sample::Index, byte: u8) {
        let inner = [
            insert("shop.a", 1),
            doc! {"op": "u", "ns": "shop.a", "o2": {"_id": 1}, "o": {"$v": 2, "diff": {"u": {"n": 1}}}},
            doc! {"op": "c", "ns": "shop.$cmd", "o": {"renameCollection": "shop.a", "to": "shop.b"}},
        ];
        let mut bytes = raw(&command(doc! {"applyOps": inner.to_vec()}, session(None)));
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let mut builder = BatchBuilder::new(bytes.into());
        let body = builder.body();
        let decoded = Decoder::new(scope("*")).entry(&body, &mut builder);
        if decoded.is_err() {
            proptest::prop_assert!(builder.is_empty());
        }
        let batch = builder.finish(SourceKind::Oplog, Position::Time(Timestamp::default()), true);
        for op in batch.ops() {
            op.encode(DocumentState::NotAsked, &mut Vec::new());
        }
    }
}
