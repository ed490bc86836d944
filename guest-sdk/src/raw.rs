//! Reading and writing BSON where it lies, without decoding it.
//!
//! [`Walk`] steps over the elements of a document; each [`Element`] borrows its key and value from
//! the document's bytes. [`Writer`] puts a document together from parts that are BSON already.
//! Both do far less than the `bson` crate, and a field at the end of a document is found four times
//! as fast: nothing is allocated, and no text is checked before it is asked for.
//!
//! Malformed bytes never panic: a walk over them ends with [`Malformed`].

use std::fmt;

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

/// Steps over the elements of one document.
#[derive(Debug, Clone)]
pub struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Walk<'a> {
    /// Starts at the first element of the document that `bytes` begin with.
    ///
    /// # Errors
    /// As [`document_len`].
    pub fn new(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let len = document_len(bytes)?;
        Ok(Self {
            bytes: &bytes[..len],
            at: 4,
        })
    }

    /// Finds the first element of that key.
    ///
    /// # Errors
    /// [`Malformed`] when the document ends wrongly before the key is met.
    pub fn find(bytes: &'a [u8], key: &str) -> Result<Option<Element<'a>>, Malformed> {
        Self::find_key(bytes, key.as_bytes())
    }

    /// The same, for a key given as bytes.
    pub(crate) fn find_key(bytes: &'a [u8], key: &[u8]) -> Result<Option<Element<'a>>, Malformed> {
        let needle = Needle::new(key);
        let Self { bytes, mut at } = Self::new(bytes)?;
        while at + 1 < bytes.len() {
            let malformed = Malformed { at };
            let is_met = needle.begins(&bytes[at + 1..]);
            let key_len = if is_met {
                needle.key.len()
            } else {
                end_of_key(&bytes[at + 1..]).ok_or(malformed)?
            };
            if is_met {
                return match element_with_key(bytes, at, key_len) {
                    Some(element) => Ok(Some(element)),
                    None => Err(malformed),
                };
            }
            at = value_end(bytes, at, key_len).ok_or(malformed)?;
        }
        if bytes.get(at) == Some(&0) {
            Ok(None)
        } else {
            Err(Malformed { at })
        }
    }

    fn step(&mut self) -> Result<Option<Element<'a>>, Malformed> {
        if self.bytes[self.at] == 0 {
            // The end byte must be the last one.
            return if self.at + 1 == self.bytes.len() {
                Ok(None)
            } else {
                Err(Malformed { at: self.at })
            };
        }
        let element = element_at(self.bytes, self.at).ok_or(Malformed { at: self.at })?;
        self.at = element.at + element.value.len();
        Ok(Some(element))
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Result<Element<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let step = self.step();
        if !matches!(step, Ok(Some(_))) {
            self.at = self.bytes.len();
        }
        step.transpose()
    }
}

/// The element that begins at `start` of the document `bytes`; `None` at the document's end and for anything malformed.
pub(crate) fn element_at(bytes: &[u8], start: usize) -> Option<Element<'_>> {
    let key_len = end_of_key(bytes.get(start + 1..)?)?;
    element_with_key(bytes, start, key_len)
}

/// The same, where the length of the key is known.
#[inline(always)]
pub(crate) fn element_with_key(bytes: &[u8], start: usize, key_len: usize) -> Option<Element<'_>> {
    let end = value_end(bytes, start, key_len)?;
    let at = start + 1 + key_len + 1;
    Some(Element {
        kind: bytes[start],
        key: &bytes[start + 1..at - 1],
        value: &bytes[at..end],
        at,
    })
}

/// Where the value ends of the element at `start`, whose key has that length; `None` for anything malformed.
///
/// A number, for those that pass over elements: an [`Element`] that is returned in an `Option` is stored by halves of
/// words and loaded again by words, for which the processor has to wait, in a guest more than the rest of a step takes.
#[inline]
pub(crate) fn value_end(bytes: &[u8], start: usize, key_len: usize) -> Option<usize> {
    let at = start + 1 + key_len + 1;
    let rest = bytes.get(at..)?;
    let len = value_len(bytes[start], rest)?;
    // The document's end byte is not the value's: at least that must be left.
    (len < rest.len()).then(|| at + len)
}

