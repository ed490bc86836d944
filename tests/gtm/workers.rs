//! Ordering, and sharing the work between processes.

use std::collections::{BTreeMap, HashMap};

use bson::{Bson, Document, doc, oid::ObjectId};
use serde_json::Value;

use crate::modules::{Ended, Handwritten, Scene};

/// Documents of the random load, and how many of them are replaced once more.
const DOCUMENTS: i32 = 20_000;
const REPLACED: i32 = 2_000;

/// Numbered documents in three collections, some of which are replaced: `n` counts the writes of a
/// document.
async fn random_load(hint: &str) -> Scene {
    let scene = Scene::new(hint).await;
    let collection = |id: i32| format!("c{}", id % 3);
    for at in 0..3 {
        let ids = (0..DOCUMENTS).filter(|id| id % 3 == at);
        let documents: Vec<Document> = ids.map(|id| doc! {"_id": id, "n": 0}).collect();
        scene
            .collection(&collection(at))
            .insert_many(documents)
            .await
            .unwrap();
    }
    for n in 1..4 {
        for at in 0..3 {
            let ids = (0..REPLACED).filter(|id| id % 3 == at);
            let updates = ids.map(|id| doc! {"q": {"_id": id}, "u": {"n": n}});
            let updates: Vec<Document> = updates.collect();
            let database = scene.client.database(&scene.database);
            let command = doc! {"update": collection(at), "updates": updates};
            database.run_command(command).await.unwrap();
        }
    }
    scene
}

/// How many ops the random load has.
const OPS: i64 = DOCUMENTS as i64 + 3 * REPLACED as i64;

pub(super) fn ints(document: &Value) -> (i64, i64) {
    let int = |field: &str| document[field].as_i64().unwrap();
    (int("_id"), int("n"))
}

/// That the writes of each document are there, in order.
#[track_caller]
fn assert_in_order(handled: impl IntoIterator<Item = (i64, i64)>) {
    let mut next: HashMap<i64, i64> = HashMap::new();
    for (id, n) in handled {
        let expected = next.entry(id).or_default();
        assert_eq!(n, *expected, "of document {id}");
        *expected += 1;
    }
    assert_eq!(next.len(), DOCUMENTS as usize);
    assert_eq!(next.values().sum::<i64>(), OPS);
}

/// That each of ten has a tenth, within 20 %.
#[track_caller]
fn assert_even(shares: &[usize]) {
    let even = shares.iter().sum::<usize>() as f64 / 10.0;
    assert_eq!(shares.len(), 10, "{shares:?}");
    for share in shares {
        let off = (*share as f64 / even - 1.0).abs();
        assert!(off < 0.2, "{shares:?}");
    }
}

/// A module that emits what a document is, and one that emits a count of its own for each.
fn sequence_and_count(scene: &Scene) -> [std::path::PathBuf; 2] {
    let only_documents = "(i32.ne (i32.load8_u offset=19 (local.get $op)) (i32.const 99))";
    let sequence = Handwritten::new("sequence").filter(only_documents);
    // The count takes the place of `n`.
    let count = Handwritten::new("count")
        .filter(only_documents)
        .with("(global $count (mut i32) (i32.const 0))")
        .text()
        .replace(
            "(i32.store (i32.const 272) (call $int (call $data (local.get $op)) (i32.const 48)))",
            "(global.set $count (i32.add (global.get $count) (i32.const 1)))
             (i32.store (i32.const 272) (global.get $count))",
        );
    [
        scene.module("sequence", &sequence.text()),
        scene.module("count", &count),
    ]
}

#[tokio::test]
async fn a42_the_order_of_a_key_is_kept_by_ten_workers_and_their_shares_are_even() {
    let scene = random_load("a42").await;
    let modules = sequence_and_count(&scene);
    // Ten lanes of one process.
    for ordering in ["document", "namespace"] {
        let flags = [
            "--workers",
            "10",
            "--ordering",
            ordering,
            "--source",
            "oplog",
        ];
        let ended = scene.run_over(&modules, flags).await.with_code(0);
        let documents = ended.documents();
        let by = |name: &'static str| documents.iter().filter(move |one| one["by"] == name);
        assert_in_order(by("sequence").map(ints));
        if ordering == "document" {
            // As many lanes have handled N ops as have counted up to N.
            let mut reached: BTreeMap<i64, usize> = BTreeMap::new();
            for document in by("count") {
                *reached.entry(ints(document).1).or_default() += 1;
            }
            let lanes = 0..reached[&1];
            let share = |lane: usize| reached.values().filter(|lanes| **lanes > lane).count();
            assert_even(&lanes.map(share).collect::<Vec<_>>());
        }
    }
    // Ten processes, one after another.
    let names: Vec<String> = (1..=10).map(|n| n.to_string()).collect();
    let list = scene.file(
        "workers.json",
        format!("{{\"workers\": {names:?}}}").as_bytes(),
    );
    let list = list.to_str().unwrap();
    let mut handled = Vec::new();
    let mut shares = Vec::new();
    for name in &names {
        let flags = [
            "--worker",
            name,
            "--workers-file",
            list,
            "--source",
            "oplog",
        ];
        let ended = scene.run_over(&modules[..1], flags).await.with_code(0);
        let own: Vec<_> = ended.documents().iter().map(ints).collect();
        let others = OPS - own.len() as i64;
        assert!(
            ended
                .stderr
                .contains(&format!(", {others} of other workers")),
            "{}",
            ended.stderr
        );
        shares.push(own.len());
        handled.extend(own);
    }
    // A document that two had handled would be there twice.
    assert_in_order(handled);
    assert_even(&shares);
}

