//! Every way to fail ends in a dead letter that names it, and a module that always fails is left alone.

use std::{collections::BTreeMap, fs};

use serde_json::Value;

use super::{Contained, DOCUMENTS, Fate, Hostile, hostile, on_bad, when_bad};

/// One module for each class of failure that a call can have.
fn one_of_each() -> Vec<Hostile> {
    vec![
        on_bad("trap", "(unreachable)", Fate::Whatever),
        on_bad("deadline", "(loop $l (br $l))", Fate::Whatever),
        on_bad(
            "memory-limit",
            "(if (i32.eq (i32.const -1) (memory.grow (i32.const 0xF000))) (then (unreachable)))",
            Fate::Whatever,
        ),
        hostile(
            "stack-overflow",
            |module| {
                module
                    .with("(func $deep (param i64) (result i64)
                        (i64.add (i64.const 1) (call $deep (i64.add (i64.const 1) (local.get 0)))))")
                    .handle(&when_bad("(drop (call $deep (i64.const 0)))"))
            },
            Fate::Whatever,
        ),
        on_bad("bad-return", "(return (i32.const 77))", Fate::Whatever),
        hostile(
            "exit",
            |module| {
                module
                    .wasi("proc_exit", "(param i32)")
                    .handle(&when_bad("(call $proc_exit (i32.const 3))"))
            },
            Fate::Whatever,
        ),
        on_bad("reject", "(return (i32.const 2))", Fate::Whatever),
        on_bad("retry", "(return (i32.const 1))", Fate::Whatever),
    ]
}

#[tokio::test]
async fn every_way_to_fail_has_its_letter() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("letters.jsonl");
    let store = format!("file:{}", path.display());
    let rows = one_of_each();
    let flags = ["--on-error", "dead-letter", "--dead-letters", &store];
    let contained = Contained::run("letters", &rows, &flags).await;
    contained.is_contained();
    let letters = fs::read_to_string(&path).unwrap();
    let letters: BTreeMap<String, String> = letters
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|letter| {
            let text = |field: &str| letter[field].as_str().map(str::to_owned);
            Some((text("module")?, text("kind")?))
        })
        .collect();
    // Each module is called by the class that it fails with.
    let expected = rows
        .iter()
        .map(|row| (row.name.to_owned(), row.name.to_owned()));
    assert_eq!(letters, expected.collect());
    for row in &rows {
        assert_eq!(
            contained.ids(row.name),
            super::all_but_bad(),
            "{}",
            row.name
        );
    }
}

#[tokio::test]
async fn a_breaker_opens_for_one_module_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("file:{}", folder.path().join("letters.jsonl").display());
    let always = hostile(
        "always",
        |module| module.handle("(unreachable)"),
        Fate::Whatever,
    );
    let flags = [
        "--on-error",
        "dead-letter",
        "--dead-letters",
        &store,
        "--breaker",
        "dead-letter",
        "--breaker-failures",
        "3",
    ];
    let contained = Contained::run("breaker", &[always], &flags).await;
    contained.is_contained();
    assert_eq!(
        contained.ended.failures().len(),
        3,
        "{}",
        contained.ended.stderr
    );
    assert_eq!(contained.ended.counted("dead-lettered"), DOCUMENTS as u64);
}
