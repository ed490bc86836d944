//! Oplog entries, as mongodump writes them.

use bson::{Document, RawDocumentBuf, doc};
use futures_util::TryStreamExt as _;
use oplet_testkit::History;
use serde_json::Value;

use super::Folder;
use crate::modules::{Ended, Scene};

/// The entries of the oplog from a time on, as a dump has them.
async fn dump(scene: &Scene) -> Vec<u8> {
    let oplog = scene
        .client
        .database("local")
        .collection::<RawDocumentBuf>("oplog.rs");
    let (seconds, increment) = scene.start.split_once(':').unwrap();
    let start = bson::Timestamp {
        time: seconds.parse().unwrap(),
        increment: increment.parse().unwrap(),
    };
    let entries = oplog.find(doc! {"ts": {"$gt": start}}).await.unwrap();
    let entries: Vec<RawDocumentBuf> = entries.try_collect().await.unwrap();
    entries
        .iter()
        .flat_map(|entry| entry.as_bytes().to_vec())
        .collect()
}

/// Without what only a server can tell: the documents of updates.
fn without_looked_up(op: &str) -> Value {
    let mut op: Value = serde_json::from_str(op).unwrap();
    let fields = op.as_object_mut().unwrap();
    if fields["operation"] == "u" && !fields.contains_key("replace") {
        fields.shift_remove("data");
    }
    op
}

#[tokio::test]
async fn a_dump_of_the_oplog_is_replayed_as_the_oplog_is_run() {
    let scene = Scene::new("dump").await;
    let mut history = History::new(oplet_testkit::history::seed(), &scene.database);
    history.run(&scene.client, 400).await.unwrap();
    // A transaction of several entries: each holds at most 16 MiB.
    let mut session = scene.client.start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    let things = scene.collection("things");
    let filler = "x".repeat(9 << 20);
    for id in 0..3 {
        let insert = things.insert_one(doc! {"_id": format!("large {id}"), "filler": &filler});
        insert.session(&mut session).await.unwrap();
    }
    session.commit_transaction().await.unwrap();

    let folder = Folder::new();
    folder.write("oplog.bson", dump(&scene).await);
    let arguments = [
        "echo.wasm",
        "oplog.bson",
        "--format",
        "canonical",
        "--watch",
        &scene.database,
    ];
    let replayed = folder.replay(&arguments).await.with_code(0);
    let tailed = scene.tail(&["--source", "oplog", "--format", "canonical"]);
    let tailed = Ended::of(tailed).await.with_code(0).stdout;
    assert!(tailed.len() >= 200, "{}", tailed.len());
    assert_eq!(replayed.stdout.len(), tailed.len());
    for (ours, theirs) in replayed.stdout.iter().zip(&tailed) {
        let (ours, theirs) = (without_looked_up(ours), without_looked_up(theirs));
        let shown = |op: &Value| op.to_string().chars().take(2_000).collect::<String>();
        assert!(ours == theirs, "{}\n{}", shown(&ours), shown(&theirs));
    }
    replayed.says(&["without document", "`oplet record` looks them up"]);

    // What begins inside the transaction gives the rest.
    let entries = dump(&scene).await;
    let is_partial = |entry: &Document| {
        let command = entry.get_document("o");
        command.is_ok_and(|o| o.contains_key("partialTxn"))
    };
    let mut rest = &entries[..];
    while !rest.is_empty() {
        let before = rest;
        if is_partial(&Document::from_reader(&mut rest).unwrap()) {
            folder.write("rest.bson", rest);
            break;
        }
        assert!(rest.len() < before.len());
    }
    let rest = folder.replay(&["echo.wasm", "rest.bson"]).await;
    rest.says(&["an earlier part of the transaction is not there"]);
}
