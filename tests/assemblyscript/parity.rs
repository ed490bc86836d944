//! The same handler in Rust and in AssemblyScript gives the same outputs on the same ops, byte by byte.

use bson::{
    Binary, Bson, DbPointer, Document, RawDocumentBuf, Timestamp, doc, oid::ObjectId,
    spec::BinarySubtype,
};
use oplet::guest::{Class, Limits, Outcome, Verdict};
use oplet_sdk::testing::{self, TestOp};
use oplet_testkit::history;

use super::{Answer, Stage, bytes};

/// Both, in the same order everywhere.
pub(super) const TWINS: [&str; 2] = ["guest_parity", "parity_assemblyscript"];

fn twins() -> [Stage; 2] {
    let config = Some(doc! {"prefix": "ß🦀/"});
    TWINS.map(|name| Stage::with(name, Limits::default(), config.clone()).unwrap())
}

/// Hands the op to both, first as their filters see it, and gives what both made of it.
#[track_caller]
fn check(twins: &mut [Stage; 2], op: &TestOp) -> Answer {
    let first = op.to_pending_bytes();
    let whole = op.to_bytes();
    let [rust, assemblyscript] = twins.each_mut().map(|stage| {
        let answer = stage.op(&first, op.is_pending()).unwrap();
        match answer.verdict {
            Verdict::AskAgain => stage.op(&whole, false).unwrap(),
            _ => answer,
        }
    });
    same(&rust, &assemblyscript, op);
    rust
}

#[track_caller]
fn same(rust: &Answer, assemblyscript: &Answer, op: &TestOp) {
    if rust == assemblyscript {
        return;
    }
    for (left, right) in rust.documents().iter().zip(assemblyscript.documents()) {
        if let Some(difference) = difference("", &left.into(), &right.into()) {
            panic!("{difference}\non {op:?}");
        }
    }
    assert_eq!(rust, assemblyscript, "Rust on the left, on {op:?}");
}

/// The first place where two values differ, and how.
fn difference(path: &str, rust: &Bson, assemblyscript: &Bson) -> Option<String> {
    let pairs: Vec<(String, &Bson, &Bson)> = match (rust, assemblyscript) {
        (Bson::Document(left), Bson::Document(right)) if left.keys().eq(right.keys()) => {
            let pairs = left.iter().zip(right.values());
            pairs
                .map(|((key, left), right)| (key.clone(), left, right))
                .collect()
        }
        (Bson::Array(left), Bson::Array(right)) if left.len() == right.len() => {
            let pairs = left.iter().zip(right).enumerate();
            pairs
                .map(|(at, (left, right))| (at.to_string(), left, right))
                .collect()
        }
        _ if rust == assemblyscript => return None,
        _ => {
            return Some(format!(
                "at `{path}`: {rust:?} in Rust, {assemblyscript:?} in AssemblyScript"
            ));
        }
    };
    let mut pairs = pairs.into_iter();
    pairs.find_map(|(key, left, right)| difference(&format!("{path}/{key}"), left, right))
}

