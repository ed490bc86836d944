//! Chunks that wait for a worker to deliver them.

use std::{collections::VecDeque, sync::Arc};

use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use super::{Batching, Chunk, OutputBatch, Rejected, Rejection};
use crate::op::Ack;

/// A chunk that a worker has to deliver.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) chunk: Arc<Chunk>,
    /// The duty, which was taken out of the chunk: that may have other holders when it is done.
    pub(super) ack: Ack,
    pub(super) arrived: Instant,
    /// The room that the chunk takes in the sink's queue, given back when it is done.
    pub(super) _room: OwnedSemaphorePermit,
    /// How many of its documents were put into a batch.
    pub(super) taken: usize,
}

impl Queued {
    fn documents_left(&self) -> usize {
        self.chunk.outputs.len() - self.taken
    }

    fn bytes_left(&self) -> usize {
        let before = self.taken.checked_sub(1);
        let start = before.map_or(0, |last| self.chunk.outputs[last].end as usize);
        self.chunk.bytes.len() - start
    }
}

/// Chunks in the order in which they came. Documents are taken from the front as a batch; when that
/// was delivered, the chunks that have no more documents are done.
#[derive(Debug, Default)]
pub(super) struct Pending {
    chunks: VecDeque<Queued>,
    documents: usize,
    bytes: usize,
}

/// What became of a batch that was delivered.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// Duties that are done.
    pub(super) acks: Vec<Ack>,
    /// Documents for the dead letters, in the batch's order.
    pub(super) rejected: Vec<Rejected>,
    /// Documents of the chunks that are done, and their bytes.
    pub(super) documents: usize,
    pub(super) bytes: usize,
}

impl Pending {
    pub(super) fn push(&mut self, queued: Queued) {
        self.documents += queued.documents_left();
        self.bytes += queued.bytes_left();
        self.chunks.push_back(queued);
    }

    /// Whether there is enough for a batch of the largest size.
    pub(super) fn is_full(&self, batching: &Batching) -> bool {
        self.documents >= batching.documents_max || self.bytes >= batching.bytes_max
    }

    /// Since when the oldest chunk has been waiting.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        self.chunks.front().map(|queued| queued.arrived)
    }

    /// Takes documents from the front. What was taken before has to be settled.
    pub(super) fn take(&mut self, batching: &Batching) -> OutputBatch {
        let mut batch = OutputBatch::default();
        for queued in &mut self.chunks {
            while queued.documents_left() > 0 {
                let len = queued.chunk.document(queued.taken).len();
                let is_full = batch.len() >= batching.documents_max
                    || batch.bytes() + len > batching.bytes_max;
                if is_full && !batch.is_empty() {
                    return batch;
                }
                batch.push(queued.chunk.clone(), queued.taken);
                queued.taken += 1;
                self.documents -= 1;
                self.bytes -= len;
            }
        }
        batch
    }

    /// The batch that was taken last is delivered, but for what is rejected.
    pub(super) fn settle(
        &mut self,
        batch: &OutputBatch,
        mut rejections: Vec<Rejection>,
        sink: &str,
    ) -> Settled {
        let mut settled = Settled::default();
        rejections.sort_by_key(|rejection| rejection.index);
        rejections.dedup_by_key(|rejection| rejection.index);
        rejections.retain(|rejection| rejection.index < batch.len());
        for Rejection { index, reason } in rejections {
            let (chunk, place) = batch.entry(index);
            let holder = self.chunks.iter();
            let mut holder = holder.filter(|queued| Arc::ptr_eq(&queued.chunk, chunk));
            let ack = holder.next().expect("what is in the batch is pending");
            settled.rejected.push(Rejected {
                sink: sink.to_owned(),
                chunk: chunk.clone(),
                index: place,
                reason,
                ack: ack.ack.split(),
            });
        }
        while let Some(front) = self.chunks.front()
            && front.documents_left() == 0
        {
            let Some(done) = self.chunks.pop_front() else {
                break;
            };
            settled.documents += done.chunk.outputs.len();
            settled.bytes += done.chunk.bytes.len();
            settled.acks.push(done.ack);
        }
        settled
    }
}
