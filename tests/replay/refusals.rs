//! What is no recording, with its place and the way out.

use super::{Folder, op, raw};
use bson::doc;

#[tokio::test]
async fn what_cannot_be_read_is_refused() {
    let folder = Folder::new();
    folder.inserts("ops.jsonl", &[""]);
    let refused = async |arguments: &[&str], words: &[&str]| {
        folder.replay(arguments).await.is_refused(words);
    };
    refused(
        &["faulty.wasm", "none.bson"],
        &["cannot read the recording none.bson", "No such file"],
    )
    .await;
    refused(
        &["nowhere.wasm", "ops.jsonl"],
        &["cannot read the module nowhere.wasm"],
    )
    .await;
    refused(&["ops.jsonl", "ops.jsonl"], &["is refused"]).await;
    refused(&["faulty.wasm"], &["<OPS>"]).await;
    refused(&["faulty.wasm", "ops.jsonl", "--bless"], &["--expect"]).await;
}

#[tokio::test]
async fn a_broken_recording_is_told_by_its_place() {
    let folder = Folder::new();
    let whole = raw(&op(1, doc! {}));
    let cut = [&whole[..], &raw(&op(2, doc! {}))[..60]].concat();
    let json = r#"{"operation": "i", "namespace": "shop.orders", "data": {"_id": 1}}"#;
    let broken: [(&str, Vec<u8>, usize, &[&str]); 7] = [
        ("empty.bson", Vec::new(), 0, &["empty.bson holds no op"]),
        (
            "blank.jsonl",
            b" \n\n".to_vec(),
            0,
            &["blank.jsonl holds no op"],
        ),
        (
            "cut.bson",
            cut,
            1,
            &[
                "cut.bson, document 2, at byte ",
                "ends in the middle of this document",
                "hint: ",
            ],
        ),
        (
            "bad.jsonl",
            format!("{json}\n\n{{\"operation\": }}\n{json}").into_bytes(),
            1,
            &["bad.jsonl:3: not a document in Extended JSON: expected value"],
        ),
        (
            "field.jsonl",
            format!("{json}\n{}\n", json.replace("data", "document")).into_bytes(),
            1,
            &[
                "field.jsonl:2: not an op",
                "no op has a field `document`",
                "hint: an op is written",
            ],
        ),
        (
            "dump.bson.gz",
            b"\x1f\x8b\x08\0\0\0\0\0".to_vec(),
            0,
            &["dump.bson.gz is compressed", "gunzip -c"],
        ),
        (
            "text",
            b"hello, world\n".to_vec(),
            0,
            &["text:1: not a document in Extended JSON"],
        ),
    ];
    for (name, bytes, handled, words) in broken {
        folder.write(name, bytes);
        let ended = folder.replay(&["echo.wasm", name]).await.with_code(1);
        assert_eq!(ended.stdout.len(), handled, "{name}");
        ended.says(words);
    }
}
