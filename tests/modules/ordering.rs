//! What stays in order.

use std::collections::HashMap;

use bson::{Document, doc};

use super::{Handwritten, SOURCES, Scene};

/// Documents, and how many collections they lie in.
const DOCUMENTS: i32 = 50;
const COLLECTIONS: i32 = 5;

/// Documents that are replaced `writes` times, one after the other, with the number of the write in
/// `n`. Replacements, since an update comes with the document as it is now.
async fn replaced_documents(hint: &str, writes: i32) -> Scene {
    let scene = Scene::new(hint).await;
    let database = scene.client.database(&scene.database);
    let name = |id: i32| format!("c{}", id % COLLECTIONS);
    for first in (0..writes).step_by(1_000) {
        // Writes to one collection are sent together, a hundred at a time.
        for block in (first..writes.min(first + 1_000)).step_by(100) {
            let id =
                |n: i32| n * 7 % DOCUMENTS / COLLECTIONS * COLLECTIONS + block / 100 % COLLECTIONS;
            let updates: Vec<Document> = (block..block + 100)
                .map(|n| doc! {"q": {"_id": id(n)}, "u": {"n": n}, "upsert": true})
                .collect();
            let command = doc! {"update": name(id(block)), "updates": updates};
            database.run_command(command).await.unwrap();
        }
    }
    scene
}

/// What the module emitted, as `(_id, n)`, in the order of standard output.
async fn handled(scene: &Scene, flags: &[&str]) -> Vec<(i64, i64)> {
    let module = scene.module(
        "sequence",
        &Handwritten::new("sequence")
            .filter("(i32.ne (call $data (local.get $op)) (i32.const 0))")
            .text(),
    );
    let ended = scene.run_over(&[module], flags).await.with_code(0);
    let number = |value: &serde_json::Value| value.as_i64().unwrap();
    let documents = ended.documents();
    let of_documents = documents.iter().filter(|document| document["_id"] != -1);
    of_documents
        .map(|document| (number(&document["_id"]), number(&document["n"])))
        .collect()
}

/// That the numbers rise among those with the same key, and that all are there.
#[track_caller]
fn assert_rising<K: std::hash::Hash + Eq>(
    handled: &[(i64, i64)],
    writes: i32,
    key: impl Fn(i64) -> K,
) {
    let mut last = HashMap::new();
    for &(id, n) in handled {
        if let Some(before) = last.insert(key(id), n) {
            assert!(before < n, "{before} came before {n}, of document {id}");
        }
    }
    assert_complete(handled, writes);
}

#[track_caller]
fn assert_complete(handled: &[(i64, i64)], writes: i32) {
    let mut numbers: Vec<_> = handled.iter().map(|(_, n)| *n).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..i64::from(writes)).collect::<Vec<_>>());
}

#[tokio::test]
async fn changes_of_a_document_stay_in_order_over_many_lanes() {
    let scene = replaced_documents("document_order", 20_000).await;
    for source in SOURCES {
        let handled = handled(&scene, &["--source", source, "--workers", "4"]).await;
        assert_rising(&handled, 20_000, |id| id);
        // The lanes did work side by side.
        assert!(!handled.is_sorted_by_key(|(_, n)| *n), "{source}");
    }
}

#[tokio::test]
async fn changes_of_a_namespace_stay_in_order_over_many_lanes() {
    let scene = replaced_documents("namespace_order", 4_000).await;
    for source in SOURCES {
        let flags = [
            "--source",
            source,
            "--workers",
            "4",
            "--ordering",
            "namespace",
        ];
        let handled = handled(&scene, &flags).await;
        assert_rising(&handled, 4_000, |id| id % i64::from(COLLECTIONS));
    }
}

#[tokio::test]
async fn ordering_oplog_is_the_order_of_the_oplog() {
    let scene = replaced_documents("oplog_order", 4_000).await;
    for source in SOURCES {
        let flags = ["--source", source, "--workers", "4", "--ordering", "oplog"];
        let handled = handled(&scene, &flags).await;
        assert_rising(&handled, 4_000, |_| ());
    }
}

#[tokio::test]
async fn without_an_order_nothing_is_lost_or_repeated() {
    let scene = replaced_documents("any_order", 4_000).await;
    for source in SOURCES {
        let flags = ["--source", source, "--workers", "4", "--ordering", "any"];
        assert_complete(&handled(&scene, &flags).await, 4_000);
    }
}
