//! Reads that somebody asks for at runtime, or that make good what was lost.

use oplet_testkit::{Options, ReplicaSet, RunningOplet, Signal};
use serde_json::Value;

use super::scene::{Reading, ids, read_directly, said, stop};
use crate::{DEADLINE, oplet};

/// The address of a run's admin API.
pub(super) async fn admin(running: &RunningOplet) -> String {
    let line = said(running, "admin API").await;
    let start = line.find("127.0.0.1:").expect("it names the address");
    let address = line[start..].chars();
    address
        .take_while(|c| c.is_ascii_digit() || matches!(c, '.' | ':'))
        .collect()
}

/// Asks a run by the command line; what it answers.
pub(super) async fn ask(address: &str, arguments: &[&str]) -> String {
    let asked = oplet()
        .args(arguments)
        .args(["--admin", address])
        .start()
        .unwrap();
    let code = asked.wait_exit(DEADLINE).await.unwrap();
    assert_eq!(code, 0, "{}", asked.stderr().all().join("\n"));
    asked.stdout().all().join("\n")
}

#[tokio::test]
async fn a_snapshot_is_taken_while_the_run_works_and_again() {
    let reading = Reading::new("snapshot").await;
    reading.insert(0..50).await;
    let running = reading
        .run()
        .args([
            "--name",
            &reading.database,
            "--checkpoint",
            "mongodb:oplet.checkpoints",
        ])
        .args(["--admin", "127.0.0.1:0"])
        .start()
        .unwrap();
    said(&running, "running").await;
    let address = admin(&running).await;
    reading.insert(50..60).await;
    running.wait_for_lines(10, DEADLINE).await.unwrap();
    for times in 1..=2 {
        let answer = ask(&address, &["snapshot", &reading.namespace()]).await;
        assert!(answer.contains("streaming"), "{answer}");
        running
            .wait_for_lines(10 + 60 * times, DEADLINE)
            .await
            .unwrap();
    }
    said(&running, "the direct read is complete").await;
    let status: Value =
        serde_json::from_str(&ask(&address, &["status", "--format", "json"]).await).unwrap();
    let read = &status["directReads"][0];
    assert_eq!(read["namespace"], reading.namespace(), "{status}");
    assert_eq!(read["documents"], 60, "{status}");
    let text = ask(&address, &["status", "--format", "text"]).await;
    assert!(text.contains("60 documents"), "{text}");
    let refused = oplet()
        .args(["snapshot", "oplet.checkpoints", "--admin", &address])
        .start()
        .unwrap();
    assert_eq!(refused.wait_exit(DEADLINE).await.unwrap(), 2);
    stop(&running).await;
    let twice: Vec<_> = (0..60).flat_map(|id| [id, id]).collect();
    assert_eq!(ids(&read_directly(&running)), twice);
}

/// What is read behind changes that were given is complete as soon as the streams are beyond it.
#[tokio::test]
async fn a_snapshot_is_complete_although_nothing_is_saved() {
    let reading = Reading::new("unsaved_snapshot").await;
    reading.insert(0..50).await;
    let running = reading
        .run()
        .args(["--admin", "127.0.0.1:0"])
        .start()
        .unwrap();
    let address = admin(&running).await;
    said(&running, "running").await;
    ask(&address, &["snapshot", &reading.namespace()]).await;
    let told = said(&running, "the direct read is complete").await;
    assert!(told.contains("documents=50"), "{told}");
    let status = ask(&address, &["status", "--format", "json"]).await;
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["directReads"][0]["state"], "complete", "{status}");
    stop(&running).await;
    assert_eq!(ids(&read_directly(&running)), (0..50).collect::<Vec<_>>());
}

#[tokio::test]
async fn after_a_lost_position_everything_that_is_watched_is_read_again() {
    for source in ["oplog", "change-stream"] {
        let set = ReplicaSet::start(Options::tiny_oplog()).await.unwrap();
        let reading = Reading::on(&set, "resnapshot").await;
        let run = || {
            reading
                .run()
                .args(["--name", &reading.database, "--source", source])
                .args(["--checkpoint", "mongodb:oplet.checkpoints"])
                .args(["--on-position-lost", "resnapshot"])
        };
        let first = run().start().unwrap();
        said(&first, "running").await;
        reading.insert(0..3).await;
        first.wait_for_lines(3, DEADLINE).await.unwrap();
        stop(&first).await;
        assert!(read_directly(&first).is_empty());
        reading.insert(3..5).await;
        set.roll_oplog().await.unwrap();

        let second = run().start().unwrap();
        said(&second, "the position is lost").await;
        said(&second, "the direct read is complete").await;
        // What is said comes by another pipe than what is emitted.
        second.wait_for_lines(5, DEADLINE).await.unwrap();
        assert_eq!(ids(&read_directly(&second)), [0, 1, 2, 3, 4], "{source}");
        reading.insert(5..6).await;
        second.wait_for_lines(6, DEADLINE).await.unwrap();
        let lines = super::scene::emitted(&second);
        assert_eq!(lines.last().unwrap().id, "5");
        stop(&second).await;
        // The gap is behind: the next run goes on without another, and reads nothing again.
        let third = run().start().unwrap();
        said(&third, "running").await;
        reading.insert(6..7).await;
        third.wait_for_lines(1, DEADLINE).await.unwrap();
        third.signal(Signal::Terminate).unwrap();
        third.wait_exit(DEADLINE).await.unwrap();
        assert!(read_directly(&third).is_empty(), "{source}");
    }
}
