//! What becomes of ops that a module fails on.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*, test_runner::TestRunner};

use super::*;

#[test]
fn under_random_failures_the_order_of_keys_is_kept_and_every_op_is_done_once() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let config = ProptestConfig::with_cases(24);
    let orderings = prop::sample::select(vec![
        OrderingGuarantee::Oplog,
        OrderingGuarantee::Namespace,
        OrderingGuarantee::Document,
        OrderingGuarantee::AnyOrder,
    ]);
    let case = (orderings, vec(0..4_i32, 1..20), any::<u64>());
    let check = |(ordering, ids, mask): (OrderingGuarantee, Vec<i32>, u64)| {
        let modules = vec![moody(mask, policy()), echo()];
        let scene = runtime.block_on(Scene::over(ordering, modules, &ids));
        let outputs = scene.ends.accept();
        let all: Vec<u32> = (0..ids.len() as u32).collect();
        prop_assert_eq!(scene.ends.done(), all.clone());
        let mut places: BTreeMap<(&str, i32), Vec<u32>> = BTreeMap::new();
        for (module, place, _) in &outputs {
            let id = match ordering {
                OrderingGuarantee::Oplog | OrderingGuarantee::Namespace => 0,
                _ => ids[*place as usize],
            };
            places.entry((module, id)).or_default().push(*place);
        }
        prop_assert_eq!(outputs.len(), 2 * ids.len());
        for ((module, _), places) in places {
            let is_in_order = places.windows(2).all(|pair| pair[0] < pair[1]);
            let is_asked = ordering != OrderingGuarantee::AnyOrder || module == "echo";
            prop_assert!(is_in_order || !is_asked, "{} {:?}", module, places);
        }
        Ok(())
    };
    TestRunner::new(config).run(&case, check).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_op_that_is_given_up_is_done_when_its_letter_is_stored() {
    let three = FailurePolicy {
        attempts_max: 3,
        ..policy()
    };
    let modules = vec![flaky(3, three), echo()];
    let scene = Scene::over(OrderingGuarantee::Oplog, modules, &[1, 1, 2]).await;
    let outputs = scene.ends.accept();
    assert_eq!(outputs.len(), 2 + 3);
    assert_eq!(scene.ends.done(), [1, 2]);
    assert_eq!(scene.ends.store(), [(0, "retry", 3)]);
    assert_eq!(scene.ends.done(), [0, 1, 2]);
    let counts = scene.shared.stats.summary(&Default::default());
    assert_eq!(
        (counts.failed, counts.dead_lettered, counts.retries),
        (3, 1, 2)
    );
    assert_eq!((counts.kept, counts.handled, counts.emitted), (6, 5, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_stops_leaves_the_op_undone() {
    let stop = FailurePolicy {
        on_error: OnError::Stop,
        ..policy()
    };
    // The third call fails.
    let modules = vec![moody(1 << 3, stop)];
    let scene = Scene::over(OrderingGuarantee::Oplog, modules, &[1, 2, 3, 4]).await;
    scene.ends.accept();
    assert_eq!(scene.ends.done(), [0, 1]);
    assert!(scene.shared.failed.is_cancelled());
    let failure = scene.shared.take_failure().unwrap().to_string();
    assert_eq!(failure, "the module `moody` failed on the op 3:1:0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_breaker_pauses_the_run_and_no_attempt_is_lost() {
    let pause = FailurePolicy {
        on_error: OnError::DeadLetter,
        breaker_failures: 3,
        ..policy()
    };
    let mut scene = Scene::new(OrderingGuarantee::Document, vec![flaky(4, pause)]).await;
    scene.dispatch(&[1, 2, 3, 4, 5, 6]).await;
    let gate = scene.shared.gate.clone();
    let breaker = &scene.shared.standings[0].breaker;
    // The op that opens the breaker fails once more after the first `resume`, and not after that.
    for _ in 0..2 {
        let opened = scene.shared.breaker_opened.notified();
        timeout(LONG, opened).await.unwrap();
        assert_eq!(gate.word(), Word::Closed);
        timeout(LONG, gate.at_rest()).await.unwrap();
        let state = breaker.state();
        assert!(state.open_since.is_some());
        assert_eq!(state.failures_in_a_row, 3);
        breaker.half_open();
        gate.open();
    }
    scene.drain().await;
    assert_eq!(scene.shared.standings[0].breaker.state().open_since, None);
    scene.ends.accept();
    assert_eq!(scene.ends.store(), [(0, "retry", 1), (1, "retry", 1)]);
    assert_eq!(scene.ends.done(), [0, 1, 2, 3, 4, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_breaker_passes_ops_by_without_a_call() {
    let pass = FailurePolicy {
        on_error: OnError::DeadLetter,
        breaker_failures: 3,
        breaker: WhenOpen::DeadLetter,
        ..policy()
    };
    let modules = vec![flaky(1_000, pass)];
    let scene = Scene::over(OrderingGuarantee::Document, modules, &[1, 2, 3, 4, 5]).await;
    let letters = scene.ends.store();
    let expected = [
        (0, "retry", 1),
        (1, "retry", 1),
        (2, "retry", 1),
        (3, "breaker", 0),
        (4, "breaker", 0),
    ];
    assert_eq!(letters, expected);
    assert_eq!(scene.ends.done(), [0, 1, 2, 3, 4]);
    let calls = scene.shared.standings[0].stats.calls.load(SeqCst);
    assert_eq!(calls, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_is_looked_up_again_at_each_try() {
    let database = oplet_testkit::database_name("looked_up_again");
    let set = oplet_testkit::ReplicaSet::shared().await.unwrap();
    let client = set.client().await.unwrap();
    let things = client.database(&database).collection("things");
    things.insert_one(doc! {"_id": 1, "n": 1}).await.unwrap();
    // Long enough for a write, however slow the machine is.
    let slow = FailurePolicy {
        backoff_min: Duration::from_secs(3),
        backoff_max: Duration::from_secs(3),
        ..policy()
    };
    let modules = vec![flaky(1, slow), echo()];
    let mut scene = Scene::new(OrderingGuarantee::Document, modules).await;
    let namespace = format!("{database}.things");
    let updates = batch_of(&namespace, &[1], Operation::Update);
    scene.dispatch_batch(updates).await;
    while scene.ends.chunks.lock().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let update = doc! {"$set": {"n": 2}};
    things.update_one(doc! {"_id": 1}, update).await.unwrap();
    scene.drain().await;
    let seen: Vec<i32> = scene
        .ends
        .chunks
        .lock()
        .unwrap()
        .iter()
        .map(|chunk| {
            let op = bson::RawDocument::from_bytes(chunk.document(0)).unwrap();
            op.get_document("data").unwrap().get_i32("n").unwrap()
        })
        .collect();
    assert_eq!(seen, [1, 2], "the other module saw it as it was then");
    scene.ends.accept();
    assert_eq!(scene.ends.done(), [0]);
}
