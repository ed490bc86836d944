//! The order in which MongoDB keeps `_id`s.

use std::cmp::Ordering;

use oplet_sdk::raw::{Element, Walk, kind};

use super::number::Number;

/// Compares two `_id`s, each given as its type byte and its bytes, as an index on `_id` orders them
/// in a collection without a collation of its own.
///
/// Types come in a fixed order; numbers of all types are compared by value, exactly, and every `NaN`
/// comes before them; text by its bytes; documents field by field, by type, then name, then value;
/// binary data by length, subtype, bytes (`src/mongo/db/storage/key_string.cpp` and
/// `canonicalizeBSONType` in the server's source). Bytes that are no value of their type are ordered
/// somehow, but always alike.
#[must_use]
pub fn compare_keys(a: (u8, &[u8]), b: (u8, &[u8])) -> Ordering {
    bracket(a.0)
        .cmp(&bracket(b.0))
        .then_with(|| compare_in_bracket(a, b))
}

/// The place of a type among the types.
fn bracket(kind: u8) -> u8 {
    match kind {
        kind::MIN_KEY => 0,
        kind::UNDEFINED => 1,
        kind::NULL => 2,
        kind::INT32 | kind::INT64 | kind::DOUBLE | kind::DECIMAL128 => 3,
        kind::STRING | kind::SYMBOL => 4,
        kind::DOCUMENT => 5,
        kind::ARRAY => 6,
        kind::BINARY => 7,
        kind::OBJECT_ID => 8,
        kind::BOOL => 9,
        kind::DATE => 10,
        kind::TIMESTAMP => 11,
        kind::REGEX => 12,
        kind::DB_POINTER => 13,
        kind::JAVASCRIPT => 14,
        kind::JAVASCRIPT_WITH_SCOPE => 15,
        kind::MAX_KEY => 17,
        _ => 16,
    }
}

fn compare_in_bracket((kind, a): (u8, &[u8]), (other_kind, b): (u8, &[u8])) -> Ordering {
    match kind {
        kind::MIN_KEY | kind::MAX_KEY | kind::UNDEFINED | kind::NULL => Ordering::Equal,
        kind::INT32 | kind::INT64 | kind::DOUBLE | kind::DECIMAL128 => {
            match (Number::read(kind, a), Number::read(other_kind, b)) {
                (Some(a), Some(b)) => a.compare(&b),
                _ => a.cmp(b),
            }
        }
        kind::STRING | kind::SYMBOL | kind::JAVASCRIPT => text(a).cmp(text(b)),
        kind::DOCUMENT => compare_fields(a, b, true),
        kind::ARRAY => compare_fields(a, b, false),
        kind::BINARY | kind::DB_POINTER => compare_sized(a, b),
        kind::DATE => signed(a).cmp(&signed(b)),
        kind::TIMESTAMP => unsigned(a).cmp(&unsigned(b)),
        kind::JAVASCRIPT_WITH_SCOPE => {
            let ((code, scope), (other_code, other_scope)) = (scoped(a), scoped(b));
            let by_code = code.cmp(other_code);
            by_code.then_with(|| compare_fields(scope, other_scope, true))
        }
        // Object ids and booleans are compared by their bytes; so are expressions, whose pattern and
        // options each end with a zero byte.
        _ => a.cmp(b),
    }
}

/// Documents and arrays: the first difference decides, and what ends first comes first.
fn compare_fields(a: &[u8], b: &[u8], with_names: bool) -> Ordering {
    let (mut left, mut right) = (elements(a), elements(b));
    loop {
        let (a, b) = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(a), Some(b)) => (a, b),
        };
        let mut order = bracket(a.kind).cmp(&bracket(b.kind));
        if with_names {
            order = order.then_with(|| a.key.cmp(b.key));
        }
        order = order.then_with(|| compare_in_bracket((a.kind, a.value), (b.kind, b.value)));
        if order.is_ne() {
            return order;
        }
    }
}

fn elements(document: &[u8]) -> impl Iterator<Item = Element<'_>> {
    Walk::new(document).into_iter().flatten().flatten()
}

/// The bytes of a text without its length and end byte.
fn text(value: &[u8]) -> &[u8] {
    value.get(4..value.len().saturating_sub(1)).unwrap_or(value)
}

/// Values that begin with their length: shorter ones come first.
fn compare_sized(a: &[u8], b: &[u8]) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

fn signed(value: &[u8]) -> i64 {
    value
        .first_chunk()
        .map_or(0, |bytes| i64::from_le_bytes(*bytes))
}

