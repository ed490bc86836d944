//! A run begins anew in the middle of a read: somebody seeks, or another version of a module takes over.
//! And modules that want different things of what is read.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use bson::{Document, doc};
use oplet_testkit::{Oplet, Options, ReplicaSet, RunningOplet, database_name};
use serde_json::Value;

use super::{
    asked::{admin, ask},
    scene::{Reading, emitted, ids, said, stop},
};
use crate::{
    DEADLINE,
    modules::{Handwritten, Scene, bytes, data},
};

const COUNT: i32 = 4_000;

/// Slow enough for something to happen meanwhile.
const SLOWLY: [&str; 8] = [
    "--direct-read-rate",
    "500",
    "--direct-read-split",
    "9",
    "--direct-read-concurrency",
    "2",
    "--admin",
    "127.0.0.1:0",
];

/// A stage for one half of the documents, which lets all events pass.
fn of_half(half: &str) -> Document {
    doc! { "$match": { "$or": [{ "operationType": { "$exists": true } }, { "half": half }] } }
}

/// A module that wants this stage of what is read directly, and none of changes, about which it is asked
/// first.
fn reader(by: &str, stage: &Document) -> Handwritten {
    let answer = bytes(&doc! { "pipeline": [stage.clone()] });
    let (data, len) = (data(&answer), answer.len());
    Handwritten::new(by).with(&format!(
        r#"(data (i32.const 1024) "{data}")
        (global $was_asked (mut i32) (i32.const 0))
        (func (export "pipeline") (param i32 i32) (result i64)
            (if (i32.eqz (global.get $was_asked)) (then
                (global.set $was_asked (i32.const 1))
                (return (i64.const 0))))
            (i64.or (i64.shl (i64.const 1024) (i64.const 32)) (i64.const {len})))"#
    ))
}

fn half_of(id: i64) -> &'static str {
    ["low", "high"][id as usize % 2]
}

/// A scene with documents of two halves, which come in turn.
async fn halves(hint: &str) -> Scene {
    let scene = Scene::new(hint).await;
    let document = |id: i32| doc! { "_id": id, "n": 0, "half": half_of(id.into()) };
    scene.insert((0..COUNT).map(document)).await;
    scene
}

/// A run of these modules from now on that reads the scene's documents slowly.
fn run(scene: &Scene, modules: &[impl AsRef<Path>]) -> Oplet {
    let namespace = format!("{}.things", scene.database);
    scene
        .run_from_now(modules)
        .args(["--direct-read", &namespace])
        .args(SLOWLY)
}

/// What the module of that name has emitted: `_id` and `n`.
fn given(running: &RunningOplet, by: &str) -> Vec<(i64, i64)> {
    let lines = running.stdout().all();
    let documents = lines.iter().map(|line| serde_json::from_str(line).unwrap());
    let own = documents.filter(|document: &Value| document["by"] == by);
    let int = |document: &Value, field: &str| document[field].as_i64().unwrap();
    own.map(|document| (int(&document, "_id"), int(&document, "n")))
        .collect()
}

#[tokio::test]
async fn a_seek_lets_a_read_go_on() {
    for source in ["change-stream", "oplog"] {
        let reading = Reading::new("seek").await;
        reading.insert(0..COUNT).await;
        let running = reading
            .read()
            .args(SLOWLY)
            .args(["--source", source])
            .start()
            .unwrap();
        running.wait_for_lines(600, DEADLINE).await.unwrap();
        let address = admin(&running).await;
        ask(&address, &["seek", "--since", "now"]).await;
        reading.insert(COUNT..COUNT + 5).await;
        said(&running, "the direct read is complete").await;
        let is_last = |line: &str| line.contains(&format!("\"_id\":{}", COUNT + 4));
        running.wait_for_line(is_last, DEADLINE).await.unwrap();
        stop(&running).await;
        let all: BTreeSet<_> = ids(&emitted(&running)).into_iter().collect();
        assert_eq!(all, (0..i64::from(COUNT) + 5).collect(), "{source}");
        let ledger = reading.ledger().await;
        assert!(ledger.get("complete").is_some(), "{ledger}");
    }
}

/// Another answer for what is read alone, for which the run goes on as it is; and one for changes, too, for
/// which it begins anew. What is read from then on is what the new version wants.
#[tokio::test]
async fn another_version_wants_something_else_of_the_rest() {
    let (low, high) = (of_half("low"), of_half("high"));
    let versions = [
        reader("new", &high),
        Handwritten::new("new").pipeline(&[high]),
    ];
    for new in versions {
        let scene = halves("swapped").await;
        let old = scene.module("module", &reader("old", &low).text());
        let running = run(&scene, &[old]).start().unwrap();
        running.wait_for_lines(400, DEADLINE).await.unwrap();
        let address = admin(&running).await;
        let new = scene.module("new", &new.text());
        ask(&address, &["swap", &format!("module={}", new.display())]).await;
        scene.update([7], |_| doc! { "$set": { "n": 1 } }).await;
        said(&running, "the direct read is complete").await;
        let is_updated = |line: &str| line.contains("\"n\":1");
        running.wait_for_line(is_updated, DEADLINE).await.unwrap();
        stop(&running).await;
        let (mut before, mut after) = (BTreeSet::new(), BTreeSet::new());
        before.extend(given(&running, "old").into_iter().map(|(id, _)| id));
        after.extend(given(&running, "new").into_iter().map(|(id, _)| id));
        // The new version also gets what was read for the old one; a segment that was under way may have been
        // given to both.
        let wanted = before.iter().filter(|id| half_of(**id) == "low").count();
        assert!((400..1_900).contains(&wanted), "{wanted} in the first half");
        for id in (0..i64::from(COUNT)).step_by(2) {
            let is_given = before.contains(&id) || after.contains(&id) || after.contains(&(id + 1));
            assert!(is_given, "neither {id} nor its neighbour");
        }
        let wanted = after.iter().filter(|id| half_of(**id) == "high").count();
        assert!(wanted > 400, "{wanted} in the second half");
    }
}