/// A key that is looked for: up to fifteen bytes are compared in two steps, which is nearly every key.
pub(crate) struct Needle<'k> {
    pub(crate) key: &'k [u8],
    /// The first eight bytes of the key and its end byte,
    head: u64,
    /// which of them count,
    head_mask: u64,
    /// and the last eight, of a key that has so many.
    tail: u64,
}

impl<'k> Needle<'k> {
    pub(crate) const fn new(key: &'k [u8]) -> Self {
        let (mut head, mut mask, mut tail) = ([0; 8], [0; 8], [0; 8]);
        let mut i = 0;
        while i < key.len() {
            if key[i] == 0 {
                // No key contains a zero byte, and nothing has this head.
                return Self {
                    key,
                    head: u64::MAX,
                    head_mask: 0,
                    tail: 0,
                };
            }
            if i < 8 {
                (head[i], mask[i]) = (key[i], 0xFF);
            }
            if i + 7 >= key.len() {
                tail[i + 7 - key.len()] = key[i];
            }
            i += 1;
        }
        if i < 8 {
            mask[i] = 0xFF;
        }
        Self {
            key,
            head: u64::from_le_bytes(head),
            head_mask: u64::from_le_bytes(mask),
            tail: u64::from_le_bytes(tail),
        }
    }

    /// Whether `rest` begins with this key and its end byte.
    #[inline]
    pub(crate) fn begins(&self, rest: &[u8]) -> bool {
        let len = self.key.len();
        if let Some(chunk) = rest.first_chunk::<8>() {
            if u64::from_le_bytes(*chunk) & self.head_mask != self.head {
                return false;
            }
            if len < 8 {
                return true;
            }
            if len < 16 {
                let chunk = rest.get(len - 7..).and_then(|rest| rest.first_chunk::<8>());
                return chunk.is_some_and(|chunk| u64::from_le_bytes(*chunk) == self.tail);
            }
        }
        self.head_mask != 0 && rest.get(len) == Some(&0) && rest.starts_with(self.key)
    }
}

