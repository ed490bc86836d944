//! Versions that are tried before they take over, and versions that have to give way.

use std::time::Duration;

use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use oplet::{
    control::{Canary, FailurePolicy, Options, Rollout, RunState, Shadow, TrialStatus},
    op::SourceKind,
};
use oplet_testkit::{eventually, guest, wat};

use super::{swap, version};
use crate::{
    DEADLINE,
    delivery::run::{Mirrored, Running},
    modules::gathering::COUNTS,
};

fn mirror() -> Vec<u8> {
    std::fs::read(guest("guest_mirror").unwrap()).unwrap()
}

/// A handler that traps on every op.
fn broken() -> Vec<u8> {
    wat(r#"(module
        (memory (export "memory") 1)
        (func (export "oplet_abi_v1"))
        (func (export "oplet_alloc") (param i32) (result i32) i32.const 1024)
        (func (export "handle") (param i32 i32) (result i32) unreachable))"#)
    .unwrap()
}

/// A handler that counts ops, and emits `{n: COUNT}` at a batch's border.
fn gathering() -> Vec<u8> {
    let text = format!(
        r#"(module
        (import "oplet" "emit" (func $emit (param i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "oplet_abi_v1"))
        (func (export "oplet_alloc") (param i32) (result i32) i32.const 1024)
        (func (export "handle") (param i32 i32) (result i32)
            (global.set $n (i32.add (global.get $n) (i32.const 1)))
            i32.const 0)
        {COUNTS})"#
    );
    wat(&text).unwrap()
}

async fn trial(running: &Running) -> TrialStatus {
    let mut status = running.handle.status().await.unwrap();
    status.modules.remove(0).trial.unwrap()
}