#[tokio::test]
async fn modules_want_different_halves_of_what_is_read() {
    let scene = halves("apart").await;
    let modules = ["low", "high"];
    let modules = modules.map(|half| {
        let module = reader(half, &of_half(half));
        scene.module(half, &module.text())
    });
    let running = run(&scene, &modules).start().unwrap();
    running.wait_for_lines(300, DEADLINE).await.unwrap();
    let updated = (0..COUNT).step_by(50).chain((1..COUNT).step_by(50));
    scene
        .update(updated.clone(), |id| {
            let half = half_of(id.into());
            doc! { "n": 1, "half": half }
        })
        .await;
    said(&running, "the direct read is complete").await;
    scene
        .update([COUNT - 1], |_| doc! { "n": 2, "half": "high" })
        .await;
    for half in ["low", "high"] {
        let is_last = |line: &str| line.contains("\"n\":2") && line.contains(half);
        running.wait_for_line(is_last, DEADLINE).await.unwrap();
    }
    stop(&running).await;
    let updated: BTreeSet<_> = updated.map(i64::from).collect();
    for half in ["low", "high"] {
        let mut map = BTreeMap::new();
        for (id, n) in given(&running, half) {
            let before = map.insert(id, n);
            assert!(
                before <= Some(n),
                "{half}: {n} of {id} comes behind {before:?}"
            );
        }
        map.retain(|id, _| half_of(*id) == half);
        let own = (0..i64::from(COUNT)).filter(|id| half_of(*id) == half);
        let expected = own.map(|id| match id {
            id if id == i64::from(COUNT) - 1 => (id, 2),
            id => (id, i64::from(updated.contains(&id))),
        });
        assert_eq!(map, expected.collect(), "{half}");
    }
    let stages = "documents that the server has left out for it";
    let of_others = given(&running, "low")
        .into_iter()
        .filter(|(id, n)| id % 2 == 1 && *n == 0);
    assert_eq!(of_others.count(), 0, "{stages}");
}

/// Their ops count as done, so that nobody would give them again.
#[tokio::test]
async fn outputs_that_wait_for_their_transaction_are_written_before_a_run_begins_anew() {
    // Of its own, since the failures are those of all that it runs.
    let set = ReplicaSet::start(Options::default()).await.unwrap();
    let scene = Scene::on(&set, database_name("written_before")).await;
    scene.insert([doc! { "_id": -1, "n": 0 }]).await;
    let copy = format!("{}_copy", scene.database);
    let sink =
        format!("mongodb:{copy}.things#namespace-field=_ns&mode-field=_mode&transactional=true");
    let running = scene
        .run_from_now(&[oplet_testkit::guest("guest_mirror").unwrap()])
        .args(["--name", &scene.database, "--sink", &sink])
        .args([
            "--checkpoint",
            "mongodb:oplet.checkpoints",
            "--admin",
            "127.0.0.1:0",
        ])
        .start()
        .unwrap();
    said(&running, "running").await;
    let address = admin(&running).await;
    let fail = async |mode: bson::Bson| {
        let data = doc! {
            "failCommands": ["commitTransaction"], "errorCode": 251,
            "errorLabels": ["TransientTransactionError"],
        };
        let command = doc! { "configureFailPoint": "failCommand", "mode": mode, "data": data };
        let admin = scene.client.database("admin");
        admin.run_command(command).await.unwrap();
    };
    fail("alwaysOn".into()).await;
    scene
        .insert((0..10).map(|id| doc! { "_id": id, "n": id }))
        .await;
    // Nothing but that it fails shows that it was tried.
    let failures = async || {
        let status = ask(&address, &["status", "--format", "json"]).await;
        status.contains("\"ready\":false") || status.contains("\"ready\": false")
    };
    oplet_testkit::eventually(DEADLINE, failures).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    // Another collection, so that these are not read once more.
    let other = format!("{}.other", scene.database);
    let asked = crate::oplet()
        .args(["snapshot", &other, "--admin", &address])
        .start()
        .unwrap();
    // Longer than commands wait for the store.
    tokio::time::sleep(std::time::Duration::from_secs(8)).await;
    fail("off".into()).await;
    asked.wait_exit(DEADLINE).await.unwrap();
    scene.insert([doc! { "_id": 99, "n": 99 }]).await;
    let copies = scene
        .client
        .database(&copy)
        .collection::<Document>("things");
    let last = async || copies.count_documents(doc! { "_id": 99 }).await.unwrap() == 1;
    oplet_testkit::eventually(DEADLINE, last).await.unwrap();
    stop(&running).await;
    let copied = copies.count_documents(doc! { "_id": { "$gte": 0 } });
    assert_eq!(copied.await.unwrap(), 11);
}
