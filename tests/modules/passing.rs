//! Modules that leave out what they need not have.

use bson::doc;
use oplet_testkit::guest;

use super::{Handwritten, SOURCES, Scene};

#[tokio::test]
async fn a_module_without_handle_passes_on_whole_what_it_keeps() {
    let scene = Scene::new("passing").await;
    scene
        .insert((0..20).map(|id| doc! {"_id": id, "nested": {"a": [1, id]}}))
        .await;
    scene
        .update(0..10, |id| doc! {"$set": {"nested.b": id}})
        .await;
    let things = scene.collection("things");
    things.delete_many(doc! {"_id": {"$gt": 15}}).await.unwrap();
    things.drop().await.unwrap();

    let updates = Handwritten::new("").without_handle().only('u');
    let updates = scene.module("updates", &updates.text());
    let echo = guest("guest_echo").unwrap();
    for source in SOURCES {
        let tailed = scene.tail_over(source).await.with_code(0);
        assert_eq!(tailed.documents().len(), 20 + 10 + 4 + 1, "{source}");

        let flags = ["--source", source, "--ordering", "oplog"];
        let echoed = scene.run_over(&[&echo], flags).await.with_code(0);
        assert_eq!(echoed.stdout, tailed.stdout, "{source}");

        let kept = scene.run_over(&[&updates], flags).await.with_code(0);
        let expected: Vec<_> = tailed
            .documents()
            .into_iter()
            .filter(|op| op["operation"] == "u")
            .collect();
        assert_eq!(kept.documents(), expected, "{source}");
    }
}

#[tokio::test]
async fn a_module_may_have_nothing_but_a_pipeline() {
    let scene = Scene::new("only_pipeline").await;
    scene.insert((0..20).map(|id| doc! {"_id": id})).await;
    let stage = doc! {"$match": {"fullDocument._id": {"$gte": 15}}};
    let module = Handwritten::new("").without_handle().pipeline(&[stage]);
    let module = scene.module("late", &module.text());
    let ended = scene
        .run_over(&[module], ["--workers", "1"])
        .await
        .with_code(0);
    let ids: Vec<_> = ended
        .documents()
        .iter()
        .map(|op| op["_id"].clone())
        .collect();
    assert_eq!(ids, [15, 16, 17, 18, 19]);
    assert_eq!(ended.counted("read"), 5);
}