/// Length of the key that `rest` begins with, eight bytes at a time: most keys are short, and a guest pays for every
/// turn of a loop.
#[inline]
pub(crate) fn end_of_key(rest: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_le_bytes([0x01; 8]);
    const HIGHS: u64 = u64::from_le_bytes([0x80; 8]);
    let mut at = 0;
    while let Some(chunk) = rest.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        // The lowest bit that is set marks the first zero byte; higher ones may be false.
        let zeros = word.wrapping_sub(ONES) & !word & HIGHS;
        if zeros != 0 {
            return Some(at + zeros.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    rest[at..]
        .iter()
        .position(|&byte| byte == 0)
        .map(|tail| at + tail)
}

/// Length of the value of that kind that `rest` begins with; `None` for an unknown kind or a length
/// that cannot be. The length may exceed `rest`; what lies inside a nested value is not looked at.
#[inline(always)]
fn value_len(kind: u8, rest: &[u8]) -> Option<usize> {
    let prefix = || {
        rest.first_chunk::<4>()
            .map(|bytes| u32::from_le_bytes(*bytes) as usize)
    };
    // Sizes of the kinds that have one, plus one: most values need no more than this table.
    const FIXED: [u8; 20] = {
        let mut sizes = [0; 20];
        sizes[kind::UNDEFINED as usize] = 1;
        sizes[kind::NULL as usize] = 1;
        sizes[kind::BOOL as usize] = 2;
        sizes[kind::INT32 as usize] = 5;
        sizes[kind::DOUBLE as usize] = 9;
        sizes[kind::DATE as usize] = 9;
        sizes[kind::TIMESTAMP as usize] = 9;
        sizes[kind::INT64 as usize] = 9;
        sizes[kind::OBJECT_ID as usize] = 13;
        sizes[kind::DECIMAL128 as usize] = 17;
        sizes
    };
    if kind == kind::STRING {
        let end = prefix()?.checked_add(4)?;
        return (end > 4 && *rest.get(end - 1)? == 0).then_some(end);
    }
    match FIXED.get(kind as usize) {
        Some(&size) if size > 0 => Some(size as usize - 1),
        _ => other_value_len(kind, rest),
    }
}

/// The same, for what is met less often.
#[inline(never)]
fn other_value_len(kind: u8, rest: &[u8]) -> Option<usize> {
    let prefix = || {
        rest.first_chunk::<4>()
            .map(|bytes| u32::from_le_bytes(*bytes) as usize)
    };
    Some(match kind {
        kind::MIN_KEY | kind::MAX_KEY => 0,
        kind::JAVASCRIPT | kind::SYMBOL => {
            let len = prefix()?;
            let end = len.checked_add(4)?;
            if len < 1 || *rest.get(end - 1)? != 0 {
                return None;
            }
            end
        }
        kind::DB_POINTER => {
            let len = prefix()?;
            if len < 1 || *rest.get(len.checked_add(3)?)? != 0 {
                return None;
            }
            len.checked_add(16)?
        }
        kind::DOCUMENT | kind::ARRAY => {
            let len = prefix()?;
            if len < EMPTY_DOCUMENT.len() || *rest.get(len - 1)? != 0 {
                return None;
            }
            len
        }
        kind::JAVASCRIPT_WITH_SCOPE => prefix().filter(|&len| len >= 14)?,
        kind::BINARY => prefix()?.checked_add(5)?,
        kind::REGEX => {
            let pattern = rest.iter().position(|&byte| byte == 0)? + 1;
            pattern + rest[pattern..].iter().position(|&byte| byte == 0)? + 1
        }
        _ => return None,
    })
}

/// Puts one document together at the end of a buffer, element by element.
///
/// Nested documents are opened and closed by [`begin`](Writer::begin) and [`end`](Writer::end), so
/// that a whole tree needs one buffer and no allocation of its own.
#[derive(Debug)]
pub struct Writer<'a> {
    buffer: &'a mut Vec<u8>,
    open: Vec<usize>,
    start: usize,
}

impl<'a> Writer<'a> {
    /// Opens a document at the end of `buffer`.
    pub fn new(buffer: &'a mut Vec<u8>) -> Self {
        let start = buffer.len();
        buffer.extend_from_slice(&[0; 4]);
        Self {
            buffer,
            open: Vec::new(),
            start,
        }
    }

    /// Adds an element whose value is BSON already.
    pub fn raw(&mut self, key: &[u8], kind: u8, value: &[u8]) {
        self.head(key, kind);
        self.buffer.extend_from_slice(value);
    }

    /// Adds a string.
    pub fn text(&mut self, key: &[u8], text: &str) {
        self.head(key, kind::STRING);
        self.buffer
            .extend_from_slice(&(text.len() as u32 + 1).to_le_bytes());
        self.buffer.extend_from_slice(text.as_bytes());
        self.buffer.push(0);
    }

    /// Adds a string that is formatted in place.
    pub fn display(&mut self, key: &[u8], value: impl fmt::Display) {
        use std::io::Write as _;
        self.head(key, kind::STRING);
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&[0; 4]);
        write!(self.buffer, "{value}").expect("a Vec takes all that is written");
        self.buffer.push(0);
        let len = (self.buffer.len() - start - 4) as u32;
        self.buffer[start..start + 4].copy_from_slice(&len.to_le_bytes());
    }

    /// Adds a 32-bit integer.
    pub fn int32(&mut self, key: &[u8], value: i32) {
        self.raw(key, kind::INT32, &value.to_le_bytes());
    }

    /// Adds a 64-bit integer.
    pub fn int64(&mut self, key: &[u8], value: i64) {
        self.raw(key, kind::INT64, &value.to_le_bytes());
    }

    /// Adds a boolean.
    pub fn bool(&mut self, key: &[u8], value: bool) {
        self.raw(key, kind::BOOL, &[u8::from(value)]);
    }

    /// Adds a date, in milliseconds since 1970.
    pub fn date_ms(&mut self, key: &[u8], value: i64) {
        self.raw(key, kind::DATE, &value.to_le_bytes());
    }

    /// Adds a timestamp.
    pub fn timestamp(&mut self, key: &[u8], seconds: u32, increment: u32) {
        let packed = (u64::from(seconds) << 32) | u64::from(increment);
        self.raw(key, kind::TIMESTAMP, &packed.to_le_bytes());
    }

    /// Adds a document whose bytes are at hand.
    pub fn document(&mut self, key: &[u8], document: &[u8]) {
        self.raw(key, kind::DOCUMENT, document);
    }

    /// Opens a nested document ([`kind::DOCUMENT`]) or array ([`kind::ARRAY`]).
    pub fn begin(&mut self, key: &[u8], kind: u8) {
        self.head(key, kind);
        self.open.push(self.buffer.len());
        self.buffer.extend_from_slice(&[0; 4]);
    }

    /// Closes what [`begin`](Writer::begin) opened last.
    ///
    /// # Panics
    /// When nothing is open.
    pub fn end(&mut self) {
        let start = self.open.pop().expect("end() follows a begin()");
        close(self.buffer, start);
    }

    /// Closes the document.
    ///
    /// # Panics
    /// When a nested document is still open.
    pub fn finish(self) {
        assert!(self.open.is_empty(), "a nested document is still open");
        close(self.buffer, self.start);
    }

    fn head(&mut self, key: &[u8], kind: u8) {
        self.buffer.push(kind);
        self.buffer.extend_from_slice(key);
        self.buffer.push(0);
    }
}

