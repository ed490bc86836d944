//! The first signal asks for an end, whatever is stuck; the second is one.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use bson::doc;
use oplet_testkit::{ReplicaSet, RunningOplet, Signal, database_name, guest};

use super::{
    SOON, SOURCES, Summary, assert_quiet, insert, logged, modules, ops, run, started, summary, tail,
};
use crate::{DEADLINE, oplet};

/// What a busy machine may add to the grace period until a process is gone. What holds up an end (a
/// server that does not answer, a handler that does not return) does so for much longer.
const BUSY: Duration = Duration::from_millis(2_500);

/// Asks for an end, and sees that it comes within the grace period.
pub(super) async fn drains_within(oplet: &RunningOplet, grace_period: Duration) {
    let asked = Instant::now();
    oplet.signal(Signal::Terminate).unwrap();
    assert_eq!(
        oplet.wait_exit(DEADLINE).await.unwrap(),
        0,
        "{:#?}",
        oplet.stderr().all()
    );
    let took = asked.elapsed();
    assert!(took <= grace_period + BUSY, "it took {took:?}");
    assert_quiet(oplet);
}

/// The default.
pub(super) const GRACE_PERIOD: Duration = Duration::from_secs(10);

#[tokio::test]
async fn an_idle_source_ends_at_once() {
    let set = ReplicaSet::shared().await.unwrap();
    let echo = guest("guest_echo").unwrap();
    for source in SOURCES {
        let watch = format!("{}.c", database_name("idle"));
        let (run, tail) = (run(set, source, &watch, &echo), tail(set, source, &watch));
        for oplet in [run, tail] {
            let oplet = oplet.start().unwrap();
            started(&oplet).await;
            drains_within(&oplet, Duration::from_secs(2)).await;
            assert_eq!(oplet.stdout().all(), [""; 0]);
        }
    }
}

#[tokio::test]
async fn looking_for_a_server_ends_at_once() {
    let echo = guest("guest_echo").unwrap();
    let uri = ["--uri", "mongodb://127.0.0.1:1"];
    both_drain(&echo, &uri, "no server answers").await;
}

/// Starts `run` and `tail`, and asks each for an end when it says this.
async fn both_drain(module: &Path, args: &[&str], said: &str) {
    let run = oplet().arg("run").arg(module).args(args);
    for oplet in [run, oplet().arg("tail").args(args)] {
        let oplet = oplet.start().unwrap();
        let says = oplet.wait_for_stderr(|line| line.contains(said), SOON);
        says.await.unwrap();
        drains_within(&oplet, Duration::from_secs(2)).await;
    }
}

#[tokio::test]
async fn an_endless_handler_holds_nothing_up() {
    let set = ReplicaSet::shared().await.unwrap();
    let faulty = guest("guest_faulty").unwrap();
    let client = set.client().await.unwrap();
    for (source, grace_period) in [
        ("oplog", "10s"),
        ("change-stream", "10s"),
        ("oplog", "500ms"),
    ] {
        let database = database_name("endless");
        let oplet = run(set, source, &format!("{database}.c"), &faulty)
            .args([
                "--on-error",
                "skip",
                "--workers",
                "1",
                "--grace-period",
                grace_period,
            ])
            .start()
            .unwrap();
        started(&oplet).await;
        let collection = client.database(&database).collection("c");
        // Two that loop: once the first has failed, the lane is at the second.
        let looping = [
            doc! { "_id": 1, "loop": true },
            doc! { "_id": 2, "loop": true },
        ];
        collection.insert_many(looping).await.unwrap();
        oplet
            .wait_for_stderr(|line| line.contains("a module failed"), SOON)
            .await
            .unwrap();
        drains_after_failures(&oplet, humantime::parse_duration(grace_period).unwrap()).await;
        let printed = ops(&oplet);
        assert!(printed.iter().all(|op| op["_id"].is_null()), "{printed:?}");
    }
}

/// As [`drains_within`], where the log tells of failures.
async fn drains_after_failures(oplet: &RunningOplet, grace_period: Duration) {
    let asked = Instant::now();
    oplet.signal(Signal::Terminate).unwrap();
    assert_eq!(
        oplet.wait_exit(DEADLINE).await.unwrap(),
        0,
        "{:#?}",
        oplet.stderr().all()
    );
    let took = asked.elapsed();
    assert!(took <= grace_period + BUSY, "it took {took:?}");
    assert_eq!(logged(oplet, "panicked"), 0, "{:#?}", oplet.stderr().all());
}

#[tokio::test]
async fn an_op_that_is_tried_again_holds_nothing_up() {
    let set = ReplicaSet::shared().await.unwrap();
    let faulty = guest("guest_faulty").unwrap();
    let client = set.client().await.unwrap();
    for (source, document) in [
        ("oplog", doc! { "_id": 1, "retry": true }),
        ("change-stream", doc! { "_id": 1, "retry": true }),
        ("oplog", doc! { "_id": 1, "later": 3_600_000 }),
    ] {
        let database = database_name("retried");
        let oplet = run(set, source, &format!("{database}.c"), &faulty)
            .args([
                "--on-error",
                "retry",
                "--workers",
                "1",
                "--grace-period",
                "1s",
            ])
            .start()
            .unwrap();
        started(&oplet).await;
        let collection = client.database(&database).collection("c");
        let documents = [doc! { "_id": 0 }, document.clone(), doc! { "_id": 2 }];
        collection.insert_many(documents).await.unwrap();
        if document.contains_key("retry") {
            oplet
                .wait_for_stderr(|line| line.contains("tried again"), SOON)
                .await
                .unwrap();
        }
        // Other documents do not wait for it.
        let after = |op: &str| op.contains("\"_id\":2");
        oplet.wait_for_line(after, SOON).await.unwrap();
        drains_after_failures(&oplet, Duration::from_secs(1)).await;
        let printed: Vec<_> = ops(&oplet)
            .into_iter()
            .filter(|op| !op["_id"].is_null())
            .collect();
        assert_eq!(printed.len(), 2, "{printed:?}");
        assert_eq!(printed[0]["_id"], 0);
        assert_eq!(printed[1]["_id"], 2);
    }
}

