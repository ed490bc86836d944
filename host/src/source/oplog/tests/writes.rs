//! Plain entries: writes, commands, and what is nothing to deliver.

use bson::doc;

use super::*;

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
fn a_delta_needs_no_document() {
    let delta = Reading {
        updates: Updates::Delta,
        ..Reading::default()
    };
    let diff = doc! {"u": {"n": 2}, "i": {"new": 1}, "d": {"old": false}, "sa": {"a": true, "l": 2, "u0": 9}};
    let update = doc! {"op": "u", "o2": {"_id": 7}, "o": {"$v": 2, "diff": diff}};
    let (_, ops) = decode_as(&delta, "*", &entry(update));
    let described = doc! {
        "updatedFields": {"n": 2, "new": 1, "a.0": 9}, "removedFields": ["old"],
        "truncatedArrays": [{"field": "a", "newSize": 2}], "disambiguatedPaths": {},
    };
    assert_eq!(
        ops,
        [
            doc! {"operation": "u", "namespace": "shop.orders", "opId": "9:3:0", "_id": 7, "updateDescription": described}
        ]
    );
    let replace = doc! {"op": "u", "o2": {"_id": 7}, "o": {"_id": 7, "total": 9}};
    let (_, ops) = decode_as(&delta, "*", &entry(replace));
    assert_eq!(
        ops[0].get_document("data").unwrap(),
        &doc! {"_id": 7, "total": 9}
    );
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
