//! What a run does with commands, bounds and faults in each of its states.

use std::time::Duration;

use bson::{Document, doc};
use oplet::{
    control::{CommandError, End, FailurePolicy, OnError, Options, RunState, WhenOpen},
    op::{Since, SourceKind, StoreSpec},
};
use oplet_testkit::{eventually, guest};
use tokio::time::timeout;

use super::run::{Mirrored, Running};
use crate::DEADLINE;

/// How long an answer may take that nothing has to be waited for, on a machine with much else to do.
const SOON: Duration = Duration::from_secs(20);

async fn assert_refused(running: &Running, state: RunState) {
    let handle = &running.handle;
    assert_eq!(handle.status().await.unwrap().state, state);
    let answers = [
        handle.pause().await,
        handle.resume().await,
        handle.seek(Since::Now).await,
    ];
    for answer in answers {
        let refused = answer.unwrap_err();
        let is_so = matches!(&refused, CommandError::State { state: of, .. } if *of == state);
        assert!(is_so, "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stands_by_can_only_be_sent_home() {
    let mirrored = Mirrored::new("standing").await;
    let options = mirrored.options(SourceKind::ChangeStream);
    let first = mirrored.start(options.clone()).await;
    let standby = Options {
        standby: true,
        ..options
    };
    for by_drain in [true, false] {
        let second = mirrored
            .launch(standby.clone(), vec![mirrored.mirror()])
            .await;
        second.wait_for(RunState::Standby).await;
        let status = second.handle.status().await.unwrap();
        assert!(status.reason.unwrap().contains("holds the lease"));
        assert_refused(&second, RunState::Standby).await;
        if by_drain {
            let reached = timeout(SOON, second.handle.drain()).await.unwrap().unwrap();
            assert_eq!((reached.state, reached.saved), (RunState::Stopped, false));
            second.ended().await.1.unwrap();
        } else {
            timeout(SOON, second.end()).await.unwrap().1.unwrap();
        }
    }
    mirrored.insert(0..3).await;
    mirrored.wait_for_copies(3).await;
    first.end().await.1.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_waits_for_its_transactional_sink_can_be_ended() {
    let mirrored = Mirrored::new("starting").await;
    // Nobody listens there.
    let away = "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=200#namespace=copy.things&transactional=true";
    let options = Options {
        sinks: vec![away.parse().unwrap()],
        ..mirrored.options(SourceKind::ChangeStream)
    };
    let running = mirrored.launch(options, vec![mirrored.mirror()]).await;
    assert_refused(&running, RunState::Starting).await;
    timeout(SOON, running.end()).await.unwrap().1.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_run_does_not_end_at_its_bound_before_it_is_resumed() {
    let mirrored = Mirrored::new("bound").await;
    let end = End {
        max_ops: Some(10),
        ..End::default()
    };
    let options = Options {
        end,
        ..mirrored.options(SourceKind::ChangeStream)
    };
    let running = mirrored.start(options).await;
    running.handle.pause().await.unwrap();
    mirrored.insert(0..10).await;
    let read = async || running.handle.status().await.unwrap().in_flight_ops == 10;
    eventually(DEADLINE, read).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let status = running.handle.status().await.unwrap();
    assert_eq!((status.state, status.ops.handled), (RunState::Paused, 0));
    running.handle.resume().await.unwrap();
    timeout(SOON, running.ended()).await.unwrap().1.unwrap();
    assert_eq!(mirrored.copied().await, 10);
}

/// Runs the faulty module over ten documents that it rejects, until its breaker opens.
async fn broken(hint: &str, breaker: WhenOpen) -> (Mirrored, Running) {
    let mirrored = Mirrored::new(hint).await;
    let wasm = std::fs::read(guest("guest_faulty").unwrap()).unwrap();
    let policy = FailurePolicy {
        on_error: OnError::DeadLetter,
        breaker_failures: 3,
        breaker,
        ..FailurePolicy::default()
    };
    let options = Options {
        // The source has nothing more to read when the breaker opens.
        end: End {
            max_ops: Some(10),
            ..End::default()
        },
        dead_letters: StoreSpec::parse(&format!("mongodb:{}_copy.letters", mirrored.database), "")
            .unwrap(),
        workers: 1,
        ..mirrored.options(SourceKind::ChangeStream)
    };
    let faulty = mirrored.module("faulty", &wasm, policy);
    let running = mirrored.launch(options, vec![faulty]).await;
    running.wait_for(RunState::Streaming).await;
    let documents = (0..10).map(|id| doc! { "_id": id, "reject": true });
    mirrored.things().insert_many(documents).await.unwrap();
    (mirrored, running)
}

async fn letters(mirrored: &Mirrored) -> u64 {
    let copy = mirrored
        .client
        .database(&format!("{}_copy", mirrored.database));
    let letters = copy.collection::<Document>("letters");
    letters.count_documents(doc! {}).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_breaker_pauses_a_run_that_is_about_to_end_and_says_why() {
    let (mirrored, running) = broken("breaker", WhenOpen::Pause).await;
    for _ in 0..2 {
        running.wait_for(RunState::Paused).await;
        let status = running.handle.status().await.unwrap();
        let reason = status.reason.unwrap();
        assert!(
            reason.contains("`faulty`") && reason.contains("told to reject"),
            "{reason}"
        );
        assert!(status.modules[0].breaker_open_since.is_some());
        let paused = running.handle.pause().await.unwrap();
        assert_eq!(paused.state, RunState::Paused);
        // The module is as it was: the next op decides, and it fails.
        running.handle.resume().await.unwrap();
    }
    running.wait_for(RunState::Paused).await;
    // The third opened the breaker; letters are stored beside the work.
    let two = async || letters(&mirrored).await == 2;
    eventually(DEADLINE, two).await.unwrap();
    let reached = timeout(SOON, running.handle.drain())
        .await
        .unwrap()
        .unwrap();
    assert!(reached.saved);
    running.ended().await.1.unwrap();
    assert_eq!(letters(&mirrored).await, 2, "what was left is read again");
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_an_open_breaker_ops_go_to_the_dead_letters_where_that_was_asked_for() {
    let (mirrored, running) = broken("shunt", WhenOpen::DeadLetter).await;
    timeout(DEADLINE, running.ended()).await.unwrap().1.unwrap();
    assert_eq!(letters(&mirrored).await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_store_away_work_goes_on_up_to_the_bound_of_the_window() {
    let mirrored = Mirrored::new("away").await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("checkpoint");
    let options = Options {
        checkpoint: Some(StoreSpec::File(path)),
        window_ops: 50,
        ..mirrored.options(SourceKind::ChangeStream)
    };
    let running = mirrored.start(options).await;
    mirrored.insert(0..10).await;
    mirrored.wait_for_copies(10).await;
    assert!(running.handle.pause().await.unwrap().saved);
    running.handle.resume().await.unwrap();

    let lock = std::fs::File::open(directory.path().join("checkpoint.lock")).unwrap();
    lock.lock().unwrap();
    mirrored.insert(10..20).await;
    let is_told = async || {
        let status = running.handle.status().await.unwrap();
        status.checkpoint.unwrap().error.is_some() && !status.ready
    };
    eventually(DEADLINE, is_told).await.unwrap();
    mirrored.wait_for_copies(20).await;
    for batch in 2..20 {
        mirrored.insert(batch * 10..(batch + 1) * 10).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let reached = mirrored.copied().await;
    assert!((20..=60).contains(&reached), "{reached} are done");
    let paused = running.handle.pause().await.unwrap();
    assert!(!paused.saved, "it is not claimed saved");
    running.handle.resume().await.unwrap();

    lock.unlock().unwrap();
    mirrored.wait_for_copies(200).await;
    let is_well = async || {
        let status = running.handle.status().await.unwrap();
        status.checkpoint.unwrap().error.is_none() && status.ready
    };
    eventually(DEADLINE, is_well).await.unwrap();
    running.end().await.1.unwrap();
    let times = mirrored.times().await;
    assert!(times.len() == 200 && times.iter().all(|(_, times)| *times == 1));
}
