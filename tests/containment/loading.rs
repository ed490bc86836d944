//! Modules that are refused before anything of them runs, or of the source is opened.

use std::time::Instant;

use bson::doc;
use oplet_testkit::{Oplet, wat};

use super::watched;
use crate::{
    modules::{Ended, Handwritten, NOWHERE, Scene},
    oplet,
};

/// What a process may have at most that refuses a module, in megabytes.
const MEGABYTES_MAX: u64 = 1_000;

/// That these bytes are refused as a module, with these words.
async fn assert_refused(what: &str, module: &[u8], words: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hostile.wasm");
    std::fs::write(&path, module).unwrap();
    let run = oplet()
        .args(["run", "--uri", NOWHERE, "--watch", "shop.orders"])
        .arg(&path);
    let ended = refusal(what, run).await;
    ended.is_refused(words);
    // Those who only look at it are shown no more, and nothing that drives their terminal.
    let inspected = refusal(what, oplet().arg("inspect").arg(&path)).await;
    assert!(
        !inspected.stdout.iter().any(|line| line.contains('\u{1b}')),
        "{what}"
    );
}

/// What a process says that refuses something, in time and without taking more memory than it should.
async fn refusal(what: &str, run: Oplet) -> Ended {
    let begun = Instant::now();
    let (ended, megabytes) = watched(run.start().unwrap()).await;
    assert_eq!(ended.code, 2, "{what}: {}", ended.stderr);
    assert!(
        !ended.stderr.contains("panicked"),
        "{what}: {}",
        ended.stderr
    );
    assert!(!ended.stderr.contains('\u{1b}'), "{what}: {}", ended.stderr);
    assert!(
        ended.stderr.len() < 256 << 10,
        "{what}: {} bytes",
        ended.stderr.len()
    );
    assert!(megabytes < MEGABYTES_MAX, "{what}: {megabytes} MB");
    crate::say(&format!(
        "{what}: refused after {:?} with {megabytes} MB",
        begun.elapsed()
    ));
    ended
}

/// The same of a text, in place of the handler's memory, with something more.
async fn assert_text_refused(what: &str, module: Handwritten, words: &[&str]) {
    let text = module.text();
    let module = wat(&text).unwrap_or_else(|error| panic!("{error:#}\n{text}"));
    assert_refused(what, &module, words).await;
}

#[tokio::test]
async fn imports_that_nobody_provides_are_refused() {
    for (name, words) in [
        ("system", "unknown import `oplet.system`"),
        (
            r"\1b[2J\0aerror: forged",
            r"unknown import `oplet.\u{1b}[2J\nerror: forged`",
        ),
    ] {
        let text = Handwritten::new("m").import("probe", "(param i32)").text();
        let text = text.replace("\"probe\"", &format!("\"{name}\""));
        assert_refused(name, &wat(&text).unwrap(), &[words]).await;
    }
    let sockets = r#"(module
        (import "wasi_snapshot_preview1" "sock_open" (func (param i32 i32 i32) (result i32)))
        (import "wasi:sockets/tcp@0.2.0" "connect" (func))
        (import "env" "dlopen" (func (param i32 i32) (result i32)))
        (import "env" "memory" (memory 1))
        (import "env" "table" (table 1 funcref))
        (import "env" "stack" (global (mut i32))))"#;
    let words = [
        "sock_open",
        "wasi:sockets/tcp@0.2.0",
        "env.dlopen",
        "env.memory",
        "env.table",
        "env.stack",
    ];
    assert_refused("sockets", &wat(sockets).unwrap(), &words).await;
}

