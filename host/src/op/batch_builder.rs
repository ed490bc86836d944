//! Making a batch out of a reply.

use bytes::Bytes;

use super::{Batch, Operation, Origin, Position, Record, Span, batch::span_behind};

/// Collects the ops of one reply.
#[derive(Debug)]
pub struct BatchBuilder {
    body: Bytes,
    extra: Vec<u8>,
    records: Vec<Record>,
    has_commands: bool,
}

impl BatchBuilder {
    /// Starts a batch over a reply.
    #[must_use]
    pub fn new(body: Bytes) -> Self {
        Self {
            body,
            extra: Vec::new(),
            records: Vec::new(),
            has_commands: false,
        }
    }

    /// The reply; cheap to clone, so that parts of it can be borrowed while the batch grows.
    #[must_use]
    pub fn body(&self) -> Bytes {
        self.body.clone()
    }

    /// How many ops there are so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is no op so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The place of a part of the reply.
    ///
    /// # Panics
    /// When `part` does not lie in [`body`](Self::body).
    #[must_use]
    pub fn span_of(&self, part: &[u8]) -> Span {
        let start = (part.as_ptr() as usize).wrapping_sub(self.body.as_ptr() as usize);
        assert!(
            start <= self.body.len() && part.len() <= self.body.len() - start,
            "the part lies in the reply"
        );
        Span {
            start: start as u32,
            len: part.len() as u32,
        }
    }

    /// Keeps a part that the source makes itself: `write` appends it.
    pub fn make(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Span {
        let start = self.extra.len();
        write(&mut self.extra);
        span_behind(start, &self.extra)
    }

    /// Adds an op.
    pub fn push(&mut self, record: Record) {
        self.has_commands |= record.operation == Operation::Command;
        self.records.push(record);
    }

    /// Takes back all ops from the `len`th on, when an entry turned out to be undecodable half way.
    pub fn truncate(&mut self, len: usize) {
        self.records.truncate(len);
    }

    /// Ends the batch.
    #[must_use]
    pub fn finish(self, source: impl Into<Origin>, position: Position, caught_up: bool) -> Batch {
        let Self {
            body,
            extra,
            records,
            has_commands,
        } = self;
        Batch {
            bytes: body.len() + extra.len(),
            body,
            extra: extra.into(),
            records,
            source: source.into(),
            position,
            caught_up,
            has_commands,
            cluster: None,
        }
    }
}
