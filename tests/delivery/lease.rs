//! Two processes with one name.

use std::time::{Duration, Instant};

use oplet_testkit::{Signal, eventually};

use super::process::{Named, ids, wait_for};
use crate::DEADLINE;

/// How long a take-over may take: a lease of seven seconds that runs out, a look each second, and the
/// start of a run on a machine with much else to do; less than it takes to give up on a silent holder.
const TAKE_OVER: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_second_process_says_who_is_at_work() {
    let named = Named::new("second").await;
    let first = named.start(named.run()).await;
    let second = named.run().start().unwrap();
    assert_eq!(second.wait_exit(DEADLINE).await.unwrap(), 1);
    let said = second.stderr().all().join("\n");
    assert!(
        said.contains(&first.id().to_string()),
        "it names the process: {said}"
    );
    named.insert(0..2).await;
    wait_for(&first, 2).await;
    first.signal(Signal::Terminate).unwrap();
    assert_eq!(first.wait_exit(DEADLINE).await.unwrap(), 0);
}

#[tokio::test]
async fn a_standby_takes_over_at_once_from_one_that_ends_or_is_killed() {
    for signal in [Signal::Terminate, Signal::Kill] {
        let named = Named::new("standby").await;
        let first = named.start(named.run()).await;
        let second = named.run().arg("--standby").start().unwrap();
        second
            .wait_for_stderr(|line| line.contains("standing by"), DEADLINE)
            .await
            .unwrap();
        named.insert(0..2).await;
        wait_for(&first, 2).await;
        first.signal(signal).unwrap();
        let left = Instant::now();
        second
            .wait_for_stderr(|line| line.contains("running"), DEADLINE)
            .await
            .unwrap();
        assert!(left.elapsed() < TAKE_OVER, "{:?}", left.elapsed());
        named.insert(2..4).await;
        let complete = async || ids(&second).contains(&3);
        eventually(DEADLINE, complete).await.unwrap();
        second.signal(Signal::Terminate).unwrap();
        assert_eq!(second.wait_exit(DEADLINE).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_holder_that_was_suspended_does_not_save() {
    let named = Named::new("suspended").await;
    let first = named.start(named.run()).await;
    named.insert(0..2).await;
    wait_for(&first, 2).await;
    first.signal(Signal::Stop).unwrap();
    let stopped = Instant::now();
    let second = named.start(named.run().arg("--standby")).await;
    assert!(stopped.elapsed() < TAKE_OVER, "{:?}", stopped.elapsed());
    named.insert(2..4).await;
    let complete = async || ids(&second).contains(&3);
    eventually(DEADLINE, complete).await.unwrap();
    let epoch = async || named.own("checkpoints").await[0].get_i64("epoch").unwrap();
    let epoch_of_second = epoch().await;
    first.signal(Signal::Continue).unwrap();
    assert_eq!(first.wait_exit(DEADLINE).await.unwrap(), 1);
    let said = first.stderr().all().join("\n");
    assert!(said.contains("lease"), "{said}");
    assert_eq!(epoch().await, epoch_of_second);
    named.insert(4..6).await;
    eventually(DEADLINE, async || ids(&second).contains(&5))
        .await
        .unwrap();
    second.signal(Signal::Terminate).unwrap();
    assert_eq!(second.wait_exit(DEADLINE).await.unwrap(), 0);
    let third = named.start(named.run()).await;
    named.insert(6..7).await;
    wait_for(&third, 1).await;
    assert_eq!(ids(&third), [6], "it goes on where the second ended");
    third.signal(Signal::Terminate).unwrap();
    assert_eq!(third.wait_exit(DEADLINE).await.unwrap(), 0);
}
