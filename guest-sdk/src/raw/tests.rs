//! Walks, writers and validation against the `bson` crate.

use super::*;
use bson::{Bson, RawDocumentBuf, doc, oid::ObjectId};
use proptest::prelude::*;

fn every_kind() -> Vec<u8> {
    let document = doc! {
        "double": 1.5, "string": "naïve 🙂", "document": {"a": {"b": [1, "two"]}}, "array": [1, {"x": 2}],
        "binary": Bson::Binary(bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes: vec![1, 2, 3] }),
        "oid": ObjectId::from_bytes([7; 12]), "bool": true, "date": bson::DateTime::from_millis(-5),
        "null": Bson::Null, "regex": Bson::RegularExpression(bson::Regex { pattern: "a".try_into().unwrap(), options: "i".try_into().unwrap() }),
        "code": Bson::JavaScriptCode("f()".into()), "symbol": Bson::Symbol("s".into()),
        "scoped": Bson::JavaScriptCodeWithScope(bson::JavaScriptCodeWithScope { code: "g".into(), scope: doc! {"y": 1} }),
        "int32": -3, "timestamp": bson::Timestamp { time: 9, increment: 4 }, "int64": 1_i64 << 40,
        "decimal": Bson::Decimal128("1.5".parse().unwrap()), "min": Bson::MinKey, "max": Bson::MaxKey,
    };
    RawDocumentBuf::try_from(&document).unwrap().into_bytes()
}

#[test]
fn walks_every_kind() {
    let bytes = every_kind();
    validate(&bytes).unwrap();
    let get = |key: &str| Walk::find(&bytes, key).unwrap().unwrap();
    assert_eq!(Walk::new(&bytes).unwrap().count(), 19);
    assert_eq!(get("double").double(), Some(1.5));
    assert_eq!(get("string").text(), Some("naïve 🙂"));
    assert_eq!(get("int32").int64(), Some(-3));
    assert_eq!(get("int64").int64(), Some(1 << 40));
    assert_eq!(get("timestamp").timestamp(), Some((9, 4)));
    assert_eq!(get("date").date_ms(), Some(-5));
    assert_eq!(get("bool").bool(), Some(true));
    assert_eq!(get("max").kind, kind::MAX_KEY);
    let nested = get("document").document().unwrap();
    assert!(
        Walk::find(nested, "a")
            .unwrap()
            .unwrap()
            .document()
            .is_some()
    );
    assert!(Walk::find(&bytes, "absent").unwrap().is_none());
}

#[test]
fn writes_what_it_walks() {
    let bytes = every_kind();
    let mut copy = vec![0xAA];
    let mut writer = Writer::new(&mut copy);
    for element in Walk::new(&bytes).unwrap() {
        let element = element.unwrap();
        writer.raw(element.key, element.kind, element.value);
    }
    writer.finish();
    assert_eq!(&copy[1..], bytes);
}

#[test]
fn nests() {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes);
    writer.begin(b"a", kind::DOCUMENT);
    writer.begin(b"list", kind::ARRAY);
    writer.text(b"0", "x");
    writer.display(b"1", 12);
    writer.end();
    writer.end();
    writer.bool(b"last", false);
    writer.finish();
    let document = RawDocumentBuf::from_bytes(bytes).unwrap();
    assert_eq!(
        bson::Document::try_from(document).unwrap(),
        doc! {"a": {"list": ["x", "12"]}, "last": false}
    );
}

#[test]
fn a_value_cannot_contain_the_end_byte() {
    // {a: int32}, one byte short: the document's end byte would be the integer's last.
    let bytes = [11, 0, 0, 0, kind::INT32, b'a', 0, 1, 2, 3, 0];
    assert_eq!(
        Walk::new(&bytes).unwrap().last(),
        Some(Err(Malformed { at: 4 }))
    );
    assert!(validate(&bytes).is_err());
}

#[test]
fn finding_is_walking() {
    let bytes = every_kind();
    for element in Walk::new(&bytes).unwrap().flatten() {
        let key = element.key_text().unwrap();
        assert_eq!(Walk::find(&bytes, key), Ok(Some(element)), "{key}");
        for other in ["x", "document of another name", "\0"] {
            assert_eq!(Walk::find(&bytes, &format!("{key}{other}")), Ok(None));
        }
        assert_eq!(Walk::find(&bytes, &key[..key.len() - 1]), Ok(None));
    }
    // {a: "b"}: a key with a zero byte in it is not `a` and what follows.
    let bytes = RawDocumentBuf::try_from(&doc! {"a": "b"})
        .unwrap()
        .into_bytes();
    assert_eq!(Walk::find(&bytes, "a\0\u{2}"), Ok(None));
    for at in 4..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] = 0xFF;
        let walked = Walk::new(&damaged).and_then(|walk| walk.collect::<Result<Vec<_>, _>>());
        assert_eq!(
            Walk::find(&damaged, "z").is_err(),
            walked.is_err(),
            "byte {at}"
        );
    }
}

#[test]
fn keys_end_at_their_first_zero_byte() {
    for len in 0..40 {
        let mut bytes = vec![0x01; len];
        bytes.push(0);
        for after in 0..12 {
            bytes.resize(len + 1 + after, if after % 2 == 0 { 0x80 } else { 0 });
            assert_eq!(end_of_key(&bytes), Some(len), "{len} bytes, {after} after");
        }
        assert_eq!(end_of_key(&bytes[..len]), None);
    }
}

#[test]
fn every_truncation_is_malformed() {
    let bytes = every_kind();
    for len in 0..bytes.len() {
        assert!(validate(&bytes[..len]).is_err(), "{len} bytes");
    }
}

proptest! {
    /// Any change of any byte either leaves a document that the `bson` crate reads too, or is refused.
    #[test]
    fn agrees_with_the_bson_crate_on_damaged_documents(at in 0usize..400, byte: u8) {
        let mut bytes = every_kind();
        let at = at % bytes.len();
        bytes[at] = byte;
        if validate(&bytes).is_ok() {
            let raw = RawDocumentBuf::from_bytes(bytes.clone()).unwrap();
            for element in raw.iter_elements() {
                prop_assert!(element.is_ok());
            }
        }
    }

    #[test]
    fn rubbish_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = validate(&bytes);
        if let Ok(walk) = Walk::new(&bytes) {
            for element in walk.flatten() {
                let _ = (element.text(), element.int64(), element.double(), element.bool(), element.timestamp());
            }
        }
    }
}
