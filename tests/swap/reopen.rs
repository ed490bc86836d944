//! Swaps for which the sources are opened again: another pipeline, a module more or less.

use bson::doc;
use oplet::{
    control::{Absent, FailurePolicy, RunState},
    op::SourceKind,
};
use oplet_testkit::{eventually, guest, wat};

use super::{swap, version};
use crate::{DEADLINE, delivery::run::Mirrored};

/// A handler that wants inserts only, and lets the server see to that.
fn with_pipeline() -> Vec<u8> {
    let stages = doc! { "pipeline": [{ "$match": { "operationType": "insert" } }] };
    let stages = stages.to_vec().unwrap();
    let data: String = stages.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let len = stages.len();
    wat(&format!(
        r#"(module
            (memory (export "memory") 1)
            (data (i32.const 64) "{data}")
            (func (export "oplet_abi_v1"))
            (func (export "oplet_alloc") (param i32) (result i32) i32.const 1024)
            (func (export "pipeline") (param i32 i32) (result i64)
                (i64.or (i64.shl (i64.const 64) (i64.const 32)) (i64.const {len})))
            (func (export "handle") (param i32 i32) (result i32) i32.const 0))"#
    ))
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn modules_come_and_go_while_others_work() {
    for kind in [SourceKind::ChangeStream, SourceKind::Oplog] {
        let mirrored = Mirrored::new("comes").await;
        let running = mirrored.start(mirrored.options(kind)).await;
        let handle = &running.handle;
        mirrored.insert(0..50).await;
        let echo = std::fs::read(guest("guest_count").unwrap()).unwrap();
        let mut more = swap("more", echo);
        more.absent = Absent::Add;
        let added = handle.swap(more).await.unwrap();
        assert!(added.reopened && added.from.is_none());
        mirrored.insert(50..100).await;
        let calls = async || {
            let status = handle.status().await.unwrap();
            status.modules.len() == 2 && mirrored.copied().await == 100
        };
        eventually(DEADLINE, calls).await.unwrap();
        let removed = handle.remove("more").await.unwrap();
        assert!(removed.reopened && removed.to.is_none());
        assert_eq!(removed.from, added.to);
        mirrored.insert(100..150).await;
        mirrored.wait_for_copies(150).await;
        assert_eq!(handle.status().await.unwrap().modules.len(), 1);
        running.end().await.1.unwrap();
        let times = mirrored.times().await;
        assert_eq!(times.len(), 150);
        assert!(times.iter().all(|(_, times)| *times == 1), "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_pipeline_opens_the_source_again_at_the_same_position() {
    let mirrored = Mirrored::new("narrowed").await;
    let narrowed = mirrored.module("narrowed", &with_pipeline(), FailurePolicy::default());
    let running = mirrored
        .launch(
            mirrored.options(SourceKind::ChangeStream),
            vec![mirrored.mirror(), narrowed],
        )
        .await;
    running.wait_for(RunState::Streaming).await;
    let count = std::fs::read(guest("guest_count").unwrap()).unwrap();
    for round in 0..6 {
        mirrored.insert(round * 200..(round + 1) * 200).await;
        // Behind the same name one with a pipeline, and one without.
        let next = match round % 2 {
            0 => version(&count, 7),
            _ => with_pipeline().into(),
        };
        let swapped = running.handle.swap(swap("narrowed", next)).await.unwrap();
        assert!(swapped.reopened);
    }
    mirrored.wait_for_copies(1_200).await;
    running.end().await.1.unwrap();
}
