//! A recording that is written.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    path::Path,
};

use crate::op::{Format, write_json};

/// How much is gathered before it is written, in bytes.
const WRITTEN_BYTES: usize = 256 << 10;

/// How ops are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// One document behind the other: the smallest, and the fastest to read.
    Bson,
    /// Extended JSON, one document a line.
    Json(Format),
}

/// Writes op documents to a file. Whatever happens, the file ends with a whole document as long as the
/// system takes a write as a whole: each write ends where a document does.
#[derive(Debug)]
pub struct Writer {
    file: File,
    encoding: Encoding,
    bytes: Vec<u8>,
    line: String,
    written_bytes: u64,
}

impl Writer {
    /// Makes a file, for its owner alone: ops hold what the database holds. One that is there is left
    /// alone, unless it is to be replaced.
    ///
    /// # Errors
    /// What the system says; of kind [`AlreadyExists`](io::ErrorKind::AlreadyExists) for a file that
    /// is there.
    pub fn create(path: &Path, encoding: Encoding, replace: bool) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true);
        match replace {
            true => options.create(true).truncate(true),
            false => options.create_new(true),
        };
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        Ok(Self {
            file: options.open(path)?,
            encoding,
            bytes: Vec::new(),
            line: String::new(),
            written_bytes: 0,
        })
    }

    /// Adds an op document.
    ///
    /// # Errors
    /// What the system says, or that the bytes are no document; nothing of that one is written then.
    pub fn write(&mut self, op: &[u8]) -> io::Result<()> {
        match self.encoding {
            Encoding::Bson => self.bytes.extend_from_slice(op),
            Encoding::Json(format) => {
                self.line.clear();
                write_json(op, format, &mut self.line).map_err(io::Error::other)?;
                self.line.push('\n');
                self.bytes.extend_from_slice(self.line.as_bytes());
            }
        }
        match self.bytes.len() >= WRITTEN_BYTES {
            true => self.flush(),
            false => Ok(()),
        }
    }

    /// Hands all that was added to the system.
    ///
    /// # Errors
    /// What the system says.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(&self.bytes)?;
        self.written_bytes += self.bytes.len() as u64;
        self.bytes.clear();
        Ok(())
    }

    /// How many bytes the system has.
    #[must_use]
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// Writes what is left, and waits until the disk has it all. Returns how many bytes it is.
    ///
    /// # Errors
    /// What the system says.
    pub fn finish(mut self) -> io::Result<u64> {
        self.flush()?;
        match self.file.sync_all() {
            // A pipe or a device has nothing to sync.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
            synced => synced?,
        }
        Ok(self.written_bytes)
    }
}
