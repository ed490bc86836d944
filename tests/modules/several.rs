//! Several modules in one run.

use std::collections::BTreeMap;

use bson::doc;
use serde_json::Value;

use super::{Ended, Handwritten, SOURCES, Scene};

/// A hundred inserts, fifty updates, ten deletes.
async fn writes(hint: &str) -> Scene {
    let scene = Scene::new(hint).await;
    scene
        .insert((0..100).map(|id| doc! {"_id": id, "n": 0}))
        .await;
    scene.update(0..50, |id| doc! {"$set": {"n": id + 1}}).await;
    let ten = doc! {"_id": {"$lt": 10}};
    scene.collection("things").delete_many(ten).await.unwrap();
    scene
}

/// How many documents each module emitted.
fn by_module(ended: &Ended) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for document in ended.documents() {
        *counts
            .entry(document["by"].as_str().unwrap().to_owned())
            .or_default() += 1;
    }
    counts
}

fn counts<const N: usize>(expected: [(&str, usize); N]) -> BTreeMap<String, usize> {
    expected
        .map(|(name, count)| (name.to_owned(), count))
        .into()
}

#[tokio::test]
async fn each_module_sees_every_op_through_its_own_filter() {
    let scene = writes("filters").await;
    let modules = [
        scene.module("all", &Handwritten::new("all").text()),
        scene.module("inserts", &Handwritten::new("inserts").only('i').text()),
        scene.module("updates", &Handwritten::new("updates").only('u').text()),
        scene.module("deletes", &Handwritten::new("deletes").only('d').text()),
        scene.module("commands", &Handwritten::new("commands").only('c').text()),
    ];
    for source in SOURCES {
        let ended = scene
            .run_over(&modules, ["--source", source])
            .await
            .with_code(0);
        let expected = [
            ("all", 160),
            ("deletes", 10),
            ("inserts", 100),
            ("updates", 50),
        ];
        assert_eq!(by_module(&ended), counts(expected), "{source}");
        assert_eq!(ended.counted("read"), 160, "{source}");
        assert_eq!(ended.counted("kept"), 320, "{source}");
    }
}

#[tokio::test]
async fn a_module_that_always_fails_changes_nothing_for_another() {
    let scene = writes("failing").await;
    let all = scene.module("all", &Handwritten::new("all").text());
    let in_handle = Handwritten::new("in_handle").handle("(unreachable)");
    let in_filter = Handwritten::new("in_filter").filter("(unreachable)");
    let in_handle = scene.module("in_handle", &in_handle.text());
    let in_filter = scene.module("in_filter", &in_filter.text());
    for source in SOURCES {
        let flags = ["--source", source, "--workers", "1"];
        let alone = scene.run_over(&[&all], flags).await.with_code(0);
        let skipping = flags.into_iter().chain(["--on-error", "skip"]);
        let beside = scene
            .run_over(&[&in_handle, &all, &in_filter], skipping)
            .await
            .with_code(0);
        // By the place in the stream, the same documents.
        assert_eq!(beside.documents(), alone.documents(), "{source}");
        assert_eq!(beside.counted("failed"), 320, "{source}");
        assert_eq!(beside.counted("skipped"), 320, "{source}");
    }
}

#[tokio::test]
async fn modules_with_different_pipelines_get_each_op_once() {
    let scene = writes("streams").await;
    let only = |kind: &str| doc! {"$match": {"operationType": kind}};
    let handwritten = |name: &str| Handwritten::new(name);
    let modules = [
        handwritten("inserts").pipeline(&[only("insert")]),
        handwritten("updates").pipeline(&[only("update")]),
        handwritten("too").pipeline(&[only("update")]),
        handwritten("all"),
        handwritten("empty").pipeline(&[]),
    ];
    let names = ["inserts", "updates", "too", "all", "empty"];
    let paths: Vec<_> = std::iter::zip(names, &modules)
        .map(|(name, module)| scene.module(name, &module.text()))
        .collect();
    let ended = scene.run_over(&paths, [""; 0]).await.with_code(0);
    let expected = [
        ("all", 160),
        ("empty", 160),
        ("inserts", 100),
        ("too", 50),
        ("updates", 50),
    ];
    assert_eq!(by_module(&ended), counts(expected));
    // Three streams: the two modules with the same stages share one, and so do the two with none.
    assert_eq!(ended.counted("read"), 100 + 50 + 160);

    let mut updated: Vec<&Value> = Vec::new();
    let documents = ended.documents();
    updated.extend(documents.iter().filter(|document| document["by"] == "too"));
    let mut ids: Vec<_> = updated
        .iter()
        .map(|document| document["_id"].as_i64().unwrap())
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..50).collect::<Vec<_>>());
}