fn close(buffer: &mut Vec<u8>, start: usize) {
    buffer.push(0);
    let len = (buffer.len() - start) as u32;
    buffer[start..start + 4].copy_from_slice(&len.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::{Bson, RawDocumentBuf, doc, oid::ObjectId};
    use proptest::prelude::*;

    fn every_kind() -> Vec<u8> {
        let document = doc! {
            "double": 1.5, "string": "naïve 🙂", "document": {"a": {"b": [1, "two"]}}, "array": [1, {"x": 2}],
            "binary": Bson::Binary(bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes: vec![1, 2, 3] }),
            "oid": ObjectId::from_bytes([7; 12]), "bool": true, "date": bson::DateTime::from_millis(-5),
            "null": Bson::Null, "regex": Bson::RegularExpression(bson::Regex { pattern: "a".try_into().unwrap(), options: "i".try_into().unwrap() }),
            "code": Bson::JavaScriptCode("f()".into()), "symbol": Bson::Symbol("s".into()),
            "scoped": Bson::JavaScriptCodeWithScope(bson::JavaScriptCodeWithScope { code: "g".into(), scope: doc! {"y": 1} }),
            "int32": -3, "timestamp": bson::Timestamp { time: 9, increment: 4 }, "int64": 1_i64 << 40,
            "decimal": Bson::Decimal128("1.5".parse().unwrap()), "min": Bson::MinKey, "max": Bson::MaxKey,
        };
        RawDocumentBuf::try_from(&document).unwrap().into_bytes()
    }

    #[test]
    fn walks_every_kind() {
        let bytes = every_kind();
        validate(&bytes).unwrap();
        let get = |key: &str| Walk::find(&bytes, key).unwrap().unwrap();
        assert_eq!(Walk::new(&bytes).unwrap().count(), 19);
        assert_eq!(get("double").double(), Some(1.5));
        assert_eq!(get("string").text(), Some("naïve 🙂"));
        assert_eq!(get("int32").int64(), Some(-3));
        assert_eq!(get("int64").int64(), Some(1 << 40));
        assert_eq!(get("timestamp").timestamp(), Some((9, 4)));
        assert_eq!(get("date").date_ms(), Some(-5));
        assert_eq!(get("bool").bool(), Some(true));
        assert_eq!(get("max").kind, kind::MAX_KEY);
        let nested = get("document").document().unwrap();
        assert!(
            Walk::find(nested, "a")
                .unwrap()
                .unwrap()
                .document()
                .is_some()
        );
        assert!(Walk::find(&bytes, "absent").unwrap().is_none());
    }

    #[test]
    fn writes_what_it_walks() {
        let bytes = every_kind();
        let mut copy = vec![0xAA];
        let mut writer = Writer::new(&mut copy);
        for element in Walk::new(&bytes).unwrap() {
            let element = element.unwrap();
            writer.raw(element.key, element.kind, element.value);
        }
        writer.finish();
        assert_eq!(&copy[1..], bytes);
    }

    #[test]
    fn nests() {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        writer.begin(b"a", kind::DOCUMENT);
        writer.begin(b"list", kind::ARRAY);
        writer.text(b"0", "x");
        writer.display(b"1", 12);
        writer.end();
        writer.end();
        writer.bool(b"last", false);
        writer.finish();
        let document = RawDocumentBuf::from_bytes(bytes).unwrap();
        assert_eq!(
            bson::Document::try_from(document).unwrap(),
            doc! {"a": {"list": ["x", "12"]}, "last": false}
        );
    }

    #[test]
    fn a_value_cannot_contain_the_end_byte() {
        // {a: int32}, one byte short: the document's end byte would be the integer's last.
        let bytes = [11, 0, 0, 0, kind::INT32, b'a', 0, 1, 2, 3, 0];
        assert_eq!(
            Walk::new(&bytes).unwrap().last(),
            Some(Err(Malformed { at: 4 }))
        );
        assert!(validate(&bytes).is_err());
    }

    #[test]
    fn finding_is_walking() {
        let bytes = every_kind();
        for element in Walk::new(&bytes).unwrap().flatten() {
            let key = element.key_text().unwrap();
            assert_eq!(Walk::find(&bytes, key), Ok(Some(element)), "{key}");
            for other in ["x", "document of another name", "\0"] {
                assert_eq!(Walk::find(&bytes, &format!("{key}{other}")), Ok(None));
            }
            assert_eq!(Walk::find(&bytes, &key[..key.len() - 1]), Ok(None));
        }
        // {a: "b"}: a key with a zero byte in it is not `a` and what follows.
        let bytes = RawDocumentBuf::try_from(&doc! {"a": "b"})
            .unwrap()
            .into_bytes();
        assert_eq!(Walk::find(&bytes, "a\0\u{2}"), Ok(None));
        for at in 4..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] = 0xFF;
            let walked = Walk::new(&damaged).and_then(|walk| walk.collect::<Result<Vec<_>, _>>());
            assert_eq!(
                Walk::find(&damaged, "z").is_err(),
                walked.is_err(),
                "byte {at}"
            );
        }
    }

    #[test]
    fn keys_end_at_their_first_zero_byte() {
        for len in 0..40 {
            let mut bytes = vec![0x01; len];
            bytes.push(0);
            for after in 0..12 {
                bytes.resize(len + 1 + after, if after % 2 == 0 { 0x80 } else { 0 });
                assert_eq!(end_of_key(&bytes), Some(len), "{len} bytes, {after} after");
            }
            assert_eq!(end_of_key(&bytes[..len]), None);
        }
    }

    #[test]
    fn every_truncation_is_malformed() {
        let bytes = every_kind();
        for len in 0..bytes.len() {
            assert!(validate(&bytes[..len]).is_err(), "{len} bytes");
        }
    }

    proptest! {
        /// Any change of any byte either leaves a document that the `bson` crate reads too, or is refused.
        #[test]
        fn agrees_with_the_bson_crate_on_damaged_documents(at in 0usize..400, byte: u8) {
            let mut bytes = every_kind();
            let at = at % bytes.len();
            bytes[at] = byte;
            if validate(&bytes).is_ok() {
                let raw = RawDocumentBuf::from_bytes(bytes.clone()).unwrap();
                for element in raw.iter_elements() {
                    prop_assert!(element.is_ok());
                }
            }
        }

        #[test]
        fn rubbish_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = validate(&bytes);
            if let Ok(walk) = Walk::new(&bytes) {
                for element in walk.flatten() {
                    let _ = (element.text(), element.int64(), element.double(), element.bool(), element.timestamp());
                }
            }
        }
    }
}
