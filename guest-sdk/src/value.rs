//! Values by dotted path, read where they lie.

use bson::{DateTime, Decimal128, RawBsonRef, RawDocument, Timestamp, oid::ObjectId};

use crate::raw::{self, Element, Walk, kind};

/// A value and the document or array that it lies in.
#[derive(Clone, Copy)]
pub(crate) struct Value<'a> {
    pub(crate) parent: &'a [u8],
    pub(crate) element: Element<'a>,
}

impl<'a> Value<'a> {
    /// Follows the rest of a path: keys of documents, positions in arrays, with dots between.
    pub(crate) fn descend(mut self, path: &str) -> Option<Self> {
        for step in path.as_bytes().split(|&byte| byte == b'.') {
            let parent = self.element.value;
            let element = match self.element.kind {
                kind::DOCUMENT => Walk::find_key(parent, step).ok()??,
                kind::ARRAY => Walk::new(parent).ok()?.nth(position(step)?)?.ok()?,
                _ => return None,
            };
            self = Self { parent, element };
        }
        Some(self)
    }

    /// An integer, or a double that holds one exactly: shells and drivers differ in what they write for `5`.
    pub(crate) fn integer(&self) -> Option<i64> {
        self.element.int64().or_else(|| {
            let double = self.element.double()?;
            // 2^63 and above would saturate.
            let integer = double as i64;
            (integer as f64 == double && double < 9_223_372_036_854_775_808.0).then_some(integer)
        })
    }

    pub(crate) fn string(&self) -> Option<&'a str> {
        (self.element.kind == kind::STRING)
            .then(|| self.element.text())
            .flatten()
    }

    pub(crate) fn date(&self) -> Option<DateTime> {
        self.element.date_ms().map(DateTime::from_millis)
    }

    pub(crate) fn object_id(&self) -> Option<ObjectId> {
        self.element.object_id().map(ObjectId::from_bytes)
    }

    pub(crate) fn timestamp(&self) -> Option<Timestamp> {
        self.element
            .timestamp()
            .map(|(time, increment)| Timestamp { time, increment })
    }

    pub(crate) fn document(&self) -> Option<&'a RawDocument> {
        RawDocument::from_bytes(self.element.document()?).ok()
    }

    /// The value as the `bson` crate borrows it.
    pub(crate) fn to_raw_bson(self) -> Option<RawBsonRef<'a>> {
        let Element {
            kind, value, key, ..
        } = self.element;
        Some(match kind {
            kind::STRING => RawBsonRef::String(self.string()?),
            kind::DOCUMENT => RawBsonRef::Document(self.document()?),
            kind::DOUBLE => RawBsonRef::Double(self.element.double()?),
            kind::INT32 => RawBsonRef::Int32(self.element.int32()?),
            kind::INT64 => RawBsonRef::Int64(self.element.int64()?),
            kind::BOOL => RawBsonRef::Boolean(self.element.bool()?),
            kind::DATE => RawBsonRef::DateTime(self.date()?),
            kind::OBJECT_ID => RawBsonRef::ObjectId(self.object_id()?),
            kind::TIMESTAMP => RawBsonRef::Timestamp(self.timestamp()?),
            kind::NULL => RawBsonRef::Null,
            kind::DECIMAL128 => {
                RawBsonRef::Decimal128(Decimal128::from_bytes(*value.first_chunk()?))
            }
            // The rest has no public constructor; the parent gives it.
            _ => RawDocument::from_bytes(self.parent)
                .ok()?
                .get(std::str::from_utf8(key).ok()?)
                .ok()??,
        })
    }
}

/// A position in an array, in decimal.
fn position(step: &[u8]) -> Option<usize> {
    std::str::from_utf8(step).ok()?.parse().ok()
}

/// The document whose bytes these are, or the empty one.
pub(crate) fn raw_document(bytes: Option<&[u8]>) -> &RawDocument {
    RawDocument::from_bytes(bytes.unwrap_or(&raw::EMPTY_DOCUMENT)).unwrap_or_else(|_| {
        RawDocument::from_bytes(&raw::EMPTY_DOCUMENT).expect("it is the empty document")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::{Binary, Bson, RawDocumentBuf, doc};

    fn check(path: &str, expected: Option<Bson>) {
        let inner = doc! {
            "a": {"b": [{"c": 1}, {"c": "two"}]}, "list": [1, 2], "binary": Binary { subtype: bson::spec::BinarySubtype::Generic, bytes: vec![1] },
            "double": 5.0, "": {"": true}, "null": null, "id": ObjectId::from_bytes([3; 12]), "max": Bson::MaxKey,
            "decimal": Bson::Decimal128("1.5".parse().unwrap()), "date": DateTime::from_millis(5),
        };
        let bytes = RawDocumentBuf::try_from(&doc! {"data": inner})
            .unwrap()
            .into_bytes();
        let element = Walk::find(&bytes, "data").unwrap().unwrap();
        let value = Value {
            parent: &bytes,
            element,
        }
        .descend(path);
        let bson = value.map(|value| Bson::try_from(value.to_raw_bson().unwrap()).unwrap());
        assert_eq!(bson, expected, "{path}");
    }

    #[test]
    fn paths_lead_through_documents_and_arrays() {
        check("a.b.0.c", Some(1.into()));
        check("a.b.1.c", Some("two".into()));
        check("a.b.2.c", None);
        check("a.b.-1", None);
        check("a.b.x", None);
        check("a.c", None);
        check("double.x", None);
        check("list", Some(vec![1, 2].into()));
        check(".", Some(true.into()));
        check("null", Some(Bson::Null));
        check("max", Some(Bson::MaxKey));
        check("id", Some(ObjectId::from_bytes([3; 12]).into()));
        check("decimal", Some(Bson::Decimal128("1.5".parse().unwrap())));
        check("date", Some(DateTime::from_millis(5).into()));
    }

    #[test]
    fn doubles_are_integers_when_they_hold_one() {
        for (bson, expected) in [
            (Bson::Int32(-5), Some(-5)),
            (Bson::Int64(i64::MAX), Some(i64::MAX)),
            (Bson::Double(5.0), Some(5)),
            (Bson::Double(5.5), None),
            (Bson::Double(9.3e18), None),
            (Bson::Double(9_223_372_036_854_775_808.0), None),
            (Bson::Double(-9_223_372_036_854_775_808.0), Some(i64::MIN)),
            (Bson::Double(f64::NAN), None),
            (Bson::String("5".into()), None),
        ] {
            let bytes = RawDocumentBuf::try_from(&doc! {"n": bson.clone()})
                .unwrap()
                .into_bytes();
            let element = Walk::find(&bytes, "n").unwrap().unwrap();
            assert_eq!(
                Value {
                    parent: &bytes,
                    element
                }
                .integer(),
                expected,
                "{bson}"
            );
        }
    }
}
