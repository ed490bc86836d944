//! Transactions over several collections, and over several oplog entries.

use std::collections::HashSet;

use anyhow::Result;
use bson::{Document, doc};
use mongodb::ClientSession;

use super::*;

/// Enough that the server needs two oplog entries, which hold 16 MB at most.
const LARGE_DOCUMENTS: i32 = 20;
const LARGE_DOCUMENT_BYTES: usize = 1 << 20;

/// Collections that exist: a transaction that creates them is another kind of entry.
async fn begin(scene: &Scene) -> Result<ClientSession> {
    scene.insert("a", [0]).await?;
    scene.insert("b", [0]).await?;
    let mut session = scene.client.start_session().await?;
    session.start_transaction().await?;
    Ok(session)
}

/// Seven ops in turn, of every kind, in two collections.
async fn write(scene: &Scene, session: &mut ClientSession) -> Result<()> {
    let (a, b) = (scene.collection("a"), scene.collection("b"));
    let zero = || doc! { "_id": 0 };
    let change = doc! { "$set": { "n": 1 } };
    a.insert_one(doc! { "_id": 1 })
        .session(&mut *session)
        .await?;
    b.insert_one(doc! { "_id": 1 })
        .session(&mut *session)
        .await?;
    a.update_one(zero(), change.clone())
        .session(&mut *session)
        .await?;
    b.update_one(zero(), change).session(&mut *session).await?;
    let whole = doc! { "whole": true };
    a.replace_one(zero(), whole).session(&mut *session).await?;
    b.delete_one(doc! { "_id": 1 })
        .session(&mut *session)
        .await?;
    a.insert_one(doc! { "_id": 2 })
        .session(&mut *session)
        .await?;
    Ok(())
}

/// The op ids of those of `ops` that are in a collection.
fn op_ids_in<'a>(scene: &Scene, ops: &'a Ops, collection: &str) -> Vec<&'a str> {
    let namespace = scene.namespace(collection);
    let ops = ops.0.iter().filter(|op| op["namespace"] == namespace);
    ops.map(|op| op["opId"].as_str().expect("it is text"))
        .collect()
}

#[tokio::test]
async fn a_transaction_is_told_the_same_whatever_of_it_is_watched() -> Result<()> {
    let scene = Scene::shared("txn").await?;
    let mut session = begin(&scene).await?;
    write(&scene, &mut session).await?;
    session.commit_transaction().await?;
    scene.insert("a", [3]).await?;
    let whole = same(&scene, &[scene.name()]).await?;
    let expected = [
        "i a 0", "i b 0", "i a 1", "i b 1", "u a 0", "u b 0", "r a 0", "d b 1", "i a 2", "i a 3",
    ];
    assert_eq!(gist(&scene, &whole), expected);
    let inside = &whole.0[2..9];
    for (index, op) in inside.iter().enumerate() {
        assert_eq!(op["txn"]["index"]["$numberLong"], index.to_string());
        assert_eq!(op["txn"]["txnNumber"], inside[0]["txn"]["txnNumber"]);
        assert_eq!(op["timestamp"], inside[0]["timestamp"]);
    }
    assert!(whole.0[9].get("txn").is_none());
    for collection in ["a", "b"] {
        let part = same(&scene, &[&scene.namespace(collection)]).await?;
        assert_eq!(part.op_ids(), op_ids_in(&scene, &whole, collection));
    }
    let both = [scene.namespace("a"), scene.namespace("b")];
    let both = same(&scene, &both.each_ref().map(String::as_str)).await?;
    assert_eq!(both.op_ids(), whole.op_ids());
    Ok(())
}

#[tokio::test]
async fn an_aborted_transaction_is_told_by_neither() -> Result<()> {
    let scene = Scene::shared("abort").await?;
    let mut session = begin(&scene).await?;
    write(&scene, &mut session).await?;
    session.abort_transaction().await?;
    scene.insert("a", [3]).await?;
    let ops = same(&scene, &[scene.name()]).await?;
    assert_eq!(gist(&scene, &ops), ["i a 0", "i b 0", "i a 3"]);
    Ok(())
}

#[tokio::test]
async fn a_transaction_that_creates_its_collections_is_told_the_same() -> Result<()> {
    let scene = Scene::shared("creating").await?;
    let mut session = scene.client.start_session().await?;
    session.start_transaction().await?;
    for name in ["a", "b"] {
        let collection = scene.collection(name);
        let insert = collection.insert_one(doc! { "_id": 1 });
        insert.session(&mut session).await?;
    }
    session.commit_transaction().await?;
    let whole = same(&scene, &[scene.name()]).await?;
    assert_eq!(gist(&scene, &whole), ["i a 1", "i b 1"]);
    let part = same(&scene, &[&scene.namespace("b")]).await?;
    assert_eq!(part.op_ids(), op_ids_in(&scene, &whole, "b"));
    Ok(())
}

#[tokio::test]
async fn a_transaction_of_several_oplog_entries_is_told_the_same() -> Result<()> {
    let scene = Scene::shared("large").await?;
    let mut session = begin(&scene).await?;
    let text = "x".repeat(LARGE_DOCUMENT_BYTES);
    let collections = [scene.collection("a"), scene.collection("b")];
    for id in 1..=LARGE_DOCUMENTS {
        let insert = collections[id as usize % 2].insert_one(doc! { "_id": id, "text": &text });
        insert.session(&mut session).await?;
    }
    let change = doc! { "$set": { "last": true } };
    let update = collections[0].update_one(doc! { "_id": 0 }, change);
    update.session(&mut session).await?;
    session.commit_transaction().await?;

    let oplog = scene.client.database("local");
    let oplog = oplog.collection::<Document>("oplog.rs");
    let entries = oplog.count_documents(doc! { "o.applyOps.ns": scene.namespace("a") });
    assert!(entries.await? > 1, "the transaction is too small");

    let whole = same(&scene, &[scene.name()]).await?;
    assert_eq!(whole.0.len(), 2 + LARGE_DOCUMENTS as usize + 1);
    assert_eq!(whole.0[2]["data"]["text"], text);
    let distinct: HashSet<_> = whole.op_ids().into_iter().collect();
    assert_eq!(distinct.len(), whole.0.len());
    let part = same(&scene, &[&scene.namespace("b")]).await?;
    assert_eq!(part.op_ids(), op_ids_in(&scene, &whole, "b"));
    Ok(())
}
