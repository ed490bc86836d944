//! Commands, as each version of the server writes them.
//!
//! Each fixture says where it is from. [`SEEN`]: its shape is that of an entry in the oplog of a 6.0.5
//! server (a replica set of one member), with short values for UUIDs and other options. All others were
//! never seen on a server: they are made from what the server's own source says.

use bson::doc;

use super::*;

/// From the oplog of a server, not only from its source.
const SEEN: &str = "6.0.5";

const ALL: Reading = Reading {
    commands: Commands::All,
    full_document: crate::source::FullDocument::Lookup,
    updates: Updates::Lookup,
    before: crate::source::Before::Off,
    await_time: std::time::Duration::ZERO,
    comment: None,
};

/// A command of the database `shop`, with that second body.
fn of_shop(o: Document, o2: Option<Document>) -> Document {
    let mut fields = doc! {"op": "c", "ns": "shop.$cmd", "ui": "u", "o": o};
    if let Some(o2) = o2 {
        fields.insert("o2", o2);
    }
    entry(fields)
}

/// The namespace and the data of the one op.
fn told(entry: &Document) -> (String, Document) {
    let (decoded, ops) = decode_as(&ALL, "*", entry);
    assert_eq!(decoded.unwrap(), "Ops(1)", "{entry}");
    assert_eq!(ops[0].get_str("operation").unwrap(), "c");
    assert!(!ops[0].contains_key("_id"), "{entry}");
    let namespace = ops[0].get_str("namespace").unwrap().to_owned();
    (namespace, ops[0].get_document("data").unwrap().clone())
}

#[test]
fn what_is_done_to_a_collection_is_told() {
    let id_index = || doc! {"v": 2, "key": {"_id": 1}, "name": "_id_"};
    let by_n = || doc! {"v": 2, "key": {"n": 1}, "name": "n_1"};
    let by_m = || doc! {"v": 2, "unique": true, "key": {"m": -1}, "name": "m"};
    let rows = [
        (
            "create",
            SEEN,
            of_shop(doc! {"create": "a.b", "idIndex": id_index()}, None),
            doc! {"create": "a.b", "idIndex": id_index()},
        ),
        (
            "create, with options before the index",
            SEEN,
            of_shop(
                doc! {"create": "a.b", "capped": true, "size": 4096, "idIndex": id_index()},
                None,
            ),
            doc! {"create": "a.b", "capped": true, "size": 4096, "idIndex": id_index()},
        ),
        (
            "createIndexes of an empty collection: the entry is the index",
            SEEN,
            of_shop(
                doc! {"createIndexes": "a.b", "v": 2, "key": {"n": 1}, "name": "n_1"},
                None,
            ),
            doc! {"createIndexes": "a.b", "indexes": [by_n()]},
        ),
        (
            "the commit of a build in two phases, from 4.4 on",
            SEEN,
            of_shop(
                doc! {"commitIndexBuild": "a.b", "indexBuildUUID": "b", "indexes": [by_n(), by_m()]},
                None,
            ),
            doc! {"createIndexes": "a.b", "indexes": [by_n(), by_m()]},
        ),
        (
            "dropIndexes",
            SEEN,
            of_shop(doc! {"dropIndexes": "a.b", "index": "n_1"}, Some(by_n())),
            doc! {"dropIndexes": "a.b", "indexes": [by_n()]},
        ),
        (
            "dropIndexes by another name, without the index",
            "before 3.6, from db/repl/oplog.cpp",
            of_shop(doc! {"deleteIndexes": "a.b", "index": "n_1"}, None),
            doc! {"deleteIndexes": "a.b", "index": "n_1"},
        ),
        (
            "collMod",
            SEEN,
            of_shop(
                doc! {"collMod": "a.b", "validationLevel": "off"},
                Some(doc! {"collectionOptions_old": {"uuid": "u", "validationLevel": "strict"}}),
            ),
            doc! {"collMod": "a.b", "validationLevel": "off", "stateBeforeChange": {"collectionOptions": {"uuid": "u", "validationLevel": "strict"}}},
        ),
        (
            "collMod of an index",
            SEEN,
            of_shop(
                doc! {"collMod": "a.b", "index": {"name": "n_1", "hidden": true}},
                Some(
                    doc! {"collectionOptions_old": {"uuid": "u"}, "indexOptions_old": {"hidden": false}},
                ),
            ),
            doc! {"collMod": "a.b", "index": {"name": "n_1", "hidden": true}, "stateBeforeChange": {"collectionOptions": {"uuid": "u"}, "indexOptions": {"hidden": false}}},
        ),
        (
            // 6.0.5 tells of a copy that is renamed.
            "convertToCapped",
            "3.4 and before, from db/repl/oplog.cpp",
            of_shop(doc! {"convertToCapped": "a.b", "size": 4096}, None),
            doc! {"convertToCapped": "a.b", "size": 4096},
        ),
        (
            "emptycapped",
            SEEN,
            of_shop(doc! {"emptycapped": "a.b"}, None),
            doc! {"emptycapped": "a.b"},
        ),
        (
            "importCollection names the whole namespace",
            "from db/repl/oplog_entry.idl",
            of_shop(doc! {"importCollection": "shop.a.b", "numRecords": 1}, None),
            doc! {"importCollection": "shop.a.b", "numRecords": 1},
        ),
        (
            "one that is not known",
            "made up",
            of_shop(doc! {"notYetInvented": "a.b", "x": 1}, None),
            doc! {"notYetInvented": "a.b", "x": 1},
        ),
    ];
    for (name, from, entry, data) in rows {
        let name = format!("{name} ({from})");
        assert_eq!(told(&entry), ("shop.a.b".into(), data), "{name}");
        for (watched, ops) in [("shop.a.b", 1), ("shop", 1), ("shop.a crm", 0)] {
            assert_eq!(decode_as(&ALL, watched, &entry).1.len(), ops, "{name}");
        }
        // By default, commands are told after which documents are gone or elsewhere.
        let (decoded, ops) = decode("*", &entry);
        let leaves_data = ["create", "commit", "drop", "delete", "collMod"];
        let command = entry.get_document("o").unwrap().keys().next().unwrap();
        match leaves_data.iter().any(|begin| command.starts_with(begin)) {
            true => assert_eq!(decoded.unwrap(), format!("Skipped(Command({command:?}))")),
            false => assert_eq!(ops.len(), 1, "{name}"),
        }
    }
}

