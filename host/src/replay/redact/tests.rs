//! What is to be left out is left out, and nothing else.

use bson::{Bson, Document, RawDocumentBuf, doc};
use oplet_sdk::raw;
use proptest::prelude::*;

use super::*;

fn bytes(document: &Document) -> Vec<u8> {
    RawDocumentBuf::try_from(document).unwrap().into_bytes()
}

fn redacted(fields: &[&str], op: &Document) -> Document {
    let mut out = Vec::new();
    let redaction = Redaction::new(fields).unwrap();
    redaction.write(&bytes(op), &mut out).unwrap();
    raw::validate(&out).unwrap();
    RawDocumentBuf::from_bytes(out).unwrap().try_into().unwrap()
}

#[test]
fn a_field_is_met_at_any_depth_and_in_each_part() {
    let op = doc! {
        "operation": "u", "namespace": "email", "_id": 7, "documentKey": {"email": "k", "_id": 7},
        "updateDescription": {
            "updatedFields": {"customer.email": "u", "items.0.email": "v", "name": "n", "list": [{"email": "w"}], "email.home": 3},
            "removedFields": ["email"], "truncatedArrays": [{"field": "email", "newSize": 1}],
        },
        "data": {"name": "n", "email": "a", "customer": {"email": ["b", "c"], "emails": "d"}, "items": [{"email": 4}, "e"]},
        "before": {"email": {"home": "f"}},
    };
    let expected = doc! {
        "operation": "u", "namespace": "email", "_id": 7, "documentKey": {"email": "***", "_id": 7},
        "updateDescription": {
            "updatedFields": {"customer.email": "***", "items.0.email": "***", "name": "n", "list": [{"email": "***"}], "email.home": 0},
            "removedFields": ["email"], "truncatedArrays": [{"field": "email", "newSize": 1}],
        },
        "data": {"name": "n", "email": "***", "customer": {"email": [], "emails": "d"}, "items": [{"email": 0}, "e"]},
        "before": {"email": {}},
    };
    assert_eq!(redacted(&["email"], &op), expected);
    assert_eq!(redacted(&[], &op), op);
    assert_eq!(redacted(&["nothing"], &op), op);
}

#[test]
fn a_dotted_field_is_met_where_its_names_follow_each_other() {
    let op = doc! {
        "updateDescription": {"updatedFields": {"a.b": 1, "a.1.b": 2, "x.a.b.c": 3, "b": 4, "a": {"b": 5, "c": 6}, "a.c": 7}},
        "data": {"a": {"b": "s"}, "b": "t", "x": {"a": [{"b": "u"}]}, "a.b": "v"},
    };
    let expected = doc! {
        "updateDescription": {"updatedFields": {"a.b": 0, "a.1.b": 0, "x.a.b.c": 0, "b": 4, "a": {"b": 0, "c": 6}, "a.c": 7}},
        "data": {"a": {"b": "***"}, "b": "t", "x": {"a": [{"b": "***"}]}, "a.b": "***"},
    };
    assert_eq!(redacted(&["a.b"], &op), expected);
    assert_eq!(redacted(&["a.0.b"], &op), expected);
    let id = doc! {"_id": {"mail": "m"}, "documentKey": {"_id": {"mail": "m"}}, "data": {"_id": {"mail": "m"}}};
    let expected = doc! {"_id": {"mail": "***"}, "documentKey": {"_id": {"mail": "***"}}, "data": {"_id": {"mail": "***"}}};
    assert_eq!(redacted(&["mail"], &id), expected);
    assert_eq!(redacted(&["_id.mail"], &id), expected);
}

#[test]
fn what_is_no_field_is_refused() {
    for text in ["", ".", "a.", ".a", "a..b", "0", "1.2"] {
        assert_eq!(Redaction::new([text]).err(), Some(FieldError), "{text}");
    }
}

