//! What the compiler says of a handler that is wrong: it points at the author's line.

use std::process::Command;

use oplet_testkit::workspace;

/// Compiles that as an entry file; gives what the compiler said.
fn compiled(source: &str) -> String {
    let folder = tempfile::tempdir_in(workspace::root().join("target")).unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write(
        "asconfig.json",
        r#"{"extends": "oplet-sdk/asconfig.json", "entries": ["index.ts"]}"#,
    );
    write("index.ts", source);
    let compiler = workspace::root().join("node_modules/.bin/asc");
    let output = Command::new(compiler)
        .args(["--target", "release", "--outFile", "out.wasm"])
        .current_dir(folder.path())
        .output()
        .expect("scripts/build-guests-assemblyscript has installed the compiler");
    let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        output.status.success(),
        folder.path().join("out.wasm").is_file(),
        "{said}"
    );
    said.into_owned()
}

#[track_caller]
fn refused(source: &str, words: &[&str]) {
    let said = compiled(source);
    for word in words {
        assert!(said.contains(word), "`{word}` in {said}");
    }
}

#[test]
fn errors_point_at_the_authors_line() {
    let import = "import { Op, Outcome, emit } from \"oplet-sdk\";\n";
    assert_eq!(
        compiled(&format!(
            "{import}export function filter(op: Op): bool {{ return op.isInsert; }}"
        )),
        ""
    );
    refused(
        &format!("{import}\nexport function handle(op: Op, more: i32): void {{}}"),
        &[
            "`handle` has another signature than `export function handle(op: Op): void` or `Outcome`",
            "in index.ts(3,17)",
        ],
    );
    refused(
        &format!("{import}export function filter(op: Op): i32 {{ return 1; }}"),
        &[
            "`filter` has another signature than `export function filter(op: Op): bool`",
            "in index.ts(2,17)",
        ],
    );
    refused(
        &format!("{import}export function handel(op: Op): void {{}}"),
        &[
            "exports none of `filter`, `handle`, `pipeline`",
            "in index.ts(",
        ],
    );
    refused(
        &format!("{import}export function handle(op: Op): void {{\n  emit(op.nothing);\n}}"),
        &["Property 'nothing' does not exist", "in index.ts(3,"],
    );
}
