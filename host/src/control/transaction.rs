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
    time::SystemTime,
};

use futures_util::future::BoxFuture;
use mongodb::{Client, ClientSession};
use tokio::sync::Notify;
use tracing::warn;

use super::{Error, outlet::Outlet, post::Post, waiting::Waiting};
use crate::{
    backoff::Backoff,
    checkpoint::AckWindow,
    mongo,
    op::Ack,
    sink::{
        Cause, Chunk, Closed, Context, DeliverError, Encoding, Kind, Latency, OpenError, SinkState,
        Spec, mongodb::MongodbSink,
    },
};

/// How many bytes of outputs may wait before nothing more is read.
const BYTES_MAX: usize = 64 << 20;

/// Outputs that wait for their checkpoint.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) sink: MongodbSink,
    pub(super) name: String,
    target: String,
    pub(super) post: Arc<Post>,
    /// The one session of all transactions: whoever takes over has to end it. The lock is held for a
    /// transaction.
    pub(super) session: tokio::sync::Mutex<ClientSession>,
    session_id: Option<bson::Uuid>,
    waiting: Mutex<Waiting>,
    pub(super) room: Notify,
    pub(super) delivered: AtomicU64,
    pub(super) delivered_bytes: AtomicU64,
    pub(super) rejected: AtomicU64,
    pub(super) failures: AtomicU64,
    /// Since when transactions fail, and how the last one did, if it did. The lock is held to note or
    /// read it.
    failing: Mutex<Option<(SystemTime, String)>>,
    /// The lock is held to add one transaction, or to read.
    latency: Mutex<Latency>,
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

    pub(super) fn failing(&self) -> MutexGuard<'_, Option<(SystemTime, String)>> {
        self.failing.lock().expect("no holder of this lock panics")
    }

    pub(super) fn latency(&self) -> MutexGuard<'_, Latency> {
        self.latency.lock().expect("no holder of this lock panics")
    }

    pub(super) fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("no holder of this lock panics")
    }
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
