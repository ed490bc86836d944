//! The next key.

use std::ops::ControlFlow::{self, Break, Continue};

use oplet_sdk::raw::{EMPTY_DOCUMENT, kind};

use super::{Key, number::Number};

/// The subtype of binary data that BSON began with.
const OLD_BINARY: u8 = 2;

impl Key {
    /// A key above this one, as near as its type allows: between them lie no whole numbers, no object
    /// ids, no text, no documents. `None` where nothing is above but the greatest key, or where what
    /// is above cannot be told.
    ///
    /// Text in a collection with a collation has no next one that its bytes tell, so `by_bytes` says
    /// whether there is none: else, what is above all text is given.
    #[must_use]
    pub fn successor(&self, by_bytes: bool) -> Option<Self> {
        match self.next_in_type(by_bytes) {
            Continue(bytes) => Some(Self::new(self.kind(), &bytes)),
            Break(key) => key,
        }
    }

    fn next_in_type(&self, by_bytes: bool) -> ControlFlow<Option<Self>, Vec<u8>> {
        let value = self.value();
        let first = |kind, value: &[u8]| Break(Some(Self::new(kind, value)));
        let no_binary = [0; 5];
        match self.kind() {
            kind::MIN_KEY => first(kind::NULL, &[]),
            kind::UNDEFINED | kind::NULL => first(kind::DOUBLE, &f64::NAN.to_le_bytes()),
            kind::INT32 | kind::INT64 | kind::DOUBLE | kind::DECIMAL128 => {
                Break(Some(next_number(Number::read(self.kind(), value))))
            }
            kind::STRING | kind::SYMBOL if !by_bytes => first(kind::DOCUMENT, &EMPTY_DOCUMENT),
            kind::DOCUMENT if !by_bytes => first(kind::BINARY, &no_binary),
            kind::STRING | kind::SYMBOL => Continue(next_text(value)),
            kind::DOCUMENT => Continue(next_document(value)),
            kind::ARRAY => first(kind::BINARY, &no_binary),
            kind::BINARY => Continue(next_binary(value)),
            kind::OBJECT_ID => match next_bytes(value) {
                Some(next) => Continue(next),
                None => first(kind::BOOL, &[0]),
            },
            kind::BOOL if value == [0] => Continue(vec![1]),
            kind::BOOL => first(kind::DATE, &i64::MIN.to_le_bytes()),
            kind::DATE => match next_integer(value) {
                Some(next) => Continue(next),
                None => first(kind::TIMESTAMP, &[0; 8]),
            },
            // The greatest one is followed by the least regular expression: two empty texts.
            kind::TIMESTAMP => match value.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)) {
                Some(number) if number < u64::MAX => Continue((number + 1).to_le_bytes().to_vec()),
                _ => first(kind::REGEX, &[0, 0]),
            },
            _ => Break(None),
        }
    }
}

/// Above a number; above all of them comes the empty text.
fn next_number(number: Option<Number>) -> Key {
    let double = |value: f64| Key::new(kind::DOUBLE, &value.to_le_bytes());
    match number {
        Some(Number::Integer(value)) => match value.checked_add(1) {
            Some(next) => Key::new(kind::INT64, &next.to_le_bytes()),
            None => double(i64::MAX as f64),
        },
        Some(Number::Double(value)) if value.is_nan() => double(f64::NEG_INFINITY),
        Some(Number::Double(value)) if value < f64::INFINITY => double(value.next_up()),
        // Its nearest double may lie below it, but then the next one does not.
        Some(Number::Decimal(value)) => double(value.nearest_double().next_up()),
        Some(Number::Double(_)) | None => Key::new(kind::STRING, &[1, 0, 0, 0, 0]),
    }
}

/// Text is followed by the same with a zero byte behind it.
fn next_text(value: &[u8]) -> Vec<u8> {
    let mut next = value.to_vec();
    next.push(0);
    let len = (next.len() - 4) as u32;
    next[..4].copy_from_slice(&len.to_le_bytes());
    next
}

/// A document is followed by the same with the least of all fields behind it.
fn next_document(value: &[u8]) -> Vec<u8> {
    let mut next = value[..value.len() - 1].to_vec();
    next.extend([kind::MIN_KEY, 0, 0]);
    let len = next.len() as u32;
    next[..4].copy_from_slice(&len.to_le_bytes());
    next
}

/// Subtype and bytes count up together; behind the last of a length comes the first of the next one.
fn next_binary(value: &[u8]) -> Vec<u8> {
    let (len, rest) = value.split_at(4);
    match next_bytes(rest) {
        Some(mut next) => {
            // What has the old subtype repeats its length inside; zeros do not.
            if next[0] == OLD_BINARY && rest[0] != OLD_BINARY {
                next[0] += 1;
            }
            [len, &next].concat()
        }
        None => {
            let len = rest.len() as u32;
            let mut next = len.to_le_bytes().to_vec();
            next.resize(5 + rest.len(), 0);
            next
        }
    }
}

/// The number that the bytes write, counted up; `None` behind the last of that length.
fn next_bytes(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut next = bytes.to_vec();
    for byte in next.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            return Some(next);
        }
    }
    None
}

fn next_integer(value: &[u8]) -> Option<Vec<u8>> {
    let next = i64::from_le_bytes(*value.first_chunk()?).checked_add(1)?;
    Some(next.to_le_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use bson::{Bson, RawDocumentBuf, doc, oid::ObjectId};
    use proptest::prelude::*;

    use super::*;
    use crate::op::any_id;

    fn key(id: impl Into<Bson>) -> Key {
        let document = RawDocumentBuf::try_from(&doc! { "_id": id.into() }).unwrap();
        Key::of_document(document.as_bytes()).unwrap()
    }

    #[test]
    fn the_next_one_is_as_near_as_can_be() {
        for (id, next) in [
            (Bson::MinKey, Bson::Null),
            (Bson::Null, Bson::Double(f64::NAN)),
            (Bson::Double(f64::NAN), Bson::Double(f64::NEG_INFINITY)),
            (Bson::Int32(7), Bson::Int64(8)),
            (Bson::Double(f64::INFINITY), Bson::String(String::new())),
            (Bson::String("a".into()), Bson::String("a\0".into())),
            (
                Bson::ObjectId(ObjectId::from_bytes([255; 12])),
                Bson::Boolean(false),
            ),
            (Bson::Boolean(false), Bson::Boolean(true)),
            (
                Bson::Document(doc! {}),
                Bson::Document(doc! { "": Bson::MinKey }),
            ),
        ] {
            let found = key(id.clone()).successor(true);
            assert_eq!(found, Some(key(next)), "{id}");
        }
        assert_eq!(key(Bson::MaxKey).successor(true), None);
        assert_eq!(key("a").successor(false), Some(key(doc! {})));
    }

    proptest! {
        #[test]
        fn is_above(id in any_id(), by_bytes: bool) {
            let key = key(id);
            if let Some(next) = key.successor(by_bytes) {
                prop_assert!(next > key, "{:?} after {:?}", next, key);
                prop_assert!(next.to_bson().is_some());
            }
        }
    }
}
