//! What a module makes of recorded ops.

use bson::doc;
use oplet_testkit::{Oplet, wat};
use serde_json::json;

use super::{Folder, op, raw};
use crate::modules::{Ended, Handwritten};

#[tokio::test]
async fn outputs_are_printed_and_all_else_is_told() {
    let folder = Folder::new();
    folder.inserts(
        "ops.jsonl",
        &[
            "",
            r#""retry": true"#,
            r#""reject": true"#,
            r#""later": 1500"#,
            r#""panic": true"#,
            "",
        ],
    );
    let ended = folder
        .replay(&["faulty.wasm", "ops.jsonl"])
        .await
        .with_code(1);
    let ids = [
        json!({"_id": 1, "opId": "1:1:0"}),
        json!({"_id": 6, "opId": "1:6:0"}),
    ];
    assert_eq!(ended.documents(), ids);
    ended.says(&[
        "op 2 (1:2:0 insert shop.orders 2) asks for another try: told to retry",
        "op 3 (1:3:0 insert shop.orders 3) rejected: told to reject",
        "op 4 (1:4:0 insert shop.orders 4) asks for another try after 1s 500ms",
        "op 5 (1:5:0 insert shop.orders 5) failed in `handle` (trap): ",
        "told to panic by 1:5:0",
        "    at ",
        "ops: 6 read, 6 kept, 2 handled, 2 emitted, 1 failed, 1 rejected, 2 left for another try",
        "time: ",
        "memory: ",
        "error: the module failed on an op",
    ]);
    assert!(!ended.stderr.contains("op 1 "), "{}", ended.stderr);
}

