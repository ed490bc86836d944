//! The batches of one stream that lie above its frontier.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use crate::op::{Batch, Frontier, Op, OpPoint, Position};

/// One stream of a window.
#[derive(Debug)]
pub(super) struct Stream {
    /// After the last batch below which all is done.
    position: Position,
    /// The last op of that batch, or of one before it.
    done: Option<OpPoint>,
    /// From the first in which something is not done; a batch without ops is one that is done.
    pending: VecDeque<Pending>,
    next_sequence: u64,
}

/// A batch above the frontier.
#[derive(Debug)]
struct Pending {
    sequence: u64,
    ops: u32,
    /// Ops that are not done.
    left: u32,
    /// Ops at the beginning that are done; counted only while this is the first batch.
    leading: u32,
    /// One bit per op, set when it is done.
    bits: Vec<u64>,
    since: Instant,
    /// Dropped when all is done.
    batch: Option<Arc<Batch>>,
    /// After this batch, and after those without ops that followed it.
    position: Position,
    /// The last op that has a point, once the batch itself is gone.
    last: Option<OpPoint>,
}

/// What came of taking in a batch.
#[derive(Debug)]
pub(super) struct TakenIn {
    pub(super) sequence: u64,
    pub(super) has_moved: bool,
}

/// What came of an acknowledgement.
#[derive(Debug, Default)]
pub(super) struct Acknowledged {
    /// The frontier has moved.
    pub(super) has_moved: bool,
    /// The batch, when this was the last of it.
    pub(super) freed: Option<Arc<Batch>>,
    /// Ops of the batches that the frontier has passed.
    pub(super) passed: u64,
    /// Ops that were done already, or are not there.
    pub(super) told_twice: usize,
}

// === impl Stream ===

impl Stream {
    pub(super) fn new(start: Frontier) -> Self {
        Self {
            position: start.position,
            done: start.done,
            pending: VecDeque::new(),
            next_sequence: 0,
        }
    }

    pub(super) fn push(&mut self, batch: &Arc<Batch>) -> TakenIn {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let mut has_moved = false;
        if !batch.is_empty() {
            self.pending.push_back(Pending::new(sequence, batch));
        } else if let Some(last) = self.pending.back_mut() {
            // No entry of its own: an idle stream behind a stuck op would collect them for ever.
            last.position = batch.position().clone();
        } else if self.position != *batch.position() {
            self.position = batch.position().clone();
            has_moved = true;
        }
        TakenIn {
            sequence,
            has_moved,
        }
    }

    pub(super) fn acknowledge(&mut self, sequence: u64, places: &[u32]) -> Acknowledged {
        let mut result = Acknowledged::default();
        if places.is_empty() {
            return result;
        }
        // Batches without ops leave holes in the sequence.
        let found = self
            .pending
            .binary_search_by_key(&sequence, |pending| pending.sequence);
        let Ok(at) = found else {
            result.told_twice = places.len();
            return result;
        };
        let pending = &mut self.pending[at];
        result.told_twice = pending.mark(places);
        if pending.left == 0 {
            result.freed = pending.free();
        }
        if at > 0 {
            return result;
        }
        let reached = self.reached();
        while let Some(first) = self.pending.front_mut() {
            first.count_leading();
            if first.left > 0 {
                break;
            }
            let first = self.pending.pop_front().expect("it was just looked at");
            result.passed += u64::from(first.ops);
            self.position = first.position;
            self.done = self.done.max(first.last);
        }
        result.has_moved = self.reached() != reached;
        result
    }

    /// Whether those ops are done that are meant, of the batches before that one, and of its own first
    /// `places`.
    pub(super) fn is_done_up_to(
        &self,
        sequence: u64,
        places: usize,
        is_meant: impl Fn(&Op<'_>) -> bool,
    ) -> bool {
        let up_to = self
            .pending
            .iter()
            .take_while(|pending| pending.sequence <= sequence);
        let mut open = up_to.flat_map(|pending| {
            let ends = pending.sequence == sequence;
            let end = if ends { places } else { usize::MAX };
            pending.open(end)
        });
        !open.any(|op| is_meant(&op))
    }

    /// The sequence of the batch to come.
    pub(super) fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    pub(super) fn frontier(&self) -> Frontier {
        let inside = self.pending.front().and_then(Pending::done);
        Frontier {
            position: self.position.clone(),
            done: self.done.max(inside),
        }
    }

    pub(super) fn reached(&self) -> (u64, u32) {
        self.pending
            .front()
            .map_or((self.next_sequence, 0), |first| {
                (first.sequence, first.leading)
            })
    }

    /// Ops that are done at the beginning of the first batch.
    pub(super) fn leading(&self) -> u64 {
        u64::from(self.reached().1)
    }

    pub(super) fn oldest(&self) -> Option<Instant> {
        self.pending.front().map(|first| first.since)
    }
}

// === impl Pending ===

impl Pending {
    fn new(sequence: u64, batch: &Arc<Batch>) -> Self {
        let ops = u32::try_from(batch.len()).expect("a batch is smaller than 4 GiB");
        Self {
            sequence,
            ops,
            left: ops,
            leading: 0,
            bits: vec![0; batch.len().div_ceil(64)],
            since: Instant::now(),
            batch: Some(batch.clone()),
            position: batch.position().clone(),
            last: None,
        }
    }

    /// Sets the bits of those places, and counts those that were set or do not exist.
    fn mark(&mut self, places: &[u32]) -> usize {
        let mut told_twice = 0;
        for &place in places {
            let bit = 1 << (place % 64);
            match self.bits.get_mut(place as usize / 64) {
                Some(word) if place < self.ops && *word & bit == 0 => {
                    *word |= bit;
                    self.left -= 1;
                }
                _ => told_twice += 1,
            }
        }
        told_twice
    }

    /// The ops among the first `len` that are not done.
    fn open(&self, len: usize) -> impl Iterator<Item = Op<'_>> {
        let words = self.bits.iter().enumerate();
        let open = words.filter(|(_, word)| **word != u64::MAX);
        let places = open.flat_map(|(index, word)| {
            let first = index * 64;
            (0..64).filter_map(move |bit| (word >> bit & 1 == 0).then_some(first + bit))
        });
        let end = len.min(self.ops as usize);
        let batch = self.batch.as_deref().into_iter();
        let places = places.take_while(move |place| *place < end);
        batch.flat_map(move |batch| places.clone().map(|place| batch.op(place)))
    }

    /// Forgets all but the last point.
    fn free(&mut self) -> Option<Arc<Batch>> {
        let batch = self.batch.take()?;
        self.last = last_point(&batch, self.ops);
        self.leading = self.ops;
        self.bits = Vec::new();
        Some(batch)
    }

    fn count_leading(&mut self) {
        while let Some(word) = self.bits.get(self.leading as usize / 64) {
            let set = (word >> (self.leading % 64)).trailing_ones();
            self.leading += set;
            if set == 0 || !self.leading.is_multiple_of(64) {
                return;
            }
        }
    }

    /// The last op of those done at the beginning.
    fn done(&self) -> Option<OpPoint> {
        match &self.batch {
            Some(batch) => last_point(batch, self.leading),
            None => self.last,
        }
    }
}

/// The last point among the first `len` ops. Where ops have none, frontiers do not either.
fn last_point(batch: &Batch, len: u32) -> Option<OpPoint> {
    (0..len as usize)
        .rev()
        .find_map(|place| batch.op(place).point())
}
