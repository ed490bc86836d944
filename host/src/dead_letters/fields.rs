//! Reading the fields of a stored letter.

use bson::RawDocumentBuf;
use oplet_sdk::raw::{Element, Walk, kind};

use crate::op::Timestamp;

/// A field of an op document.
pub(super) fn op_field<'a>(op: &'a [u8], field: &str) -> Option<Element<'a>> {
    Walk::find(op, field).ok().flatten()
}

/// The fields of a document; each is read where it is asked for, and says what is wrong with it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    fn find(self, field: &str) -> Result<Option<Element<'a>>, String> {
        Walk::find(self.0, field).map_err(|error| error.to_string())
    }

    fn get<T>(
        self,
        field: &str,
        what: &str,
        read: impl Fn(Element<'a>) -> Option<T>,
    ) -> Result<T, String> {
        let element = self
            .find(field)?
            .ok_or_else(|| format!("the field `{field}` is missing"))?;
        read(element).ok_or_else(|| format!("the field `{field}` is no {what}"))
    }

    pub(super) fn text(self, field: &str) -> Result<String, String> {
        self.get(field, "text", |element| element.text().map(str::to_owned))
    }

    pub(super) fn integer(self, field: &str) -> Result<i64, String> {
        self.get(field, "whole number", |element| element.int64())
    }

    pub(super) fn date_ms(self, field: &str) -> Result<i64, String> {
        self.get(field, "date", |element| element.date_ms())
    }

    pub(super) fn timestamp(self, field: &str) -> Result<Timestamp, String> {
        let read = |element: Element<'a>| element.timestamp().map(Timestamp::from);
        self.get(field, "timestamp", read)
    }

    /// False where it is absent.
    pub(super) fn bool(self, field: &str) -> Result<bool, String> {
        let found = self.find(field)?;
        Ok(found.and_then(|element| element.bool()).unwrap_or(false))
    }

    pub(super) fn texts(self, field: &str) -> Result<Vec<String>, String> {
        let array = self.get(field, "list", |element| element.array())?;
        let mut texts = Vec::new();
        for element in Walk::new(array).map_err(|error| error.to_string())? {
            let element = element.map_err(|error| error.to_string())?;
            let text = element.text();
            texts.push(text.ok_or_else(|| format!("the field `{field}` holds other than text"))?);
        }
        Ok(texts.into_iter().map(str::to_owned).collect())
    }

    pub(super) fn document(self, field: &str) -> Result<Option<&'a [u8]>, String> {
        Ok(self.find(field)?.and_then(|element| element.document()))
    }

    /// A document, or a binary value that holds one.
    pub(super) fn kept_document(self, field: &str) -> Result<Option<RawDocumentBuf>, String> {
        let Some(element) = self.find(field)? else {
            return Ok(None);
        };
        let bytes = match element.kind {
            kind::DOCUMENT => Some(element.value),
            // Its length and its subtype come first.
            kind::BINARY => element.value.get(5..),
            _ => None,
        };
        let bytes = bytes.ok_or_else(|| format!("the field `{field}` is no document"))?;
        RawDocumentBuf::from_bytes(bytes.to_vec())
            .map(Some)
            .map_err(|error| format!("the field `{field}` is no document: {error}"))
    }
}
