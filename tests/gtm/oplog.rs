//! The oplog as a source. Entries that the server at hand never writes come from a collection in the
//! oplog's stead; each is as the named version writes it.

mod positions;
mod transactions;
mod updates;

use anyhow::Result;
use bson::{Document, doc};

use crate::{
    modules::{self, Handwritten},
    tailing::{
        Ops, Scene,
        stand_in::{StandIn, with},
    },
};

/// What each op says in short: its letter and `_id`, or its command.
fn gist(ops: &Ops) -> Vec<String> {
    let gist = |op: &serde_json::Value| match op["operation"].as_str() {
        Some("c") => op["data"].as_object().map_or_else(String::new, |data| {
            data.keys().next().cloned().unwrap_or_default()
        }),
        letter => {
            let id = &op["_id"]["$numberInt"];
            format!(
                "{} {}",
                letter.unwrap_or_default(),
                id.as_str().unwrap_or_default()
            )
        }
    };
    ops.0.iter().map(gist).collect()
}

#[tokio::test]
async fn a04_changes_of_documents_drops_and_the_end_of_a_database() -> Result<()> {
    let scene = Scene::shared("a04").await?;
    let collection = scene.collection("c");
    collection.insert_one(doc! { "_id": 1, "n": 1 }).await?;
    let change = doc! { "$set": { "n": 2 } };
    collection.update_one(doc! {}, change).await?;
    collection.replace_one(doc! {}, doc! { "n": 3 }).await?;
    collection.delete_one(doc! {}).await?;
    collection.drop().await?;
    scene.insert("d", [2]).await?;
    scene.database.drop().await?;
    let ops = scene.ops("oplog", &[scene.name()]).await?;
    let expected = [
        "i 1",
        "u 1",
        "u 1",
        "d 1",
        "drop",
        "i 2",
        "drop",
        "dropDatabase",
    ];
    assert_eq!(gist(&ops), expected);
    assert_eq!(ops.0[0]["data"]["n"]["$numberInt"], "1");
    assert_eq!(ops.0[2]["replace"], true);
    assert_eq!(ops.0[4]["namespace"], scene.namespace("c"));
    assert_eq!(ops.0[4]["data"]["drop"], "c");
    assert_eq!(ops.0[7]["namespace"], scene.name());
    assert_eq!(ops.0[7]["data"]["dropDatabase"]["$numberInt"], "1");
    Ok(())
}

#[tokio::test]
async fn a21_commands_are_delivered_and_can_be_filtered() -> Result<()> {
    let scene = modules::Scene::new("a21").await;
    let database = scene.client.database(&scene.database);
    let run = async |command: Document| database.run_command(command).await;
    let by_n = doc! { "key": { "n": 1 }, "name": "n" };
    let by_m = doc! { "key": { "m": 1 }, "name": "m" };
    run(doc! { "create": "a", "capped": true, "size": 4096 }).await?;
    run(doc! { "createIndexes": "a", "indexes": [&by_n] }).await?;
    run(doc! { "insert": "a", "documents": [{ "_id": 1 }] }).await?;
    // In two phases, since there is a document.
    run(doc! { "createIndexes": "a", "indexes": [by_m] }).await?;
    run(doc! { "collMod": "a", "index": { "name": "n", "hidden": true } }).await?;
    run(doc! { "dropIndexes": "a", "index": "n" }).await?;
    let (from, to) = (
        format!("{}.a", scene.database),
        format!("{}.b", scene.database),
    );
    let rename = doc! { "renameCollection": &from, "to": &to };
    scene.client.database("admin").run_command(rename).await?;
    let expected = [
        format!("create {from}"),
        format!("createIndexes {from}"),
        format!("createIndexes {from}"),
        format!("collMod {from}"),
        format!("dropIndexes {from}"),
        format!("renameCollection {from}"),
    ];
    let commands = Handwritten::new("commands").only('c').without_handle();
    let commands = scene.module("commands", &commands.text());
    for source in ["oplog", "change-stream"] {
        for (asked, expected) in [("all", &expected[..]), ("data", &expected[5..])] {
            let flags = [
                "--source",
                source,
                "--commands",
                asked,
                "--ordering",
                "oplog",
            ];
            let ended = scene.run_over(&[&commands], flags).await.with_code(0);
            let documents = ended.documents();
            let gist = documents.iter().map(|op| {
                let name = op["data"].as_object().and_then(|data| data.keys().next());
                format!(
                    "{} {}",
                    name.map_or("", String::as_str),
                    op["namespace"].as_str().unwrap_or("")
                )
            });
            assert_eq!(gist.collect::<Vec<_>>(), expected, "{source}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a22_chunks_that_move_between_shards_are_hidden() -> Result<()> {
    let mut oplog = StandIn::new("a22").await?;
    oplog.add_insert(1).await?;
    let migrated = doc! { "fromMigrate": true };
    let moved = with(oplog.insert(2), migrated.clone());
    oplog.add(moved).await?;
    let namespace = oplog.scene.namespace("c");
    let left = doc! { "op": "d", "ns": &namespace, "o": { "_id": 1 } };
    oplog.add(with(left, migrated.clone())).await?;
    // Inside a group, too; the others of it keep their places.
    let inner = [with(oplog.insert(3), migrated.clone()), oplog.insert(4)];
    let grouped = doc! { "applyOps": inner.to_vec() };
    oplog
        .add(doc! { "op": "c", "ns": "admin.$cmd", "o": grouped })
        .await?;
    let command = format!("{}.$cmd", oplog.scene.name());
    let create = doc! { "op": "c", "ns": command, "o": { "create": "c" } };
    oplog.add(with(create, migrated)).await?;
    oplog.add_insert(5).await?;
    let (ops, _) = oplog.read_with(&["--commands", "all"]).await?;
    assert_eq!(gist(&ops), ["i 1", "i 4", "i 5"]);
    assert_eq!(ops.op_ids()[1], "4:1:1");
    Ok(())
}
