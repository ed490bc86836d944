//! Changes that came together.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use super::Change;
use crate::{
    checkpoint::AckWindow,
    flow::Documents,
    op::{self, Acknowledge as _, BatchTicket, DocumentState, Op},
};

/// Changes of one reply of the server, in its order, with the documents of their updates. Cheap to
/// clone.
#[derive(Debug, Clone)]
pub struct Batch {
    pub(super) part: Arc<Part>,
    /// Places in the source's batch of what the filters accepted.
    pub(super) places: Arc<[u32]>,
}

/// What the changes of a batch share.
#[derive(Debug)]
pub(super) struct Part {
    batch: Arc<op::Batch>,
    documents: Documents,
    ticket: BatchTicket,
    window: Arc<AckWindow>,
    /// One bit per op of the source's batch, set when it is done.
    done: Box<[AtomicU64]>,
    /// Which of the tail's sessions it was read in.
    pub(super) generation: u64,
}

// === impl Batch ===

impl Batch {
    /// How many changes there are; at least one.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The changes. They can outlive the batch.
    pub fn changes(&self) -> impl ExactSizeIterator<Item = Change> {
        let places = self.places.iter();
        places.map(|&place| Change::new(self.part.clone(), place))
    }

    pub(super) fn change(&self, index: usize) -> Option<Change> {
        let place = self.places.get(index)?;
        Some(Change::new(self.part.clone(), *place))
    }

    /// The ops as they lie in the reply, each with what is known of its document: for who reads so
    /// many that counting the references to a batch would show.
    pub fn ops(&self) -> impl ExactSizeIterator<Item = (Op<'_>, DocumentState<'_>)> {
        self.places.iter().map(|&place| {
            let op = self.part.op(place);
            let document = self.part.document(&op);
            (op, document)
        })
    }

    /// All of it is done. May be repeated.
    pub fn ack(&self) {
        self.part.acknowledge(&self.places);
    }
}

// === impl Part ===

impl Part {
    pub(super) fn new(
        batch: Arc<op::Batch>,
        documents: Documents,
        (window, ticket): (Arc<AckWindow>, BatchTicket),
        generation: u64,
    ) -> Self {
        let words = batch.len().div_ceil(64);
        Self {
            done: (0..words).map(|_| AtomicU64::new(0)).collect(),
            batch,
            documents,
            ticket,
            window,
            generation,
        }
    }

    pub(super) fn op(&self, place: u32) -> Op<'_> {
        self.batch.op(place as usize)
    }

    pub(super) fn document(&self, op: &Op<'_>) -> DocumentState<'_> {
        match op.is_pending() {
            true => DocumentState::LookedUp(self.documents.get(op).flatten()),
            false => DocumentState::NotAsked,
        }
    }

    /// These are done, if they were not.
    pub(super) fn acknowledge(&self, places: &[u32]) {
        let is_new = |place: &u32| {
            let bit = 1 << (place % 64);
            self.done[(place / 64) as usize].fetch_or(bit, Relaxed) & bit == 0
        };
        let new: Vec<u32> = places.iter().copied().filter(is_new).collect();
        if !new.is_empty() {
            self.window.acknowledge(self.ticket, &new);
        }
    }
}
