//! Commands are a barrier: what comes before a `drop` or a rename is handled before it, and what comes
//! after it, after it, also where nothing else stays in order.

use std::time::Duration;

use bson::{Document, doc};
use oplet_testkit::Signal;

use super::{Handwritten, SOURCES, Scene};
use crate::DEADLINE;

/// Collections whose documents come in turn.
const COLLECTIONS: [&str; 3] = ["a", "b", "c"];

/// A module that emits an op for each document, and for each drop and rename (with -1 for `_id` and
/// `n`). It is slow with every fourth document, so that lanes get far apart.
fn uneven(by: &str) -> Handwritten {
    let field = |name: &str| {
        let name = Handwritten::name(name);
        format!("(i32.ne (call $field (call $data (local.get $op)) {name}) (i32.const 0))")
    };
    let (drop, rename, n) = (
        field("drop"),
        field("renameCollection"),
        Handwritten::name("n"),
    );
    Handwritten::new(by)
        .filter(&format!(
            "(i32.or (i32.ne (i32.load8_u offset=19 (local.get $op)) (i32.const {}))
               (i32.or {drop} {rename}))",
            'c' as u32
        ))
        .with(
            "(func $be_slow (local $left i32)
               (local.set $left (i32.const 1000000))
               (loop $again
                 (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                 (br_if $again (local.get $left))))",
        )
        .handle(&format!(
            "(if (i32.eqz (i32.rem_s (call $int (call $data (local.get $op)) {n}) (i32.const 4)))
               (then (call $be_slow)))
             (call $emit_one (local.get $op)) (i32.const 0)"
        ))
}

/// Inserts so many documents, numbered from there on, into all collections in turn.
async fn insert(scene: &Scene, first: i32, count: i32) {
    for (at, name) in COLLECTIONS.iter().enumerate() {
        let numbers = (first..first + count).filter(|n| *n as usize % COLLECTIONS.len() == at);
        let documents: Vec<Document> = numbers.map(|n| doc! {"_id": n, "n": n}).collect();
        scene.collection(name).insert_many(documents).await.unwrap();
    }
}

async fn rename(scene: &Scene, from: &str, to: &str) {
    let name = |name: &str| format!("{}.{name}", scene.database);
    let command = doc! {"renameCollection": name(from), "to": name(to), "dropTarget": true};
    let admin = scene.client.database("admin");
    admin.run_command(command).await.unwrap();
}

/// Rounds of inserts, each with a command at its end, and how many documents a round has.
async fn rounds(hint: &str, rounds: i32, per_round: i32) -> Scene {
    let scene = Scene::new(hint).await;
    for round in 0..rounds {
        insert(&scene, round * per_round, per_round).await;
        match round % 3 {
            0 => scene.collection("a").drop().await.unwrap(),
            1 => rename(&scene, "b", "old").await,
            // Two in a row.
            _ => {
                rename(&scene, "c", "a").await;
                scene.collection("a").drop().await.unwrap();
            }
        }
    }
    scene
}

/// The numbers of the documents between one command and the next.
fn between_commands(documents: &[serde_json::Value]) -> Vec<Vec<i64>> {
    let numbers: Vec<i64> = documents
        .iter()
        .map(|document| document["n"].as_i64().unwrap())
        .collect();
    let parts = numbers.split(|n| *n == -1);
    let sorted = parts.map(|part| {
        let mut part = part.to_vec();
        part.sort_unstable();
        part
    });
    sorted.collect()
}

#[tokio::test]
async fn a_command_comes_after_all_before_it_and_before_all_after_it() {
    const ROUNDS: i32 = 24;
    const PER_ROUND: i32 = 60;
    let scene = rounds("barrier", ROUNDS, PER_ROUND).await;
    let module = scene.module("uneven", &uneven("uneven").text());
    for source in SOURCES {
        for ordering in ["document", "namespace", "any"] {
            let flags = ["--source", source, "--workers", "4", "--ordering", ordering];
            let ended = scene.run_over(&[&module], flags).await.with_code(0);
            let mut parts = between_commands(&ended.documents()).into_iter();
            for round in 0..i64::from(ROUNDS) {
                let first = round * i64::from(PER_ROUND);
                let expected: Vec<i64> = (first..first + i64::from(PER_ROUND)).collect();
                assert_eq!(
                    parts.next(),
                    Some(expected),
                    "{source}, {ordering}, round {round}"
                );
                if round % 3 == 2 {
                    assert_eq!(parts.next(), Some(Vec::new()), "{source}, {ordering}");
                }
            }
            assert_eq!(parts.collect::<Vec<_>>(), [[0_i64; 0]]);
        }
    }
}

