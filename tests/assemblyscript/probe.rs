//! What only AssemblyScript has: strings of UTF-16, a library that wants a browser, errors that end the call.

use bson::{Bson, Document, RawDocumentBuf, doc, oid::ObjectId};
use oplet::guest::{Class, GuestError, Outcome};
use oplet_sdk::testing;

use super::{Answer, Stage};

fn told(data: Document) -> Result<Answer, GuestError> {
    let op = testing::insert("probe.things", data).to_bytes();
    Stage::new("probe_assemblyscript").op(&op, false)
}

#[track_caller]
fn document(data: Document) -> Document {
    let answer = told(data).unwrap();
    assert_eq!(answer.outcome, Some(Outcome::Done));
    answer.documents().remove(0)
}

#[test]
fn halves_of_surrogate_pairs_become_replacement_characters() {
    let expected = doc! {
        "units": 2,
        "whole": "🦀",
        "high": "\u{FFFD}",
        "low": "\u{FFFD}",
        "swapped": "\u{FFFD}\u{FFFD}",
        "between": "a\u{FFFD}b\u{FFFD}c",
        "joined": "🦀",
        "key \u{FFFD}": 1,
        "found": true,
    };
    assert_eq!(document(doc! {"do": "halves", "text": "🦀"}), expected);
}

#[test]
fn text_that_is_not_utf_8_is_no_text() {
    let op = testing::insert(
        "probe.things",
        doc! {"do": "bytes", "text": {"text": "????"}},
    )
    .to_bytes();
    let at = op.windows(4).position(|window| window == b"????").unwrap();
    // Stray bytes, overlong forms, a surrogate, too large a number, characters that are cut off.
    let wrong: [&[u8; 4]; 8] = [
        b"ab\x80d",
        b"\xC0\xAFcd",
        b"\xE0\x80\xAFd",
        b"a\xED\xA0\x80",
        b"\xF4\x90\x80\x80",
        b"abc\xC3",
        b"a\xF0\x9F\xA6",
        b"\xFFbcd",
    ];
    let mut stage = Stage::new("probe_assemblyscript");
    for text in wrong {
        let mut op = op.clone();
        op[at..at + 4].copy_from_slice(text);
        let answer = stage.op(&op, false).unwrap();
        let expected = doc! {"text": Bson::Null, "has": true, "keys": ["text"]};
        assert_eq!(answer.documents(), [expected], "{text:x?}");
    }
    let mut op = op.clone();
    op[at..at + 4].copy_from_slice("🦀".as_bytes());
    let answer = stage.op(&op, false).unwrap();
    assert_eq!(answer.documents()[0].get_str("text").unwrap(), "🦀");
}

#[test]
fn malformed_bytes_end_the_search_and_nothing_else() {
    let whole = testing::insert(
        "probe.things",
        doc! {"name": "Zoë", "do_": [1, {"a": "b"}], "total": 2.5},
    )
    .to_bytes();
    let mut stage = Stage::new("probe_assemblyscript");
    let mut refused = 0;
    for at in 0..whole.len() {
        for byte in [0, 1, 2, 5, 0x7f, 0x80, 0xff] {
            let mut op = whole.clone();
            op[at] = byte;
            // Whatever it makes of that, it reads nothing outside: the host would have ended it with another failure.
            if let Err(failed) = stage.op(&op, false) {
                let message = failed.to_string();
                assert!(
                    message.contains("handed over no op"),
                    "byte {byte} at {at}: {message}"
                );
                refused += 1;
                stage = Stage::new("probe_assemblyscript");
            }
        }
    }
    assert!(refused > 0);
}