#[tokio::test]
async fn what_would_start_too_large_or_be_shared_is_refused() {
    let memory =
        |text: &str| Handwritten::new("m").memory(&format!(r#"(memory (export "memory") {text})"#));
    assert_text_refused(
        "huge memory",
        memory("65535"),
        &["its memory starts at 4294901760 bytes"],
    )
    .await;
    assert_text_refused(
        "shared memory",
        memory("4 8 shared"),
        &["shared between threads"],
    )
    .await;
    assert_text_refused("64-bit memory", memory("i64 4"), &["memory64"]).await;
    let with = |text: &str| Handwritten::new("m").with(text);
    assert_text_refused("second memory", with("(memory 1)"), &["2 memories"]).await;
    assert_text_refused(
        "huge table",
        with("(table 4000000000 funcref)"),
        &["a table starts at 4000000000"],
    )
    .await;
    assert_text_refused(
        "many tables",
        with(&"(table 1 funcref)".repeat(50)),
        &["50 tables"],
    )
    .await;
    assert_text_refused(
        "atomics",
        with("(func (drop (i32.atomic.load (i32.const 0))))"),
        &["threads"],
    )
    .await;
    assert_text_refused("exceptions", with("(tag)"), &["exceptions"]).await;
}

#[tokio::test]
async fn a_module_of_a_hundred_megabytes_is_refused_by_its_size() {
    let mut module = wat(&Handwritten::new("m").text()).unwrap();
    // A custom section, which no engine would look at: `0x05F5E100` bytes.
    module.extend([0, 0x80, 0xC2, 0xD7, 0x2F]);
    module.extend([1, b'x']);
    module.resize(module.len() + 100_000_000 - 2, 0);
    assert_refused(
        "100 MB",
        &module,
        &["bytes large, more than the 10485760 allowed"],
    )
    .await;
}

#[tokio::test]
async fn a_module_that_does_not_start_is_refused() {
    let start = |body: &str| Handwritten::new("m").with(&format!("(func $s {body}) (start $s)"));
    let export = |name: &str, signature: &str, body: &str| {
        Handwritten::new("m").with(&format!(r#"(func (export "{name}") {signature} {body})"#))
    };
    let endless = "(loop $l (br $l))";
    let deep = "(func $deep (call $deep) (call $deep))";
    let document = "(param i32 i32) (result i32)";
    let pipeline = "(param i32 i32) (result i64)";
    let slow = "took longer than 1s";
    for (what, module, words) in [
        ("endless start", start(endless), slow),
        (
            "endless _initialize",
            export("_initialize", "", endless),
            slow,
        ),
        (
            "endless oplet_configure",
            export(
                "oplet_configure",
                document,
                &format!("{endless} (unreachable)"),
            ),
            slow,
        ),
        (
            "endless pipeline",
            export("pipeline", pipeline, &format!("{endless} (unreachable)")),
            slow,
        ),
        ("trap in start", start("(unreachable)"), "unreachable"),
        (
            "data outside",
            Handwritten::new("m").with(r#"(data (i32.const 0x3FFFF) "ab")"#),
            "cannot be started",
        ),
        (
            "deep start",
            start("(call $deep)").with(deep),
            "bytes of stack",
        ),
        (
            "hungry start",
            start(
                "(loop $l (br_if $l (i32.ne (i32.const -1) (memory.grow (i32.const 64))))) (unreachable)",
            ),
            "more than the limit of 67108864",
        ),
        (
            "emitting start",
            start("(drop (call $emit (i32.const 0) (i32.const 256) (i32.const 5)))"),
            "may not emit",
        ),
        (
            "pipeline outside",
            export("pipeline", pipeline, "(i64.const 0x7FFFFFFFFFFFFFFF)"),
            "outside its memory",
        ),
        (
            "pipeline of rubbish",
            export("pipeline", pipeline, "(i64.const 0x10000000FF)"),
            "not valid BSON",
        ),
        (
            "pipeline that writes",
            Handwritten::new("m").pipeline(&[doc! {"$merge": "other"}]),
            "is no stage for a change stream",
        ),
        (
            "pipeline with code",
            Handwritten::new("m").pipeline(&[doc! {"$match": {"$or": [{"$where": "sleep(1e9)"}]}}]),
            "runs code on the server",
        ),
        (
            "pipeline with escapes",
            Handwritten::new("m").pipeline(&[doc! {"$\u{1b}[2J\nforged": 1}]),
            r"`$\u{1b}[2J\nforged`",
        ),
    ] {
        assert_text_refused_at_start(what, module, words).await;
    }
}

/// As [`assert_text_refused`], but the module is refused when it runs: `inspect` finds nothing.
async fn assert_text_refused_at_start(what: &str, module: Handwritten, words: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hostile.wasm");
    let text = module.text();
    std::fs::write(
        &path,
        wat(&text).unwrap_or_else(|error| panic!("{error:#}\n{text}")),
    )
    .unwrap();
    let run = oplet()
        .args(["run", "--uri", NOWHERE, "--watch", "shop.orders"])
        .arg(&path);
    refusal(what, run).await.is_refused(&[words]);
}

/// Many small functions are a module like any other; what it takes to compile them is bounded.
#[tokio::test]
async fn a_hundred_thousand_functions_are_loaded_or_refused_in_time() {
    let functions: String = (0..100_000)
        .map(|n| format!("(func (param i32) (result i32) (i32.add (local.get 0) (i32.const {n})))"))
        .collect();
    let scene = Scene::new("functions").await;
    scene.insert([doc! {"_id": 1}]).await;
    let module = scene.module("many", &Handwritten::new("many").with(&functions).text());
    let begun = Instant::now();
    // Without what an earlier run has compiled.
    let cache = tempfile::tempdir().unwrap();
    let run = scene
        .run(&[module])
        .env("OPLET_MODULE_CACHE", cache.path())
        .args(["--exit-when-idle", "--workers", "1"]);
    let (ended, megabytes) = watched(run.start().unwrap()).await;
    crate::say(&format!(
        "100,000 functions: {:?}, {megabytes} MB, exit code {}",
        begun.elapsed(),
        ended.code
    ));
    assert!(megabytes < 2 * MEGABYTES_MAX, "{megabytes} MB");
    match ended.code {
        0 => assert_eq!(ended.stdout.len(), 1, "{}", ended.stderr),
        code => assert_eq!((code, ended.stdout.len()), (2, 0), "{}", ended.stderr),
    }
}
