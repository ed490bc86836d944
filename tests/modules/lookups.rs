//! Documents of oplog updates: fetched for those that are wanted, and for no others.

use bson::doc;
use oplet_testkit::guest;

use super::{Handwritten, Scene};

/// Two hundred documents, each updated once; the server notes each of its operations on them.
async fn updated_documents(hint: &str) -> Scene {
    let scene = Scene::new(hint).await;
    scene
        .insert((0..200).map(|id| doc! {"_id": id, "n": -1, "keep": 0}))
        .await;
    scene
        .update(0..200, |id| doc! {"$set": {"n": id, "keep": id % 2}})
        .await;
    let profile = doc! {"profile": 2};
    let database = scene.client.database(&scene.database);
    database.run_command(profile).await.unwrap();
    scene
}

/// How many queries the server has noted on the documents.
async fn queries(scene: &Scene) -> u64 {
    let things = format!("{}.things", scene.database);
    let queries = doc! {"op": "query", "ns": things};
    let notes = scene.collection("system.profile");
    notes.count_documents(queries).await.unwrap()
}

#[tokio::test]
async fn a_filter_that_reads_the_document_is_asked_again_with_it() {
    let scene = updated_documents("asked_again").await;
    let data = "(call $data (local.get $op))";
    let filter = format!(
        r#"(if (call $field (local.get $op) {pending}) (then
                (if {data} (then (unreachable)))
                (return (i32.const 2))))
            (i32.eq (call $int {data} {keep}) (i32.const 1))"#,
        pending = Handwritten::name("pending"),
        keep = Handwritten::name("keep"),
    );
    let module = scene.module("odd", &Handwritten::new("odd").filter(&filter).text());
    let ended = scene
        .run_over(&[module], ["--source", "oplog"])
        .await
        .with_code(0);
    let mut ids: Vec<_> = ended
        .documents()
        .iter()
        .map(|document| {
            assert_eq!(document["n"], document["_id"], "as it was looked up");
            document["_id"].as_i64().unwrap()
        })
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..200).filter(|id| id % 2 == 1).collect::<Vec<_>>());
    // Many ids in one round trip.
    let queries = queries(&scene).await;
    assert!((1..=20).contains(&queries), "{queries} queries");
}

#[tokio::test]
async fn the_sdk_asks_for_the_document_by_itself() {
    let scene = updated_documents("sdk_asks").await;
    // Keeps what has no negative `n`: none of the inserts, all of the updates.
    let count = [guest("guest_count").unwrap()];
    for source in super::SOURCES {
        let ended = scene
            .run_over(&count, ["--source", source])
            .await
            .with_code(0);
        let counts = ["read", "kept", "handled"].map(|word| ended.counted(word));
        assert_eq!(counts, [400, 200, 200], "{source}");
    }
}

#[tokio::test]
async fn an_update_that_the_filter_drops_costs_no_query() {
    let scene = updated_documents("no_query").await;
    let source = ["--source", "oplog"];
    let inserts = Handwritten::new("inserts").only('i');
    let inserts = scene.module("inserts", &inserts.text());
    let ended = scene.run_over(&[inserts], source).await.with_code(0);
    assert_eq!((ended.counted("read"), ended.counted("kept")), (400, 200));
    assert_eq!(queries(&scene).await, 0);

    let updates = Handwritten::new("updates").only('u');
    let updates = scene.module("updates", &updates.text());
    let ended = scene.run_over(&[updates], source).await.with_code(0);
    assert_eq!((ended.counted("read"), ended.counted("kept")), (400, 200));
    assert!(queries(&scene).await > 0, "the server notes queries");
}
