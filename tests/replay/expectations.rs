//! Expectations: met, not met, written.

use super::Folder;

/// Replays against `expected.jsonl`.
async fn expect(folder: &Folder, more: &[&str]) -> crate::modules::Ended {
    let arguments = ["faulty.wasm", "ops.jsonl", "--expect", "expected.jsonl"];
    folder.replay(&[&arguments[..], more].concat()).await
}

#[tokio::test]
async fn what_was_written_is_met_until_something_changes() {
    let folder = Folder::new();
    folder.inserts("ops.jsonl", &["", r#""reject": true"#, ""]);
    expect(&folder, &[])
        .await
        .is_refused(&["cannot read the expectation expected.jsonl", "`--bless`"]);
    let blessed = expect(&folder, &["--bless"]).await.with_code(0);
    blessed.says(&["wrote 2 documents to expected.jsonl"]);
    assert_eq!(blessed.stdout, [""; 0]);
    assert_eq!(
        folder.read("expected.jsonl"),
        "{\"_id\":1,\"opId\":\"1:1:0\"}\n{\"_id\":3,\"opId\":\"1:3:0\"}\n"
    );
    let met = expect(&folder, &[]).await.with_code(0);
    assert_eq!(met.stdout, [""; 0]);
    met.says(&["as expected: 2 documents"]);
    // What a person writes is met, too.
    folder.write(
        "expected.jsonl",
        "\n{ \"_id\": 1, \"opId\": \"1:1:0\" }\r\n\n  {\"_id\": 3, \"opId\": \"1:3:0\"}",
    );
    expect(&folder, &[]).await.with_code(0);
    // It says so when the module fails, whatever was emitted.
    folder.inserts("ops.jsonl", &["", r#""panic": true"#, ""]);
    expect(&folder, &[])
        .await
        .with_code(1)
        .says(&["the module failed on an op"]);
}

#[tokio::test]
async fn a_difference_is_readable() {
    let folder = Folder::new();
    folder.inserts("ops.jsonl", &[""; 12]);
    let line = |id: i32| format!("{{\"_id\":{id},\"opId\":\"1:{id}:0\"}}\n");
    let mut expected: Vec<String> = (1..=12).map(line).collect();
    expected[2] = "{\"_id\":30,\"opId\":\"1:3:0\"}\n".into();
    expected.remove(8);
    expected.push("{\"opId\":\"1:13:0\"}\n".into());
    folder.write("expected.jsonl", expected.concat());
    let ended = expect(&folder, &[]).await.with_code(1);
    insta::assert_snapshot!("difference", ended.stdout.join("\n"));
    ended.says(&[
        "error: what was emitted is not as expected: 2 missing (-), 2 unexpected (+)",
        "hint: if it is right, `--bless` writes it to expected.jsonl",
    ]);
    // In colours, where they are asked for.
    let colored = expect(&folder, &["--color", "always"]).await.with_code(1);
    assert!(
        colored
            .stdout
            .iter()
            .any(|line| line.contains("\x1b[31m- "))
    );

    folder.write("expected.jsonl", "");
    let nothing = expect(&folder, &[]).await.with_code(1);
    assert_eq!(nothing.stdout.len(), 13);
}