#[tokio::test]
async fn a_backlog_beyond_the_grace_period_is_left_alone() {
    let set = ReplicaSet::shared().await.unwrap();
    let module = modules::busy(20, 2);
    for source in SOURCES {
        let database = database_name("backlog");
        let oplet = run(set, source, &format!("{database}.c"), &module.path)
            // What has begun is finished and printed in its last fifth, which a busy machine may need.
            .args(["--workers", "1", "--grace-period", "5s"])
            .start()
            .unwrap();
        started(&oplet).await;
        let documents = (0..2_000).map(|id| doc! { "_id": id });
        insert(set, &database, documents).await;
        oplet.wait_for_lines(4, DEADLINE).await.unwrap();
        drains_within(&oplet, Duration::from_secs(5)).await;

        let printed = ops(&oplet);
        assert!(printed.len() < 4_000, "the test needs a backlog");
        let expected = Summary {
            handled: printed.len() / 2,
            emitted: printed.len(),
        };
        assert_eq!(summary(&oplet), expected);
        let printed: Vec<_> = printed
            .into_iter()
            .filter(|op| op["operation"] != "c")
            .collect();
        for (id, pair) in printed.chunks(2).enumerate() {
            assert_eq!(
                pair.first(),
                pair.last(),
                "each op is emitted twice, or not at all"
            );
            assert_eq!(pair[0]["_id"], id, "no op is passed over");
        }
    }
}

#[tokio::test]
async fn what_a_stuck_lane_printed_before_is_counted() {
    let set = ReplicaSet::shared().await.unwrap();
    let faulty = guest("guest_faulty").unwrap();
    let database = database_name("stuck");
    let oplet = run(set, "oplog", &format!("{database}.c"), &faulty)
        .args([
            "--on-error",
            "skip",
            "--workers",
            "1",
            "--grace-period",
            "100ms",
        ])
        .start()
        .unwrap();
    started(&oplet).await;
    // Ops of one reply: the first half is printed long before the lane is stuck.
    let mut documents = vec![doc! { "_id": 0 }, doc! { "_id": 1, "later": 200 }];
    documents[1].remove("later");
    documents.extend((2..10).map(|id| doc! { "_id": id, "loop": true }));
    insert(set, &database, documents).await;
    oplet
        .wait_for_stderr(|line| line.contains("a module failed"), SOON)
        .await
        .unwrap();
    oplet
        .wait_for_line(|line| line.contains("\"_id\":1"), SOON)
        .await
        .unwrap();
    drains_after_failures(&oplet, Duration::from_millis(100)).await;
    let lines = oplet.stdout().all().len();
    let expected = Summary {
        handled: lines,
        emitted: lines,
    };
    assert_eq!(summary(&oplet), expected);
}

#[tokio::test]
async fn a_server_that_hangs_does_not_hold_up_the_end() {
    let set = ReplicaSet::start(Default::default()).await.unwrap();
    let echo = guest("guest_echo").unwrap();
    for source in SOURCES {
        let watch = format!("{}.c", database_name("hanging"));
        let (run, tail) = (run(&set, source, &watch, &echo), tail(&set, source, &watch));
        for oplet in [run, tail] {
            let oplet = oplet.start().unwrap();
            started(&oplet).await;
            set.suspend().await.unwrap();
            drains_within(&oplet, Duration::from_secs(2)).await;
            set.resume().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_server_that_hangs_before_the_first_op_does_not_hold_up_the_end() {
    let set = ReplicaSet::start(Default::default()).await.unwrap();
    let echo = guest("guest_echo").unwrap();
    let hang = doc! { "blockConnection": true, "blockTimeMS": 60_000 };
    super::fail_commands(&set, "slow", &["find"], hang, "alwaysOn".into()).await;
    let uri = format!("{}&appName=slow", set.uri());
    let since = [
        "--since", "oldest", "--source", "oplog", "-v", "--uri", &uri,
    ];
    both_drain(&echo, &since, " connected ").await;
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let set = ReplicaSet::shared().await.unwrap();
    let module = modules::busy(50, 1);
    for (source, signal) in SOURCES
        .into_iter()
        .zip([Signal::Interrupt, Signal::Terminate])
    {
        let database = database_name("second");
        let oplet = run(set, source, &format!("{database}.c"), &module.path)
            .args(["--workers", "1", "--grace-period", "1h"])
            .start()
            .unwrap();
        started(&oplet).await;
        let documents = (0..5_000).map(|id| doc! { "_id": id });
        insert(set, &database, documents).await;
        oplet.wait_for_lines(1, DEADLINE).await.unwrap();
        oplet.signal(Signal::Terminate).unwrap();
        oplet
            .wait_for_stderr(|line| line.contains("stopping"), SOON)
            .await
            .unwrap();
        oplet.signal(signal).unwrap();
        assert_eq!(oplet.wait_exit(SOON).await.unwrap(), 130);
        ops(&oplet);
    }
}
