//! Several deployments in one run.

use std::{path::Path, time::Duration};

use bson::doc;
use oplet_testkit::{Oplet, RunningOplet, Signal, eventually};
use serde_json::Value;

use super::{pair::Pair, scrape::ask};
use crate::{DEADLINE, modules::Handwritten, oplet, tailing::SOURCES};

/// `oplet run` of a module that passes on what it gets, which keeps its checkpoint in the folder.
pub(crate) fn run(folder: &Path, source: &str) -> Oplet {
    let module = folder.join("passing.wasm");
    if !module.exists() {
        let text = Handwritten::new("")
            .without_handle()
            .filter("(i32.const 1)")
            .text();
        std::fs::write(&module, oplet_testkit::wat(&text).unwrap()).unwrap();
    }
    let kept = |name: &str| format!("file:{}", folder.join(name).display());
    oplet()
        .arg("run")
        .arg(module)
        .args(["--watch", "shop", "--source", source])
        .args(["--name", "several"])
        .env("OPLET_CHECKPOINT", kept("checkpoint"))
        .args(["--dead-letters", &kept("letters")])
}

/// Starts it, and waits until it runs.
pub(crate) async fn begun(oplet: Oplet) -> RunningOplet {
    let running = oplet.start().unwrap();
    let runs = running.wait_for_stderr(|line| line.contains("running"), DEADLINE);
    if let Err(error) = runs.await {
        panic!("{error:#}\n{}", running.stderr().all().join("\n"));
    }
    running
}

pub(crate) async fn stop(running: &RunningOplet) {
    running.signal(Signal::Terminate).unwrap();
    assert_eq!(running.wait_exit(DEADLINE).await.unwrap(), 0);
}