async fn generation(running: &Running) -> u64 {
    running.handle.status().await.unwrap().modules[0].generation
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_that_does_well_takes_over() {
    for kind in [SourceKind::ChangeStream, SourceKind::Oplog] {
        let mirrored = Mirrored::new("canary").await;
        let running = mirrored.start(mirrored.options(kind)).await;
        let mut canary = swap("mirror", version(&mirror(), 1));
        canary.rollout = Rollout::Canary(Canary {
            share: 0.5,
            ops: 100,
            failures_max: 0,
        });
        let begun = running.handle.swap(canary).await.unwrap();
        assert_eq!(begun.from, begun.to);
        assert_eq!(begun.trial.unwrap().generation, 2);
        mirrored.insert(0..100).await;
        mirrored.wait_for_copies(100).await;
        let seen = trial(&running).await.ops;
        assert!((20..=80).contains(&seen), "{seen} of 100 ops");
        assert_eq!(generation(&running).await, 1);
        mirrored.insert(100..500).await;
        let taken = async || generation(&running).await == 2;
        eventually(DEADLINE, taken).await.unwrap();
        mirrored.wait_for_copies(500).await;
        running.end().await.1.unwrap();
        let times = mirrored.times().await;
        assert_eq!(times.len(), 500);
        assert!(times.iter().all(|(_, times)| *times == 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_that_fails_costs_no_op() {
    let mirrored = Mirrored::new("dies").await;
    let running = mirrored.start(mirrored.options(SourceKind::Oplog)).await;
    let mut canary = swap("mirror", broken());
    canary.rollout = Rollout::Canary(Canary {
        share: 0.3,
        ops: 1_000,
        failures_max: 2,
    });
    running.handle.swap(canary.clone()).await.unwrap();
    // One at a time.
    let another = running.handle.swap(canary.clone()).await.unwrap_err();
    assert!(another.to_string().contains("on trial"), "{another}");
    mirrored.insert(0..200).await;
    mirrored.wait_for_copies(200).await;
    let status = trial(&running).await;
    // Each lane may be in a call when the budget is used up.
    assert!((3..=4).contains(&status.failures), "{status:?}");
    assert_eq!(generation(&running).await, 1);
    // That trial is over: the next can begin, and be called off.
    let called_off = async || running.handle.swap(canary.clone()).await.is_ok();
    eventually(DEADLINE, called_off).await.unwrap();
    let back = running.handle.rollback("mirror").await.unwrap();
    assert_eq!(back.to.unwrap().generation, 1);
    let (summary, ended) = running.end().await;
    ended.unwrap();
    assert!(mirrored.times().await.iter().all(|(_, times)| *times == 1));
    assert_eq!(mirrored.times().await.len(), 200, "{summary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_canary_has_gathered_stands_beside_what_the_present_version_has() {
    let mirrored = Mirrored::new("gathers").await;
    let module = mirrored.module("m", &gathering(), FailurePolicy::default());
    let options = mirrored.options(SourceKind::Oplog);
    let running = mirrored.launch(options, vec![module]).await;
    running.wait_for(RunState::Streaming).await;
    let mut canary = swap("m", version(&gathering(), 1));
    canary.rollout = Rollout::Canary(Canary {
        share: 0.5,
        ops: 1_000_000,
        failures_max: 0,
    });
    running.handle.swap(canary).await.unwrap();
    mirrored.insert(0..1_000).await;
    // Each is a document of its own, by the key of its output.
    let copies = mirrored
        .client
        .database(&format!("{}_copy", mirrored.database));
    let copies = copies.collection::<Document>("things");
    let gathered = async || {
        let copies = copies.find(doc! {}).await.unwrap();
        let copies: Vec<Document> = copies.try_collect().await.unwrap();
        copies
            .iter()
            .map(|copy| copy.get_i32("n").unwrap())
            .sum::<i32>()
    };
    let handled = async || running.handle.status().await.unwrap().ops.handled == 1_000;
    eventually(DEADLINE, handled).await.unwrap();
    let tried = trial(&running).await.ops;
    assert!((200..=800).contains(&tried), "{tried} of 1000 ops");
    running.end().await.1.unwrap();
    assert_eq!(gathered().await, 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_is_compared_and_thrown_away() {
    for kind in [SourceKind::ChangeStream, SourceKind::Oplog] {
        let mirrored = Mirrored::new("shadow").await;
        let running = mirrored.start(mirrored.options(kind)).await;
        let mut same = swap("mirror", version(&mirror(), 1));
        same.rollout = Rollout::Shadow(Shadow { ops: 50 });
        running.handle.swap(same).await.unwrap();
        mirrored.insert(0..60).await;
        mirrored.wait_for_copies(60).await;
        let status = trial(&running).await;
        assert_eq!((status.kind, status.different), ("shadow", 0), "{status:?}");
        assert!(status.ops >= 50, "{status:?}");
        let count = std::fs::read(guest("guest_count").unwrap()).unwrap();
        let mut other = swap("mirror", count);
        other.rollout = Rollout::Shadow(Shadow { ops: 20 });
        let begun = async || running.handle.swap(other.clone()).await.is_ok();
        eventually(DEADLINE, begun).await.unwrap();
        mirrored.insert(60..100).await;
        mirrored.wait_for_copies(100).await;
        let status = trial(&running).await;
        assert!(status.different >= 20, "{status:?}");
        assert_eq!(status.samples.len(), 10, "{status:?}");
        assert!(
            status.samples[0].present.contains("3 documents"),
            "{status:?}"
        );
        running.end().await.1.unwrap();
        let times = mirrored.times().await;
        assert_eq!(times.len(), 100);
        assert!(times.iter().all(|(_, times)| *times == 1));
    }
}

/// A run whose next version is on probation for longer than the test, and whose breaker opens soon.
async fn on_probation(hint: &str) -> (Mirrored, Running) {
    let mirrored = Mirrored::new(hint).await;
    let options = Options {
        probation: Duration::from_secs(600),
        ..mirrored.options(SourceKind::Oplog)
    };
    let policy = FailurePolicy {
        breaker_failures: 6,
        ..FailurePolicy::default()
    };
    let good = mirrored.module("mirror", &mirror(), policy);
    let running = mirrored.launch(options, vec![good]).await;
    running.wait_for(RunState::Streaming).await;
    (mirrored, running)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_fails_gives_way_by_itself() {
    let (mirrored, running) = on_probation("probation").await;
    mirrored.insert(0..50).await;
    mirrored.wait_for_copies(50).await;
    let swapped = running.handle.swap(swap("mirror", broken())).await.unwrap();
    assert_eq!(swapped.to.unwrap().generation, 2);
    // Its breaker opens, it is rolled back, and the run goes on.
    mirrored.insert(50..150).await;
    mirrored.wait_for_copies(150).await;
    assert_eq!(generation(&running).await, 3);
    let status = running.handle.status().await.unwrap();
    assert_eq!(status.modules[0].digest, swapped.from.unwrap().digest);
    running.end().await.1.unwrap();
    assert!(mirrored.times().await.iter().all(|(_, times)| *times == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_fails_gives_way_also_while_another_is_tried_beside_it() {
    let (mirrored, running) = on_probation("crowded").await;
    let swapped = running.handle.swap(swap("mirror", broken())).await.unwrap();
    assert_eq!(swapped.to.unwrap().generation, 2);
    let mut canary = swap("mirror", version(&mirror(), 1));
    canary.rollout = Rollout::Canary(Canary {
        share: 0.3,
        ops: 1_000_000,
        failures_max: 0,
    });
    running.handle.swap(canary).await.unwrap();
    mirrored.insert(0..100).await;
    mirrored.wait_for_copies(100).await;
    let status = running.handle.status().await.unwrap();
    assert_eq!(status.modules[0].digest, swapped.from.unwrap().digest);
    running.end().await.1.unwrap();
    assert!(mirrored.times().await.iter().all(|(_, times)| *times == 1));
}
