//! What a module gathers over several ops and gives at a batch border, when it fails before that.

use bson::doc;

use super::{SOURCES, Scene};

/// Emits `{h: 1}` for each op, and `{n: COUNT}` of those since the last border at a border; traps on an
/// op of more than a kilobyte.
const MODULE: &str = r#"(module
    (import "oplet" "emit" (func $emit (param i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 64) "\0c\00\00\00\10n\00\00\00\00\00\00")
    (data (i32.const 96) "\0c\00\00\00\10h\00\01\00\00\00\00")
    (global $n (mut i32) (i32.const 0))
    (func (export "oplet_abi_v1"))
    (func (export "oplet_alloc") (param i32) (result i32) i32.const 1024)
    (func (export "handle") (param i32 i32) (result i32)
        (if (i32.gt_u (local.get 1) (i32.const 1024)) (then (unreachable)))
        (global.set $n (i32.add (global.get $n) (i32.const 1)))
        (drop (call $emit (i32.const 0) (i32.const 96) (i32.const 12)))
        i32.const 0)
    (func (export "oplet_flush") (result i32)
        (if (global.get $n) (then
            (i32.store (i32.const 71) (global.get $n))
            (drop (call $emit (i32.const 0) (i32.const 64) (i32.const 12)))
            (global.set $n (i32.const 0))))
        i32.const 0))"#;

#[tokio::test]
async fn what_an_instance_takes_with_it_is_gathered_again() {
    let scene = Scene::new("gathered").await;
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
    let module = scene.module("gathering", MODULE);
    for source in SOURCES {
        for workers in ["1", "3"] {
            for on_error in ["skip", "retry"] {
                let flags = ["--source", source, "--workers", workers];
                let flags = flags.into_iter().chain(["--on-error", on_error]);
                let flags = flags.chain(["--attempts", "2"]);
                let ended = scene.run_over(&[&module], flags).await.with_code(0);
                let documents = ended.documents();
                let sum = |field: &str| -> i64 {
                    let values = documents.iter().filter_map(|one| one[field].as_i64());
                    values.sum()
                };
                let which = format!("{source}, {workers} workers, {on_error}: {}", ended.stderr);
                assert_eq!((sum("n"), sum("h")), (594, 594), "{which}");
                assert_eq!(ended.counted("handled"), 594, "{which}");
                let borders = documents.iter().filter(|one| one["n"].is_i64()).count();
                assert!(borders < 594, "what did not fail is gathered: {which}");
                ended.says(&["class=\"trap\""]);
            }
        }
    }
}
