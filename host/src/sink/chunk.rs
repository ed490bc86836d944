//! What lanes hand to a sink.

use std::{fmt::Write as _, sync::Arc};

use crate::op::{Ack, Batch, Format, Op, write_json};

/// How the documents of a chunk are written. It is done by the lanes, which work side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// BSON documents, one behind the other.
    Bson,
    /// Extended JSON, each document followed by a line feed.
    JsonLines(Format),
}

impl Encoding {
    /// Appends a BSON document, encoded so. `line` saves an allocation per call.
    ///
    /// # Errors
    /// [`bson::error::Error`] when it cannot be written so.
    pub fn write(
        self,
        document: &[u8],
        line: &mut String,
        out: &mut Vec<u8>,
    ) -> Result<(), bson::error::Error> {
        match self {
            Self::Bson => out.extend_from_slice(document),
            Self::JsonLines(format) => {
                line.clear();
                write_json(document, format, line)?;
                out.extend_from_slice(line.as_bytes());
                out.push(b'\n');
            }
        }
        Ok(())
    }
}

/// What made a module emit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// It handled the op.
    Op,
    /// It gave what it had gathered, at a batch border; the op is the last that it saw.
    Flush,
}

/// One emitted document, as a place in its chunk.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// Place of the op in the batch.
    pub place: u32,
    /// Number of the module.
    pub module: u32,
    /// Number of its version, in [`Chunk::versions`].
    pub version: u32,
    /// Which of the documents that the module emitted for this cause, from 0.
    pub number: u32,
    /// What made the module emit.
    pub cause: Cause,
    /// Where the document ends in [`Chunk::bytes`]; it begins where the one before ends.
    pub end: u32,
}

/// Documents that modules emitted for some ops of one batch, to one sink, in order.
#[derive(Debug)]
pub struct Chunk {
    /// The ops that they were emitted for.
    pub batch: Arc<Batch>,
    /// Names of the modules, by their number.
    pub modules: Arc<[String]>,
    /// SHA-256 of the versions that emitted, in hex.
    pub versions: Arc<[String]>,
    /// The documents' places.
    pub outputs: Vec<Output>,
    /// The documents, encoded as the sink wants them.
    pub bytes: Vec<u8>,
    /// To be told as done when the sink has accepted all of them. It stands for all ops whose
    /// outputs are here, and maybe for more.
    pub ack: Ack,
}

impl Chunk {
    /// The bytes of the document of that number.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn document(&self, index: usize) -> &[u8] {
        let start = index
            .checked_sub(1)
            .map_or(0, |before| self.outputs[before].end as usize);
        &self.bytes[start..self.outputs[index].end as usize]
    }

    /// The op that the document of that number was emitted for.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn op(&self, index: usize) -> Op<'_> {
        self.batch.op(self.outputs[index].place as usize)
    }

    /// SHA-256 of the version that emitted the document of that number, in hex.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn version(&self, index: usize) -> &str {
        let version = self.outputs[index].version as usize;
        self.versions.get(version).map_or("", String::as_str)
    }

    /// The module that emitted the document of that number, and its version: `NAME@DIGEST`, of which
    /// the first twelve digits are told.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn emitter(&self, index: usize) -> String {
        let module = self.outputs[index].module as usize;
        let digest = self.version(index);
        let digest = digest.get(..12).unwrap_or(digest);
        format!("{}@{digest}", self.modules[module])
    }

    /// The key of the document of that number, the same on every redelivery of its op:
    /// `OPID#MODULE#NUMBER`. The module is part of it, since two modules may emit for one op.
    ///
    /// What was gathered from several ops has the key `OPID#MODULE#flush#NUMBER` of the last of them,
    /// and may be gathered differently after a restart.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn key(&self, index: usize) -> String {
        let output = &self.outputs[index];
        let module = &self.modules[output.module as usize];
        let id = self.op(index).id().text();
        let mut key = String::with_capacity(id.as_str().len() + module.len() + 12);
        let flush = match output.cause {
            Cause::Op => "",
            Cause::Flush => "flush#",
        };
        write!(key, "{}#{module}#{flush}{}", id.as_str(), output.number)
            .expect("writing to a string does not fail");
        key
    }
}
