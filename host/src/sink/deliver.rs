//! What a sink is.

use std::{sync::Arc, time::Duration};

use bson::Uuid;
use futures_util::future::BoxFuture;

use super::Chunk;
use crate::{mongo::Remains, op::Op};

/// Documents that are delivered together, in order. They may come from several chunks, and so stand
/// for many ops.
#[derive(Debug, Default)]
pub struct OutputBatch {
    entries: Vec<(Arc<Chunk>, u32)>,
    bytes: usize,
}

impl OutputBatch {
    /// Adds a document of a chunk.
    pub fn push(&mut self, chunk: Arc<Chunk>, index: usize) {
        self.bytes += chunk.document(index).len();
        self.entries.push((chunk, index as u32));
    }

    /// How many documents there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many bytes the documents have.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A document, as [`Encoding`](super::Encoding) has it.
    ///
    /// # Panics
    /// When there is none of that number.
    #[must_use]
    pub fn document(&self, index: usize) -> &[u8] {
        let (chunk, place) = &self.entries[index];
        chunk.document(*place as usize)
    }

    /// The document's key; see [`Chunk::key`].
    ///
    /// # Panics
    /// When there is none of that number.
    #[must_use]
    pub fn key(&self, index: usize) -> String {
        let (chunk, place) = &self.entries[index];
        chunk.key(*place as usize)
    }

    /// The module that emitted a document, and its version, as [`Chunk::emitter`].
    ///
    /// # Panics
    /// When there is none of that number.
    #[must_use]
    pub fn emitter(&self, index: usize) -> String {
        let (chunk, place) = &self.entries[index];
        chunk.emitter(*place as usize)
    }

    /// The op that a document was emitted for.
    ///
    /// # Panics
    /// When there is none of that number.
    #[must_use]
    pub fn op(&self, index: usize) -> Op<'_> {
        let (chunk, place) = &self.entries[index];
        chunk.op(*place as usize)
    }

    /// The chunk that a document came in, and its number there.
    ///
    /// # Panics
    /// When there is none of that number.
    #[must_use]
    pub fn entry(&self, index: usize) -> (&Arc<Chunk>, usize) {
        let (chunk, place) = &self.entries[index];
        (chunk, *place as usize)
    }
}

/// A document that a sink will never accept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Its number in the batch.
    pub index: usize,
    /// Why, for people.
    pub reason: String,
}

/// Why a batch was not delivered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeliverError {
    /// It may work later: the same batch is given again.
    #[error("{message}")]
    Passing {
        /// What went wrong, for people.
        message: String,
        /// How long to wait before the next attempt, when the other side says so.
        retry_after: Option<Duration>,
    },
    /// The sink takes no more, ever: the run ends.
    #[error("{message}")]
    Ended {
        /// What went wrong, for people.
        message: String,
        /// Nobody reads the output any more, which is a normal end.
        is_closed: bool,
    },
}

/// Where emitted documents go.
///
/// **A batch** holds documents in the order in which they were emitted. Documents of one order key
/// (the op's document, its namespace, or everything, as the run's ordering says) come in order, one
/// batch after the other: a sink with several workers gets all documents of a key on the same one.
/// The same document may come again, after an attempt that failed and after a restart: always with
/// the same [key](OutputBatch::key), and in the same order among those of its key.
///
/// **`Ok`** means that every document of the batch is where it belongs, as safely as the sink can
/// make it (synced to disk, acknowledged by a majority, answered with 2xx), but for those that are
/// named as rejected. Only then are the ops acknowledged, and only what is acknowledged becomes part
/// of a checkpoint. What is told too early is lost in a crash.
///
/// **`Err`** means that the batch is to be given again, as a whole and as the same value: a sink that
/// remembers it goes on where it stood. What it cannot remember is delivered twice, so it makes that
/// harmless where it can: by the key.
///
/// **A rejection** is for a document that no attempt will ever deliver: it goes into the dead
/// letters, and the others of the batch go on. A sink that is away rejects nothing; it fails, and
/// its documents wait.
///
/// A call that takes longer than the sink's time limit is dropped, and counts as failed.
pub trait Sink: Send + Sync + std::fmt::Debug {
    /// Delivers a batch, which is not empty.
    ///
    /// # Errors
    /// [`DeliverError`].
    fn deliver<'a>(
        &'a self,
        batch: &'a OutputBatch,
    ) -> BoxFuture<'a, Result<Vec<Rejection>, DeliverError>>;

    /// The server sessions that this many workers will write by, where there are any: noted before
    /// the first write, so that who takes over after a crash can end them.
    fn sessions(&self, _workers: usize) -> BoxFuture<'_, Vec<Uuid>> {
        Box::pin(std::future::ready(Vec::new()))
    }

    /// Ends what a process before has left behind: what it had sent last is through then, or never
    /// will be, and does not come after what is written from now on.
    fn end<'a>(&'a self, _remains: &'a Remains) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }
}
