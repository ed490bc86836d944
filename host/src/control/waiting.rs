//! Outputs that wait for their checkpoint, in order.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::{
    checkpoint::{AckWindow, Progress},
    op::{Frontier, Op, Position},
    sink::Chunk,
};

/// How many documents one transaction writes, at most, but for those of a single op: the server
/// gives a transaction a minute, and the lease cannot be renewed meanwhile.
const DOCUMENTS_MAX: usize = 2_000;

/// A transaction that takes longer takes too many documents: a lease is renewed every two seconds.
const LONG: Duration = Duration::from_secs(1);

/// Where an output stands in its stream: batch, op, what made the module emit, module, and which
/// document.
pub(super) type Place = (u64, u32, bool, u32, u32);

/// Outputs that wait for their checkpoint.
#[derive(Debug)]
pub(super) struct Waiting {
    /// Whose batches they belong to.
    pub(super) window: Option<Arc<AckWindow>>,
    /// By stream, in order.
    pub(super) outputs: BTreeMap<(usize, Place), (Arc<Chunk>, usize)>,
    pub(super) bytes: usize,
    /// How many documents one transaction writes at present.
    pub(super) documents_max: usize,
}

/// What one transaction writes.
#[derive(Debug, Default)]
pub(super) struct Share {
    pub(super) outputs: Vec<((usize, Place), Arc<Chunk>, usize)>,
    /// Up to where it reaches, where that is not as far as could be.
    pub(super) cut: Option<(usize, Frontier)>,
}

impl Default for Waiting {
    fn default() -> Self {
        Self {
            window: None,
            outputs: BTreeMap::new(),
            bytes: 0,
            documents_max: DOCUMENTS_MAX,
        }
    }
}

impl Waiting {
    /// A transaction has taken so long for so many documents: the next ones take as many as are written
    /// in good time.
    pub(super) fn took(&mut self, documents: usize, time: Duration) {
        if time > LONG {
            self.documents_max = (documents.min(self.documents_max) / 2).max(1);
        } else if time < LONG / 4 && documents >= self.documents_max {
            self.documents_max = (self.documents_max * 2).min(DOCUMENTS_MAX);
        }
    }

    pub(super) fn is_of(&self, window: &Arc<AckWindow>) -> bool {
        let own = self.window.as_ref();
        own.is_some_and(|own| Arc::ptr_eq(own, window))
    }

    pub(super) fn insert(&mut self, key: (usize, Place), chunk: &Arc<Chunk>, index: usize) {
        self.remove(&key);
        self.bytes += chunk.document(index).len();
        self.outputs.insert(key, (chunk.clone(), index));
    }

    pub(super) fn remove(&mut self, key: &(usize, Place)) {
        if let Some((chunk, index)) = self.outputs.remove(key) {
            self.bytes -= chunk.document(index).len();
        }
    }

    /// Whether an output behind that place was gathered over ops of its batch, maybe also over some
    /// before it: these must not be told as done without it.
    pub(super) fn is_gathering(&self, stream: usize, place: Place) -> bool {
        let behind = (stream, (place.0, place.1 + 1, false, 0, 0));
        let end = (stream, (place.0 + 1, 0, false, 0, 0));
        let mut outputs = self.outputs.range(behind..end);
        outputs.any(|((_, (_, _, is_gathered, _, _)), _)| *is_gathered)
    }

    /// The outputs of everything that is done, or of so much as one transaction takes; none when they
    /// belong to another window.
    pub(super) fn share(
        &self,
        window: &Arc<AckWindow>,
        progress: &Progress,
        saved: &[Frontier],
    ) -> Option<Share> {
        if !self.is_of(window) {
            return None;
        }
        let reached = progress.reached.iter().enumerate();
        let done = reached.flat_map(|(stream, (batch, ops))| {
            let begin = (stream, (0, 0, false, 0, 0));
            let end = (stream, (*batch, *ops, false, 0, 0));
            self.outputs.range(begin..end)
        });
        let mut share = Share::default();
        for (key, (chunk, index)) in done {
            if let Some(((stream, last), before, at)) = share.outputs.last()
                && share.outputs.len() >= self.documents_max
                && (*stream, last.0, last.1) != (key.0, key.1.0, key.1.1)
                && let Some(frontier) = cut_at(saved.get(*stream), &before.op(*at))
                && !self.is_gathering(*stream, *last)
            {
                let stream = *stream;
                share.cut = Some((stream, frontier));
                share.outputs.retain(|((of, _), ..)| *of == stream);
                break;
            }
            share.outputs.push((*key, chunk.clone(), *index));
        }
        Some(share)
    }
}

/// How far a stream is done when its outputs up to those of that op are written; `saved` is how far it
/// was, and none where it has no position: a direct read. None where that cannot be told.
fn cut_at(saved: Option<&Frontier>, op: &Op<'_>) -> Option<Frontier> {
    let Some(saved) = saved else {
        return Some(Frontier::at(Position::Time(op.timestamp())));
    };
    // Everything up to the op is done, since the frontier is beyond it.
    Some(Frontier {
        position: saved.position.clone(),
        done: saved.done.max(Some(op.point()?)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_that_take_long_take_less_and_then_more_again() {
        let mut waiting = Waiting::default();
        let mut took = |documents, ms| {
            waiting.took(documents, Duration::from_millis(ms));
            waiting.documents_max
        };
        assert_eq!(took(2_000, 900), 2_000);
        assert_eq!(took(2_000, 1_100), 1_000);
        assert_eq!(took(300, 60_000), 150, "less than half was too much");
        assert_eq!(took(150, 500), 150);
        assert_eq!(took(20, 1), 150, "few take no time");
        assert_eq!(took(150, 100), 300);
        assert_eq!(took(1, 60_000), 1, "an op is not divided");
        for _ in 0..12 {
            took(2_000, 1);
        }
        assert_eq!(took(2_000, 1), 2_000);
    }
}
