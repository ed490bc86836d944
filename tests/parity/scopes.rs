//! Every kind of op, whatever is watched.

use anyhow::Result;
use bson::{Bson, Document, doc, oid::ObjectId};
use oplet_testkit::{Options, ReplicaSet, database_name};

use super::*;

/// Every kind of write into `a` and `b`, then drops, renames, and a beginning from new.
async fn write_everything(scene: &Scene) -> Result<()> {
    let (a, b) = (scene.collection("a"), scene.collection("b"));
    let command = async |command: Document| scene.database.run_command(command).await;
    a.insert_one(doc! { "_id": 1, "n": 1, "list": [1, 2, 3] })
        .await?;
    b.insert_many([doc! { "_id": 1 }, doc! { "_id": 2 }])
        .await?;
    let changes = doc! { "$set": { "n": 2, "new.deep": 1 }, "$pop": { "list": 1 } };
    a.update_one(doc! { "_id": 1 }, changes).await?;
    a.replace_one(doc! { "_id": 1 }, doc! { "whole": true })
        .await?;
    let upsert = doc! { "q": { "_id": 2 }, "u": { "$set": { "n": 1 } }, "upsert": true };
    command(doc! { "update": "a", "updates": [upsert] }).await?;
    let nothing = doc! { "$set": { "n": 1 } };
    a.update_one(doc! { "_id": 2 }, nothing).await?;
    b.update_many(doc! {}, doc! { "$set": { "many": true } })
        .await?;
    b.delete_one(doc! { "_id": 1 }).await?;
    a.delete_many(doc! {}).await?;
    command(doc! { "createIndexes": "b", "indexes": [{ "key": { "n": 1 }, "name": "n" }] }).await?;
    command(doc! { "collMod": "b", "validationLevel": "moderate" }).await?;
    b.drop().await?;
    b.insert_one(doc! { "_id": 3 }).await?;
    rename(scene, "a", "c", false).await?;
    a.insert_one(doc! { "_id": 4 }).await?;
    rename(scene, "a", "b", true).await?;
    a.insert_one(doc! { "_id": 5 }).await?;
    command(doc! { "create": "view", "viewOn": "a", "pipeline": [] }).await?;
    scene.database.drop().await?;
    a.insert_one(doc! { "_id": 6 }).await?;
    b.insert_one(doc! { "_id": 6 }).await?;
    Ok(())
}

async fn rename(scene: &Scene, from: &str, to: &str, drop_target: bool) -> Result<()> {
    let (from, to) = (scene.namespace(from), scene.namespace(to));
    let rename = doc! { "renameCollection": from, "to": to, "dropTarget": drop_target };
    scene.client.database("admin").run_command(rename).await?;
    Ok(())
}

#[tokio::test]
async fn a_collection_is_told_the_same_over_drops_and_renames() -> Result<()> {
    let scene = Scene::shared("coll").await?;
    write_everything(&scene).await?;
    let a = same(&scene, &[&scene.namespace("a")]).await?;
    let expected = [
        "i a 1",
        "u a 1",
        "r a 1",
        "i a 2",
        "d a 1",
        "d a 2",
        "renameCollection a",
        "i a 4",
        "renameCollection a",
        "i a 5",
        "drop a",
        "i a 6",
    ];
    assert_eq!(gist(&scene, &a), expected);
    let b = same(&scene, &[&scene.namespace("b")]).await?;
    let expected = [
        "i b 1",
        "i b 2",
        "u b 1",
        "u b 2",
        "d b 1",
        "drop b",
        "i b 3",
        "renameCollection a",
        "drop b",
        "i b 6",
    ];
    assert_eq!(gist(&scene, &b), expected);
    Ok(())
}

#[tokio::test]
async fn a_database_is_told_the_same_over_its_drop() -> Result<()> {
    let scene = Scene::shared("base").await?;
    write_everything(&scene).await?;
    let all = same(&scene, &[scene.name()]).await?;
    let mut gist = gist(&scene, &all);
    // The order in which a database's collections are dropped is the server's own.
    let dropped = gist
        .iter()
        .position(|op| op == "dropDatabase -")
        .expect("it was dropped");
    gist[dropped - 3..dropped].sort();
    let expected = [
        "i a 1",
        "i b 1",
        "i b 2",
        "u a 1",
        "r a 1",
        "i a 2",
        "u b 1",
        "u b 2",
        "d b 1",
        "d a 1",
        "d a 2",
        "drop b",
        "i b 3",
        "renameCollection a",
        "i a 4",
        "renameCollection a",
        "i a 5",
        "drop a",
        "drop b",
        "drop c",
        "dropDatabase -",
        "i a 6",
        "i b 6",
    ];
    assert_eq!(gist, expected);
    Ok(())
}

#[tokio::test]
async fn several_namespaces_are_told_the_same_in_one_stream() -> Result<()> {
    let scene = Scene::shared("several").await?;
    let other = scene.client.database(&database_name("other"));
    other.collection("x").insert_one(doc! { "_id": 1 }).await?;
    write_everything(&scene).await?;
    other.collection("x").insert_one(doc! { "_id": 2 }).await?;
    let (b, c) = (scene.namespace("b"), scene.namespace("c"));
    let ops = same(&scene, &[&b, &c]).await?;
    let expected = [
        "i b 1",
        "i b 2",
        "u b 1",
        "u b 2",
        "d b 1",
        "drop b",
        "i b 3",
        "renameCollection a",
        "renameCollection a",
    ];
    assert_eq!(gist(&scene, &ops)[..9], expected);
    let ops = same(&scene, &[&b, other.name()]).await?;
    assert_eq!(ops.0[0]["namespace"], format!("{}.x", other.name()));
    assert_eq!(ops.0.len(), 12);
    Ok(())
}

