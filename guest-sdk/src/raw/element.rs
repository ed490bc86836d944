//! One element of a document.

use super::kind;

/// One element of a document, borrowed from its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element<'a> {
    /// Type byte, see [`kind`].
    pub kind: u8,
    /// Key without its end byte.
    pub key: &'a [u8],
    /// The value's bytes, as they would stand in any document.
    pub value: &'a [u8],
    /// Offset of the value in the document that was walked.
    pub at: usize,
}

impl<'a> Element<'a> {
    /// The key as text, or `None` when it is not UTF-8.
    #[must_use]
    pub fn key_text(&self) -> Option<&'a str> {
        std::str::from_utf8(self.key).ok()
    }

    /// Text of a string, symbol or code.
    #[must_use]
    pub fn text(&self) -> Option<&'a str> {
        match self.kind {
            kind::STRING | kind::SYMBOL | kind::JAVASCRIPT => {
                std::str::from_utf8(self.value.get(4..self.value.len() - 1)?).ok()
            }
            _ => None,
        }
    }

    /// A 32-bit integer.
    #[must_use]
    pub fn int32(&self) -> Option<i32> {
        (self.kind == kind::INT32).then(|| i32::from_le_bytes(self.fixed()))
    }

    /// A 32- or 64-bit integer.
    #[must_use]
    pub fn int64(&self) -> Option<i64> {
        match self.kind {
            kind::INT32 => Some(i64::from(i32::from_le_bytes(self.fixed()))),
            kind::INT64 => Some(i64::from_le_bytes(self.fixed())),
            _ => None,
        }
    }

    /// Any number but a decimal, as a double.
    #[must_use]
    pub fn double(&self) -> Option<f64> {
        match self.kind {
            kind::DOUBLE => Some(f64::from_le_bytes(self.fixed())),
            _ => self.int64().map(|n| n as f64),
        }
    }

    /// A boolean.
    #[must_use]
    pub fn bool(&self) -> Option<bool> {
        (self.kind == kind::BOOL).then(|| self.value[0] != 0)
    }

    /// The twelve bytes of an object id.
    #[must_use]
    pub fn object_id(&self) -> Option<[u8; 12]> {
        (self.kind == kind::OBJECT_ID).then(|| self.fixed())
    }

    /// Milliseconds since 1970 of a date.
    #[must_use]
    pub fn date_ms(&self) -> Option<i64> {
        (self.kind == kind::DATE).then(|| i64::from_le_bytes(self.fixed()))
    }

    /// `(seconds, increment)` of a timestamp.
    #[must_use]
    pub fn timestamp(&self) -> Option<(u32, u32)> {
        (self.kind == kind::TIMESTAMP).then(|| {
            let packed = u64::from_le_bytes(self.fixed());
            ((packed >> 32) as u32, packed as u32)
        })
    }

    /// Bytes of an embedded document.
    #[must_use]
    pub fn document(&self) -> Option<&'a [u8]> {
        (self.kind == kind::DOCUMENT).then_some(self.value)
    }

    /// Bytes of an array: a document with the keys `0`, `1`, ...
    #[must_use]
    pub fn array(&self) -> Option<&'a [u8]> {
        (self.kind == kind::ARRAY).then_some(self.value)
    }

    /// The first `N` bytes of the value; [`Walk`] has checked that a value of this kind has them.
    fn fixed<const N: usize>(&self) -> [u8; N] {
        *self
            .value
            .first_chunk::<N>()
            .expect("the walk checked the length of the value")
    }
}