/// The ops that were passed on, in the order in which they were.
pub(crate) fn ops(running: &RunningOplet) -> Vec<Value> {
    let lines = running.stdout().all();
    lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Waits until so many ops were passed on.
pub(crate) async fn wait_for(running: &RunningOplet, count: usize) -> Vec<Value> {
    if let Err(error) = running.wait_for_lines(count, DEADLINE).await {
        panic!("{error:#}\n{}", running.stderr().all().join("\n"));
    }
    ops(running)
}

/// Deployment and document of each op, in order.
pub(crate) fn told(ops: &[Value]) -> Vec<(String, i64)> {
    let told = |op: &Value| {
        (
            op["cluster"].as_str().unwrap_or_default().to_owned(),
            op["_id"].as_i64().unwrap(),
        )
    };
    let mut told: Vec<_> = ops.iter().map(told).collect();
    told.sort();
    told
}

fn of(clusters: &[(&str, std::ops::Range<i64>)]) -> Vec<(String, i64)> {
    let mut all: Vec<_> = clusters
        .iter()
        .flat_map(|(cluster, ids)| ids.clone().map(|id| ((*cluster).to_owned(), id)))
        .collect();
    all.sort();
    all
}

fn time(op: &Value) -> (u64, u64) {
    let time = &op["timestamp"]["$timestamp"];
    (time["t"].as_u64().unwrap(), time["i"].as_u64().unwrap())
}

/// The deployment that holds up the others, as `status` shows it.
async fn held_up_by(running: &RunningOplet) -> Option<String> {
    let answer = ask(running, "GET /status").await;
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let status: Value = serde_json::from_str(body).unwrap();
    let deployments = status["deployments"].as_array().unwrap();
    assert_eq!(deployments.len(), 2, "{status}");
    let mut held = deployments
        .iter()
        .filter(|one| !one["holdsUpSince"].is_null());
    held.next()
        .map(|one| one["cluster"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn ops_are_told_apart_and_look_up_in_their_own_deployment() {
    let scene = Pair::start().await;
    for source in SOURCES {
        let running = scene.start_run(source, &["--checkpoint", "none"]).await;
        for member in [&scene.eu, &scene.us] {
            member.things().drop().await.unwrap();
            member.insert(0..3).await;
        }
        for (member, at) in [(&scene.eu, "eu"), (&scene.us, "us")] {
            let change = doc! { "$set": { "at": at } };
            member
                .things()
                .update_one(doc! { "_id": 1 }, change)
                .await
                .unwrap();
        }
        let is_change = |op: &&Value| op["operation"] != "c";
        let all = async || ops(&running).iter().filter(is_change).count() >= 8;
        eventually(DEADLINE, all).await.unwrap();
        stop(&running).await;
        let all = ops(&running);
        let mut ids: Vec<_> = all.iter().map(|op| op["opId"].to_string()).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), all.len(), "{source}: {all:#?}");
        for op in all.iter().filter(|op| op["operation"] == "u") {
            assert_eq!(op["data"]["at"], op["cluster"], "{source}: {op}");
        }
        let changes: Vec<_> = all
            .into_iter()
            .filter(|op| op["operation"] != "c")
            .collect();
        let expected = of(&[("eu", 0..3), ("us", 0..3), ("eu", 1..2), ("us", 1..2)]);
        assert_eq!(told(&changes), expected, "{source}");
    }
}

#[tokio::test]
async fn a_run_goes_on_with_its_deployments_in_another_order() {
    let scene = Pair::start().await;
    for (round, source) in SOURCES.into_iter().enumerate() {
        let from = round as i32 * 100;
        let first = scene.start_run(source, &[]).await;
        scene.eu.insert(from..from + 10).await;
        scene.us.insert(from..from + 4).await;
        wait_for(&first, 14).await;
        stop(&first).await;
        scene.eu.insert(from + 10..from + 12).await;
        scene.us.insert(from + 4..from + 9).await;
        let second = begun(scene.run(&[&scene.us, &scene.eu], source)).await;
        wait_for(&second, 7).await;
        stop(&second).await;
        let from = i64::from(from);
        let expected = of(&[("eu", from + 10..from + 12), ("us", from + 4..from + 9)]);
        assert_eq!(told(&ops(&second)), expected, "{source}");
    }
}

#[tokio::test]
async fn a_deployment_that_is_new_begins_now_and_the_other_goes_on() {
    let scene = Pair::start().await;
    scene.us.insert(0..5).await;
    let alone = begun(scene.run(&[&scene.eu], "oplog")).await;
    scene.eu.insert(0..3).await;
    let ops_alone = wait_for(&alone, 3).await;
    // One deployment is not told from others.
    assert!(
        ops_alone.iter().all(|op| op["cluster"].is_null()),
        "{ops_alone:?}"
    );
    stop(&alone).await;
    scene.eu.insert(3..6).await;
    let both = begun(scene.run(&[&scene.us, &scene.eu], "oplog")).await;
    scene.us.insert(5..7).await;
    wait_for(&both, 5).await;
    stop(&both).await;
    assert_eq!(told(&ops(&both)), of(&[("eu", 3..6), ("us", 5..7)]));
}

#[tokio::test]
async fn one_order_over_all_is_that_of_cluster_time_also_when_one_is_away() {
    let scene = Pair::start().await;
    for source in SOURCES {
        let flags = [
            "--ordering",
            "oplog",
            "--admin",
            "127.0.0.1:0",
            "--checkpoint",
            "none",
        ];
        let running = scene.start_run(source, &flags).await;
        for id in 0..40 {
            let member = if id % 3 == 0 { &scene.us } else { &scene.eu };
            member.insert(id..id + 1).await;
        }
        wait_for(&running, 40).await;
        scene.us.set.suspend().await.unwrap();
        // Ops of the same second and increment need not wait for each other.
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        scene.eu.insert(40..60).await;
        let held = async || held_up_by(&running).await.as_deref() == Some("us");
        eventually(DEADLINE, held).await.unwrap();
        assert_eq!(ops(&running).len(), 40, "{source}");
        scene.us.set.resume().await.unwrap();
        scene.us.insert(60..80).await;
        scene.eu.insert(80..90).await;
        let all = wait_for(&running, 90).await;
        stop(&running).await;
        assert!(all.is_sorted_by_key(time), "{source}: {all:#?}");
        let mut ids: Vec<_> = all.iter().map(|op| op["_id"].as_i64().unwrap()).collect();
        // Written one after the other, but on two machines whose clocks are theirs.
        ids.sort_unstable();
        assert_eq!(ids, (0..90).collect::<Vec<_>>(), "{source}");
        for member in [&scene.eu, &scene.us] {
            member.things().delete_many(doc! {}).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_merged_run_that_was_killed_goes_on_in_order() {
    let scene = Pair::start().await;
    let start = || scene.start_run("oplog", &["--ordering", "oplog"]);
    let first = start().await;
    for id in 0..60 {
        let member = if id % 2 == 0 { &scene.us } else { &scene.eu };
        member.insert(id..id + 1).await;
    }
    wait_for(&first, 20).await;
    first.signal(Signal::Kill).unwrap();
    first.wait_exit(DEADLINE).await.unwrap();
    scene.eu.insert(60..70).await;
    let second = start().await;
    let seen = || {
        let mut ids: Vec<_> = [&first, &second]
            .into_iter()
            .flat_map(ops)
            .map(|op| op["_id"].as_i64().unwrap())
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    };
    let _ = eventually(DEADLINE, async || seen().len() >= 70).await;
    stop(&second).await;
    assert_eq!(seen(), (0..70).collect::<Vec<_>>());
    assert!(ops(&second).is_sorted_by_key(time));
}

#[tokio::test]
async fn the_number_of_ops_is_counted_over_all_in_their_order() {
    let scene = Pair::start().await;
    let flags = ["--ordering", "oplog", "--max-ops", "7"];
    let idle = scene.start_run("oplog", &["--ordering", "oplog"]).await;
    stop(&idle).await;
    for id in 0..10 {
        let member = if id % 2 == 0 { &scene.us } else { &scene.eu };
        member.insert(id..id + 1).await;
    }
    let mut all = Vec::new();
    for expected in [7, 3] {
        let some = begun(scene.run(&[&scene.eu, &scene.us], "oplog").args(flags)).await;
        all.extend(wait_for(&some, expected).await);
        if expected == 7 {
            assert_eq!(some.wait_exit(DEADLINE).await.unwrap(), 0);
            assert_eq!(ops(&some).len(), 7);
        } else {
            stop(&some).await;
        }
    }
    assert!(all.is_sorted_by_key(time), "{all:#?}");
    assert_eq!(told(&all).len(), 10);
}

#[tokio::test]
async fn a_deployment_that_is_away_does_not_stop_the_others() {
    let scene = Pair::start().await;
    for source in SOURCES {
        let running = scene.start_run(source, &["--checkpoint", "none"]).await;
        scene.us.insert(0..1).await;
        wait_for(&running, 1).await;
        scene.us.set.suspend().await.unwrap();
        scene.eu.insert(0..50).await;
        wait_for(&running, 51).await;
        scene.us.set.resume().await.unwrap();
        scene.us.insert(1..5).await;
        wait_for(&running, 55).await;
        stop(&running).await;
        assert_eq!(
            told(&ops(&running)),
            of(&[("eu", 0..50), ("us", 0..5)]),
            "{source}"
        );
        for member in [&scene.eu, &scene.us] {
            member.things().delete_many(doc! {}).await.unwrap();
        }
    }
}

#[tokio::test]
async fn documents_that_cannot_be_had_hold_up_no_other_deployment() {
    let scene = Pair::start().await;
    for member in [&scene.eu, &scene.us] {
        member.insert(0..1).await;
    }
    let flags = ["--workers", "1", "--checkpoint", "none"];
    let running = scene.start_run("oplog", &flags).await;
    let admin = scene.us.client.database("admin");
    let fail = |mode: &str| {
        let data = doc! { "failCommands": ["find"], "namespace": "shop.things", "blockConnection": true,
        "blockTimeMS": 20_000 };
        doc! { "configureFailPoint": "failCommand", "mode": mode, "data": data }
    };
    admin.run_command(fail("alwaysOn")).await.unwrap();
    let change = |n: i32| doc! { "$set": { "n": n } };
    for member in [&scene.us, &scene.eu] {
        let things = member.things();
        things
            .update_one(doc! { "_id": 0 }, change(7))
            .await
            .unwrap();
    }
    scene.eu.insert(1..20).await;
    scene.us.insert(1..20).await;
    wait_for(&running, 39).await;
    let is_put_off = |op: &Value| op["operation"] == "u" && op["cluster"] == "us";
    assert!(!ops(&running).iter().any(is_put_off));
    admin.run_command(fail("off")).await.unwrap();
    let all = wait_for(&running, 40).await;
    stop(&running).await;
    assert_eq!(all.iter().filter(|op| is_put_off(op)).count(), 1);
    assert_eq!(told(&all), of(&[("eu", 0..20), ("us", 0..20)]));
}

#[tokio::test]
async fn what_would_be_read_twice_or_begun_anew_is_refused() {
    let scene = Pair::start().await;
    let port = scene.eu.set.port();
    let refused = async |oplet: Oplet, words: &[&str]| {
        let running = oplet.start().unwrap();
        let code = running.wait_exit(DEADLINE).await.unwrap();
        let said = running.stderr().all().join("\n");
        assert_eq!(code, 2, "{said}");
        for word in words {
            assert!(said.contains(word), "`{word}` in {said}");
        }
    };
    let same = format!("mongodb://localhost:{port}/?directConnection=true");
    let twice = scene.run(&[&scene.eu], "oplog").args(["--uri", &same]);
    refused(twice, &["the same deployment, `eu`"]).await;
    let token = scene
        .run(&[&scene.eu, &scene.us], "change-stream")
        .args(["--since", r#"token:{"_data": "82"}"#]);
    refused(token, &["a resume token is a position in one deployment"]).await;
    // Where the checkpoint is, the first deployment was.
    let here = ["--checkpoint", "mongodb:oplet.checkpoints"];
    let first = scene.start_run("oplog", &here).await;
    stop(&first).await;
    let swapped = scene.run(&[&scene.us, &scene.eu], "oplog").args(here);
    let words = [
        "which is not the first deployment",
        "first; the order of the others",
    ];
    refused(swapped, &words).await;
}
