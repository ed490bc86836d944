//! What a module gathers over several ops and gives at a batch border, when it fails before that.

use bson::doc;

use super::{Ended, SOURCES, Scene};

/// What a module of text has that counts in `$n`, with `$emit` imported, and emits `{n: COUNT}` at a border.
pub(crate) const COUNTS: &str = r#"
    (data (i32.const 64) "\0c\00\00\00\10n\00\00\00\00\00\00")
    (global $n (mut i32) (i32.const 0))
    (func (export "oplet_flush") (result i32)
        (if (global.get $n) (then
            (i32.store (i32.const 71) (global.get $n))
            (drop (call $emit (i32.const 0) (i32.const 64) (i32.const 12)))
            (global.set $n (i32.const 0))))
        i32.const 0)"#;

/// Emits `{h: 1}` for each op, and counts; traps on an op of more than a kilobyte.
fn module() -> String {
    format!(
        r#"(module
        (import "oplet" "emit" (func $emit (param i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 96) "\0c\00\00\00\10h\00\01\00\00\00\00")
        (func (export "oplet_abi_v1"))
        (func (export "oplet_alloc") (param i32) (result i32) i32.const 1024)
        (func (export "handle") (param i32 i32) (result i32)
            (if (i32.gt_u (local.get 1) (i32.const 1024)) (then (unreachable)))
            (global.set $n (i32.add (global.get $n) (i32.const 1)))
            (drop (call $emit (i32.const 0) (i32.const 96) (i32.const 12)))
            i32.const 0)
        {COUNTS})"#
    )
}

/// Documents of which so many are too long.
async fn with_long_ones(hint: &str) -> Scene {
    let scene = Scene::new(hint).await;
    scene
        .insert((0..300).map(|id| match id % 100 {
            70 => doc! {"_id": id, "long": "x".repeat(2_000)},
            _ => doc! {"_id": id},
        }))
        .await;
    // Of the oplog, these have to be looked up.
    scene
        .update(0..300, |id| doc! {"$set": {"changed": id}})
        .await;
    scene
}

/// The sum of a field over what was emitted.
fn sum(ended: &Ended, field: &str) -> i64 {
    let documents = ended.documents();
    let values = documents.iter().filter_map(|one| one[field].as_i64());
    values.sum()
}

#[tokio::test]
async fn what_an_instance_takes_with_it_is_gathered_again() {
    let scene = with_long_ones("gathered").await;
    let module = scene.module("gathering", &module());
    for source in SOURCES {
        for workers in ["1", "3"] {
            for on_error in ["skip", "retry"] {
                let flags = ["--source", source, "--workers", workers];
                let flags = flags.into_iter().chain(["--on-error", on_error]);
                let flags = flags.chain(["--attempts", "2"]);
                let ended = scene.run_over(&[&module], flags).await.with_code(0);
                let which = format!("{source}, {workers} workers, {on_error}: {}", ended.stderr);
                assert_eq!((sum(&ended, "n"), sum(&ended, "h")), (594, 594), "{which}");
                assert_eq!(ended.counted("handled"), 594, "{which}");
                let documents = ended.documents();
                let borders = documents.iter().filter(|one| one["n"].is_i64()).count();
                assert!(borders < 594, "what did not fail is gathered: {which}");
                ended.says(&["class=\"trap\""]);
            }
        }
    }
}

/// A run that is to stop there has not done what was gathered before.
#[tokio::test]
async fn what_was_gathered_before_a_stop_comes_again() {
    let scene = with_long_ones("gathered_stop").await;
    let module = scene.module("gathering", &module());
    for source in SOURCES {
        let checkpoint = scene.folder().join(format!("{source}.checkpoint"));
        let checkpoint = format!("file:{}", checkpoint.display());
        let flags = |on_error: &'static str| {
            let flags = ["--source", source, "--name", "gathering", "--on-error"];
            let flags = flags.into_iter().chain([on_error, "--exit-when-idle"]);
            flags.chain(["--checkpoint", &checkpoint])
        };
        let first = scene.run(&[&module]).args(flags("stop"));
        let first = Ended::of(first).await.with_code(1);
        let second = scene.run_from_now(&[&module]).args(flags("skip"));
        let second = Ended::of(second).await.with_code(0);
        let gathered = sum(&first, "n") + sum(&second, "n");
        assert!(gathered >= 594, "{source}: {gathered}: {}", first.stderr);
    }
}
