//! Outputs and checkpoint in one transaction: each op counts exactly once.

use std::{collections::BTreeSet, time::Duration};

use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::options::{ReadConcern, TransactionOptions};
use oplet::{
    control::{FailurePolicy, Options},
    op::{SourceKind, StoreSpec},
};
use oplet_testkit::{ReplicaSet, eventually, wat};

use super::run::Mirrored;
use crate::{DEADLINE, modules::Handwritten};

/// Time and increment of an op, and its index among those of that time.
type Point = (u32, u32, u32);

/// Options of a run whose sink is transactional.
fn options(mirrored: &Mirrored, kind: SourceKind) -> Options {
    let copy = format!("{}_copy", mirrored.database);
    let sink =
        format!("mongodb:{copy}.things#namespace-field=_ns&mode-field=_mode&transactional=true");
    Options {
        sinks: vec![sink.parse().unwrap()],
        dead_letters: StoreSpec::parse(&format!("mongodb:{copy}.letters"), "").unwrap(),
        ..mirrored.options(kind)
    }
}

fn point(op_id: &str) -> Point {
    let parts: Vec<u32> = op_id.split(':').map(|part| part.parse().unwrap()).collect();
    (parts[0], parts[1], parts[2])
}

/// Which ops were delivered, and the last one of the checkpoint, at one and the same moment.
async fn snapshot(mirrored: &Mirrored) -> (BTreeSet<Point>, Option<Point>) {
    let mut session = mirrored.client.start_session().await.unwrap();
    let options = TransactionOptions::builder()
        .read_concern(ReadConcern::snapshot())
        .build();
    let begun = session.start_transaction().with_options(options);
    begun.await.unwrap();
    let audit = mirrored
        .client
        .database(&format!("{}_audit", mirrored.database));
    let audit = audit.collection::<Document>("ops");
    let mut found = audit.find(doc! {}).session(&mut session).await.unwrap();
    let ops: Vec<Document> = found.stream(&mut session).try_collect().await.unwrap();
    let checkpoints = mirrored.client.database("oplet");
    let checkpoints = checkpoints.collection::<Document>("checkpoints");
    let filter = doc! { "_id": &mirrored.database };
    let saved = checkpoints
        .find_one(filter)
        .session(&mut session)
        .await
        .unwrap();
    session.commit_transaction().await.unwrap();
    let done = saved.and_then(|saved| {
        let streams = saved
            .get_document("checkpoint")
            .ok()?
            .get_array("streams")
            .ok()?
            .clone();
        let done = streams[0].as_document()?.get_document("done").ok()?.clone();
        let time = done.get_timestamp("clusterTime").ok()?;
        let index = done.get_i64("index").ok()?;
        Some((time.time, time.increment, index as u32))
    });
    let ids = ops.iter().map(|op| point(op.get_str("_id").unwrap()));
    (ids.collect(), done)
}

