//! Where a run goes on that ended, or was ended.

use std::time::Duration;

use bson::{Bson, doc};
use oplet_testkit::{Options, ReplicaSet, RunningOplet, Signal, eventually};
use tokio::time::sleep;

use super::process::{Named, ids, wait_for};
use crate::DEADLINE;

async fn stop(running: &RunningOplet) {
    running.signal(Signal::Terminate).unwrap();
    assert_eq!(running.wait_exit(DEADLINE).await.unwrap(), 0);
}

#[tokio::test]
async fn a_run_goes_on_where_it_ended() {
    for source in ["oplog", "change-stream"] {
        let named = Named::new("restart").await;
        let run = || named.run().args(["--source", source]);
        let first = named.start(run()).await;
        named.insert(0..5).await;
        wait_for(&first, 5).await;
        stop(&first).await;
        named.insert(5..8).await;
        let second = named.start(run()).await;
        wait_for(&second, 3).await;
        stop(&second).await;
        assert_eq!(ids(&second), [5, 6, 7], "{source}");
    }
}

#[tokio::test]
async fn a_run_that_was_killed_leaves_no_gap() {
    for source in ["oplog", "change-stream"] {
        let named = Named::new("killed").await;
        let run = || named.run().args(["--source", source]);
        let first = named.start(run()).await;
        named.insert(0..200).await;
        wait_for(&first, 50).await;
        first.signal(Signal::Kill).unwrap();
        named.insert(200..210).await;
        let second = named.start(run()).await;
        let seen = || {
            let mut seen = ids(&first);
            seen.extend(ids(&second));
            seen.sort_unstable();
            seen.dedup();
            seen
        };
        // Lanes work side by side: the last op may come before others.
        let complete = async || seen().len() >= 210;
        let _ = eventually(DEADLINE, complete).await;
        let seen = seen();
        assert_eq!(seen, (0..210).collect::<Vec<_>>(), "{source}");
        stop(&second).await;
    }
}

#[tokio::test]
async fn nothing_begins_before_it_is_durable_where() {
    let set = ReplicaSet::start(Options::default()).await.unwrap();
    let named = Named::on(&set, "begun").await;
    let admin = named.client.database("admin");
    let fail = |mode: Bson| {
        // The first update takes the lease, the others save the checkpoint or renew.
        let data = doc! { "failCommands": ["update"], "errorCode": 50,
        "namespace": "oplet.checkpoints" };
        doc! { "configureFailPoint": "failCommand", "mode": mode, "data": data }
    };
    let mode = doc! { "skip": 1 };
    admin.run_command(fail(mode.into())).await.unwrap();
    let running = named.run().start().unwrap();
    let tried = |line: &str| line.contains("cannot be saved");
    running.wait_for_stderr(tried, DEADLINE).await.unwrap();
    named.insert(0..3).await;
    // Longer than it takes to try again, several times.
    sleep(Duration::from_secs(2)).await;
    let told = running.stderr().all().join("\n");
    assert!(!told.contains("running"), "{told}");
    admin.run_command(fail("off".into())).await.unwrap();
    wait_for(&running, 3).await;
    stop(&running).await;
    assert_eq!(ids(&running), [0, 1, 2]);
}

#[tokio::test]
async fn a_bound_on_ops_leaves_the_rest_to_the_next_run() {
    for source in ["oplog", "change-stream"] {
        let named = Named::new("bounded").await;
        let run = || named.run().args(["--source", source, "--max-ops", "4"]);
        // The position is saved before the first op.
        let idle = named.start(named.run().args(["--source", source])).await;
        stop(&idle).await;
        named.insert(0..10).await;
        let mut seen = Vec::new();
        for _ in 0..2 {
            let some = run().start().unwrap();
            assert_eq!(some.wait_exit(DEADLINE).await.unwrap(), 0);
            seen.extend(ids(&some));
        }
        assert_eq!(seen, [0, 1, 2, 3, 4, 5, 6, 7], "{source}");
    }
}

#[tokio::test]
async fn another_source_or_scope_goes_on_without_a_gap() {
    let named = Named::new("changed").await;
    let first = named
        .start(named.run().args(["--source", "change-stream"]))
        .await;
    named.insert(0..5).await;
    wait_for(&first, 5).await;
    stop(&first).await;
    named.insert(5..8).await;
    let other = format!("{}.things", named.database);
    let second = named
        .start(named.run().args(["--source", "oplog", "--watch", &other]))
        .await;
    wait_for(&second, 3).await;
    stop(&second).await;
    assert_eq!(
        ids(&second),
        [5, 6, 7],
        "what was acknowledged is passed over"
    );
    named.insert(8..10).await;
    let third = named
        .start(named.run().args(["--source", "change-stream"]))
        .await;
    wait_for(&third, 2).await;
    stop(&third).await;
    assert_eq!(ids(&third), [8, 9]);
}

#[tokio::test]
async fn the_position_of_a_quiet_namespace_moves() {
    for source in ["oplog", "change-stream"] {
        let named = Named::new("quiet").await;
        let running = named.start(named.run().args(["--source", source])).await;
        let saved = async || !named.own("checkpoints").await.is_empty();
        eventually(DEADLINE, saved).await.unwrap();
        let before = named.own("checkpoints").await.remove(0);
        let elsewhere = named
            .client
            .database(&format!("{}_elsewhere", named.database));
        elsewhere
            .collection("things")
            .insert_one(doc! { "a": 1 })
            .await
            .unwrap();
        named.wait_for_checkpoint(&before).await;
        stop(&running).await;
        assert!(ids(&running).is_empty());
    }
}

#[tokio::test]
async fn a_position_that_was_asked_for_goes_before_the_checkpoint() {
    let named = Named::new("since").await;
    let first = named.start(named.run()).await;
    named.insert(0..3).await;
    wait_for(&first, 3).await;
    stop(&first).await;
    let second = named.start(named.run().args(["--since", "10m"])).await;
    wait_for(&second, 3).await;
    stop(&second).await;
    assert_eq!(ids(&second), [0, 1, 2]);
    let said = second.stderr().all().join("\n");
    assert!(said.contains("the checkpoint is passed over"), "{said}");
}

#[tokio::test]
async fn garbage_in_the_store_names_the_way_out() {
    let named = Named::new("garbage").await;
    let checkpoints = named.client.database("oplet").collection("checkpoints");
    let garbage = doc! { "_id": &named.database, "format": 1, "epoch": 1_i64, "checkpoint": 7 };
    checkpoints.insert_one(garbage).await.unwrap();
    let refused = named.run().start().unwrap();
    assert_eq!(refused.wait_exit(DEADLINE).await.unwrap(), 1);
    let said = refused.stderr().all().join("\n");
    assert!(
        said.contains("oplet checkpoint show") && said.contains("oplet checkpoint clear"),
        "{said}"
    );
}
