//! From the bytes of a file to its documents.

use std::io::{self, BufRead, BufReader, Read};

use bson::{Bson, RawDocumentBuf};
use oplet_sdk::raw::{EMPTY_DOCUMENT, Malformed};

use super::{Error, Place};

/// How much is read in one go, in bytes.
const READ_BYTES: usize = 1 << 20;

/// How long a document may be, in bytes: the server takes 16 MiB, and an op can have three of these.
const DOCUMENT_BYTES_MAX: usize = 64 << 20;

/// How long a line may be, in bytes.
const LINE_BYTES_MAX: usize = 8 * DOCUMENT_BYTES_MAX;

/// What a file that gzip wrote begins with. As BSON it would be a document of half a megabyte.
const GZIP: [u8; 3] = [0x1F, 0x8B, 8];

/// How documents are written in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Bson,
    Json,
}

/// A document, by where it lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Located {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Of its line, or of the document.
    number: u64,
    /// The byte of the file at which it begins.
    at: u64,
}

/// Some documents, as BSON.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) bytes: Vec<u8>,
    pub(super) documents: Vec<Located>,
}

/// Reads documents out of a file.
pub(super) struct Documents {
    name: String,
    input: BufReader<Box<dyn Read + Send>>,
    form: Option<Form>,
    /// What was read and not given yet.
    held: Vec<u8>,
    is_at_end: bool,
    /// How many lines or documents were given.
    number: u64,
    /// How many bytes were given.
    at: u64,
}

impl Documents {
    pub(super) fn new(name: String, input: Box<dyn Read + Send>) -> Self {
        Self {
            name,
            input: BufReader::with_capacity(READ_BYTES, input),
            form: None,
            held: Vec::new(),
            is_at_end: false,
            number: 0,
            at: 0,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Where a document lies that was given.
    pub(super) fn place(&self, document: &Located) -> Place {
        self.place_of(document.number, document.at)
    }

    fn place_of(&self, number: u64, at: u64) -> Place {
        let name = self.name.clone();
        match self.form {
            Some(Form::Bson) => Place::Document { name, number, at },
            _ => Place::Line { name, line: number },
        }
    }

    /// The next documents, at least one; `None` at the end. What came is given without waiting for
    /// more. A fault is told when all before it was given.
    pub(super) fn next(&mut self) -> Result<Option<Found>, Error> {
        let form = match self.form {
            Some(form) => form,
            None => {
                let form = self.look_at_first()?;
                *self.form.insert(form)
            }
        };
        loop {
            let (found, used) = match form {
                Form::Bson => self.take_bson()?,
                Form::Json => self.take_json()?,
            };
            self.at += used as u64;
            if let Some(found) = found {
                return Ok(Some(found));
            }
            if self.is_at_end {
                return Ok(None);
            }
            self.read()?;
        }
    }

    /// What a document is too short for is text: read as a length, four characters are half a
    /// gigabyte and more.
    fn look_at_first(&mut self) -> Result<Form, Error> {
        while self.held.len() < EMPTY_DOCUMENT.len() && !self.is_at_end {
            self.read()?;
        }
        if self.held.starts_with(&GZIP) {
            let name = self.name.clone();
            return Err(Error::Compressed { name });
        }
        Ok(match len_of(&self.held) {
            Some(len) if len <= DOCUMENT_BYTES_MAX => Form::Bson,
            _ => Form::Json,
        })
    }

    fn read(&mut self) -> Result<(), Error> {
        let bytes = loop {
            match self.input.fill_buf() {
                Ok(bytes) => break bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    let name = self.name.clone();
                    return Err(Error::Io { name, source });
                }
            }
        };
        let len = bytes.len();
        self.is_at_end = len == 0;
        self.held.extend_from_slice(bytes);
        self.input.consume(len);
        Ok(())
    }

    /// The whole documents that are held, and how many bytes they are.
    fn take_bson(&mut self) -> Result<(Option<Found>, usize), Error> {
        let mut documents = Vec::new();
        let mut end = 0;
        while end < self.held.len() {
            let rest = &self.held[end..];
            let number = self.number + 1;
            let at = self.at + end as u64;
            let fault = match len_of(rest) {
                Some(len) if !(EMPTY_DOCUMENT.len()..=DOCUMENT_BYTES_MAX).contains(&len) => {
                    let source = Malformed { at: 0 };
                    Error::NotBson {
                        place: self.place_of(number, at),
                        source,
                    }
                }
                Some(len) if len <= rest.len() => {
                    documents.push(Located {
                        start: end,
                        end: end + len,
                        number,
                        at,
                    });
                    self.number = number;
                    end += len;
                    continue;
                }
                _ if self.is_at_end => Error::Cut {
                    place: self.place_of(number, at),
                },
                _ => break,
            };
            // What lies before it comes first; then it is met again.
            match documents.is_empty() {
                true => return Err(fault),
                false => break,
            }
        }
        if documents.is_empty() {
            return Ok((None, 0));
        }
        let rest = self.held.split_off(end);
        let bytes = std::mem::replace(&mut self.held, rest);
        Ok((Some(Found { bytes, documents }), end))
    }

    /// The documents in the whole lines that are held, and how many bytes of text these are.
    fn take_json(&mut self) -> Result<(Option<Found>, usize), Error> {
        let mut found = Found {
            bytes: Vec::new(),
            documents: Vec::new(),
        };
        let mut used = 0;
        while used < self.held.len() {
            let rest = &self.held[used..];
            let number = self.number + 1;
            let line = match rest.iter().position(|&byte| byte == b'\n') {
                Some(end) => &rest[..=end],
                None if self.is_at_end => rest,
                None if rest.len() > LINE_BYTES_MAX => {
                    return Err(Error::NotJson {
                        place: self.place_of(number, 0),
                        reason: format!("the line is longer than {LINE_BYTES_MAX} bytes"),
                    });
                }
                None => break,
            };
            let (start, len) = (found.bytes.len(), line.len());
            match parse(line, &mut found.bytes) {
                Ok(()) => {}
                Err(_) if !found.documents.is_empty() => break,
                Err(reason) => {
                    return Err(Error::NotJson {
                        place: self.place_of(number, 0),
                        reason,
                    });
                }
            }
            if found.bytes.len() > start {
                found.documents.push(Located {
                    start,
                    end: found.bytes.len(),
                    number,
                    at: self.at + used as u64,
                });
            }
            self.number = number;
            used += len;
        }
        self.held.drain(..used);
        Ok(((!found.documents.is_empty()).then_some(found), used))
    }
}

/// The length that a document begins with, when enough is there of it.
fn len_of(bytes: &[u8]) -> Option<usize> {
    let prefix = bytes.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*prefix) as usize)
}

/// Appends a line as a document; nothing when it is blank.
fn parse(line: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let text = std::str::from_utf8(line).map_err(|error| error.to_string())?;
    // Some editors put a byte order mark at the beginning.
    let text = text.trim_start_matches('\u{FEFF}').trim();
    if text.is_empty() {
        return Ok(());
    }
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|error| match error.is_eof() {
            true => {
                "the line ends in the middle of the document; each line is a whole one".to_owned()
            }
            false => format!("{error}"),
        })?;
    let document = match Bson::try_from(value) {
        Ok(Bson::Document(document)) => document,
        Ok(Bson::Array(_)) => return Err("an array; each line is a document".into()),
        Ok(_) => return Err("a bare value; each line is a document".into()),
        Err(error) => return Err(error.to_string()),
    };
    let document = RawDocumentBuf::try_from(&document).map_err(|error| error.to_string())?;
    out.extend_from_slice(document.as_bytes());
    Ok(())
}