fn unsigned(value: &[u8]) -> u64 {
    value
        .first_chunk()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Code and scope of code with a scope: a length of all, the code as a text, a document.
fn scoped(value: &[u8]) -> (&[u8], &[u8]) {
    let parts = || {
        let len = u32::from_le_bytes(*value.get(4..)?.first_chunk()?) as usize;
        let end = len.checked_add(8)?;
        Some((value.get(8..end)?, value.get(end..)?))
    };
    parts().unwrap_or((value, &[]))
}

#[cfg(test)]
mod tests {
    use bson::{Bson, RawDocumentBuf, doc, oid::ObjectId};
    use proptest::prelude::*;

    use super::*;
    use crate::op::{Key, any_id};

    fn key(id: impl Into<Bson>) -> Key {
        let document = RawDocumentBuf::try_from(&doc! { "_id": id.into() }).unwrap();
        let element = Walk::find(document.as_bytes(), "_id").unwrap().unwrap();
        Key::from(element)
    }

    fn decimal(text: &str) -> Bson {
        Bson::Decimal128(text.parse().unwrap())
    }

    fn binary(subtype: u8, bytes: &[u8]) -> Bson {
        Bson::Binary(bson::Binary {
            subtype: subtype.into(),
            bytes: bytes.to_vec(),
        })
    }

    /// In the order of the server, as seen on 6.0; each is less than the next.
    #[test]
    fn the_types_come_in_the_servers_order() {
        let sorted = [
            Bson::MinKey,
            Bson::Null,
            Bson::Double(f64::NAN),
            Bson::Double(f64::NEG_INFINITY),
            decimal("-1E6144"),
            Bson::Int64(i64::MIN),
            Bson::Int32(-1),
            Bson::Double(-0.5),
            Bson::Int32(0),
            decimal("0.1"),
            Bson::Double(0.1),
            Bson::Int32(1),
            Bson::Int64(i64::MAX),
            decimal("9223372036854775807.5"),
            Bson::Double(9_223_372_036_854_775_808.0),
            decimal("1E6144"),
            Bson::Double(f64::INFINITY),
            Bson::String(String::new()),
            Bson::String("B".into()),
            Bson::String("a".into()),
            Bson::String("a\0".into()),
            Bson::Symbol("b".into()),
            Bson::Document(doc! {}),
            Bson::Document(doc! { "b": 1 }),
            Bson::Document(doc! { "b": 1, "a": 1 }),
            Bson::Document(doc! { "b": 2 }),
            Bson::Document(doc! { "a": "" }),
            binary(5, &[1]),
            binary(0, &[1, 0]),
            binary(0, &[1, 1]),
            binary(4, &[0, 0]),
            Bson::ObjectId(ObjectId::from_bytes([0; 12])),
            Bson::ObjectId(ObjectId::from_bytes([200; 12])),
            Bson::Boolean(false),
            Bson::Boolean(true),
            Bson::DateTime(bson::DateTime::from_millis(-5)),
            Bson::DateTime(bson::DateTime::from_millis(5)),
            Bson::Timestamp(bson::Timestamp {
                time: 1,
                increment: 5,
            }),
            Bson::Timestamp(bson::Timestamp {
                time: u32::MAX,
                increment: 0,
            }),
            Bson::JavaScriptCode("a".into()),
            Bson::MaxKey,
        ];
        for (i, a) in sorted.iter().enumerate() {
            for (j, b) in sorted.iter().enumerate() {
                assert_eq!(
                    key(a.clone()).cmp(&key(b.clone())),
                    i.cmp(&j),
                    "{a} and {b}"
                );
            }
        }
    }

    #[test]
    fn what_is_one_key_compares_equal() {
        for (a, b) in [
            (Bson::Int32(1), Bson::Int64(1)),
            (Bson::Int32(1), Bson::Double(1.0)),
            (Bson::Int32(1), decimal("1.00")),
            (Bson::Double(0.0), Bson::Double(-0.0)),
            (Bson::Double(0.0), decimal("-0E+3")),
            (Bson::Double(0.5), decimal("0.50")),
            (Bson::Double(f64::NAN), decimal("NaN")),
            (Bson::Double(f64::INFINITY), decimal("Infinity")),
            (Bson::String("s".into()), Bson::Symbol("s".into())),
            (
                Bson::Document(doc! { "a": 1, "b": [1] }),
                Bson::Document(doc! { "a": 1.0, "b": [1_i64] }),
            ),
        ] {
            assert_eq!(key(a.clone()), key(b.clone()), "{a} and {b}");
        }
    }

    proptest! {
        #[test]
        fn is_an_order(a in any_id(), b in any_id(), c in any_id()) {
            let (a, b, c) = (key(a), key(b), key(c));
            prop_assert_eq!(a.cmp(&a), Ordering::Equal);
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            if a <= b && b <= c {
                prop_assert!(a <= c);
            }
        }

        #[test]
        fn equal_keys_are_one_document_key(a in any_id(), b in any_id()) {
            let (a, b) = (key(a), key(b));
            if a == b {
                prop_assert_eq!(a.document_key(), b.document_key());
            }
        }

        #[test]
        fn rubbish_is_ordered_alike(
            (a, b) in (any::<(u8, Vec<u8>)>(), any::<(u8, Vec<u8>)>())
        ) {
            let order = compare_keys((a.0, &a.1), (b.0, &b.1));
            prop_assert_eq!(order, compare_keys((b.0, &b.1), (a.0, &a.1)).reverse());
        }
    }
}
