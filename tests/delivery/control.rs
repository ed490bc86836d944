//! Pause, resume, seek and drain: no deadlock, no op twice, none missing.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use oplet::{
    control::{CommandError, RunState},
    op::{Since, SourceKind},
};
use tokio::time::timeout;

use super::run::{Mirrored, Running};

/// How many commands a random test gives.
const COMMANDS: usize = 100;

/// How long any command may take: one that is stuck never ends.
const COMMAND_TIME: Duration = crate::DEADLINE;

/// Inserts while it lives, in the background.
struct Busy(
    tokio::task::JoinHandle<i32>,
    Arc<std::sync::atomic::AtomicBool>,
);

impl Busy {
    fn start(mirrored: &Arc<Mirrored>) -> Self {
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (mirrored, is_over) = (mirrored.clone(), stop.clone());
        let task = tokio::spawn(async move {
            let mut next = 0;
            while !is_over.load(std::sync::atomic::Ordering::SeqCst) {
                mirrored.insert(next..next + 20).await;
                next += 20;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            next
        });
        Self(task, stop)
    }

    /// Ends it, and tells how many documents were inserted.
    async fn end(self) -> i32 {
        self.1.store(true, std::sync::atomic::Ordering::SeqCst);
        self.0.await.unwrap()
    }
}

/// One command that is not a seek; a drained run is started again.
async fn command(
    mirrored: &Mirrored,
    running: Running,
    kind: SourceKind,
    random: &mut fastrand::Rng,
) -> Running {
    match random.u8(..10) {
        0..4 => {
            let reached = timeout(COMMAND_TIME, running.handle.pause())
                .await
                .unwrap()
                .unwrap();
            assert_eq!(reached.state, RunState::Paused);
            assert!(reached.saved, "a pause saves");
        }
        4..8 => {
            let reached = timeout(COMMAND_TIME, running.handle.resume())
                .await
                .unwrap()
                .unwrap();
            assert_eq!(reached.state, RunState::Streaming);
        }
        8 => {
            let status = timeout(COMMAND_TIME, running.handle.status())
                .await
                .unwrap()
                .unwrap();
            assert!(matches!(
                status.state,
                RunState::Paused | RunState::Streaming
            ));
        }
        _ => {
            let reached = timeout(COMMAND_TIME, running.handle.drain())
                .await
                .unwrap()
                .unwrap();
            assert_eq!(reached.state, RunState::Stopped);
            let (_, ended) = timeout(COMMAND_TIME, running.ended()).await.unwrap();
            ended.unwrap();
            return mirrored.start(mirrored.options(kind)).await;
        }
    }
    running
}

async fn every_op_once(kind: SourceKind, is_busy: bool) {
    let seed = oplet_testkit::history::seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let mirrored = Arc::new(Mirrored::new("control").await);
    let mut running = mirrored.start(mirrored.options(kind)).await;
    let busy = is_busy.then(|| Busy::start(&mirrored));
    for _ in 0..COMMANDS {
        running = command(&mirrored, running, kind, &mut random).await;
        tokio::time::sleep(Duration::from_millis(random.u64(..30))).await;
    }
    let inserted = match busy {
        Some(busy) => busy.end().await,
        None => {
            mirrored.insert(0..10).await;
            10
        }
    };
    running.handle.resume().await.unwrap();
    mirrored.wait_for_copies(inserted as u64).await;
    let (_, ended) = running.end().await;
    ended.unwrap();
    let times = mirrored.times().await;
    assert_eq!(times.len(), inserted as usize, "each op was delivered");
    let twice: Vec<_> = times.iter().filter(|(_, times)| *times != 1).collect();
    assert!(twice.is_empty(), "delivered more than once: {twice:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_on_a_busy_change_stream_repeat_and_lose_nothing() {
    every_op_once(SourceKind::ChangeStream, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_on_a_busy_oplog_repeat_and_lose_nothing() {
    every_op_once(SourceKind::Oplog, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_on_an_idle_change_stream_repeat_and_lose_nothing() {
    every_op_once(SourceKind::ChangeStream, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_on_an_idle_oplog_repeat_and_lose_nothing() {
    every_op_once(SourceKind::Oplog, false).await;
}

/// Among all other commands also seeks, back to positions that were reached.
async fn seeks_lose_nothing(kind: SourceKind) {
    let seed = oplet_testkit::history::seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let mirrored = Arc::new(Mirrored::new("seeks").await);
    let mut running = mirrored.start(mirrored.options(kind)).await;
    let mut positions = vec![running.handle.pause().await.unwrap().position];
    let busy = Busy::start(&mirrored);
    for _ in 0..COMMANDS {
        if random.u8(..4) > 0 {
            running = command(&mirrored, running, kind, &mut random).await;
        } else {
            let to = &positions[random.usize(..positions.len())];
            let to: Since = to.cluster_time.as_ref().unwrap().parse().unwrap();
            let was = running.handle.status().await.unwrap().state;
            let reached = timeout(COMMAND_TIME, running.handle.seek(to))
                .await
                .unwrap()
                .unwrap();
            assert_eq!(reached.state, was, "a paused run stays paused");
            assert!(reached.saved, "where a seek led is saved");
        }
        positions.push(running.handle.status().await.unwrap().position);
        tokio::time::sleep(Duration::from_millis(random.u64(..20))).await;
    }
    let inserted = busy.end().await;
    running.handle.resume().await.unwrap();
    mirrored.wait_for_copies(inserted as u64).await;
    running.end().await.1.unwrap();
    assert_eq!(
        mirrored.times().await.len(),
        inserted as usize,
        "each op was delivered"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn seeks_on_a_busy_change_stream_lose_nothing() {
    seeks_lose_nothing(SourceKind::ChangeStream).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn seeks_on_a_busy_oplog_lose_nothing() {
    seeks_lose_nothing(SourceKind::Oplog).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seek_backwards_reads_again_and_forwards_passes_over() {
    for kind in [SourceKind::ChangeStream, SourceKind::Oplog] {
        let mirrored = Mirrored::new("seek").await;
        let running = mirrored.start(mirrored.options(kind)).await;
        let start = running
            .handle
            .pause()
            .await
            .unwrap()
            .position
            .cluster_time
            .unwrap();
        running.handle.resume().await.unwrap();
        mirrored.insert(0..10).await;
        mirrored.wait_for_copies(10).await;
        running.handle.seek(start.parse().unwrap()).await.unwrap();
        let again = async || mirrored.times().await.iter().all(|(_, times)| *times == 2);
        oplet_testkit::eventually(crate::DEADLINE, again)
            .await
            .unwrap();

        running.handle.pause().await.unwrap();
        mirrored.insert(10..20).await;
        running.handle.seek(Since::Now).await.unwrap();
        mirrored.insert(20..30).await;
        running.handle.resume().await.unwrap();
        mirrored.wait_for_copies(20).await;
        running.end().await.1.unwrap();
        let times: BTreeMap<_, _> = mirrored.times().await.into_iter().collect();
        assert_eq!(
            times.len(),
            20,
            "ten were read twice, ten passed over, ten read"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seek_beyond_the_oplog_is_refused_with_what_it_has() {
    let mirrored = Mirrored::new("window").await;
    let running = mirrored.start(mirrored.options(SourceKind::Oplog)).await;
    for to in ["4000000000:1", "2100-01-01T00:00:00Z"] {
        let refused = running.handle.seek(to.parse().unwrap()).await.unwrap_err();
        assert!(
            matches!(refused, CommandError::OutsideWindow { .. }),
            "{refused}"
        );
    }
    mirrored.insert(0..3).await;
    mirrored.wait_for_copies(3).await;
    running.end().await.1.unwrap();
}