#[test]
fn a_collection_may_be_called_as_its_database() {
    let create = of_shop(doc! {"create": "shop.a"}, None);
    assert_eq!(told(&create).0, "shop.shop.a");
    let drop = of_shop(doc! {"drop": "shop.a"}, None);
    assert_eq!(told(&drop).0, "shop.shop.a");
}

#[test]
fn an_unknown_command_of_no_collection_is_one_of_its_database() {
    let unknown = of_shop(doc! {"notYetInvented": 1, "x": 2}, None);
    let expected = ("shop".into(), doc! {"notYetInvented": 1, "x": 2});
    assert_eq!(told(&unknown), expected);
    assert_eq!(decode_as(&ALL, "shop.a", &unknown).1.len(), 0);
    for field in ["drop", "create", "createIndexes", "dropIndexes", "collMod"] {
        let (decoded, _) = decode_as(&ALL, "*", &of_shop(doc! {field: 1}, None));
        assert!(decoded.is_err(), "{field}");
    }
}

#[test]
fn what_comes_before_the_end_of_a_build_is_not_told() {
    let indexes = || vec![doc! {"v": 2, "key": {"n": 1}, "name": "n_1"}];
    let shards = "8.x, what shards keep of databases, from db/repl/oplog_entry.idl";
    let cause = doc! {"ok": false, "code": 11000};
    for (from, ns, o) in [
        (
            SEEN,
            "shop.$cmd",
            doc! {"startIndexBuild": "a", "indexBuildUUID": "b", "indexes": indexes()},
        ),
        (
            SEEN,
            "shop.$cmd",
            doc! {"abortIndexBuild": "a", "indexBuildUUID": "b", "indexes": indexes(), "cause": cause},
        ),
        // Of the command `dbCheck`.
        (
            SEEN,
            "admin.$cmd",
            doc! {"dbCheck": "admin.$cmd", "type": "start"},
        ),
        (SEEN, "shop.a", doc! {"dbCheck": "shop.a", "type": "batch"}),
        (
            shards,
            "shop.$cmd",
            doc! {"createDatabaseMetadata": {"db": "shop"}},
        ),
        (shards, "shop.$cmd", doc! {"dropDatabaseMetadata": "shop"}),
    ] {
        let whole = entry(doc! {"op": "c", "ns": ns, "o": o.clone()});
        let (decoded, ops) = decode_as(&ALL, "*", &whole);
        let decoded = decoded.unwrap();
        let is_skipped = decoded.starts_with("Skipped(Command(") || decoded == "Skipped(Unwatched)";
        assert!(is_skipped, "{o} ({from}): {decoded}");
        assert!(ops.is_empty(), "{o} ({from})");
    }
}

#[test]
fn nothing_of_the_servers_own_is_told() {
    let images = "5.0 and later, from db/repl/image_collection_entry.idl";
    for (from, ns, o) in [
        (SEEN, "shop.$cmd", doc! {"create": "system.buckets.weather"}),
        (SEEN, "shop.$cmd", doc! {"drop": "system.views"}),
        (images, "config.$cmd", doc! {"create": "image_collection"}),
        (SEEN, "admin.$cmd", doc! {"create": "system.keys"}),
    ] {
        let whole = entry(doc! {"op": "c", "ns": ns, "o": o});
        let (decoded, ops) = decode_as(&ALL, "*", &whole);
        assert_eq!(decoded.unwrap(), "Skipped(Unwatched)", "{whole} ({from})");
        assert!(ops.is_empty());
    }
}

/// From 6.0 on shards tell change streams with no-ops. Never seen on a server: from
/// `notifyChangeStreamsOnShardCollection` and its neighbours in db/s.
#[test]
fn sharding_is_told_by_no_ops() {
    let o2 = doc! {"shardCollection": "shop.a", "shardKey": {"n": 1}, "unique": false};
    let message = doc! {"msg": {"shardCollection": "shop.a"}};
    let no_op = entry(doc! {"op": "n", "ns": "shop.a", "o": message, "o2": o2.clone()});
    assert_eq!(told(&no_op), ("shop.a".into(), o2));
    assert_eq!(decode("*", &no_op).0.unwrap(), "NoOp");
    assert_eq!(decode_as(&ALL, "crm", &no_op).0.unwrap(), "NoOp");
    // History of retryable writes that came with a chunk (db/s/session_catalog_migration_destination.cpp),
    // the end of a transaction (8.0, db/transaction), and what a findAndModify returned before it was kept
    // elsewhere. None was seen on a server.
    for o2 in [
        insert("shop.a", 1),
        doc! {"endOfTransaction": ["shop.a"], "txnNumber": 4_i64},
        doc! {},
    ] {
        let no_op = entry(doc! {"op": "n", "ns": "shop.a", "o": {"_id": 1}, "o2": o2});
        assert_eq!(decode_as(&ALL, "*", &no_op).0.unwrap(), "NoOp", "{no_op}");
    }
}
