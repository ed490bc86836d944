//! The key of a document, as bytes that are equal exactly when MongoDB calls the `_id`s equal.

use oplet_sdk::raw::{Walk, kind};
use xxhash_rust::xxh3::xxh3_64;

/// How many partitions the keys are spread over. A lane owns a set of them; the number is part of
/// the contract with other processes and never changes.
pub const PARTITIONS: u64 = 64;

/// The canonical bytes of an `_id`, to compare and hash by.
///
/// Two ids of different numeric types are one key when MongoDB compares them as equal: after a
/// delete of `{_id: 1}`, an insert of `{_id: NumberLong(1)}` concerns the same key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DocumentKey(Box<[u8]>);

impl DocumentKey {
    /// The key of an `_id`, given as the type byte and the value's bytes.
    #[must_use]
    pub fn new(kind: u8, value: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(value.len() + 1);
        write_canonical(kind, value, &mut bytes);
        Self(bytes.into())
    }
}

/// The partition that an op belongs to, in `0..PARTITIONS`; the same in every process and version.
///
/// Without an id, only the namespace decides. `scratch` saves an allocation per call.
#[must_use]
pub fn partition_of(namespace: &str, id: Option<(u8, &[u8])>, scratch: &mut Vec<u8>) -> u8 {
    (key_hash(namespace, id, scratch) % PARTITIONS) as u8
}

/// Hash of namespace and id, the same in every process and version: XXH3 (64 bits, seed 0) of the
/// namespace, a zero byte, and the canonical bytes of the id.
pub(crate) fn key_hash(namespace: &str, id: Option<(u8, &[u8])>, scratch: &mut Vec<u8>) -> u64 {
    scratch.clear();
    scratch.extend_from_slice(namespace.as_bytes());
    scratch.push(0);
    if let Some((kind, value)) = id {
        write_canonical(kind, value, scratch);
    }
    xxh3_64(scratch)
}

/// Appends the canonical bytes of an `_id`, as [`DocumentKey`] has them.
pub(crate) fn canonical_id(kind: u8, value: &[u8], out: &mut Vec<u8>) {
    write_canonical(kind, value, out);
}

fn write_canonical(kind: u8, value: &[u8], out: &mut Vec<u8>) {
    match kind {
        kind::INT32 => match value.try_into() {
            Ok(bytes) => write_integer(i64::from(i32::from_le_bytes(bytes)), out),
            Err(_) => write_as_is(kind, value, out),
        },
        kind::INT64 => match value.try_into() {
            Ok(bytes) => write_integer(i64::from_le_bytes(bytes), out),
            Err(_) => write_as_is(kind, value, out),
        },
        kind::DOUBLE => match value.try_into() {
            Ok(bytes) => write_double(f64::from_le_bytes(bytes), out),
            Err(_) => write_as_is(kind, value, out),
        },
        kind::DECIMAL128 => match value.try_into() {
            Ok(bytes) => write_decimal(&bson::Decimal128::from_bytes(bytes).to_string(), out),
            Err(_) => write_as_is(kind, value, out),
        },
        // A symbol is compared as the string it holds.
        kind::SYMBOL => write_as_is(kind::STRING, value, out),
        kind::DOCUMENT | kind::ARRAY => {
            let Ok(walk) = Walk::new(value) else {
                return write_as_is(kind, value, out);
            };
            out.push(kind);
            for element in walk.flatten() {
                out.extend_from_slice(element.key);
                out.push(0);
                write_canonical(element.kind, element.value, out);
            }
            out.push(0);
        }
        _ => write_as_is(kind, value, out),
    }
}

fn write_as_is(kind: u8, value: &[u8], out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(value);
}

fn write_integer(value: i64, out: &mut Vec<u8>) {
    out.push(kind::INT64);
    out.extend_from_slice(&value.to_le_bytes());
}

