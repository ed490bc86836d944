//! When an op is told as done.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_op_is_done_when_all_outputs_for_it_are_delivered() {
    let modules = vec![echo(), flaky(3, policy())];
    let scene = Scene::over(OrderingGuarantee::Document, modules, &[1, 2, 3, 4, 5]).await;
    assert_eq!(scene.ends.done(), [0; 0], "nothing was accepted yet");
    let mut outputs = scene.ends.accept();
    assert_eq!(scene.ends.done(), [0, 1, 2, 3, 4]);
    outputs.sort_by_key(|(module, place, _)| (*place, module.clone()));
    let expected =
        (0..5).flat_map(|place| ["echo", "flaky"].map(|module| (module.to_owned(), place)));
    let got = outputs
        .into_iter()
        .map(|(module, place, _)| (module, place));
    assert!(got.eq(expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_op_that_waits_is_not_done_by_the_outputs_of_another_module() {
    let mut hour = policy();
    hour.backoff_min = Duration::from_secs(3_600);
    hour.backoff_max = hour.backoff_min;
    let mut scene = Scene::new(
        OrderingGuarantee::Document,
        vec![echo(), flaky(1, hour.clone()), flaky(1, hour)],
    )
    .await;
    scene.dispatch(&[1, 2]).await;
    // The outputs may come one after the other, and the lane's own part of the duty behind them.
    let done = async || {
        scene.ends.accept();
        scene.ends.done() == [1]
    };
    oplet_testkit::eventually(LONG, done).await.unwrap();
    let parked = |module: usize| scene.shared.standings[module].stats.parked.load(SeqCst);
    assert_eq!([0, 1, 2].map(parked), [0, 1, 1]);
    scene.shared.gate.throw();
    scene.drain().await;
    assert_eq!(scene.ends.done(), [1], "what was left alone is not done");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_module_gathered_holds_the_ops_that_it_was_gathered_from() {
    let flush = r#"(func (export "oplet_flush") (result i32)
        (drop (call $emit (i32.const 0) (i32.const 1024) (i32.const 12))) (i32.const 0))"#;
    let module = module("gather", "(i32.const 0)", flush);
    let modules = vec![spec(module, policy())];
    let scene = Scene::over(OrderingGuarantee::Oplog, modules, &[1, 2, 3]).await;
    assert_eq!(scene.ends.done(), [0; 0]);
    let outputs = scene.ends.accept();
    let flushed = outputs
        .iter()
        .filter(|(_, _, cause)| *cause == Cause::Flush);
    let places: Vec<u32> = flushed.map(|(_, place, _)| *place).collect();
    assert_eq!(places, [2], "once, with the last op");
    assert_eq!(scene.ends.done(), [0, 1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_waits_for_a_sink_does_not_hold_up_a_pause() {
    let mut scene = Scene::new(OrderingGuarantee::Document, vec![echo()]).await;
    scene.ends.has_no_room.store(true, SeqCst);
    scene.dispatch(&[1, 2]).await;
    timeout(LONG, scene.ends.waits.notified()).await.unwrap();
    scene.shared.gate.close();
    timeout(LONG, scene.shared.gate.at_rest()).await.unwrap();
    scene.shared.gate.throw();
    scene.drain().await;
    assert_eq!(scene.ends.done(), [0; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ops_are_not_done_when_what_was_gathered_from_them_is_lost() {
    let flush = r#"(func (export "oplet_flush") (result i32) (unreachable))"#;
    let module = module("loses", "(i32.const 0)", flush);
    let modules = vec![echo(), spec(module, policy())];
    let scene = Scene::over(OrderingGuarantee::Oplog, modules, &[1, 2]).await;
    let outputs = scene.ends.accept();
    assert_eq!(outputs.len(), 4, "what was handled is passed on");
    assert_eq!(scene.ends.done(), [0; 0]);
    let failure = scene.shared.take_failure().unwrap().to_string();
    assert_eq!(failure, "the module `loses` failed at a batch border");
}