#[test]
fn every_type_can_be_made() {
    let id = |last| {
        let mut bytes = [0; 12];
        bytes[11] = last;
        ObjectId::from_bytes(bytes)
    };
    let binary = |subtype: u8, bytes: &[u8]| {
        Bson::from(bson::Binary {
            subtype: subtype.into(),
            bytes: bytes.to_vec(),
        })
    };
    let made = document(doc! {"do": "values"});
    let expected = doc! {
        "string": "grüße 🦀",
        "bool": true,
        "u8": 255,
        "i32": -5,
        "u32": 4_000_000_000_i64,
        "i64": i64::MIN,
        "f32": 0.5,
        "f64": 1.25,
        "null": Bson::Null,
        "none": Bson::Null,
        "undefined": Bson::Undefined,
        "minKey": Bson::MinKey,
        "maxKey": Bson::MaxKey,
        "strings": ["a", "ü"],
        "nested": [[1, 2], [3]],
        "bytes": binary(0, &[0, 0, 255]),
        "uuid": binary(4, &[0; 16]),
        "old": binary(2, &[0, 0, 255]),
        "objectId": ObjectId::parse_str("6553f1000000000000000001").unwrap(),
        "noObjectId": Bson::Null,
        "date": bson::DateTime::from_millis(-1),
        "dateText": "2024-01-31T23:59:59.999Z",
        "dateFar": i64::MAX.to_string(),
        "timestamp": bson::Timestamp { time: 4_000_000_000, increment: 7 },
        "regex": bson::Regex { pattern: "^a.*ü$".try_into().unwrap(), options: "im".try_into().unwrap() },
        "code": Bson::JavaScriptCode("f()".into()),
        "codeWithScope": bson::JavaScriptCodeWithScope { code: "f(x)".into(), scope: doc! {"x": 1} },
        "symbol": Bson::Symbol("ß".into()),
    };
    let mut rest = made.clone();
    for (key, value) in &expected {
        assert_eq!(rest.remove(key).as_ref(), Some(value), "{key}");
    }
    assert!(matches!(rest.remove("dbPointer"), Some(Bson::DbPointer(_))));
    let decimal = Bson::Decimal128("-12.50".parse().unwrap());
    let last = doc! {"decimal": decimal, "same": true, "empty": {}, "more": 1, "andMore": 2};
    assert_eq!(rest, last);
    assert_eq!(
        id(7),
        ObjectId::parse_str("000000000000000000000007").unwrap()
    );
    RawDocumentBuf::try_from(&made).unwrap();
}

#[test]
fn what_ends_a_call_names_the_authors_line() {
    let source = include_str!("../guests/probe-assemblyscript/assembly/index.ts");
    let line = |text: &str| 1 + source.lines().position(|line| line.contains(text)).unwrap();
    for (data, message, at) in [
        (doc! {"do": "throw"}, "told to throw 🦀", "told to throw"),
        (doc! {"do": "zero"}, "a zero byte", ""),
        (doc! {"do": "flood"}, "over the limit", ""),
        (doc! {"do": "index", "at": 5}, "Index out of range", ""),
    ] {
        let failed = told(data.clone()).unwrap_err();
        assert_eq!(failed.class, Class::Trap);
        let text = format!("{failed:?}");
        assert!(text.contains(message), "{data}: {text}");
        if !at.is_empty() {
            let place = format!("assembly/index.ts:{}:", line(at));
            assert!(text.contains(&place), "{place} in {text}");
        }
        // Names survive the release build.
        assert!(text.contains("assembly/index/handle"), "{text}");
    }
}

#[test]
fn memory_that_is_asked_for_in_vain_is_told_as_such() {
    let failed = told(doc! {"do": "grow"}).unwrap_err();
    assert_eq!(failed.class, Class::MemoryLimit, "{failed:?}");
}

#[test]
fn the_library_needs_no_browser() {
    let answer = document(doc! {"do": "console"});
    assert_eq!(answer, doc! {"random": true, "now": true});
}

#[test]
fn a_filter_that_compares_text_is_asked_again() {
    let mut stage = Stage::new("probe_assemblyscript");
    let update = testing::update("probe.things", doc! {"status": "unwanted"}).pending();
    let first = stage.op(&update.to_pending_bytes(), true).unwrap();
    assert_eq!(first.verdict, oplet::guest::Verdict::AskAgain);
    let again = stage.op(&update.to_bytes(), false).unwrap();
    assert_eq!(again.verdict, oplet::guest::Verdict::Drop);
}
