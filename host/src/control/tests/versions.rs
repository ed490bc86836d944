//! Other versions of a module in a lane.

use tokio::sync::oneshot;

use super::*;
use crate::control::{
    Canary, Rollout, Version,
    orders::{Order, Served},
    trial::Trial,
};

/// A batch border at which nothing comes of it.
const LOSES: &str = r#"(func (export "oplet_flush") (result i32) (unreachable))"#;

/// Lets a version of the scene's only module have all ops, until more than so many of them fail.
async fn canary(scene: &Scene, version: Module, failures_max: u64) -> Arc<Trial> {
    let spec = Arc::new(spec(version, policy()));
    let version = Version {
        digest: spec.module.digest().to_owned(),
        generation: 2,
    };
    let canary = Canary {
        share: 1.0,
        ops: 1_000,
        failures_max,
    };
    let fresh = Box::new(Served::fresh(&spec, &scene.shared.sinks).unwrap());
    let begun = Trial::begin(spec, version, Rollout::Canary(canary), Arc::default());
    let trial = Arc::new(begun.unwrap());
    let (answer, answered) = oneshot::channel();
    let order = Order::Try {
        fresh,
        trial: trial.clone(),
        module: 0,
        answer,
    };
    scene.shared.orders.give(0, order);
    scene.lanes.wake();
    answered.await.unwrap().unwrap();
    trial
}

/// Accepts all outputs, and gives the places of those that each version emitted, in order.
fn accept(scene: &Scene) -> [Vec<u32>; 2] {
    let mut places = [Vec::new(), Vec::new()];
    for chunk in scene.ends.chunks.lock().unwrap().iter() {
        for (index, output) in chunk.outputs.iter().enumerate() {
            assert!(!chunk.document(index).is_empty());
            places[output.version as usize].push(output.place);
        }
    }
    scene.ends.accept();
    places
}

/// Keeps the number of its calls as its state, and emits it at a batch's border.
const KEEPS: &str = r#"
    (data (i32.const 512) "\1b\00\00\00\10v\00\01\00\00\00\12state\00\00\00\00\00\00\00\00\00\00")
    (func (export "oplet_flush") (result i32)
        (i32.store (i32.const 1031) (i32.wrap_i64 (global.get $calls)))
        (drop (call $emit (i32.const 0) (i32.const 1024) (i32.const 12))) (i32.const 0))
    (func (export "oplet_restore") (param $ptr i32) (param i32) (result i32)
        (global.set $calls (i64.load (i32.add (local.get $ptr) (i32.const 18)))) (i32.const 0))"#;

const SAVES: &str = r#"(func (export "oplet_save") (result i64)
    (i64.store (i32.const 530) (global.get $calls))
    (i64.or (i64.shl (i64.const 512) (i64.const 32)) (i64.const 27)))"#;

/// Lets another version take over in the lane.
async fn switch(scene: &Scene, version: Module) {
    let spec = Arc::new(spec(version, policy()));
    let (answer, answered) = oneshot::channel();
    let order = Order::Switch {
        module: 0,
        fresh: Box::new(Served::fresh(&spec, &scene.shared.sinks).unwrap()),
        answer,
    };
    scene.shared.orders.give(0, order);
    scene.lanes.wake();
    answered.await.unwrap().unwrap();
}

/// The last number of calls that was emitted.
fn last_number(scene: &Scene) -> i32 {
    let mut numbers = Vec::new();
    for chunk in scene.ends.chunks.lock().unwrap().iter() {
        for (index, output) in chunk.outputs.iter().enumerate() {
            if output.cause == Cause::Flush {
                let number = Walk::find(chunk.document(index), "a").unwrap().unwrap();
                numbers.push(number.int32().unwrap());
            }
        }
    }
    *numbers.last().unwrap()
}

async fn wait_until_handled(scene: &Scene, count: u64) {
    let all = async || handled(scene) == count;
    oplet_testkit::eventually(LONG, all).await.unwrap();
}

