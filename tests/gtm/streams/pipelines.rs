//! Modules that have the server select.

use bson::{Document, doc};

use crate::modules::{Ended, Handwritten, NOWHERE, Scene};

/// Runs a module with this pipeline over what happened in the scene.
async fn run_over(scene: &Scene, stages: &[Document]) -> Ended {
    let module = Handwritten::new("module").pipeline(stages);
    let module = scene.module("module", &module.text());
    scene.run_over(&[module], ["--ordering", "oplog"]).await
}

fn ids(ended: &Ended) -> Vec<i64> {
    let documents = ended.documents();
    let ids = documents.iter().map(|document| document["_id"].as_i64());
    ids.map(|id| id.expect("`_id` is a number")).collect()
}

#[tokio::test]
async fn a10_a_pipeline_selects_by_the_document() {
    let scene = Scene::new("a10").await;
    let users = ["joe", "jane", "joe", "jack"];
    let documents = (0..).zip(users);
    scene
        .insert(documents.map(|(id, name)| doc! { "_id": id, "username": name }))
        .await;
    let stage = doc! { "$match": { "fullDocument.username": "joe" } };
    let ended = run_over(&scene, &[stage]).await.with_code(0);
    assert_eq!(ids(&ended), [0, 2]);
    assert_eq!(ended.counted("read"), 2, "the server selects");
}

#[tokio::test]
async fn a11_a_pipeline_selects_by_what_was_updated() {
    let scene = Scene::new("a11").await;
    scene.insert((0..3).map(|id| doc! { "_id": id })).await;
    scene
        .update([0], |_| doc! { "$set": { "field1": 1, "field2": 1 } })
        .await;
    scene
        .update([1], |_| doc! { "$set": { "field2": 1 } })
        .await;
    let things = scene.collection("things");
    things.delete_one(doc! { "_id": 2 }).await.unwrap();
    let touched = "updateDescription.updatedFields.field1";
    let stage = doc! { "$match": { "$or": [
        { "updateDescription": { "$exists": false } },
        { touched: { "$exists": true } },
    ] } };
    let ended = run_over(&scene, &[stage]).await.with_code(0);
    assert_eq!(ids(&ended), [0, 1, 2, 0, 2]);
    assert_eq!(ended.counted("read"), 5, "the server selects");
}

/// Before anything is opened, where that can be told; else as the server says it. Never again and
/// again.
#[tokio::test]
async fn a12_a_pipeline_that_fails_ends_the_run_with_the_reason() {
    let scene = Scene::new("a12").await;
    let trapping = Handwritten::new("trapping")
        .with(r#"(func (export "pipeline") (param i32 i32) (result i64) (unreachable))"#);
    let trapping = scene.module("trapping", &trapping.text());
    let run = crate::oplet().args(["run", "--uri", NOWHERE]).arg(trapping);
    let ended = Ended::of(run).await;
    ended.is_refused(&["`trapping`", "unreachable"]);

    let unknown = doc! { "$match": { "$expr": { "$notYetInvented": 1 } } };
    let ended = run_over(&scene, &[unknown]).await.with_code(1);
    ended.says(&["cannot read the change stream on ", "$notYetInvented"]);
    let divides = doc! { "$match": { "$expr": { "$divide": [1, "$fullDocument.n"] } } };
    scene.insert([doc! { "_id": 1, "n": 0 }]).await;
    let ended = run_over(&scene, &[divides]).await.with_code(1);
    ended.says(&["cannot read the change stream on ", "divide by zero"]);
}
