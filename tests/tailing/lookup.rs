//! An update in the oplog does not hold its document: which one it comes with.

use anyhow::Result;
use bson::{Bson, Document, doc};

use super::*;

/// Inserts documents of those ids, changes each of them once, in one command, and gives the updates
/// that the oplog has of it.
async fn updates(scene: &Scene, ids: &[Bson]) -> Result<Vec<Value>> {
    let documents = ids.iter().enumerate();
    let documents = documents.map(|(place, id)| doc! { "_id": id, "place": place as i32 });
    scene.collection("c").insert_many(documents).await?;
    let statements: Vec<Document> = ids
        .iter()
        .map(|id| doc! { "q": { "_id": id }, "u": { "$set": { "changed": true } } })
        .collect();
    let command = doc! { "update": "c", "updates": statements };
    scene.database.run_command(command).await?;
    let ops = scene.ops("oplog", &[&scene.namespace("c")]).await?;
    Ok(ops
        .0
        .into_iter()
        .filter(|op| op["operation"] == "u")
        .collect())
}

#[tokio::test]
async fn each_update_comes_with_its_own_document() -> Result<()> {
    let scene = Scene::shared("lookup").await?;
    let long: Document = (0..9)
        .map(|field| (format!("f{field}"), Bson::Int32(field)))
        .collect();
    let ids = [
        Bson::Int32(1),
        Bson::String("1".into()),
        Bson::Boolean(true),
        Bson::Null,
        doc! { "a": 1, "b": 2 }.into(),
        doc! { "b": 2, "a": 1 }.into(),
        doc! { "a": 1 }.into(),
        long.into(),
        Bson::ObjectId(bson::oid::ObjectId::new()),
        Bson::DateTime(bson::DateTime::from_millis(1)),
        Bson::Int64(1 << 40),
        Bson::Double(0.5),
    ];
    let updates = updates(&scene, &ids).await?;
    assert_eq!(updates.len(), ids.len());
    for (place, (update, id)) in updates.iter().zip(&ids).enumerate() {
        let expected = doc! { "_id": id, "place": place as i32, "changed": true };
        let expected = Bson::Document(expected).into_canonical_extjson();
        assert_eq!(update["data"].to_string(), expected.to_string());
    }
    Ok(())
}

#[tokio::test]
async fn many_updates_of_one_batch_are_all_looked_up() -> Result<()> {
    let scene = Scene::shared("lookups").await?;
    let ids: Vec<Bson> = (0..2_500).map(Bson::Int32).collect();
    let updates = updates(&scene, &ids).await?;
    assert_eq!(updates.len(), ids.len());
    for (place, update) in updates.iter().enumerate() {
        let found = update["data"]["place"]["$numberInt"].as_str();
        assert_eq!(found, Some(place.to_string().as_str()));
    }
    Ok(())
}

#[tokio::test]
async fn a_document_that_is_gone_leaves_its_update_without_data() -> Result<()> {
    let scene = Scene::shared("gone").await?;
    scene.insert("c", [1, 2]).await?;
    let collection = scene.collection("c");
    let change = doc! { "$set": { "n": 1 } };
    collection.update_many(doc! {}, change).await?;
    collection.delete_one(doc! { "_id": 1 }).await?;
    for source in SOURCES {
        let ops = scene.ops(source, &[&scene.namespace("c")]).await?;
        assert_eq!(ops.ids(), [1, 2, 1, 2, 1], "{source}");
        let (gone, left) = (&ops.0[2], &ops.0[3]);
        assert_eq!(gone["operation"], "u");
        assert_eq!(
            gone["updateDescription"]["updatedFields"]["n"]["$numberInt"],
            "1"
        );
        assert_eq!(gone.get("data"), None, "{source}");
        assert_eq!(gone.get("pending"), None, "{source}");
        assert_eq!(left["data"]["n"]["$numberInt"], "1", "{source}");
    }
    Ok(())
}

#[tokio::test]
async fn an_update_comes_with_the_document_as_it_is_now() -> Result<()> {
    let scene = Scene::shared("current").await?;
    scene.insert("c", [1]).await?;
    for n in 1..=3 {
        let change = doc! { "$set": { "n": n } };
        scene.collection("c").update_one(doc! {}, change).await?;
    }
    for source in SOURCES {
        let ops = scene.ops(source, &[&scene.namespace("c")]).await?;
        for (op, n) in ops.0[1..].iter().zip(["1", "2", "3"]) {
            let changed = &op["updateDescription"]["updatedFields"]["n"];
            assert_eq!(changed["$numberInt"], n, "{source}");
            assert_eq!(op["data"]["n"]["$numberInt"], "3", "{source}");
        }
    }
    Ok(())
}
