//! One transaction: outputs, and the checkpoint that says that they are written.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant, SystemTime},
};

use mongodb::{
    ClientSession,
    error::{TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT},
    options::{ReadConcern, TransactionOptions, WriteConcern},
};
use tracing::warn;

use super::{transaction::Ledger, waiting::Share};
use crate::{
    backoff::Backoff,
    checkpoint::{self, AckWindow, Checkpoint, DirectRead, Lease, Progress, Store},
    mongo::{self, Fault},
    op::{Ack, Frontier},
    sink::{Encoding, OutputBatch, Rejection},
};

/// How long the writes of one transaction may take: the server gives it a minute, and the driver
/// waits for ever for a server that is silent.
const ATTEMPT_TIME: Duration = Duration::from_secs(60);

/// How long ending a transaction that failed may take.
const ABORT_TIME: Duration = Duration::from_secs(5);

const WHAT: &str = "write outputs and checkpoint in one transaction";

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
    /// Writes outputs and checkpoint in one transaction. `checkpoint` is moved back where one
    /// transaction cannot take all that is done; `saved` is what was saved of that window last, or
    /// where it began, and `reads` what was saved of direct reads.
    pub(super) async fn commit(
        &self,
        store: &Store,
        lease: &Lease,
        checkpoint: &mut Checkpoint,
        progress: &Progress,
        (window, saved, reads): (&Arc<AckWindow>, &[Frontier], &[DirectRead]),
    ) -> Result<Written, checkpoint::Error> {
        let Some(mut share) = self.waiting().share(window, progress, saved) else {
            return Ok(Written::Stale);
        };
        if let Some((stream, frontier)) = share.cut.take() {
            // What belongs to other streams comes with the next one.
            for (index, stream) in checkpoint.streams.iter_mut().enumerate() {
                stream.frontier = saved[index].clone();
            }
            // A direct read has no frontier; what is finished of it is told when all is written.
            if let Some(stream) = checkpoint.streams.get_mut(stream) {
                stream.frontier = frontier;
            }
            checkpoint.direct_reads = reads.to_vec();
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
                self.waiting().took(share.outputs.len(), begun.elapsed());
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
                self.waiting().took(share.outputs.len(), begun.elapsed());
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
    ///
    /// The checkpoint comes first: its document is also the lease. From then on a renewal waits for the
    /// end of the transaction; behind the outputs, each renewal that came while they were written would
    /// be a conflict, and the transaction would begin anew, again and again where it takes longer
    /// than the time between two renewals. Who takes over ends the session, and with that the transaction.
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
        store.save_in(session, lease, checkpoint).await?;
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
            return Ok(rejections);
        }
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