#[tokio::test]
async fn answers_that_are_no_failures_are_no_failure() {
    let folder = Folder::new();
    folder.inserts("ops.jsonl", &[r#""reject": true"#, r#""retry": true"#]);
    let ended = folder
        .replay(&["faulty.wasm", "ops.jsonl", "--attempts", "3"])
        .await;
    let ended = ended.with_code(0);
    ended.says(&["op 2 (1:2:0 insert shop.orders 2) asks for another try: told to retry at try 3"]);
    let quiet = folder
        .replay(&["faulty.wasm", "ops.jsonl", "-q"])
        .await
        .with_code(0);
    assert_eq!(quiet.stderr, "");
    let all = folder
        .replay(&["echo.wasm", "ops.jsonl", "-v"])
        .await
        .with_code(0);
    all.says(&[
        "op 1 (1:1:0 insert shop.orders 1) handled, 1 emitted",
        "op 2 ",
    ]);
}

#[tokio::test]
async fn bson_is_json() {
    let folder = Folder::new();
    let ops = [
        op(1, doc! {"n": 7_i64}),
        op(2, doc! {"at": bson::DateTime::from_millis(5)}),
    ];
    folder.write("ops.bson", ops.iter().flat_map(raw).collect::<Vec<_>>());
    let canonical = ["--format", "canonical"];
    let of_bson = folder
        .replay(&[&["echo.wasm", "ops.bson"], &canonical[..]].concat())
        .await;
    let of_bson = of_bson.with_code(0).stdout;
    assert_eq!(of_bson.len(), 2);
    // What it prints, with all types, is a recording again.
    folder.write("ops.jsonl", of_bson.join("\n"));
    let of_json = folder
        .replay(&[&["echo.wasm", "ops.jsonl"], &canonical[..]].concat())
        .await;
    assert_eq!(of_json.with_code(0).stdout, of_bson);
    let some = folder
        .replay(&["echo.wasm", "ops.bson", "--watch", "shop.customers"])
        .await;
    let some = some.with_code(0);
    assert_eq!(some.counted("read"), 0);
    let some = folder
        .replay(&["echo.wasm", "ops.bson", "--watch", "shop"])
        .await;
    assert_eq!(some.with_code(0).counted("read"), 2);
}

#[tokio::test]
async fn ops_come_through_a_pipe() {
    let folder = Folder::new();
    folder.inserts("ops.jsonl", &["", "", ""]);
    let line = format!(
        "cat ops.jsonl | {} replay echo.wasm - --module-cache {}/modules",
        env!("CARGO_BIN_EXE_oplet"),
        env!("CARGO_TARGET_TMPDIR")
    );
    let shell = Oplet::new("/bin/sh")
        .in_folder(folder.0.path())
        .args(["-c", &line]);
    assert_eq!(Ended::of(shell).await.with_code(0).documents().len(), 3);
}

#[tokio::test]
async fn a_pending_update_is_replayed_as_one_whose_document_is_gone() {
    let folder = Folder::new();
    let mut pending = op(7, doc! {});
    pending.insert("operation", "u");
    pending.remove("data");
    pending.insert("updateDescription", doc! {"updatedFields": {"n": 1}});
    pending.insert("pending", true);
    folder.write(
        "ops.jsonl",
        serde_json::to_string(&bson::Bson::from(pending).into_canonical_extjson()).unwrap(),
    );
    let echo = folder
        .replay(&["echo.wasm", "ops.jsonl"])
        .await
        .with_code(0);
    let [op] = &echo.documents()[..] else {
        panic!("one op: {:?}", echo.stdout);
    };
    assert_eq!(op.get("pending"), None);
    assert_eq!(op["updateDescription"]["updatedFields"], json!({"n": 1}));
    echo.says(&["1 without document"]);
    // A filter that asks for the document is asked again, without it.
    let asks = Handwritten::new("asks").filter(&format!(
        "(if (result i32) (call $field (local.get $op) {}) (then (i32.const 2)) (else (i32.const 1)))",
        Handwritten::name("pending")
    ));
    folder.write("asks.wasm", wat(&asks.text()).unwrap());
    let asked = folder
        .replay(&["asks.wasm", "ops.jsonl"])
        .await
        .with_code(0);
    assert_eq!(
        asked.documents(),
        [json!({"_id": 7, "n": -1, "by": "asks"})]
    );
}

#[tokio::test]
async fn sinks_counters_and_what_was_gathered() {
    let folder = Folder::new();
    // Counts ops, emits each to the sink `audit`, and how many there were when it is flushed.
    let module = Handwritten::new("m")
        .import("sink", "(param i32 i32) (result i32)")
        .import("count", "(param i32 i32 i64)")
        .with(
            r#"(data (i32.const 2048) "audit") (data (i32.const 2064) "seen")
            (data (i32.const 2080) "\0c\00\00\00\10n\00\00\00\00\00\00")
            (global $seen (mut i32) (i32.const 0))
            (func (export "oplet_flush") (result i32)
                (i32.store (i32.const 2087) (global.get $seen))
                (global.set $seen (i32.const 0))
                (call $emit (i32.const 0) (i32.const 2080) (i32.const 12)))"#,
        )
        .handle(
            "(global.set $seen (i32.add (global.get $seen) (i32.const 1)))
            (call $count (i32.const 2064) (i32.const 4) (i64.const 2))
            (call $emit (call $sink (i32.const 2048) (i32.const 5)) (call $data (local.get $op))
                (i32.load (call $data (local.get $op))))",
        );
    folder.write("m.wasm", wat(&module.text()).unwrap());
    folder.inserts("ops.jsonl", &["", "", ""]);
    let audit = |id| json!({"sink": "audit", "document": {"_id": id}});
    let sinks = ["m.wasm", "ops.jsonl", "--sink", "main", "--sink", "audit"];
    let once = folder.replay(&sinks).await.with_code(0);
    assert_eq!(
        once.documents(),
        [audit(1), audit(2), audit(3), json!({"n": 3})]
    );
    once.says(&["counters: seen 6", "4 emitted"]);
    let often = folder
        .replay(&[&sinks[..], &["--flush-every", "2"]].concat())
        .await;
    let expected = [
        audit(1),
        audit(2),
        json!({"n": 2}),
        audit(3),
        json!({"n": 1}),
    ];
    assert_eq!(often.with_code(0).documents(), expected);

    // A run's own file names the sinks as well, and what the module is configured with.
    folder.write(
        "oplet.toml",
        "[[module]]\npath = 'other.wasm'\nname = 'm'\n[[sink]]\nurl = 'stdout'\n[[sink]]\nname = 'audit'\nurl = 'file:audit.jsonl'\n",
    );
    let of_file = folder
        .replay(&["m.wasm", "ops.jsonl", "--config", "oplet.toml"])
        .await;
    assert_eq!(of_file.with_code(0).documents().len(), 4);
    assert!(!folder.path("audit.jsonl").exists());
}

#[tokio::test]
async fn a_configuration_can_be_given() {
    let folder = Folder::new();
    folder.inserts("ops.jsonl", &[""]);
    let flag = r#"refuse="not like this""#;
    let refused = folder
        .replay(&["faulty.wasm", "ops.jsonl", "--set", flag])
        .await;
    refused.is_refused(&["the module `faulty` cannot be started", "not like this"]);
    folder.write(
        "oplet.toml",
        "[[module]]\npath = 'nowhere.wasm'\nname = 'live'\nconfig = { refuse = 'nor like that' }\n",
    );
    let of_file = ["faulty.wasm", "ops.jsonl", "--config", "oplet.toml"];
    let refused = folder
        .replay(&[&of_file[..], &["--name", "live"]].concat())
        .await;
    refused.is_refused(&["nor like that"]);
    let refused = folder.replay(&of_file).await;
    refused.is_refused(&["oplet.toml has no module `faulty`", "`--name`"]);
}
