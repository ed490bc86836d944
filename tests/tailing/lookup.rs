//! An update in the oplog does not hold its document: which one it comes with.

use anyhow::Result;
use bson::{Bson, Document, doc};

use super::*;

/// Inserts documents of those ids, changes each of them once, in one command, and gives the updates
/// that the oplog has of it.
pub(crate) async fn updates(scene: &Scene, ids: &[Bson]) -> Result<Vec<Value>> {
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
