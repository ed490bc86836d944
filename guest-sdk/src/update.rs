//! What an update changed.

use std::fmt;

use bson::{RawBsonRef, RawDocument};

use crate::{
    raw::{Element, Walk, kind},
    value::{Value, raw_document},
};

/// What an update changed, with full paths: `{updatedFields: {"address.city": "Ulm"}, removedFields: ["fax"],
/// truncatedArrays: [{field: "tags", newSize: 2}], disambiguatedPaths: {..}}`.
#[derive(Clone, Copy)]
pub struct UpdateDescription<'a> {
    bytes: &'a [u8],
}

/// An array that an update cut short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TruncatedArray<'a> {
    /// Path of the array.
    pub field: &'a str,
    /// Elements left.
    pub new_size: i64,
}

impl<'a> UpdateDescription<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// New values by path; paths are keys with dots in them, so [`updated`](Self::updated) finds them, not a dotted
    /// lookup.
    #[must_use]
    pub fn updated_fields(&self) -> &'a RawDocument {
        raw_document(
            self.field("updatedFields")
                .and_then(|element| element.document()),
        )
    }

    /// The new value of exactly this path.
    #[must_use]
    pub fn updated(&self, path: &str) -> Option<RawBsonRef<'a>> {
        let parent = self.field("updatedFields")?.document()?;
        let element = Walk::find(parent, path).ok()??;
        Value { parent, element }.to_raw_bson()
    }

    /// Paths that were removed.
    pub fn removed_fields(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.list("removedFields")
            .filter_map(|element| element.text())
    }

    /// Arrays that were cut short.
    pub fn truncated_arrays(&self) -> impl Iterator<Item = TruncatedArray<'a>> + use<'a> {
        self.list("truncatedArrays").filter_map(|element| {
            let entry = element.document()?;
            Some(TruncatedArray {
                field: Walk::find(entry, "field").ok()??.text()?,
                new_size: Walk::find(entry, "newSize").ok()??.int64()?,
            })
        })
    }

    /// For paths whose text alone does not tell field names from array positions: their parts.
    #[must_use]
    pub fn disambiguated_paths(&self) -> &'a RawDocument {
        raw_document(
            self.field("disambiguatedPaths")
                .and_then(|element| element.document()),
        )
    }

    /// Whether the update changed this path: the field itself, something inside of it, or something that it lies in.
    #[must_use]
    pub fn touches(&self, path: &str) -> bool {
        let path = path.as_bytes();
        self.entries("updatedFields", kind::DOCUMENT)
            .any(|element| related(element.key, path))
            || self
                .removed_fields()
                .any(|field| related(field.as_bytes(), path))
            || self
                .truncated_arrays()
                .any(|array| related(array.field.as_bytes(), path))
    }

    fn field(&self, key: &str) -> Option<Element<'a>> {
        Walk::find(self.bytes, key).ok()?
    }

    fn list(&self, key: &str) -> impl Iterator<Item = Element<'a>> + use<'a> {
        self.entries(key, kind::ARRAY)
    }

    fn entries(&self, key: &str, kind: u8) -> impl Iterator<Item = Element<'a>> + use<'a> {
        let value = self
            .field(key)
            .filter(|element| element.kind == kind)
            .map(|element| element.value);
        value
            .and_then(|bytes| Walk::new(bytes).ok())
            .into_iter()
            .flatten()
            .flatten()
    }
}

/// Whether one of the paths is the other or leads to it.
fn related(a: &[u8], b: &[u8]) -> bool {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    long.starts_with(short) && matches!(long.get(short.len()), None | Some(b'.'))
}

impl fmt::Debug for UpdateDescription<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UpdateDescription({:?})", raw_document(Some(self.bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::{RawDocumentBuf, doc};

    #[test]
    fn tells_what_was_touched() {
        let description = doc! {
            "updatedFields": {"address.city": "Ulm", "n": 1}, "removedFields": ["fax", "list.0"],
            "truncatedArrays": [{"field": "tags", "newSize": 2}],
        };
        let bytes = RawDocumentBuf::try_from(&description).unwrap().into_bytes();
        let update = UpdateDescription::new(&bytes);
        for touched in [
            "n",
            "n.deeper",
            "address",
            "address.city",
            "fax",
            "list",
            "list.0",
            "tags",
            "tags.7",
        ] {
            assert!(update.touches(touched), "{touched}");
        }
        for untouched in [
            "address.zip",
            "addr",
            "address.city2",
            "nn",
            "faxes",
            "list.1",
            "",
        ] {
            assert!(!update.touches(untouched), "{untouched}");
        }
        assert_eq!(
            update.updated("address.city").unwrap().as_str(),
            Some("Ulm")
        );
        assert_eq!(update.updated_fields().iter().count(), 2);
        assert_eq!(
            update.removed_fields().collect::<Vec<_>>(),
            ["fax", "list.0"]
        );
        let cut: Vec<_> = update.truncated_arrays().collect();
        assert_eq!(
            cut,
            [TruncatedArray {
                field: "tags",
                new_size: 2
            }]
        );
        assert!(update.disambiguated_paths().is_empty());
    }
}
