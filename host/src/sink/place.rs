//! By what a document is known again when its batch is given again.

use std::sync::{Arc, Weak};

use super::{Chunk, OutputBatch};

/// One document of a chunk, which may be gone. While this is here, no other chunk has its address.
#[derive(Debug)]
pub(super) struct Place {
    chunk: Weak<Chunk>,
    index: usize,
}

impl Place {
    pub(super) fn of(batch: &OutputBatch, index: usize) -> Self {
        let (chunk, index) = batch.entry(index);
        Self {
            chunk: Arc::downgrade(chunk),
            index,
        }
    }

    /// Whether the document of that number is this one.
    pub(super) fn is(&self, batch: &OutputBatch, index: usize) -> bool {
        let (chunk, index) = batch.entry(index);
        std::ptr::eq(self.chunk.as_ptr(), Arc::as_ptr(chunk)) && self.index == index
    }

    /// Whether anybody still holds the chunk.
    pub(super) fn is_held(&self) -> bool {
        self.chunk.strong_count() > 0
    }
}