/// A value of each type, and what is hard about some.
fn everything() -> Document {
    let binary = |subtype, length: u8| {
        Bson::from(Binary {
            subtype,
            bytes: (0..length).collect(),
        })
    };
    let decimals = [
        "0",
        "-0",
        "1",
        "-1.50",
        "12345678901234567890.12345678901234",
        "NaN",
        "Infinity",
        "-Infinity",
        "1E+3",
        "1E-7",
        "0.000001",
        "0E-10",
        "0E+5",
        "9999999999999999999999999999999999E+6111",
        "1E-6176",
        "-123.4E+20",
        "4294967296",
    ];
    let texts = [
        "",
        "a",
        "ä",
        "€",
        "🦀",
        "a\0b",
        "\u{FEFF}bom",
        "z\u{301}",
        "\u{10FFFF}",
        "\u{D7FF}\u{E000}",
    ];
    doc! {
        "string": "grüße 🦀",
        "texts": texts.to_vec(),
        "i32": i32::MIN,
        "i64": i64::MAX,
        "double": -0.1,
        "whole": 5e15,
        "doubles": [0.0, -0.0, f64::MAX, f64::MIN_POSITIVE, f64::INFINITY, 9.3e18, -9_223_372_036_854_775_808.0],
        "bool": false,
        "date": bson::DateTime::from_millis(-62_135_596_800_001),
        "dateFar": bson::DateTime::from_millis(i64::MIN),
        "null": Bson::Null,
        "undefined": Bson::Undefined,
        "minKey": Bson::MinKey,
        "maxKey": Bson::MaxKey,
        "objectId": ObjectId::from_bytes([0, 1, 2, 3, 4, 5, 6, 7, 0xf8, 0xf9, 0xfa, 0xff]),
        "timestamp": Timestamp { time: u32::MAX, increment: 1 },
        "binary": binary(BinarySubtype::Generic, 0),
        "uuid": binary(BinarySubtype::Uuid, 16),
        "old": binary(BinarySubtype::BinaryOld, 5),
        "own": binary(BinarySubtype::UserDefined(0x80), 200),
        "regex": bson::Regex { pattern: "^ü.*\\s".try_into().unwrap(), options: "im".try_into().unwrap() },
        "code": Bson::JavaScriptCode("f('🦀')".into()),
        "codeWithScope": bson::JavaScriptCodeWithScope { code: "f(x)".into(), scope: doc! {"x": {"y": [1]}} },
        "symbol": Bson::Symbol("ß".into()),
        "decimals": decimals.map(|text| Bson::Decimal128(text.parse().unwrap())).to_vec(),
        "written": decimals.map(|text| format!("decimal {text}")).to_vec(),
        "notWritten": ["decimal 1x", "decimal 1E", "decimal 1..2", "decimal 1E+99999"],
        "document": {"grüße": {"🦀": {"deep": true}}, "": {"": 1}, "a.b": 2, "empty": {}},
        "array": [{"x": 1}, {"x": {"y": "z"}}, [[], [[1]]], Bson::Null],
        "many": (0..12).collect::<Vec<i32>>(),
    }
}

fn db_pointer() -> RawDocumentBuf {
    // The crate can read such, but not make one.
    let mut document = vec![0; 4];
    document.extend(b"\x0Cpointer\0\x04\0\0\0a.b\0");
    document.extend([7; 12]);
    document.push(0);
    document[0] = document.len() as u8;
    RawDocumentBuf::from_bytes(document).unwrap()
}

#[test]
fn every_type_reads_and_writes_the_same() {
    let mut twins = twins();
    let answer = check(&mut twins, &testing::insert("parity.things", everything()));
    assert_eq!((answer.verdict, answer.outputs.len()), (Verdict::Keep, 5));
    assert_eq!(answer.counts, [("handled".to_owned(), 1)]);
    // And they are what they should be, not only the same.
    let documents = answer.documents();
    assert_eq!(documents[0].get_str("_id").unwrap(), "ß🦀/1700000000:1");
    assert_eq!(answer.outputs[2].0, 1, "the second sink");
    assert_eq!(answer.outputs[3].1.as_bytes(), bytes(&everything()));
    let pointer: Document = db_pointer().try_into().unwrap();
    assert!(matches!(
        pointer.get("pointer"),
        Some(Bson::DbPointer(DbPointer { .. }))
    ));
    check(&mut twins, &testing::insert("parity.things", pointer));
}

