//! The way of chunks from the lanes to a sink's workers.

use std::sync::{Arc, atomic::Ordering};

use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    time::Instant,
};

use super::{Chunk, Encoding, Output, pending::Queued, state::Counters};
use crate::op::Ack;

/// The sink takes no more: it has ended, or was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sink takes no more")]
pub struct Closed;

/// What a worker is told.
#[derive(Debug)]
pub(super) enum Message {
    /// Deliver this.
    Chunk(Queued),
    /// Say when everything before this is delivered.
    Flush(oneshot::Sender<()>),
}

/// Hands chunks over to a sink. Any number of lanes may share it.
#[derive(Debug, Clone)]
pub struct SinkSender(Arc<Queue>);

#[derive(Debug)]
struct Queue {
    encoding: Encoding,
    /// What may be in the queue and under way, in bytes.
    room: Arc<Semaphore>,
    room_bytes: u32,
    /// Not bounded by themselves: `room` is the bound.
    workers: Vec<mpsc::UnboundedSender<Message>>,
    counters: Arc<Counters>,
}

impl SinkSender {
    pub(super) fn new(
        encoding: Encoding,
        queue_bytes: usize,
        workers: Vec<mpsc::UnboundedSender<Message>>,
        counters: Arc<Counters>,
    ) -> Self {
        let room_bytes = u32::try_from(queue_bytes).unwrap_or(u32::MAX);
        Self(Arc::new(Queue {
            encoding,
            room: Arc::new(Semaphore::new(room_bytes as usize)),
            room_bytes,
            workers,
            counters,
        }))
    }

    /// How the sink wants its documents.
    #[must_use]
    pub fn encoding(&self) -> Encoding {
        self.0.encoding
    }

    /// How many workers it has. All documents of one order key have to go to the same one.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.0.workers.len()
    }

    /// Hands a chunk over to a worker; waits while the sink's queue is full.
    ///
    /// Cancellation safe in that nothing is left half done: a chunk that was not handed over is
    /// dropped, its ops are not acknowledged, and they come again after a restart.
    ///
    /// # Errors
    /// [`Closed`]; the chunk's ops are not acknowledged.
    ///
    /// # Panics
    /// When there is no worker of that number.
    pub async fn send(&self, worker: usize, mut chunk: Chunk) -> Result<(), Closed> {
        let queue = &*self.0;
        let weight = chunk.bytes.len() + chunk.outputs.len() * size_of::<Output>();
        let weight = u32::try_from(weight).unwrap_or(u32::MAX);
        let room = queue.room.clone();
        let room = room
            .acquire_many_owned(weight.min(queue.room_bytes))
            .await
            .map_err(|_| Closed)?;
        let (documents, bytes) = (chunk.outputs.len(), chunk.bytes.len());
        queue.counters.queued.add(documents, bytes);
        let ack = std::mem::replace(&mut chunk.ack, Ack::to_nobody());
        let queued = Queued {
            chunk: Arc::new(chunk),
            ack,
            arrived: Instant::now(),
            _room: room,
            taken: 0,
        };
        queue.workers[worker]
            .send(Message::Chunk(queued))
            .map_err(|_| {
                queue.counters.queued.remove(documents, bytes);
                Closed
            })
    }

    /// Waits until everything that was handed over before is delivered or rejected, or the workers
    /// have ended. Cancellation safe.
    pub(super) async fn flush(&self) {
        let flushed: Vec<_> = self
            .0
            .workers
            .iter()
            .filter_map(|worker| {
                let (reply, flushed) = oneshot::channel();
                worker.send(Message::Flush(reply)).ok().map(|()| flushed)
            })
            .collect();
        for flushed in flushed {
            // A worker that ends drops the reply.
            let _ = flushed.await;
        }
    }

    /// Takes no more: who waits for room is told.
    pub(super) fn close(&self) {
        self.0.room.close();
    }
}

/// What waits, or is under way.
#[derive(Debug, Default)]
pub(super) struct InQueue {
    documents: std::sync::atomic::AtomicUsize,
    bytes: std::sync::atomic::AtomicUsize,
}

impl InQueue {
    fn add(&self, documents: usize, bytes: usize) {
        self.documents.fetch_add(documents, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn remove(&self, documents: usize, bytes: usize) {
        self.documents.fetch_sub(documents, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> (usize, usize) {
        (
            self.documents.load(Ordering::Relaxed),
            self.bytes.load(Ordering::Relaxed),
        )
    }
}