fn write_double(value: f64, out: &mut Vec<u8>) {
    // 2^63 is the first double above every i64.
    let fits = value >= i64::MIN as f64 && value < 9_223_372_036_854_775_808.0;
    if fits && value.fract() == 0.0 {
        return write_integer(value as i64, out);
    }
    let bits = if value.is_nan() {
        f64::NAN.to_bits()
    } else {
        value.to_bits()
    };
    out.push(kind::DOUBLE);
    out.extend_from_slice(&bits.to_le_bytes());
}

/// Decimals that equal an integer or a double get its bytes. A decimal that no double equals shares
/// the bytes of the nearest one: harmless for the order of ops, and ids that close do not occur.
fn write_decimal(text: &str, out: &mut Vec<u8>) {
    let integral = match text.split_once('.') {
        Some((whole, fraction)) if fraction.bytes().all(|byte| byte == b'0') => whole,
        _ => text,
    };
    match (integral.parse::<i64>(), text.parse::<f64>()) {
        (Ok(value), _) => write_integer(value, out),
        (_, Ok(value)) => write_double(value, out),
        _ => write_double(f64::NAN, out),
    }
}

#[cfg(test)]
mod tests {
    use bson::{Bson, RawDocumentBuf, doc, oid::ObjectId};
    use proptest::prelude::*;

    use super::*;

    fn key(id: impl Into<Bson>) -> DocumentKey {
        let document = RawDocumentBuf::try_from(&doc! {"_id": id.into()}).unwrap();
        let element = Walk::find(document.as_bytes(), "_id").unwrap().unwrap();
        DocumentKey::new(element.kind, element.value)
    }

    fn decimal(text: &str) -> Bson {
        Bson::Decimal128(text.parse().unwrap())
    }

    #[test]
    fn numbers_that_compare_equal_are_one_key() {
        for same in [
            Bson::Int64(1),
            Bson::Double(1.0),
            decimal("1"),
            decimal("1.00"),
            decimal("10E-1"),
        ] {
            assert_eq!(key(1), key(same.clone()), "{same}");
        }
        assert_eq!(key(0.0), key(-0.0));
        assert_eq!(key(1.5), key(decimal("1.5")));
        assert_eq!(key(f64::NAN), key(decimal("NaN")));
        assert_eq!(key(doc! {"a": 1, "b": 2}), key(doc! {"a": 1_i64, "b": 2.0}));
        assert_eq!(key("s"), key(Bson::Symbol("s".into())));
        assert_eq!(key(i64::MAX), key(decimal("9223372036854775807")));
    }

    #[test]
    fn ids_that_compare_unequal_are_distinct_keys() {
        let distinct = [
            key(1),
            key("1"),
            key(1.5),
            key(true),
            key(Bson::Null),
            key(doc! {"a": 1, "b": 2}),
            key(doc! {"b": 2, "a": 1}),
            key(doc! {"a": 1}),
            key(doc! {"a": {"b": 1}}),
            key(ObjectId::from_bytes([1; 12])),
            key(bson::DateTime::from_millis(1)),
            key(i64::MAX),
            key(i64::MAX - 1),
            key(9_223_372_036_854_775_808.0),
        ];
        for (i, a) in distinct.iter().enumerate() {
            for b in &distinct[i + 1..] {
                assert_ne!(a, b);
            }
        }
    }

    /// Other processes and later versions must agree, so these numbers may never change.
    #[test]
    fn partitions_are_stable() {
        let mut scratch = Vec::new();
        let mut partition = |id: Option<i32>| {
            let bytes = id.map(i32::to_le_bytes);
            partition_of(
                "shop.orders",
                bytes.as_ref().map(|bytes| (kind::INT32, &bytes[..])),
                &mut scratch,
            )
        };
        assert_eq!(
            [None, Some(1), Some(2), Some(3)].map(&mut partition),
            [59, 63, 47, 63]
        );
    }

    proptest! {
        #[test]
        fn whole_numbers_of_any_type_agree(n in -(1i64 << 53)..(1i64 << 53)) {
            prop_assert_eq!(key(n), key(n as f64));
            prop_assert_eq!(key(n), key(decimal(&n.to_string())));
        }
    }
}