#[test]
fn every_op_looks_the_same() {
    let mut twins = twins();
    let txn = doc! {"lsid": {"id": Binary { subtype: BinarySubtype::Uuid, bytes: vec![1; 16] }}, "txnNumber": 7_i64, "index": 2};
    let updated = || {
        testing::update("parity.things", everything())
            .updated(doc! {"a.b": {"c": "🦀"}, "größe.🦀": 2, "list.0": 1})
            .removed(["fax", "ö"])
            .truncated("tags", 3)
    };
    let ops = [
        testing::insert("parity", doc! {"_id": "a name without a dot"}),
        testing::insert("parity.a.b.c", doc! {}),
        testing::insert("parity.grüße", doc! {"string": "grüße 🦀"}),
        updated(),
        updated().pending(),
        updated().pending().gone(),
        testing::update("parity.things", doc! {"string": 5}),
        testing::replace("parity.things", everything()),
        testing::delete("parity.things", doc! {"a": 1}),
        testing::delete("parity.things", "x").with("documentKey", doc! {"shard": 1, "_id": "x"}),
        testing::command("parity.things", doc! {"drop": "things"}),
        testing::insert("parity.things", everything())
            .wall_time(bson::DateTime::from_millis(1))
            .with("txn", txn)
            .with("cluster", "west")
            .before(everything())
            .source(oplet_sdk::Source::DirectRead)
            .timestamp(u32::MAX, u32::MAX)
            .with("of a later version", 1),
    ];
    for op in &ops {
        let answer = check(&mut twins, op);
        assert_eq!(answer.outcome, Some(Outcome::Done), "{op:?}");
    }
    let [rust, assemblyscript] = twins.each_mut().map(Stage::flush);
    assert_eq!(rust, assemblyscript);
    let flushed: Document = (&rust[0].1).try_into().unwrap();
    assert_eq!(flushed, doc! {"handled": ops.len() as i64});
}

#[test]
fn filters_and_outcomes_are_the_same() {
    let mut twins = twins();
    let data = |string: &str| doc! {"string": string};
    let unwanted = testing::insert("parity.things", data("not wanted"));
    assert_eq!(check(&mut twins, &unwanted).verdict, Verdict::Drop);
    let ignored = testing::insert("parity.ignored", data(""));
    assert_eq!(check(&mut twins, &ignored).verdict, Verdict::Drop);
    // The document decides, and it is there only when asked for.
    for (string, verdict) in [("wanted", Verdict::Keep), ("not wanted", Verdict::Drop)] {
        let pending = testing::update("parity.things", data(string)).pending();
        for stage in &mut twins {
            let first = stage.op(&pending.to_pending_bytes(), true).unwrap();
            assert_eq!(first.verdict, Verdict::AskAgain);
        }
        assert_eq!(check(&mut twins, &pending).verdict, verdict);
    }
    // By the envelope it is decided at once.
    let pending = testing::update("parity.ignored", data("")).pending();
    assert_eq!(check(&mut twins, &pending).verdict, Verdict::Drop);

    for answer in ["retry", "reject", "later"] {
        let op = testing::insert("parity.things", doc! {"answer": answer});
        let answer = check(&mut twins, &op);
        assert_ne!(answer.outcome, Some(Outcome::Done));
        assert_eq!(answer.outputs, []);
    }
}

#[test]
fn pipelines_are_the_same() {
    let [mut rust, mut assemblyscript] = twins();
    for namespace in ["parity.things", "parity.a.b", "parity.ü", "parity"] {
        for source in ["changeStream", "directRead"] {
            let stages = rust.instance.pipeline(namespace, source).unwrap();
            assert_eq!(
                assemblyscript.instance.pipeline(namespace, source).unwrap(),
                stages
            );
            let count = stages.map(|stages| stages.len());
            let expected = match (namespace, source) {
                ("parity", _) => None,
                (_, "directRead") => Some(0),
                _ => Some(2),
            };
            assert_eq!(count, expected, "{namespace}, {source}");
        }
    }
}

#[test]
fn configurations_are_refused_for_the_same_reason() {
    let [rust, assemblyscript] = TWINS.map(|name| {
        let config = doc! {"prefix": "a b"};
        let refused = Stage::with(name, Limits::default(), Some(config))
            .err()
            .unwrap();
        assert_eq!(refused.class, Class::Refused);
        refused.message.clone()
    });
    assert_eq!(rust, assemblyscript);
    assert_eq!(rust, "the prefix `a b` has a space");
}

#[test]
fn random_documents_read_and_write_the_same() {
    let mut twins = twins();
    let mut rng = fastrand::Rng::with_seed(history::seed());
    for number in 0..500 {
        let mut document = history::random_document(&mut rng);
        document.insert("_id", number);
        let op = match rng.usize(..4) {
            0 => testing::update("parity.things", document.clone())
                .updated(document)
                .pending(),
            1 => testing::replace("parity.things", document.clone()).before(document),
            _ => testing::insert("parity.things", document),
        };
        check(&mut twins, &op);
    }
}
