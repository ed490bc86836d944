//! Swaps under load: no op is lost, none is handled twice, and the state goes from version to version.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI32, Ordering::SeqCst},
    },
    time::Duration,
};

use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use oplet::{
    control::{FailurePolicy, RunState},
    op::SourceKind,
};
use oplet_testkit::{Options, ReplicaSet, eventually, guest};

use super::{swap, version};
use crate::{DEADLINE, delivery::run::Mirrored, say};

const SWAPS: u32 = 200;

/// How many ops wait at most: there is always work, and what is left at the end is soon done.
const AHEAD_MAX: u64 = 5_000;

/// How many ops were handled.
async fn count_handled(mirrored: &Mirrored) -> u64 {
    let audit = mirrored
        .client
        .database(&format!("{}_audit", mirrored.database));
    let ops = audit.collection::<Document>("ops");
    ops.estimated_document_count().await.unwrap()
}

/// How often each op was handled, and its number among those of its lane.
async fn handled(mirrored: &Mirrored) -> Vec<(i32, i64)> {
    let audit = mirrored
        .client
        .database(&format!("{}_audit", mirrored.database));
    let ops = audit.collection::<Document>("ops");
    let ops = ops.find(doc! {}).await.unwrap();
    let ops: Vec<Document> = ops.try_collect().await.unwrap();
    ops.iter()
        .map(|op| (op.get_i32("times").unwrap(), op.get_i64("number").unwrap()))
        .collect()
}

async fn swaps_under_load(kind: SourceKind) {
    // So much is written that the oplog may roll over, which is no other test's concern.
    let set = ReplicaSet::start(Options::default()).await.unwrap();
    let mirrored = Arc::new(Mirrored::on(&set, "swaps").await);
    let wasm = std::fs::read(guest("guest_tally").unwrap()).unwrap();
    let tally = mirrored.module("tally", &wasm, FailurePolicy::default());
    let running = mirrored.launch(mirrored.options(kind), vec![tally]).await;
    running.wait_for(RunState::Streaming).await;
    let written = Arc::new(AtomicI32::new(0));
    let is_over = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (mirrored, written, is_over) = (mirrored.clone(), written.clone(), is_over.clone());
        async move {
            while !is_over.load(SeqCst) {
                let from = written.load(SeqCst);
                let count = u64::try_from(from).unwrap();
                if count > count_handled(&mirrored).await + AHEAD_MAX {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    continue;
                }
                mirrored.insert(from..from + 100).await;
                written.store(from + 100, SeqCst);
            }
        }
    });
    let mut pauses_us = Vec::new();
    for number in 1..=SWAPS {
        // Forward to another version, and back.
        let swapped = match number % 4 {
            0 => running.handle.rollback("tally").await,
            other => {
                running
                    .handle
                    .swap(swap("tally", version(&wasm, other)))
                    .await
            }
        };
        let swapped = swapped.unwrap();
        assert!(!swapped.reopened);
        assert_eq!(swapped.to.unwrap().generation, u64::from(number) + 1);
        pauses_us.push(swapped.pause_us);
    }
    is_over.store(true, SeqCst);
    writer.await.unwrap();
    let count = usize::try_from(written.load(SeqCst)).unwrap();
    let complete = async || count_handled(&mirrored).await == count as u64;
    let complete = eventually(DEADLINE, complete).await;
    let (summary, ended) = running.end().await;
    ended.unwrap();
    complete.unwrap_or_else(|error| panic!("{error}: {summary}"));
    pauses_us.sort_unstable();
    say(&format!(
        "{SWAPS} swaps over {count} ops ({}): the longest pause of a lane {} us in the middle, {} us at the \
         99th percentile, {} us at most",
        kind.as_str(),
        pauses_us[pauses_us.len() / 2],
        pauses_us[pauses_us.len() * 99 / 100],
        pauses_us[pauses_us.len() - 1],
    ));
    let handled = handled(&mirrored).await;
    assert_eq!(handled.len(), count);
    assert!(handled.iter().all(|(times, _)| *times == 1));
    // Two lanes have counted from 1 on, each without a gap and without a number twice.
    let mut lanes_by_number = BTreeMap::<i64, usize>::new();
    for (_, number) in handled {
        *lanes_by_number.entry(number).or_default() += 1;
    }
    let mut lanes_before = 2;
    for (at, (number, lanes)) in (1..).zip(lanes_by_number) {
        assert_eq!(number, at, "a number is missing");
        assert!(lanes <= lanes_before, "{number} was given {lanes} times");
        lanes_before = lanes;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_op_of_a_change_stream_is_handled_once_over_many_swaps() {
    swaps_under_load(SourceKind::ChangeStream).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_op_of_an_oplog_is_handled_once_over_many_swaps() {
    swaps_under_load(SourceKind::Oplog).await;
}
