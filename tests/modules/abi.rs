//! The ABI needs no SDK: a module that uses all of it, written by hand.

use bson::doc;
use serde_json::json;

use super::{Handwritten, Scene};

/// Keeps ops whose `data.n` is not negative; emits each, rejects 13, counts, logs once, and at the
/// border of a batch emits what was added up since the last one. What it adds to each `n` is in its
/// configuration, and the sink is asked for by its name.
fn module() -> Handwritten {
    let n = Handwritten::name("n");
    Handwritten::new("by hand")
        .import("sink", "(param i32 i32) (result i32)")
        .import("log", "(param i32 i32 i32)")
        .import("fail", "(param i32 i32)")
        .import("count", "(param i32 i32 i64)")
        .with(&format!(
            r#"
            (data (i32.const 4096) "stdout")
            (data (i32.const 4112) "handled")
            (data (i32.const 4128) "configured by hand")
            (data (i32.const 4160) "thirteen is too many")
            (global $sink (mut i32) (i32.const -1))
            (global $offset (mut i32) (i32.const 0))
            (global $sum (mut i32) (i32.const 0))
            (func (export "oplet_configure") (param $config i32) (param $len i32) (result i32)
                (global.set $sink (call $sink (i32.const 4096) (i32.const 6)))
                (global.set $offset (call $int (local.get $config) {n}))
                (call $log (i32.const 3) (i32.const 4128) (i32.const 18))
                (i32.const 0))
            (func $emit_int (param $id i32) (param $n i32)
                (i32.store (i32.const 265) (local.get $id))
                (i32.store (i32.const 272) (local.get $n))
                (if (call $emit (global.get $sink) (i32.const 256) (i32.load (i32.const 256)))
                    (then (unreachable))))
            (func (export "oplet_flush") (result i32)
                (if (global.get $sum) (then (call $emit_int (i32.const -1) (global.get $sum))))
                (global.set $sum (i32.const 0))
                (i32.const 0))"#
        ))
        .filter(&format!(
            "(i32.ge_s (call $int (call $data (local.get $op)) {n}) (i32.const 0))"
        ))
        .handle(&format!(
            r#"(local $n i32)
            (local.set $n (call $int (call $data (local.get $op)) {n}))
            (if (i32.eq (local.get $n) (i32.const 13))
                (then
                    (call $fail (i32.const 4160) (i32.const 20))
                    (return (i32.const 2))))
            (global.set $sum (i32.add (global.get $sum) (local.get $n)))
            (call $count (i32.const 4112) (i32.const 7) (i64.const 1))
            (call $emit_int
                (call $int (local.get $op) {id})
                (i32.add (local.get $n) (global.get $offset)))
            (i32.const 0)"#,
            id = Handwritten::name("_id"),
        ))
}

#[tokio::test]
async fn a_module_needs_no_sdk() {
    let scene = Scene::new("by_hand").await;
    let numbers = [-5, 3, 13, 0, -1, 4];
    scene
        .insert((1..).zip(numbers).map(|(id, n)| doc! {"_id": id, "n": n}))
        .await;
    let module = scene.module("by_hand", &module().text());
    let flags = ["--workers", "1", "--set", "n=100", "--on-error", "skip"];
    let ended = scene.run_over(&[module], flags).await.with_code(0);

    let out = |id, n| json!({"_id": id, "n": n, "by": "by hand"});
    let mut documents = ended.documents();
    let (flushed, mut emitted): (Vec<_>, Vec<_>) = documents
        .drain(..)
        .partition(|document| document["_id"] == -1);
    emitted.sort_by_key(|document| document["_id"].as_i64());
    assert_eq!(emitted, [out(2, 103), out(4, 100), out(6, 104)]);
    let sums: i64 = flushed
        .iter()
        .map(|document| document["n"].as_i64().unwrap())
        .sum();
    assert_eq!(sums, 7, "{flushed:?}");

    ended.says(&["configured by hand", "count: by_hand.handled = 3"]);
    let failures = ended.failures();
    assert_eq!(failures.len(), 1, "{}", ended.stderr);
    for word in [
        "class=\"reject\"",
        "thirteen is too many",
        "module=\"by_hand\"",
    ] {
        assert!(failures[0].contains(word), "{word}: {}", failures[0]);
    }
}

#[tokio::test]
async fn a_refused_configuration_ends_the_run_before_it_begins() {
    let faulty = oplet_testkit::guest("guest_faulty").unwrap();
    let refused = crate::oplet()
        .args([
            "run",
            "--uri",
            super::NOWHERE,
            "--set",
            "refuse=no such table",
        ])
        .arg(faulty);
    super::Ended::of(refused).await.is_refused(&[
        "the module `guest_faulty` cannot be started",
        "no such table",
    ]);
}