/// One value of each type, none of whose bytes are those of a placeholder.
fn every_type() -> Vec<Bson> {
    let binary = |subtype, bytes: &[u8]| {
        Bson::Binary(bson::Binary {
            subtype: BinarySubtype::from(subtype),
            bytes: bytes.to_vec(),
        })
    };
    vec![
        Bson::Double(1.5e77),
        "secret-text".into(),
        doc! {"secret-key": "secret-value"}.into(),
        vec![Bson::from("secret-item")].into(),
        binary(0, b"secret-bytes"),
        binary(2, b"secret-bytes"),
        binary(4, b"secret-uuid-here"),
        binary(0x80, b"secret-bytes"),
        bson::oid::ObjectId::from_bytes(*b"secret-objid").into(),
        true.into(),
        bson::DateTime::from_millis(0x7365_6372_6574).into(),
        Bson::RegularExpression(bson::Regex {
            pattern: "secret-pattern".try_into().unwrap(),
            options: "i".try_into().unwrap(),
        }),
        Bson::JavaScriptCode("secret-code".into()),
        Bson::Symbol("secret-symbol".into()),
        Bson::JavaScriptCodeWithScope(bson::JavaScriptCodeWithScope {
            code: "secret-code".into(),
            scope: doc! {"secret": 1},
        }),
        Bson::Int32(0x7365_6372),
        Bson::Timestamp(bson::Timestamp {
            time: 0x7365_6372,
            increment: 0x6574_7365,
        }),
        Bson::Int64(0x7365_6372_6574_7365),
        Bson::Decimal128("7365637265747365637265".parse().unwrap()),
    ]
}

#[test]
fn every_type_keeps_its_type_and_loses_its_value() {
    for value in every_type() {
        let op = doc! {"data": {"field": value.clone()}};
        let left = redacted(&["field"], &op);
        let left = left.get_document("data").unwrap().get("field").unwrap();
        assert_eq!(left.element_type(), value.element_type());
        assert_ne!(*left, value);
        // What is left can be printed, and read again.
        let json = left.clone().into_canonical_extjson();
        assert_eq!(Bson::try_from(json).unwrap(), *left, "{left}");
    }
}

fn names() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "a", "b", "c", "secret", "0", "a.b", "b.secret", "secret.c",
    ])
    .prop_map(str::to_owned)
}

/// Values, with a mark in those that lie under a field that is called so.
fn values() -> impl Strategy<Value = Bson> {
    let leaf = prop_oneof![
        any::<i32>().prop_map(Bson::Int32),
        any::<bool>().prop_map(Bson::Boolean),
        "[x-z]{0,8}".prop_map(Bson::String),
        Just(Bson::Null),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Bson::Array),
            documents(inner).prop_map(Bson::Document),
        ]
    })
}

fn documents(inner: impl Strategy<Value = Bson>) -> impl Strategy<Value = Document> {
    prop::collection::vec((names(), inner), 0..5).prop_map(|fields| fields.into_iter().collect())
}

const MARK: &str = "MARKMARK";

/// Puts the mark at all leaves under a name that is `secret`, or has it among its parts.
fn mark(value: &mut Bson, is_under: bool) {
    match value {
        Bson::Document(document) => {
            for (key, value) in document.iter_mut() {
                mark(
                    value,
                    is_under || key.split('.').any(|name| name == "secret"),
                );
            }
        }
        Bson::Array(values) => values.iter_mut().for_each(|value| mark(value, is_under)),
        leaf if is_under => *leaf = Bson::String(MARK.into()),
        _ => {}
    }
}

/// The document as it should be left, by the simplest way to say so.
fn model(value: &Bson, is_met: bool) -> Bson {
    match value {
        _ if is_met => match value {
            Bson::Document(_) => Document::new().into(),
            Bson::Array(_) => Bson::Array(Vec::new()),
            Bson::String(_) => TEXT.into(),
            Bson::Int32(_) => 0.into(),
            Bson::Boolean(_) => false.into(),
            other => other.clone(),
        },
        Bson::Document(document) => {
            let is_met = |key: &str| key.split('.').any(|name| name == "secret");
            let fields = document.iter();
            let fields = fields.map(|(key, value)| (key.clone(), model(value, is_met(key))));
            Bson::Document(fields.collect())
        }
        Bson::Array(values) => values.iter().map(|value| model(value, false)).collect(),
        other => other.clone(),
    }
}

proptest! {
    #[test]
    fn a_redacted_value_is_nowhere_and_all_else_is_as_it_was(
        data in documents(values()), before in documents(values()), updated in documents(values()), id in values(),
    ) {
        let mut op = Bson::Document(doc! {
            "operation": "u", "_id": id, "updateDescription": {"updatedFields": updated}, "data": data, "before": before,
        });
        mark(&mut op, false);
        let Bson::Document(op) = op else { unreachable!() };
        let mut out = Vec::new();
        Redaction::new(["secret"]).unwrap().write(&bytes(&op), &mut out).unwrap();
        prop_assert!(!out.windows(MARK.len()).any(|window| window == MARK.as_bytes()));
        let left = Document::try_from(RawDocumentBuf::from_bytes(out).unwrap()).unwrap();
        prop_assert_eq!(Bson::Document(left), model(&Bson::Document(op), false));
    }
}