#[tokio::test]
async fn the_sinks_take_what_a_command_led_to_in_its_turn() {
    let scene = Scene::new("barrier_sinks").await;
    insert(&scene, 0, 3_000).await;
    scene.collection("a").drop().await.unwrap();
    // All write to one document; the outputs of different documents go different ways to it.
    let module = scene.module(
        "last",
        &uneven("last")
            .text()
            // `_id` stays what it is in the template: 0.
            .replace("(i32.store (i32.const 265)", "(drop"),
    );
    let target = format!("{}_copy.last", scene.database);
    let sink = format!("mongodb:{target}");
    for source in SOURCES {
        let flags = ["--source", source, "--workers", "4", "--sink", &sink];
        scene.run_over(&[&module], flags).await.with_code(0);
        let copies = scene.client.database(&format!("{}_copy", scene.database));
        let last = copies
            .collection::<Document>("last")
            .find_one(doc! {})
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            last.get_i32("n").unwrap(),
            -1,
            "{source}: the drop has the last word"
        );
        copies.drop().await.unwrap();
    }
}

/// The module fails on the document 7 as this answers, and counts how often in `$tries`.
pub(crate) fn failing(module: Handwritten, answer: &str) -> Handwritten {
    let n = Handwritten::name("n");
    module
        .import("retry_after", "(param i64)")
        .with("(global $tries (mut i32) (i32.const 0))")
        .handle(&format!(
            "(if (i32.eq (call $int (call $data (local.get $op)) {n}) (i32.const 7))
               (then
                 (global.set $tries (i32.add (global.get $tries) (i32.const 1)))
                 {answer}))
             (call $emit_one (local.get $op)) (i32.const 0)"
        ))
}

#[tokio::test]
async fn a_command_waits_for_ops_of_its_namespace_that_are_tried_again() {
    let scene = Scene::new("barrier_retry").await;
    insert(&scene, 0, 30).await;
    // 7 lies in `b`.
    scene.collection("b").drop().await.unwrap();
    insert(&scene, 30, 30).await;
    let answer = "(if (i32.lt_u (global.get $tries) (i32.const 4)) (then (return (i32.const 1))))";
    let module = scene.module("again", &failing(uneven("again"), answer).text());
    for ordering in ["document", "namespace", "any"] {
        let flags = ["--workers", "3", "--ordering", ordering];
        let ended = scene.run_over(&[&module], flags).await.with_code(0);
        let parts = between_commands(&ended.documents());
        let expected: [Vec<i64>; 2] = [(0..30).collect(), (30..60).collect()];
        assert_eq!(parts, expected, "{ordering}");
    }
}

#[tokio::test]
async fn a_command_does_not_wait_for_other_namespaces_tries_and_an_end_does_not_wait_for_it() {
    let scene = Scene::new("barrier_later").await;
    insert(&scene, 0, 30).await;
    scene.collection("a").drop().await.unwrap();
    insert(&scene, 30, 30).await;
    scene.collection("b").drop().await.unwrap();
    insert(&scene, 60, 30).await;
    let answer = "(call $retry_after (i64.const 3600000)) (return (i32.const 3))";
    let module = scene.module("later", &failing(uneven("later"), answer).text());
    let run = scene
        .run(&[module])
        .args(["--workers", "3", "--grace-period", "2s"]);
    let run = run.start().unwrap();
    // All but the one that waits, and the drop of `a`.
    run.wait_for_lines(60, DEADLINE).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let documents: Vec<_> = run
        .stdout()
        .all()
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let before: Vec<i64> = (0..30).filter(|n| *n != 7).collect();
    // The drop of `b` waits for the document of `b`, and all that comes after it with it.
    assert_eq!(between_commands(&documents), [before, (30..60).collect()]);
    run.signal(Signal::Terminate).unwrap();
    assert_eq!(run.wait_exit(DEADLINE).await.unwrap(), 0);
}
