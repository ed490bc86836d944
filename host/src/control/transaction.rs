//! Outputs that are written in one transaction with the checkpoint: exactly once.
//!
//! A transactional sink has no queue. What lanes emit to it lies in a [`Ledger`], and counts as
//! done; when the frontier has passed an op, its outputs are written in the transaction that makes
//! that frontier the checkpoint. A crash leaves either both or neither.

use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use futures_util::future::BoxFuture;
use mongodb::{
    Client, ClientSession,
    error::{TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT},
    options::{ReadConcern, TransactionOptions, WriteConcern},
};
use tokio::sync::Notify;
use tracing::warn;

use super::{
    Error,
    outlet::Outlet,
    post::Post,
    waiting::{Share, Waiting},
};
use crate::{
    backoff::Backoff,
    checkpoint::{self, AckWindow, Checkpoint, Lease, Progress, Store},
    mongo::{self, Fault},
    op::{Ack, Frontier},
    sink::{
        Cause, Chunk, Closed, Context, DeliverError, Encoding, Kind, Latency, OpenError,
        OutputBatch, Rejection, SinkState, Spec, mongodb::MongodbSink,
    },
};

/// How many bytes of outputs may wait before nothing more is read.
const BYTES_MAX: usize = 64 << 20;

/// How long the writes of one transaction may take: the server gives it a minute, and the driver
/// waits for ever for a server that is silent.
const ATTEMPT_TIME: Duration = Duration::from_secs(60);

/// How long ending a transaction that failed may take.
const ABORT_TIME: Duration = Duration::from_secs(5);

const WHAT: &str = "write outputs and checkpoint in one transaction";

/// Outputs that wait for their checkpoint.
#[derive(Debug)]
pub(super) struct Ledger {
    sink: MongodbSink,
    name: String,
    target: String,
    post: Arc<Post>,
    /// The one session of all transactions: whoever takes over has to end it. The lock is held for a
    /// transaction.
    session: tokio::sync::Mutex<ClientSession>,
    session_id: Option<bson::Uuid>,
    waiting: Mutex<Waiting>,
    room: Notify,
    delivered: AtomicU64,
    delivered_bytes: AtomicU64,
    rejected: AtomicU64,
    failures: AtomicU64,
    /// Since when transactions fail, and how the last one did, if it did. The lock is held to note or
    /// read it.
    failing: Mutex<Option<(SystemTime, String)>>,
    /// The lock is held to add one transaction, or to read.
    latency: Mutex<Latency>,
}

/// What came of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// All that is done.
    All,
    /// As much as one transaction takes.
    Part,
    /// Nothing: what waits belongs to another session.
    Stale,
}

impl Ledger {
    /// Opens the sink; checkpoints are kept on its deployment.
    ///
    /// # Errors
    /// When it does not answer: without it nothing can be acknowledged.
    pub(super) async fn open(
        spec: &Spec,
        context: &Context,
        post: Arc<Post>,
    ) -> Result<Self, Error> {
        let Kind::Mongodb(options) = &spec.kind else {
            let reason = format!("{} is no MongoDB", spec.target);
            return Err(Error::Transactional { reason });
        };
        let mut backoff = Backoff::new();
        let sink = loop {
            match MongodbSink::open(options, context).await {
                Ok(sink) => break sink,
                Err(DeliverError::Passing { message, .. }) => {
                    let delay = backoff.next_delay();
                    warn!(sink = spec.name, error = message, retry_in = ?delay,
                        "the transactional sink does not answer; trying again");
                    tokio::time::sleep(delay).await;
                }
                Err(source) => {
                    return Err(Error::SinkOpen(OpenError {
                        sink: spec.name.clone(),
                        target: spec.target.clone(),
                        source,
                    }));
                }
            }
        };
        let session = sink.client().start_session().await;
        let session = session.map_err(|error| Error::Transactional {
            reason: format!("no session can be had: {}", mongo::describe(&error)),
        })?;
        let session_id = match session.id().get("id") {
            Some(bson::Bson::Binary(id)) => id.to_uuid().ok(),
            _ => None,
        };
        Ok(Self {
            session: tokio::sync::Mutex::new(session),
            session_id,
            sink,
            name: spec.name.clone(),
            post,
            waiting: Mutex::default(),
            room: Notify::new(),
            target: spec.target.clone(),
            delivered: AtomicU64::new(0),
            delivered_bytes: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            failing: Mutex::default(),
            latency: Mutex::default(),
        })
    }