fn handled(scene: &Scene) -> u64 {
    scene.shared.stats.handled.load(SeqCst)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_canary_loses_at_a_border_the_present_version_has() {
    for failures_max in [0, 1_000] {
        let mut scene = Scene::new(OrderingGuarantee::Oplog, vec![echo()]).await;
        let trial = canary(&scene, module("echo", "(i32.const 0)", LOSES), failures_max).await;
        scene.dispatch(&[1, 2, 1, 3]).await;
        scene.drain().await;
        let [present, tried] = accept(&scene);
        assert_eq!(present, [0, 1, 2, 3], "all, and in order");
        assert_eq!(tried, [0; 0], "what is handled again is not there twice");
        assert_eq!(scene.ends.done(), [0, 1, 2, 3]);
        assert_eq!(handled(&scene), 4);
        let status = trial.status();
        assert_eq!((status.ops, status.failures), (0, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_canary_has_gathered_when_it_traps_the_present_version_has() {
    let gathers = r#"(func (export "oplet_flush") (result i32) (i32.const 0))"#;
    // It traps on the third op.
    let answer =
        "(if (i64.eq (global.get $calls) (i64.const 3)) (then (unreachable))) (i32.const 0)";
    let mut scene = Scene::new(OrderingGuarantee::Document, vec![echo()]).await;
    let trial = canary(&scene, module("echo", answer, gathers), 0).await;
    scene.dispatch(&[1, 2, 3, 1, 3]).await;
    scene.drain().await;
    let [mut present, tried] = accept(&scene);
    let at = |place| present.iter().position(|other| *other == place);
    assert!(at(0) < at(3) && at(2) < at(4), "{present:?}");
    present.sort_unstable();
    assert_eq!((present, tried), (vec![0, 1, 2, 3, 4], Vec::new()));
    assert_eq!(scene.ends.done(), [0, 1, 2, 3, 4]);
    assert_eq!(handled(&scene), 5);
    assert_eq!(trial.status().failures, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_canary_gathers_is_done_when_it_has_given_it() {
    let gives = r#"(func (export "oplet_flush") (result i32)
        (drop (call $emit (i32.const 0) (i32.const 1024) (i32.const 12))) (i32.const 0))"#;
    let mut scene = Scene::new(OrderingGuarantee::Document, vec![echo()]).await;
    let trial = canary(&scene, module("echo", "(i32.const 0)", gives), 0).await;
    scene.dispatch(&[1, 2, 3]).await;
    scene.drain().await;
    assert_eq!(scene.ends.done(), [0; 0], "nothing was accepted yet");
    let [present, mut tried] = accept(&scene);
    tried.sort_unstable();
    assert_eq!((present, tried), (Vec::new(), vec![0, 1, 2, 2]));
    assert_eq!(scene.ends.done(), [0, 1, 2]);
    assert_eq!((handled(&scene), trial.status().ops), (3, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_handled_before_a_swap_is_undone_is_in_the_state_that_goes_on() {
    let saving = format!("{KEEPS}{SAVES}");
    for (after, expected) in [(&*saving, 6), (KEEPS, 3)] {
        let before = spec(module("keeps", "(i32.const 0)", &saving), policy());
        let mut scene = Scene::new(OrderingGuarantee::Oplog, vec![before]).await;
        scene.dispatch(&[1, 2]).await;
        wait_until_handled(&scene, 2).await;
        switch(
            &scene,
            module("keeps", "(i32.sub (i32.const 1) (i32.const 1))", after),
        )
        .await;
        scene.dispatch(&[3, 4, 5]).await;
        wait_until_handled(&scene, 5).await;
        assert_eq!(last_number(&scene), 5, "the state was handed over");
        scene.shared.orders.give(0, Order::Undo(0));
        scene.dispatch(&[6]).await;
        scene.drain().await;
        assert_eq!(last_number(&scene), expected);
    }
}
