//! Recordings of either form, however they come, and what is wrong with them.

use std::io::Cursor;

use bson::{Document, RawDocumentBuf, doc};
use proptest::prelude::*;

use super::*;
use crate::op::{Format, write_json};

fn op(number: u32) -> Document {
    doc! {
        "operation": "i", "namespace": "shop.orders", "opId": format!("{number}:1:0"),
        "timestamp": bson::Timestamp { time: number, increment: 1 }, "source": "oplog",
        "_id": i64::from(number), "data": {"_id": i64::from(number), "text": "ü".repeat(number as usize)},
    }
}

fn raw(document: &Document) -> Vec<u8> {
    RawDocumentBuf::try_from(document).unwrap().into_bytes()
}

fn bson_of(ops: &[Document]) -> Vec<u8> {
    ops.iter().flat_map(raw).collect()
}

fn json_of(ops: &[Document]) -> Vec<u8> {
    let mut text = String::new();
    for op in ops {
        write_json(&raw(op), Format::Canonical, &mut text).unwrap();
        text.push('\n');
    }
    text.into_bytes()
}

/// A file that comes by so many bytes at a time.
struct Dripping(Cursor<Vec<u8>>, usize);

impl Read for Dripping {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let len = buffer.len().min(self.1);
        self.0.read(&mut buffer[..len])
    }
}

/// All that a recording gives, and the fault that it ends with.
fn read(bytes: impl Into<Vec<u8>>, drip: usize) -> (Vec<Document>, Option<String>) {
    let input = Dripping(Cursor::new(bytes.into()), drip);
    let mut recording = Recording::new("ops", input);
    let mut found = Vec::new();
    loop {
        match recording.next() {
            Ok(Some(chunk)) => {
                assert!(!chunk.is_empty());
                let documents = chunk.documents();
                found.extend(documents.map(|(bytes, _)| {
                    let document = RawDocumentBuf::from_bytes(bytes.to_vec()).unwrap();
                    Document::try_from(document).unwrap()
                }));
            }
            Ok(None) => return (found, None),
            Err(error) => {
                let cause = std::error::Error::source(&error);
                let cause = cause.map_or(String::new(), |cause| format!(": {cause}"));
                return (found, Some(format!("{error}{cause}")));
            }
        }
    }
}

proptest! {
    #[test]
    fn what_was_written_is_read_however_it_comes(count in 1_u32..20, drip in 1_usize..300) {
        let ops: Vec<Document> = (1..=count).map(op).collect();
        prop_assert_eq!(read(bson_of(&ops), drip), (ops.clone(), None));
        prop_assert_eq!(read(json_of(&ops), drip), (ops, None));
    }

    #[test]
    fn a_cut_recording_gives_what_is_whole(cut in 0_usize..2_000, drip in 1_usize..300) {
        let ops: Vec<Document> = (1..=8).map(op).collect();
        let bytes = bson_of(&ops);
        let bytes = &bytes[..cut.min(bytes.len())];
        let mut end = 0;
        let whole = ops.iter().take_while(|op| { end += raw(op).len(); end <= bytes.len() });
        let whole: Vec<Document> = whole.cloned().collect();
        let (found, fault) = read(bytes, drip);
        prop_assert_eq!(bytes.len() == bson_of(&whole).len(), fault.is_none() || bytes.is_empty());
        prop_assert_eq!(found, whole);
    }

    #[test]
    fn no_bytes_are_too_much(bytes in prop::collection::vec(any::<u8>(), 0..200), drip in 1_usize..50) {
        let (found, fault) = read(bytes, drip);
        prop_assert!(found.is_empty() && fault.is_some());
    }
}

#[test]
fn lines_may_be_blank_and_the_last_one_open() {
    let json = String::from_utf8(json_of(&[op(1), op(2)])).unwrap();
    let text = format!(
        "\u{FEFF}\n  {}\r\n\n",
        json.trim_end().replace('\n', "\r\n\t\n")
    );
    assert_eq!(read(text, 7), (vec![op(1), op(2)], None));
    assert_eq!(read(json.trim_end(), 7), (vec![op(1), op(2)], None));
    let relaxed = r#"{"operation":"i","namespace":"a.b","data":{"_id":1,"n":1.5}}"#;
    let (found, _) = read(format!("\n{relaxed}\n{relaxed}"), 100);
    let ids = found.iter().map(|op| op.get_str("opId").unwrap());
    // By their number among the ops, not by their line.
    assert_eq!(ids.collect::<Vec<_>>(), ["1:1:0", "1:2:0"]);
}

#[test]
fn faults_name_their_place_behind_what_was_whole() {
    let check = |bytes: Vec<u8>, whole: usize, fault: &str| {
        for drip in [1, 50, 10_000] {
            let (found, said) = read(bytes.clone(), drip);
            assert_eq!((found.len(), said.as_deref()), (whole, Some(fault)));
        }
    };
    let first = raw(&op(1)).len();
    let bson = bson_of(&[op(1), op(2)]);
    let at = format!("ops, document 2, at byte {first}");
    check(
        bson[..bson.len() - 1].to_vec(),
        1,
        &format!("{at}: the recording ends in the middle of this document"),
    );
    let mut lying = bson.clone();
    lying[first..first + 4].copy_from_slice(&i32::MAX.to_le_bytes());
    check(
        lying,
        1,
        &format!("{at}: not BSON: not valid BSON at byte 0"),
    );
    let mut broken = bson.clone();
    broken[first + 4] = 0x55;
    check(
        broken,
        1,
        &format!("{at}: not BSON: not valid BSON at byte 4"),
    );

    let json = String::from_utf8(json_of(&[op(1)])).unwrap();
    let with = |line: &str| format!("{json}\n{line}\n{json}").into_bytes();
    check(
        with(r#"{"operation": "i", "#),
        1,
        "ops:3: not a document in Extended JSON: the line ends in the middle of the document; each line is a whole one",
    );
    check(
        with(r#"{"operation" "i"}"#),
        1,
        "ops:3: not a document in Extended JSON: expected `:` at line 1 column 14",
    );
    check(
        with("[1]"),
        1,
        "ops:3: not a document in Extended JSON: an array; each line is a document",
    );
    check(
        with(r#"{"operation": "i"}"#),
        1,
        "ops:3: not an op: the field `namespace` is missing",
    );
    check(b" \n\n".to_vec(), 0, "ops holds no op");
    check(Vec::new(), 0, "ops holds no op");
    check(b"\x1f\x8b\x08\0 and more".to_vec(), 0, "ops is compressed");
}

#[test]
fn entries_and_ops_do_not_mix() {
    let timestamp = bson::Timestamp {
        time: 9,
        increment: 2,
    };
    let entry = doc! {"op": "n", "ns": "", "o": {}, "ts": timestamp};
    let mut recording =
        Recording::new("ops", Cursor::new(bson_of(&[entry.clone(), entry.clone()])));
    let chunk = recording.next().unwrap().unwrap();
    assert_eq!((chunk.content(), chunk.len()), (Content::OplogEntries, 2));
    let (_, fault) = read(bson_of(&[entry.clone(), op(1)]), 1_000);
    assert!(
        fault
            .unwrap()
            .ends_with("the first document is an oplog entry")
    );
    let (_, fault) = read(bson_of(&[op(1), entry]), 1_000);
    assert!(fault.unwrap().ends_with("the first document is an op"));
}
