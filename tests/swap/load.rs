//! Swaps under load: no op is lost, and none is handled twice.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI32, Ordering::SeqCst},
};

use oplet::op::SourceKind;
use oplet_testkit::{Options, ReplicaSet, guest};

use super::{swap, version};
use crate::{delivery::run::Mirrored, say};

const SWAPS: u32 = 200;

async fn swaps_under_load(kind: SourceKind) {
    // So much is written that the oplog may roll over, which is no other test's concern.
    let set = ReplicaSet::start(Options::default()).await.unwrap();
    let mirrored = Arc::new(Mirrored::on(&set, "swaps").await);
    let running = mirrored.start(mirrored.options(kind)).await;
    let written = Arc::new(AtomicI32::new(0));
    let is_over = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (mirrored, written, is_over) = (mirrored.clone(), written.clone(), is_over.clone());
        async move {
            while !is_over.load(SeqCst) {
                let from = written.load(SeqCst);
                mirrored.insert(from..from + 100).await;
                written.store(from + 100, SeqCst);
            }
        }
    });
    let wasm = std::fs::read(guest("guest_mirror").unwrap()).unwrap();
    let mut pauses_us = Vec::new();
    for number in 1..=SWAPS {
        let swapped = running
            .handle
            .swap(swap("mirror", version(&wasm, number % 2)))
            .await;
        let swapped = swapped.unwrap();
        assert!(!swapped.reopened);
        assert_eq!(swapped.to.unwrap().generation, u64::from(number) + 1);
        pauses_us.push(swapped.pause_us);
    }
    is_over.store(true, SeqCst);
    writer.await.unwrap();
    let count = u64::try_from(written.load(SeqCst)).unwrap();
    mirrored.wait_for_copies(count).await;
    let (summary, ended) = running.end().await;
    ended.unwrap();
    pauses_us.sort_unstable();
    say(&format!(
        "{SWAPS} swaps over {count} ops ({}): the longest pause of a lane {} us in the middle, {} us at the \
         99th percentile, {} us at most",
        kind.as_str(),
        pauses_us[pauses_us.len() / 2],
        pauses_us[pauses_us.len() * 99 / 100],
        pauses_us[pauses_us.len() - 1],
    ));
    let times = mirrored.times().await;
    assert_eq!(times.len() as u64, count, "{summary}");
    assert!(times.iter().all(|(_, times)| *times == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_op_of_a_change_stream_is_handled_once_over_many_swaps() {
    swaps_under_load(SourceKind::ChangeStream).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_op_of_an_oplog_is_handled_once_over_many_swaps() {
    swaps_under_load(SourceKind::Oplog).await;
}