    /// The session of all transactions.
    pub(super) fn session_id(&self) -> Option<bson::Uuid> {
        self.session_id
    }

    /// The deployment that is written to.
    pub(super) fn client(&self) -> &Client {
        self.sink.client()
    }

    /// Waits until more may be read. Lanes are never held: the op that all wait for may be in one of
    /// them. Cancellation safe.
    pub(super) async fn room(&self) {
        loop {
            let freed = self.room.notified();
            if self.waiting().bytes < BYTES_MAX {
                return;
            }
            freed.await;
        }
    }

    /// Forgets what was emitted and not written: it will be emitted again. What comes from now on
    /// belongs to batches of that window, which then waits where too much is done and not saved.
    pub(super) fn begin(&self, window: Arc<AckWindow>) {
        window.hold_unsaved(true);
        *self.waiting() = Waiting {
            window: Some(window),
            ..Waiting::default()
        };
        self.room.notify_waiters();
    }

    /// How the sink stands.
    pub(super) fn state(&self) -> SinkState {
        let (failing_since, last_error) = self.failing().clone().unzip();
        let waiting = self.waiting();
        SinkState {
            name: self.name.clone(),
            kind: "mongodb",
            target: self.target.clone(),
            ready: failing_since.is_none(),
            delivered: self.delivered.load(Relaxed),
            delivered_bytes: self.delivered_bytes.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
            failures: self.failures.load(Relaxed),
            queued: waiting.outputs.len() as u64,
            queued_bytes: waiting.bytes as u64,
            failing_since,
            last_error,
            latency: self.latency().clone(),
        }
    }

    fn failing(&self) -> MutexGuard<'_, Option<(SystemTime, String)>> {
        self.failing.lock().expect("no holder of this lock panics")
    }

    fn latency(&self) -> MutexGuard<'_, Latency> {
        self.latency.lock().expect("no holder of this lock panics")
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("no holder of this lock panics")
    }

    /// Writes outputs and checkpoint in one transaction. `checkpoint` is moved back where one
    /// transaction cannot take all that is done; `saved` is what was saved of that window last, or
    /// where it began.
    pub(super) async fn commit(
        &self,
        store: &Store,
        lease: &Lease,
        checkpoint: &mut Checkpoint,
        progress: &Progress,
        (window, saved): (&Arc<AckWindow>, &[Frontier]),
    ) -> Result<Written, checkpoint::Error> {
        let Some(mut share) = self.waiting().share(window, progress, saved) else {
            return Ok(Written::Stale);
        };
        if let Some((stream, frontier)) = share.cut.take() {
            // What belongs to other streams comes with the next one.
            for (index, stream) in checkpoint.streams.iter_mut().enumerate() {
                stream.frontier = saved[index].clone();
            }
            checkpoint.streams[stream].frontier = frontier;
            self.write(store, lease, checkpoint, (window, share))
                .await?;
            return Ok(Written::Part);
        }
        self.write(store, lease, checkpoint, (window, share))
            .await?;
        Ok(Written::All)
    }

    async fn write(
        &self,
        store: &Store,
        lease: &Lease,
        checkpoint: &Checkpoint,
        (window, mut share): (&Arc<AckWindow>, Share),
    ) -> Result<(), checkpoint::Error> {
        let keys: Vec<_> = share.outputs.iter().map(|(key, ..)| *key).collect();
        let mut rejected = 0;
        loop {
            let mut batch = OutputBatch::default();
            for (_, chunk, index) in &share.outputs {
                batch.push(chunk.clone(), *index);
            }
            let begun = Instant::now();
            let mut session = self.session.lock().await;
            let attempt = self.attempt(store, lease, checkpoint, &batch, &mut session);
            let attempt = tokio::time::timeout(ATTEMPT_TIME, attempt).await;
            let attempt = attempt.unwrap_or_else(|_| {
                Err(checkpoint::Error::too_late(WHAT.to_owned(), ATTEMPT_TIME))
            });
            if !matches!(&attempt, Ok(rejections) if rejections.is_empty()) {
                // The server may have aborted it already.
                let aborted = session.abort_transaction();
                let _ = tokio::time::timeout(ABORT_TIME, aborted).await;
            }
            let rejections = self.note(attempt)?;
            if rejections.is_empty() {
                let committed = commit(&mut session).await;
                self.note(committed)?;
                if !batch.is_empty() {
                    self.delivered_bytes
                        .fetch_add(batch.bytes() as u64, Relaxed);
                    self.latency().add(begun.elapsed());
                }
                break;
            }
            // The transaction was aborted: once more, without these.
            for rejection in rejections.iter().rev() {
                let (_, chunk, index) = share.outputs.remove(rejection.index);
                let (name, reason) = (&self.name, &rejection.reason);
                let refused = self.post.refused(
                    name,
                    &chunk,
                    index,
                    Encoding::Bson,
                    reason,
                    Ack::to_nobody(),
                );
                refused.await;
                rejected += 1;
            }
            // Kept before the checkpoint goes beyond their ops.
            self.post.flush().await;
        }
        self.delivered
            .fetch_add(share.outputs.len() as u64, Relaxed);
        self.rejected.fetch_add(rejected, Relaxed);
        let mut waiting = self.waiting();
        // What another session has emitted meanwhile has the same places, and is not written.
        if waiting.is_of(window) {
            keys.into_iter().for_each(|key| waiting.remove(&key));
            self.room.notify_waiters();
        }
        Ok(())
    }

    /// Notes whether transactions work.
    fn note<T>(&self, attempted: Result<T, checkpoint::Error>) -> Result<T, checkpoint::Error> {
        let mut failing = self.failing();
        match &attempted {
            Ok(_) => *failing = None,
            Err(error) => {
                self.failures.fetch_add(1, Relaxed);
                let since = failing.take().map(|(since, _)| since);
                let since = since.unwrap_or_else(SystemTime::now);
                *failing = Some((since, checkpoint::chain(error)));
            }
        }
        attempted
    }

    /// One transaction, to be committed unless it names documents that it failed on.
    async fn attempt(
        &self,
        store: &Store,
        lease: &Lease,
        checkpoint: &Checkpoint,
        batch: &OutputBatch,
        session: &mut ClientSession,
    ) -> Result<Vec<Rejection>, checkpoint::Error> {
        let options = TransactionOptions::builder()
            .read_concern(ReadConcern::snapshot())
            .write_concern(WriteConcern::majority())
            .build();
        let begun = session.start_transaction().with_options(options).await;
        begun.map_err(failed)?;
        if !batch.is_empty() {
            let rejections = self
                .sink
                .deliver_in(session, batch)
                .await
                // As with every sink: what cannot be written now waits until it can.
                .map_err(|error| checkpoint::Error::Away {
                    what: WHAT.to_owned(),
                    source: Box::new(error),
                })?;
            if !rejections.is_empty() {
                return Ok(rejections);
            }
        }
        store.save_in(session, lease, checkpoint).await?;
        Ok(Vec::new())
    }
}