/// The `_id`s whose owners are known, and these.
fn vectors() -> Vec<(Bson, &'static str)> {
    let of_numbers = [
        "Tom", "Tom", "Harry", "Harry", "Harry", "Dick", "Tom", "Tom", "Dick", "Harry",
    ];
    let id = |text: &str| Bson::from(ObjectId::parse_str(text).unwrap());
    let mut vectors: Vec<(Bson, &str)> = (1..11).map(Bson::Int32).zip(of_numbers).collect();
    vectors.extend([
        (Bson::from("alice"), "Harry"),
        (Bson::from("bob"), "Dick"),
        (id("507f1f77bcf86cd799439011"), "Harry"),
        (id("5f0000000000000000000001"), "Dick"),
        (id("5f0000000000000000000002"), "Tom"),
        (Bson::from(true), "Tom"),
        (Bson::from(""), "Harry"),
    ]);
    vectors
}

#[tokio::test]
async fn a43_gtms_workers_own_what_they_owned() {
    let scene = Scene::new("a43").await;
    let documents = vectors().into_iter().zip(0..);
    let documents: Vec<Document> = documents
        .map(|((id, _), n)| doc! {"_id": id, "n": n})
        .collect();
    scene.insert(documents).await;
    scene.collection("things").drop().await.unwrap();
    let module = scene.module("owned", &Handwritten::new("owned").text());
    let list = scene.file(
        "workers.toml",
        b"Workers = [ \"Tom\", \"Dick\", \"Harry\" ]\n",
    );
    for worker in ["Tom", "Dick", "Harry"] {
        let list = list.to_str().unwrap();
        let flags = ["--worker", worker, "--workers-file", list, "--ring", "gtm"];
        let ended = scene.run_over(&[&module], flags).await.with_code(0);
        let mut numbers: Vec<i64> = ended.documents().iter().map(|one| ints(one).1).collect();
        // The drop is everybody's.
        assert_eq!(numbers.pop(), Some(-1), "{worker}");
        numbers.retain(|n| *n != -1);
        numbers.sort_unstable();
        let owned = vectors()
            .into_iter()
            .zip(0..)
            .filter(|((_, owner), _)| *owner == worker);
        assert_eq!(
            numbers,
            owned.map(|(_, n)| n).collect::<Vec<i64>>(),
            "{worker}"
        );
    }
}

#[tokio::test]
async fn a43_what_is_wrong_with_a_list_is_told() {
    let scene = Scene::new("a43_errors").await;
    let module = scene.module("none", &Handwritten::new("none").text());
    let run = |flags: &[&str]| Ended::of(scene.run(&[&module]).args(flags));
    for (text, words) in [
        (
            "workers = ['Tom', 'Dick']",
            &["`Harry` is not in the list", "known are Tom, Dick"][..],
        ),
        ("workers = ['Harri']", &["did you mean `Harri`?"]),
        ("workers = []", &["the list of workers is empty"]),
        (
            "workers = ['Harry', 'Tom', 'Harry']",
            &["`Harry` is listed twice"],
        ),
        ("workers = [", &["it is not TOML"]),
        ("{\"workers\": [}", &["it is not JSON"]),
        ("names = ['Harry']", &["it has no `workers`"]),
        ("workers = 'Harry'", &["`workers` is not a list of texts"]),
        (
            "workers = ['Harry']\nsince = '5:1'",
            &["it has no `before`", "which one held before"],
        ),
    ] {
        let list = scene.file("workers.toml", text.as_bytes());
        let flags = [
            "--worker",
            "Harry",
            "--workers-file",
            list.to_str().unwrap(),
        ];
        run(&flags).await.is_refused(words);
    }
    let missing = [
        "--worker",
        "Harry",
        "--workers-file",
        "/nowhere/workers.toml",
    ];
    run(&missing)
        .await
        .is_refused(&["/nowhere/workers.toml", "cannot read it"]);
    run(&["--worker", "Harry"])
        .await
        .is_refused(&["there is no list of them"]);
    let from = format!("{}.settings:workers", scene.database);
    run(&["--workers-from", &from])
        .await
        .is_refused(&["not said which of them"]);
    run(&["--worker", "Harry", "--workers-from", "settings"])
        .await
        .is_refused(&["db.collection:ID"]);
    // A document can be looked at when the server is there.
    let settings = scene.collection("settings");
    let flags = ["--worker", "Harry", "--workers-from", &from];
    let ended = run(&flags).await.with_code(2);
    ended.says(&["the document with the list of workers is missing", &from]);
    for (list, words) in [
        (Bson::from("Harry"), "`workers` is not a list of texts"),
        (Bson::Array(Vec::new()), "the list of workers is empty"),
        (
            Bson::from(vec!["Harry", "Harry"]),
            "`Harry` is listed twice",
        ),
        (Bson::from(vec!["Tom"]), "`Harry` is not in the list"),
    ] {
        let id = doc! {"_id": "workers"};
        let document = doc! {"_id": "workers", "workers": list};
        settings
            .replace_one(id, document)
            .upsert(true)
            .await
            .unwrap();
        run(&flags).await.with_code(2).says(&[words]);
    }
}
