//! An `_id`, and what lies between two of them.

use std::{cmp::Ordering, fmt};

use bson::{RawBson, RawDocument, RawDocumentBuf};
use oplet_sdk::raw::{Element, Walk, Writer};

use super::{DocumentKey, compare_keys};

/// An `_id` as it stands in its document, ordered as the server orders them.
///
/// Two keys are equal when the server takes them for one: `1` and `NumberLong(1)`.
#[derive(Clone)]
pub struct Key {
    kind: u8,
    value: Box<[u8]>,
}

impl Key {
    /// The key of that type byte and these bytes.
    #[must_use]
    pub fn new(kind: u8, value: &[u8]) -> Self {
        let value = value.into();
        Self { kind, value }
    }

    /// The `_id` of a document; `None` where there is none that can be read.
    #[must_use]
    pub fn of_document(document: &[u8]) -> Option<Self> {
        Walk::find(document, "_id").ok().flatten().map(Self::from)
    }

    /// BSON type byte.
    #[must_use]
    pub fn kind(&self) -> u8 {
        self.kind
    }

    /// The value's bytes.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// Both, as they are compared.
    #[must_use]
    pub fn parts(&self) -> (u8, &[u8]) {
        (self.kind, &self.value)
    }

    /// The key to compare ops by.
    #[must_use]
    pub fn document_key(&self) -> DocumentKey {
        DocumentKey::new(self.kind, &self.value)
    }

    /// A document of this key alone, under that name.
    #[must_use]
    pub fn named(&self, name: &str) -> RawDocumentBuf {
        let mut bytes = Vec::with_capacity(self.value.len() + name.len() + 8);
        let mut writer = Writer::new(&mut bytes);
        writer.raw(name.as_bytes(), self.kind, &self.value);
        writer.finish();
        RawDocumentBuf::from_bytes(bytes).expect("the writer makes a document")
    }

    /// The key as the value that it is.
    ///
    /// `None` where its bytes are no value of its type.
    #[must_use]
    pub fn to_bson(&self) -> Option<RawBson> {
        let document = self.named("_id");
        let value = document.get("_id").ok().flatten();
        value.map(RawBson::from)
    }
}

impl From<Element<'_>> for Key {
    fn from(element: Element<'_>) -> Self {
        Self::new(element.kind, element.value)
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        compare_keys(self.parts(), other.parts())
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Key {}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_bson() {
            Some(value) => write!(f, "Key({value:?})"),
            None => write!(f, "Key({}, {:?})", self.kind, self.value),
        }
    }
}

/// The keys from `from` on, up to but without `to`; open where there is none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyRange {
    /// The first key.
    pub from: Option<Key>,
    /// The first key behind.
    pub to: Option<Key>,
}

impl KeyRange {
    /// Every key.
    #[must_use]
    pub const fn all() -> Self {
        Self {
            from: None,
            to: None,
        }
    }

    /// The ranges that these keys cut all of this one into. They are in order, none of them twice.
    #[must_use]
    pub fn cut(&self, boundaries: impl IntoIterator<Item = Key>) -> Vec<Self> {
        let mut ranges = Vec::new();
        let mut from = self.from.clone();
        for boundary in boundaries {
            ranges.push(Self {
                from: from.replace(boundary.clone()),
                to: Some(boundary),
            });
        }
        let to = self.to.clone();
        ranges.push(Self { from, to });
        ranges
    }

    /// Whether the key lies in it, by the [order](compare_keys) of a collection without a collation.
    #[must_use]
    pub fn contains(&self, key: (u8, &[u8])) -> bool {
        let is_below = |bound: &Key| compare_keys(key, bound.parts()).is_lt();
        !self.from.as_ref().is_some_and(is_below) && self.to.as_ref().is_none_or(is_below)
    }

    /// The range as a document: `{from: ID, to: ID}`, each absent where it is open.
    #[must_use]
    pub fn to_document(&self) -> RawDocumentBuf {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        for (name, key) in [("from", &self.from), ("to", &self.to)] {
            if let Some(key) = key {
                writer.raw(name.as_bytes(), key.kind, &key.value);
            }
        }
        writer.finish();
        RawDocumentBuf::from_bytes(bytes).expect("the writer makes a document")
    }

    /// The inverse of [`to_document`](Self::to_document).
    #[must_use]
    pub fn from_document(document: &RawDocument) -> Self {
        let key = |name| {
            let found = Walk::find(document.as_bytes(), name).ok().flatten();
            found.map(Key::from)
        };
        Self {
            from: key("from"),
            to: key("to"),
        }
    }
}

#[cfg(test)]
mod tests {
    use oplet_sdk::raw::kind;
    use proptest::prelude::*;

    use super::*;
    use crate::op::any_id;

    fn key(n: i32) -> Key {
        Key::new(kind::INT32, &n.to_le_bytes())
    }

    #[test]
    fn a_range_has_its_first_key_and_not_its_last() {
        let range = KeyRange {
            from: Some(key(3)),
            to: Some(key(5)),
        };
        let inside = |n| range.contains(key(n).parts());
        assert_eq!([2, 3, 4, 5].map(inside), [false, true, true, false]);
        assert!(KeyRange::all().contains(key(0).parts()));
    }

    #[test]
    fn cutting_leaves_nothing_out() {
        let ranges = KeyRange::all().cut([key(1), key(2)]);
        assert_eq!(ranges.len(), 3);
        for n in -1..4 {
            let holders = ranges.iter().filter(|range| range.contains(key(n).parts()));
            assert_eq!(holders.count(), 1, "{n}");
        }
        assert_eq!(KeyRange::all().cut([]), [KeyRange::all()]);
    }

    proptest! {
        #[test]
        fn reads_what_it_writes(from in any_id(), to in any_id()) {
            let document = bson::rawdoc! {};
            prop_assert_eq!(KeyRange::from_document(&document), KeyRange::all());
            let of = |id: bson::Bson| {
                let document = RawDocumentBuf::try_from(&bson::doc! { "_id": id }).unwrap();
                Key::of_document(document.as_bytes())
            };
            let range = KeyRange { from: of(from), to: of(to) };
            let read = KeyRange::from_document(&range.to_document());
            prop_assert_eq!(&read, &range);
            prop_assert_eq!(read.from.map(|key| key.value), range.from.map(|key| key.value));
        }
    }
}
