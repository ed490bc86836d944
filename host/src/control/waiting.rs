//! Outputs that wait for their checkpoint, in order.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    checkpoint::{AckWindow, Progress},
    op::{Frontier, Op, Position},
    sink::Chunk,
};

/// How many documents one transaction writes, at most, but for those of a single op: the server
/// gives a transaction a minute.
const DOCUMENTS_MAX: usize = 2_000;

/// Where an output stands in its stream: batch, op, what made the module emit, module, and which
/// document.
pub(super) type Place = (u64, u32, bool, u32, u32);

/// Outputs that wait for their checkpoint.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Whose batches they belong to.
    pub(super) window: Option<Arc<AckWindow>>,
    /// By stream, in order.
    pub(super) outputs: BTreeMap<(usize, Place), (Arc<Chunk>, usize)>,
    pub(super) bytes: usize,
}

/// What one transaction writes.
#[derive(Debug, Default)]
pub(super) struct Share {
    pub(super) outputs: Vec<((usize, Place), Arc<Chunk>, usize)>,
    /// Up to where it reaches, where that is not as far as could be.
    pub(super) cut: Option<(usize, Frontier)>,
}

impl Waiting {
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
                && share.outputs.len() >= DOCUMENTS_MAX
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