async fn outputs_and_checkpoint_agree(kind: SourceKind) {
    let mirrored = Mirrored::new("agree").await;
    // A read of a collection that is not there yet fixes no moment for the reads that follow it.
    let audit = mirrored
        .client
        .database(&format!("{}_audit", mirrored.database));
    audit.create_collection("ops").await.unwrap();
    let running = mirrored.start(options(&mirrored, kind)).await;
    let mut seen = Vec::new();
    for batch in 0..20 {
        mirrored.insert(batch * 300..(batch + 1) * 300).await;
        if batch == 9 {
            // However slow the machine is, one look comes when some are written and others are not.
            mirrored.wait_for_copies(3_000).await;
        }
        seen.push(snapshot(&mirrored).await);
    }
    mirrored.wait_for_copies(6_000).await;
    running.end().await.1.unwrap();
    let (all, last) = snapshot(&mirrored).await;
    assert_eq!(all.len(), 6_000);
    assert_eq!(last, all.last().copied());
    assert!(
        seen.iter()
            .any(|(ops, _)| !ops.is_empty() && ops.len() < 6_000)
    );
    for (ops, done) in seen {
        let expected: BTreeSet<_> = all
            .iter()
            .filter(|op| Some(**op) <= done)
            .copied()
            .collect();
        assert_eq!(
            ops.len(),
            expected.len(),
            "as many as the checkpoint says: {done:?}"
        );
        assert_eq!(ops, expected);
    }
    assert!(mirrored.times().await.iter().all(|(_, times)| *times == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_of_a_change_stream_and_the_checkpoint_agree_at_every_moment() {
    outputs_and_checkpoint_agree(SourceKind::ChangeStream).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_of_an_oplog_and_the_checkpoint_agree_at_every_moment() {
    outputs_and_checkpoint_agree(SourceKind::Oplog).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_is_refused_aborts_nothing_but_itself() {
    let mirrored = Mirrored::new("aborts").await;
    let copy = mirrored
        .client
        .database(&format!("{}_copy", mirrored.database));
    let validator = doc! { "_id": { "$ne": 17 } };
    let created = copy.create_collection("things").validator(validator);
    created.await.unwrap();
    let running = mirrored
        .start(options(&mirrored, SourceKind::ChangeStream))
        .await;
    mirrored.insert(0..50).await;
    mirrored.wait_for_copies(49).await;
    let letters = copy.collection::<Document>("letters");
    let letters: Vec<_> = letters
        .find(doc! {})
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!(letters[0].get_str("kind").unwrap(), "sink");
    running.end().await.1.unwrap();
    assert_eq!(mirrored.copied().await, 49);
    let times = mirrored.times().await;
    assert_eq!(times.len(), 50, "the other outputs of that op are there");
    assert!(times.iter().all(|(_, times)| *times == 1), "{times:?}");
    let (all, last) = snapshot(&mirrored).await;
    assert_eq!(last, all.last().copied(), "the checkpoint is beyond it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_takes_longer_than_a_renewal_of_the_lease_is_committed() {
    let set = ReplicaSet::start(oplet_testkit::Options::default());
    let set = set.await.unwrap();
    let mirrored = Mirrored::on(&set, "lingers").await;
    // Written behind the copies: when the transaction has begun.
    let slowed = format!("{}_audit.ops", mirrored.database);
    let options = Options {
        // Renewed every two seconds.
        lease: Duration::from_secs(20),
        ..options(&mirrored, SourceKind::ChangeStream)
    };
    let running = mirrored.start(options).await;
    let slow = |mode: &str| {
        let data = doc! { "failCommands": ["insert", "update", "bulkWrite"], "namespace": &slowed,
        "blockConnection": true, "blockTimeMS": 3_000 };
        doc! { "configureFailPoint": "failCommand", "mode": mode, "data": data }
    };
    let admin = mirrored.client.database("admin");
    admin.run_command(slow("alwaysOn")).await.unwrap();
    mirrored.insert(0..20).await;
    mirrored.wait_for_copies(20).await;
    let sinks = running.handle.status().await.unwrap().sinks;
    let failures: u64 = sinks.iter().map(|sink| sink.failures).sum();
    assert_eq!(failures, 0, "no transaction began anew: {sinks:?}");
    admin.run_command(slow("off")).await.unwrap();
    running.end().await.1.unwrap();
    assert!(mirrored.times().await.iter().all(|(_, times)| *times == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_repeat_nothing_and_a_seek_back_repeats_all_once() {
    let mirrored = Mirrored::new("again").await;
    let running = mirrored.start(options(&mirrored, SourceKind::Oplog)).await;
    let reached = running.handle.pause().await.unwrap();
    let start = reached.position.cluster_time.unwrap();
    for round in 0..10 {
        mirrored.insert(round * 100..(round + 1) * 100).await;
        assert!(running.handle.pause().await.unwrap().saved);
        running.handle.resume().await.unwrap();
    }
    mirrored.wait_for_copies(1_000).await;
    assert!(mirrored.times().await.iter().all(|(_, times)| *times == 1));
    // The first one is given up half way: what the next session emits has the same places.
    for _ in 0..2 {
        let reached = running.handle.seek(start.parse().unwrap()).await.unwrap();
        assert!(reached.saved, "where a seek led is saved");
    }
    let all_again = async || {
        let times = mirrored.times().await;
        times.len() == 1_000 && times.iter().all(|(_, times)| (2..=3).contains(times))
    };
    eventually(DEADLINE, all_again).await.unwrap();
    running.end().await.1.unwrap();
    let (all, last) = snapshot(&mirrored).await;
    assert_eq!(last, all.last().copied());
}

#[tokio::test(flavor = "multi_thread")]
async fn several_streams_share_transactions_and_go_on_each_where_it_was() {
    let mirrored = Mirrored::new("streams").await;
    let stage = doc! { "$match": { "operationType": "insert" } };
    let wasm = wat(&Handwritten::new("inserts").pipeline(&[stage]).text()).unwrap();
    let by = mirrored
        .client
        .database(&format!("{}_by", mirrored.database));
    let by = by.collection::<Document>("things");
    let sink = format!(
        "mongodb:{}_by.things#namespace-field=_ns&mode-field=_mode&transactional=true",
        mirrored.database
    );
    for round in 1..=2 {
        let inserts = mirrored.module("inserts", &wasm, FailurePolicy::default());
        let options = Options {
            sinks: vec![sink.parse().unwrap()],
            ..options(&mirrored, SourceKind::ChangeStream)
        };
        let running = mirrored
            .launch(options, vec![mirrored.mirror(), inserts])
            .await;
        running.wait_for(oplet::control::RunState::Streaming).await;
        mirrored.insert((round - 1) * 3_000..round * 3_000).await;
        let count = round as u64 * 3_000;
        mirrored.wait_for_copies(count).await;
        let complete = async || by.count_documents(doc! {}).await.unwrap() == count;
        eventually(DEADLINE, complete).await.unwrap();
        running.end().await.1.unwrap();
    }
    let times = mirrored.times().await;
    assert_eq!(times.len(), 6_000);
    assert!(times.iter().all(|(_, times)| *times == 1));
}
