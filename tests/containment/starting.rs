//! Modules whose instances start when they are looked at, and not when they are needed.

use std::time::Duration;

use bson::doc;
use oplet_testkit::Signal;

use super::{BAD, DOCUMENTS, when_bad};
use crate::{
    DEADLINE,
    modules::{Handwritten, Scene},
};

/// A module whose `_initialize` can tell the time: `$now` is in nanoseconds since the first instance
/// of the process asked.
fn with_clock(by: &str, initialize: &str) -> Handwritten {
    Handwritten::new(by)
        .wasi("clock_time_get", "(param i32 i64 i32) (result i32)")
        .with(
            "(func $now (result i64)
            (drop (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 4096)))
            (i64.load (i32.const 4096)))",
        )
        .with(&format!(
            r#"(func (export "_initialize") (local $end i64) {initialize})"#
        ))
}

/// A failure ends an instance, and there is no other: that is the module's trouble alone.
#[tokio::test]
async fn a_module_that_starts_no_more_fails_on_its_own_ops() {
    // Long enough to connect and to begin, on a machine with much else to do.
    const WELL_FOR: Duration = Duration::from_secs(10);
    let scene = Scene::new("starts").await;
    let trap = format!(
        "(if (i64.gt_u (call $now) (i64.const {})) (then (unreachable)))",
        WELL_FOR.as_nanos()
    );
    let once = with_clock("once", &trap).handle(&when_bad("(unreachable)"));
    let modules = [
        scene.module("once", &once.text()),
        scene.module("beside", &Handwritten::new("beside").text()),
    ];
    let run = scene
        .run(&modules)
        .args(["--workers", "1", "--on-error", "skip"]);
    let oplet = run.start().unwrap();
    // It is up: it has handled something.
    scene.insert([doc! {"_id": -1, "n": 0}]).await;
    oplet.wait_for_lines(2, DEADLINE).await.unwrap();
    tokio::time::sleep(WELL_FOR + Duration::from_millis(500)).await;
    scene
        .insert((0..DOCUMENTS).map(|id| doc! {"_id": id, "n": id}))
        .await;
    // The well-behaved one has all, the other those before the bad one.
    let lines = 2 + DOCUMENTS as usize + BAD as usize;
    oplet.wait_for_lines(lines, DEADLINE).await.unwrap();
    let failed =
        |line: &str| line.contains("class=\"trap\"") && line.contains("export=\"_initialize\"");
    oplet.wait_for_stderr(failed, DEADLINE).await.unwrap();
    oplet.signal(Signal::Terminate).unwrap();
    assert_eq!(oplet.wait_exit(DEADLINE).await.unwrap(), 0);
    assert_eq!(oplet.stdout().all().len(), lines);
    let beside = oplet.stdout().all();
    let beside = beside.iter().filter(|line| line.contains("beside"));
    assert_eq!(beside.count(), 1 + DOCUMENTS as usize);
}

/// Between the end of an instance and the start of the next there is room for both, in every lane.
#[tokio::test]
async fn instances_that_end_in_all_lanes_at_once_are_replaced() {
    let scene = Scene::new("at_once").await;
    scene
        .insert((0..40).map(|id| doc! {"_id": id, "n": id}))
        .await;
    let slowly = "(local.set $end (i64.add (call $now) (i64.const 100000000)))
        (loop $wait (br_if $wait (i64.lt_u (call $now) (local.get $end))))";
    let slow = with_clock("slow", slowly).handle("(unreachable)");
    let module = scene.module("slow", &slow.text());
    let flags = ["--workers", "8", "--on-error", "skip"];
    let ended = scene.run_over(&[module], flags).await.with_code(0);
    assert_eq!(ended.counted("skipped"), 40, "{}", ended.stderr);
    let of_the_host = ended
        .failures()
        .iter()
        .filter(|line| line.contains("instantiation"))
        .count();
    assert_eq!(of_the_host, 0, "{}", ended.stderr);
}