#[tokio::test]
async fn a_deployment_is_told_the_same() -> Result<()> {
    // Nobody else may write there meanwhile.
    let server = ReplicaSet::start(Options::default()).await?;
    let scene = Scene::on(&server, "deployment").await?;
    let other = Scene::on(&server, "other").await?;
    other.insert("x", [1]).await?;
    write_everything(&scene).await?;
    other.insert("x", [2]).await?;
    let whole = same(&scene, &["*"]).await?;
    assert_eq!(whole.0.len(), 25);
    let part = same(&scene, &[scene.name()]).await?;
    assert_eq!(part.0.len(), 23);
    Ok(())
}

#[tokio::test]
async fn ids_of_every_type_are_told_the_same() -> Result<()> {
    let scene = Scene::shared("ids").await?;
    let many: Document = (0..9).map(|n| (format!("f{n}"), Bson::Int32(n))).collect();
    let ids = [
        Bson::Int32(1),
        Bson::Int64(2),
        Bson::Double(2.5),
        Bson::String("1".into()),
        Bson::String(String::new()),
        Bson::ObjectId(ObjectId::new()),
        Bson::Boolean(true),
        Bson::Null,
        Bson::MinKey,
        Bson::DateTime(bson::DateTime::from_millis(-1)),
        Bson::Timestamp(bson::Timestamp {
            time: 1,
            increment: 2,
        }),
        Bson::Binary(bson::Binary {
            subtype: bson::spec::BinarySubtype::Uuid,
            bytes: vec![7; 16],
        }),
        Bson::Decimal128("1.50".parse()?),
        doc! {}.into(),
        doc! { "a": 1, "b": { "c": [1, "2"] } }.into(),
        doc! { "b": { "c": [1, "2"] }, "a": 1 }.into(),
        many.into(),
    ];
    let collection = scene.collection("c");
    for id in &ids {
        let key = doc! { "_id": id };
        collection.insert_one(key.clone()).await?;
        let change = doc! { "$set": { "id": id } };
        collection.update_one(key.clone(), change).await?;
        collection.replace_one(key, doc! { "whole": true }).await?;
    }
    for id in &ids[8..] {
        collection.delete_one(doc! { "_id": id }).await?;
    }
    let ops = same(&scene, &[&scene.namespace("c")]).await?;
    assert_eq!(ops.0.len(), 3 * ids.len() + ids[8..].len());
    for (op, id) in ops.0.iter().step_by(3).zip(&ids) {
        let id = id.clone().into_canonical_extjson();
        assert_eq!(op["_id"].to_string(), id.to_string());
    }
    Ok(())
}

#[tokio::test]
async fn a_move_to_another_database_is_told_the_same() -> Result<()> {
    let scene = Scene::shared("from").await?;
    let target = scene.client.database(&database_name("to"));
    scene.insert("a", 1..=3).await?;
    let to = format!("{}.a", target.name());
    let rename = doc! { "renameCollection": scene.namespace("a"), "to": &to };
    scene.client.database("admin").run_command(rename).await?;
    for watched in [scene.name(), target.name(), &to] {
        let ops = same(&scene, &[watched]).await?;
        assert!(!ops.0.is_empty(), "{watched}");
    }
    Ok(())
}

/// The documents that the updates come with, read from `source`.
async fn looked_up(scene: &Scene, source: &str) -> Result<Vec<Option<Value>>> {
    let ops = scene.ops(source, &[&scene.namespace("a")]).await?;
    let updates = ops.0.iter().filter(|op| op["operation"] == "u");
    Ok(updates.map(|op| op.get("data").cloned()).collect())
}

#[tokio::test]
async fn a_lookup_in_a_renamed_or_new_collection_differs() -> Result<()> {
    let scene = Scene::shared("renamed").await?;
    let a = scene.collection("a");
    let change = doc! { "$set": { "n": 1 } };
    a.insert_one(doc! { "_id": 1 }).await?;
    a.update_one(doc! {}, change.clone()).await?;
    rename(&scene, "a", "b", false).await?;
    for is_new in [false, true] {
        let stream = looked_up(&scene, "change-stream").await?;
        let document = stream[0].as_ref().expect("it was found");
        assert_eq!(document["n"]["$numberInt"], "1");
        let oplog = looked_up(&scene, "oplog").await?;
        match &oplog[0] {
            Some(document) => assert!(is_new && document["new"] == true),
            None => assert!(!is_new),
        }
        if !is_new {
            a.insert_one(doc! { "_id": 1, "new": true }).await?;
        }
    }
    Ok(())
}

/// They are views over collections of buckets, and nobody's `_id`s.
#[tokio::test]
async fn time_series_are_told_by_neither() -> Result<()> {
    let scene = Scene::shared("series").await?;
    let command = async |command: Document| scene.database.run_command(command).await;
    let series = doc! { "timeField": "t", "metaField": "m" };
    command(doc! { "create": "weather", "timeseries": series }).await?;
    let at = bson::DateTime::from_millis(1_700_000_000_000);
    for degrees in [1, 2] {
        let measured = doc! { "t": at, "m": "here", "degrees": degrees };
        scene.collection("weather").insert_one(measured).await?;
    }
    scene.insert("a", [1]).await?;
    let ops = same(&scene, &[scene.name()]).await?;
    assert_eq!(gist(&scene, &ops), ["i a 1"]);
    Ok(())
}
