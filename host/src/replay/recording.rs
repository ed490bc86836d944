//! A recording that is read.

use std::{fs::File, io::Read, path::Path};

use super::{
    Error, OpFault,
    documents::{Documents, Found},
    envelope::{self, Seen},
};

/// What a recording holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Op documents.
    Ops,
    /// Raw oplog entries, as mongodump writes them.
    OplogEntries,
}

/// Reads a recording from its beginning to its end.
pub struct Recording {
    documents: Documents,
    content: Option<Content>,
    /// A fault that is told when what lay before it was given.
    fault: Option<Error>,
    /// How many documents were given.
    given: u64,
}

/// Some documents of a recording, in order.
#[derive(Debug)]
pub struct Chunk {
    bytes: Vec<u8>,
    spans: Vec<Span>,
    content: Content,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    start: usize,
    end: usize,
    is_pending: bool,
}

impl Recording {
    /// Opens a file; nothing is read yet.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        match File::open(path) {
            Ok(file) => Ok(Self::new(&name, file)),
            Err(source) => Err(Error::Io { name, source }),
        }
    }

    /// Reads what another gives; `name` is what errors call it.
    #[must_use]
    pub fn new(name: &str, input: impl Read + Send + 'static) -> Self {
        Self {
            documents: Documents::new(name.to_owned(), Box::new(input)),
            content: None,
            fault: None,
            given: 0,
        }
    }

    /// The next documents, at least one, or `None` at the end; all of a recording are of one kind. From
    /// a pipe, what has come is given without waiting for more.
    ///
    /// # Errors
    /// What is wrong with the next document, when all before it was given; nothing follows then.
    /// [`Error::Empty`] for a recording without any.
    #[expect(
        clippy::should_implement_trait,
        reason = "what is behind an error is not read, and an iterator would go on"
    )]
    pub fn next(&mut self) -> Result<Option<Chunk>, Error> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        let Some(found) = self.documents.next()? else {
            let name = self.documents.name().to_owned();
            return match self.content {
                Some(_) => Ok(None),
                None => Err(Error::Empty { name }),
            };
        };
        let chunk = self.chunk(found);
        self.given += chunk.spans.len() as u64;
        match self.fault.take_if(|_| chunk.spans.is_empty()) {
            Some(fault) => Err(fault),
            None => Ok(Some(chunk)),
        }
    }

    /// Looks at each document, up to the first that is wrong. Most are taken where they lie; what is
    /// made of others lies behind all.
    fn chunk(&mut self, found: Found) -> Chunk {
        let Found {
            mut bytes,
            documents,
        } = found;
        let mut spans = Vec::with_capacity(documents.len());
        for (number, document) in (self.given + 1..).zip(&documents) {
            let seen = envelope::look(&bytes[document.start..document.end]);
            let span = seen.and_then(|seen| {
                self.is_of_its_kind(seen)?;
                let (start, end) = (document.start, document.end);
                let (start, end, is_pending) = match seen {
                    Seen::Op { is_pending } => (start, end, is_pending),
                    Seen::Entry => (start, end, false),
                    Seen::Loose => {
                        let mut op = Vec::with_capacity(end - start + 128);
                        let is_pending = envelope::complete(&bytes[start..end], number, &mut op)?;
                        let start = bytes.len();
                        bytes.extend_from_slice(&op);
                        (start, bytes.len(), is_pending)
                    }
                };
                Ok(Span {
                    start,
                    end,
                    is_pending,
                })
            });
            match span {
                Ok(span) => spans.push(span),
                Err(source) => {
                    let place = self.documents.place(document);
                    self.fault = Some(match source {
                        OpFault::Malformed(source) => Error::NotBson { place, source },
                        source => Error::NotAnOp { place, source },
                    });
                    break;
                }
            }
        }
        Chunk {
            bytes,
            spans,
            content: self.content.unwrap_or(Content::Ops),
        }
    }

    fn is_of_its_kind(&mut self, seen: Seen) -> Result<(), OpFault> {
        let content = match seen {
            Seen::Entry => Content::OplogEntries,
            Seen::Op { .. } | Seen::Loose => Content::Ops,
        };
        match (*self.content.get_or_insert(content), content) {
            (Content::Ops, Content::OplogEntries) => Err(OpFault::EntryAmongOps),
            (Content::OplogEntries, Content::Ops) => Err(OpFault::OpAmongEntries),
            _ => Ok(()),
        }
    }
}

impl Chunk {
    /// A chunk of op documents, each with whether it is pending, made by who decodes oplog entries.
    #[must_use]
    pub fn of_ops<T: AsRef<[u8]>>(ops: impl IntoIterator<Item = (T, bool)>) -> Self {
        let mut bytes = Vec::new();
        let span = |(op, is_pending): (T, bool)| {
            let start = bytes.len();
            bytes.extend_from_slice(op.as_ref());
            Span {
                start,
                end: bytes.len(),
                is_pending,
            }
        };
        Self {
            spans: ops.into_iter().map(span).collect(),
            bytes,
            content: Content::Ops,
        }
    }

    /// Keeps only the documents that are wanted.
    pub fn retain(&mut self, is_wanted: impl Fn(&[u8]) -> bool) {
        let bytes = &self.bytes;
        self.spans
            .retain(|span| is_wanted(&bytes[span.start..span.end]));
    }

    /// What it holds.
    #[must_use]
    pub fn content(&self) -> Content {
        self.content
    }

    /// How many documents.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The documents in order: the bytes, and whether it is a pending op.
    pub fn documents(&self) -> impl ExactSizeIterator<Item = (&[u8], bool)> {
        let document = |span: &Span| (&self.bytes[span.start..span.end], span.is_pending);
        self.spans.iter().map(document)
    }
}

impl std::fmt::Debug for Recording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recording")
            .field("name", &self.documents.name())
            .field("content", &self.content)
            .field("given", &self.given)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