/// Commits, and asks again for as long as it is not known whether that was done: to begin anew would
/// write twice what was written.
async fn commit(session: &mut ClientSession) -> Result<(), checkpoint::Error> {
    let mut backoff = Backoff::new();
    loop {
        let error = match session.commit_transaction().await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let is_unknown = error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT)
            || (Fault::of(&error) == Fault::Passing
                && !error.contains_label(TRANSIENT_TRANSACTION_ERROR));
        if !is_unknown {
            return Err(failed(error));
        }
        let delay = backoff.next_delay();
        warn!(attempt = backoff.attempts(), retry_in = ?delay, error = mongo::describe(&error),
            "it is not known whether a transaction was committed; asking again");
        tokio::time::sleep(delay).await;
    }
}

fn failed(error: mongodb::error::Error) -> checkpoint::Error {
    checkpoint::Error::of_driver(WHAT.to_owned(), error)
}

impl Outlet for Ledger {
    fn encoding(&self) -> Encoding {
        Encoding::Bson
    }

    fn workers(&self) -> usize {
        1
    }

    fn send(&self, _: usize, mut chunk: Chunk) -> BoxFuture<'_, Result<(), Closed>> {
        let ack = std::mem::replace(&mut chunk.ack, Ack::to_nobody());
        let ticket = ack.ticket();
        let chunk = Arc::new(chunk);
        let mut waiting = self.waiting();
        for (index, output) in chunk.outputs.iter().enumerate() {
            let is_flush = output.cause == Cause::Flush;
            let place = (
                ticket.sequence,
                output.place,
                is_flush,
                output.module,
                output.number,
            );
            waiting.insert((ticket.stream, place), &chunk, index);
        }
        drop(waiting);
        ack.done();
        Box::pin(std::future::ready(Ok(())))
    }
}
