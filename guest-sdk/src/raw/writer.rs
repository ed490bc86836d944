//! Putting a document together from parts.

use std::fmt;

use super::kind;

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
