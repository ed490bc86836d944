//! Swaps that lead to nothing: the version before goes on.

use oplet::{
    control::{FailurePolicy, OnError, RunState, SwapError},
    guest::Class,
    op::SourceKind,
};
use oplet_testkit::{eventually, guest, wat};

use super::{swap, version};
use crate::{DEADLINE, delivery::run::Mirrored};

/// A handler that emits nothing, with more of a module behind it.
fn handler(more: &str) -> Vec<u8> {
    wat(&format!(
        r#"(module
            (memory (export "memory") 1)
            (func (export "oplet_abi_v1"))
            (func (export "oplet_alloc") (param i32) (result i32) i32.const 1024)
            (func (export "handle") (param i32 i32) (result i32) i32.const 0)
            {more})"#
    ))
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_take_over_changes_nothing() {
    let mirrored = Mirrored::new("refused").await;
    let running = mirrored.start(mirrored.options(SourceKind::Oplog)).await;
    let handle = &running.handle;
    let wasm = std::fs::read(guest("guest_mirror").unwrap()).unwrap();

    let error = handle.swap(swap("miror", wasm.clone())).await.unwrap_err();
    assert!(matches!(error, SwapError::NoSuchModule { .. }), "{error}");
    assert!(error.to_string().contains("`mirror`"), "{error}");
    let half = wasm[..wasm.len() / 2].to_vec();
    let error = handle.swap(swap("mirror", half)).await.unwrap_err();
    assert!(matches!(error, SwapError::Load(_)), "{error}");
    // It is asked for its pipeline, and traps at its start.
    let traps = handler(r#"(func $start unreachable) (start $start)"#);
    let error = handle.swap(swap("mirror", traps)).await.unwrap_err();
    assert!(matches!(error, SwapError::Plan(_)), "{error}");
    let error = handle.rollback("mirror").await.unwrap_err();
    assert!(
        matches!(error, SwapError::NoVersionBefore { .. }),
        "{error}"
    );
    let error = handle.remove("mirror").await.unwrap_err();
    assert!(matches!(error, SwapError::LastModule { .. }), "{error}");
    // The same version again is no other version.
    let same = handle.swap(swap("mirror", wasm)).await.unwrap();
    assert_eq!(same.from, same.to);
    assert_eq!(same.to.unwrap().generation, 1);

    mirrored.insert(0..10).await;
    mirrored.wait_for_copies(10).await;
    let status = handle.status().await.unwrap();
    assert_eq!(status.modules[0].generation, 1);
    running.end().await.1.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_is_not_handed_over_undoes_the_swap_in_every_lane() {
    let mirrored = Mirrored::new("undone").await;
    // `{v: 1, state: null}`
    let state = r#"
        (data (i32.const 64) "\13\00\00\00\10v\00\01\00\00\00\0astate\00\00")
        (func (export "oplet_save") (result i64)
            (i64.or (i64.shl (i64.const 64) (i64.const 32)) (i64.const 19)))"#;
    let saves = mirrored.module("m", &handler(state), FailurePolicy::default());
    let running = mirrored
        .launch(mirrored.options(SourceKind::ChangeStream), vec![saves])
        .await;
    running.wait_for(RunState::Streaming).await;
    let refuses =
        handler(r#"(func (export "oplet_restore") (param i32 i32) (result i32) i32.const 1)"#);
    let error = running.handle.swap(swap("m", refuses)).await.unwrap_err();
    assert!(matches!(error, SwapError::Lane { .. }), "{error}");
    let status = running.handle.status().await.unwrap();
    assert_eq!(status.modules[0].generation, 1);
    // One that takes it takes over; and back.
    let takes =
        handler(r#"(func (export "oplet_restore") (param i32 i32) (result i32) i32.const 0)"#);
    let swapped = running.handle.swap(swap("m", takes)).await.unwrap();
    assert_eq!(swapped.to.unwrap().generation, 2);
    let back = running.handle.rollback("m").await.unwrap();
    assert_eq!(back.to.as_ref().unwrap().generation, 3);
    assert_eq!(back.to.unwrap().digest, swapped.from.unwrap().digest);
    running.end().await.1.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn that_a_state_was_lost_by_handing_it_over_is_said_each_time() {
    let mirrored = Mirrored::new("lost_state").await;
    let traps = r#"(func (export "oplet_save") (result i64) unreachable)"#;
    let traps = mirrored.module("m", &handler(traps), FailurePolicy::default());
    let running = mirrored
        .launch(mirrored.options(SourceKind::Oplog), vec![traps])
        .await;
    running.wait_for(RunState::Streaming).await;
    let error = running.handle.swap(swap("m", handler(""))).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("has lost it"), "{error}");
    // There is nothing left that could be handed over, in either lane.
    let swapped = running.handle.swap(swap("m", handler(""))).await.unwrap();
    assert_eq!(swapped.to.unwrap().generation, 2);
    assert_eq!(swapped.lanes_without_state, 2);
    let again = swap("m", version(&handler(""), 1));
    let swapped = running.handle.swap(again).await.unwrap();
    assert_eq!(swapped.lanes_without_state, 0);
    running.end().await.1.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_whose_handing_over_never_ends_is_left() {
    let state = r#"
        (data (i32.const 64) "\13\00\00\00\10v\00\01\00\00\00\0astate\00\00")
        (func (export "oplet_save") (result i64)
            (i64.or (i64.shl (i64.const 64) (i64.const 32)) (i64.const 19)))"#;
    let saves_for_ever =
        r#"(func (export "oplet_save") (result i64) (loop $l (br $l)) (unreachable))"#;
    let restores = r#"(func (export "oplet_restore") (param i32 i32) (result i32) i32.const 0)"#;
    let restores_for_ever = r#"(func (export "oplet_restore") (param i32 i32) (result i32)
        (loop $l (br $l)) (unreachable))"#;
    for (hint, before, after) in [
        ("endless_save", saves_for_ever, restores),
        ("endless_restore", state, restores_for_ever),
    ] {
        let mirrored = Mirrored::new(hint).await;
        let before = mirrored.module("m", &handler(before), FailurePolicy::default());
        let specs = vec![before, mirrored.mirror()];
        let running = mirrored
            .launch(mirrored.options(SourceKind::Oplog), specs)
            .await;
        running.wait_for(RunState::Streaming).await;
        mirrored.insert(0..10).await;
        mirrored.wait_for_copies(10).await;
        let error = running.handle.swap(swap("m", handler(after))).await;
        let Err(SwapError::Lane { source, .. }) = error else {
            panic!("{hint}: {error:?}");
        };
        assert_eq!(source.class, Class::Deadline, "{hint}: {source}");
        // The version before goes on, in both lanes, and so does the module beside.
        mirrored.insert(10..30).await;
        mirrored.wait_for_copies(30).await;
        let handled = async || running.handle.status().await.unwrap().ops.handled == 60;
        eventually(DEADLINE, handled).await.unwrap();
        let status = running.handle.status().await.unwrap();
        assert_eq!(status.modules[0].generation, 1, "{hint}");
        assert_eq!(status.ops.failed, 0, "{hint}");
        running.end().await.1.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_a_breaker_has_paused_goes_on_with_a_better_version() {
    let mirrored = Mirrored::new("mended").await;
    let policy = FailurePolicy {
        on_error: OnError::Retry,
        breaker_failures: 3,
        ..FailurePolicy::default()
    };
    let broken = wat(r#"(module
        (memory (export "memory") 1)
        (func (export "oplet_abi_v1"))
        (func (export "oplet_alloc") (param i32) (result i32) i32.const 1024)
        (func (export "handle") (param i32 i32) (result i32) unreachable))"#)
    .unwrap();
    let broken = mirrored.module("mirror", &broken, policy);
    let running = mirrored
        .launch(mirrored.options(SourceKind::Oplog), vec![broken])
        .await;
    running.wait_for(RunState::Streaming).await;
    mirrored.insert(0..20).await;
    running.wait_for(RunState::Paused).await;
    let wasm = std::fs::read(guest("guest_mirror").unwrap()).unwrap();
    running
        .handle
        .swap(swap("mirror", version(&wasm, 1)))
        .await
        .unwrap();
    running.handle.resume().await.unwrap();
    mirrored.wait_for_copies(20).await;
    running.end().await.1.unwrap();
    assert!(mirrored.times().await.iter().all(|(_, times)| *times == 1));
}
