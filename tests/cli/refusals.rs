//! Bad input: refused with exit 2 before anything opens, with the reason and the nearest fix.

use std::path::Path;

use oplet_testkit::{guest, wat};

use super::Transcript;

/// What each module of these tests has, but for what is wrong with it.
const ALLOC: &str = r#"(memory (export "memory") 1)
    (func (export "oplet_alloc") (param i32) (result i32) (i32.const 8))"#;
const MARKER: &str = r#"(func (export "oplet_abi_v1"))"#;
const HANDLE: &str = r#"(func (export "handle") (param i32 i32) (result i32) (i32.const 0))"#;

fn write_modules(folder: &Path) {
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).unwrap();
    let module = |name: &str, text: &str| write(name, &wat(&format!("(module {text})")).unwrap());
    write("text.wasm", b"not a module at all\n");
    write("handler.wat", b"(module)\n");
    write("empty.wasm", b"");
    write("component.wasm", b"\0asm\x0d\0\x01\0");
    let whole = wat(&format!("(module {ALLOC} {MARKER} {HANDLE})")).unwrap();
    write("cut_off.wasm", &whole[..whole.len() - 5]);
    write(
        "new_users.wasm",
        &std::fs::read(guest("new_users").unwrap()).unwrap(),
    );
    module("no_marker.wasm", &format!("{ALLOC} {HANDLE}"));
    module(
        "not_ours.wasm",
        r#"(func (export "add") (param i32 i32) (result i32) (i32.const 0))"#,
    );
    module(
        "signature.wasm",
        &format!(
            r#"{ALLOC} {MARKER} (func (export "handle") (param i32) (result i64) (i64.const 0))"#
        ),
    );
    module(
        "import.wasm",
        &format!(
            r#"(import "oplet" "emitt" (func (param i32 i32 i32) (result i32))) {ALLOC} {MARKER} {HANDLE}"#
        ),
    );
    module(
        "program.wasm",
        &format!(r#"{ALLOC} {MARKER} {HANDLE} (func (export "_start"))"#),
    );
    module(
        "several.wasm",
        r#"(import "env" "socket" (func (param i32)))
        (import "oplet" "log" (func (param i32)))
        (func (export "oplet_abi_v1") (param i32))
        (func (export "filter") (param i32 i32))"#,
    );
}

#[tokio::test]
async fn modules_are_refused_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    write_modules(folder.path());
    let mut seen = Transcript::new(folder.path());
    for file in [
        "text.wasm",
        "handler.wat",
        "empty.wasm",
        "component.wasm",
        "cut_off.wasm",
        "new_user.wasm",
        "nowhere/handler.wasm",
        ".",
        "no_marker.wasm",
        "not_ours.wasm",
        "signature.wasm",
        "import.wasm",
        "program.wasm",
        "several.wasm",
    ] {
        seen.refused(&["run", file]).await;
    }
    seen.refused(&["run", "new_users.wasm", "new_users.wasm"])
        .await;
    seen.refused(&["run", "new_users.wasm", "./new_users.wasm"])
        .await;
    insta::assert_snapshot!("refused_modules", seen.text());
}

#[tokio::test]
async fn inspect_shows_what_would_be_refused() {
    let folder = tempfile::tempdir().unwrap();
    write_modules(folder.path());
    let mut seen = Transcript::new(folder.path());
    for file in ["several.wasm", "component.wasm"] {
        seen.refused(&["inspect", file]).await;
    }
    insta::assert_snapshot!("refused_inspect", seen.without_compiler());
}

#[tokio::test]
async fn values_are_refused_with_the_nearest_spelling() {
    let folder = tempfile::tempdir().unwrap();
    write_modules(folder.path());
    let mut seen = Transcript::new(folder.path());
    for arguments in [
        &["--uri", "localhost:27017"][..],
        &["--uri", "mongo://localhost"],
        &["--uri", ""],
        &["--watch", "shop."],
        &["--watch", "shop.ord*"],
        &["--watch", "shop/orders"],
        &["--watch", "local.oplog.rs"],
        &["--watch", "oplet"],
        &["--watch", ""],
        &["--since", "yesterday"],
        &["--since", "noww"],
        &["--since", "90"],
        &["--since", "1700000001"],
        &["--since", "2026-01-02"],
        &["--since", "2026-01-02 10:00"],
        &["--since", "token:x"],
        &["--until", "oldest"],
        &["--max-ops", "many"],
        &["--connect-timeout", "10"],
        &["--oplog-namespace", "oplog"],
        &["--ordering", "documents"],
        &["--source", "oplgo"],
        &["--on-error", "ignore"],
        &["--workers", "0"],
        &["--set", "limit"],
        &["--set", "a=1", "--set", "a=2"],
        &["--checkpoint", "s3:x"],
        &["--dead-letters", "none"],
        &["--name", ""],
        &["--since", "chekpoint"],
        &["--on-position-lost", "resnapshots"],
        &["--direct-read", "shop"],
        &["--sink", "ftp://ann:s3cret@h"],
        &["--attempts", "0"],
        &["--breaker", "stop"],
        &["--admin", "9090"],
        &["--admin", "0.0.0.0:9090"],
        &["--config", "nowhere.toml"],
    ] {
        let run = [&["run", "new_users.wasm"], arguments].concat();
        seen.refused(&run).await;
    }
    insta::assert_snapshot!("refused_values", seen.text());
}

#[tokio::test]
async fn unknown_words_are_refused_with_the_nearest() {
    let mut seen = Transcript::new(Path::new("."));
    for arguments in [
        &["rum"][..],
        &["watch", "shop.orders"],
        &["run"],
        &["run", "--wach", "shop", "a.wasm"],
        &["tail", "shop", "--formt", "pretty"],
        &["tail", "shop", "--format", "prety"],
        &["tail", "-q", "-v"],
        &["inspect"],
    ] {
        seen.refused(arguments).await;
    }
    insta::assert_snapshot!("refused_words", seen.text());
}

#[tokio::test]
async fn the_password_of_a_malformed_uri_is_not_shown() {
    for uri in [
        "mongodb://ann:s3cret@h/?replicaset",
        "mongodb://ann:s3cret/@h",
        "mongodb://ann:s3cret:x@y@h",
        "mongo://ann:s3cret@h",
        "ann:s3cret@h:27017",
    ] {
        for arguments in [
            &["tail", "--uri", uri][..],
            &["tail", &format!("--uri={uri}")],
        ] {
            let ended = Transcript::new(Path::new(".")).run(arguments).await;
            ended.is_refused(&["is not a MongoDB connection string"]);
            assert!(!ended.stderr.contains("s3cret"), "{}", ended.stderr);
        }
    }
}

#[tokio::test]
async fn the_password_in_a_refused_store_or_sink_is_not_shown() {
    for flag in ["--sink", "--checkpoint", "--dead-letters"] {
        let arguments = ["run", "new_users.wasm", flag, "mongodb+ssl://ann:s3cret@h"];
        let ended = Transcript::new(Path::new(".")).run(&arguments).await;
        ended.is_refused(&[flag]);
        assert!(!ended.stderr.contains("s3cret"), "{}", ended.stderr);
    }
}
