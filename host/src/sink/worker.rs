//! Delivers chunks, one batch after the other.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{
    Batching, DeliverError, OutputBatch, Rejected, Rejection, Retry, Sink, pending::Pending,
    queue::Message, state::Counters,
};
use crate::{backoff::Backoff, op::Ack};

/// How long a sink can ask to be left alone. It is asked again then, so that one that was mended is
/// found before long.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);

/// One of the workers of a sink.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) sink: Arc<dyn Sink>,
    pub(super) batching: Batching,
    pub(super) retry: Retry,
    pub(super) time_limit: Duration,
    pub(super) messages: mpsc::UnboundedReceiver<Message>,
    pub(super) rejected: mpsc::Sender<Rejected>,
    pub(super) counters: Arc<Counters>,
    pub(super) pending: Pending,
    /// Who wants to know when nothing is pending. While there is one, nothing more is accepted, and
    /// nothing waits for a batch to fill.
    pub(super) flushes: Vec<oneshot::Sender<()>>,
}

/// The sink takes no more.
#[derive(Debug)]
pub(super) struct Over {
    pub(super) message: String,
    pub(super) is_closed: bool,
}

/// The attempt that got a batch through.
#[derive(Debug)]
struct Attempt {
    rejections: Vec<Rejection>,
    took: Duration,
    /// Whether others had failed before.
    had_failed: bool,
}

impl Worker {
    /// Delivers until nobody can hand over anything any more.
    pub(super) async fn run(mut self) -> Result<(), Over> {
        while let Some(batch) = self.next_batch().await {
            // Empty when only chunks without a document were waiting.
            let settled = match batch.is_empty() {
                true => self.pending.settle(&batch, Vec::new(), ""),
                false => {
                    let attempt = self.deliver(&batch).await?;
                    let (took, had_failed) = (attempt.took, attempt.had_failed);
                    let name = self.counters.name();
                    let settled = self.pending.settle(&batch, attempt.rejections, name);
                    self.counters.delivered(&batch, &settled.rejected, took);
                    self.counters.works(had_failed);
                    settled
                }
            };
            self.counters
                .queued
                .remove(settled.documents, settled.bytes);
            for rejected in settled.rejected {
                self.rejected.send(rejected).await.map_err(|_| Over {
                    message: "nobody takes what it has rejected".to_owned(),
                    is_closed: false,
                })?;
            }
            settled.acks.into_iter().for_each(Ack::done);
        }
        Ok(())
    }

    /// Waits until there is something to deliver. `None` when there will be nothing any more.
    async fn next_batch(&mut self) -> Option<OutputBatch> {
        loop {
            while self.has_room() {
                match self.messages.try_recv() {
                    Ok(message) => self.accept(message),
                    Err(_) => break,
                }
            }
            let Some(since) = self.pending.waiting_since() else {
                if self.flushes.is_empty() {
                    let message = self.messages.recv().await?;
                    self.accept(message);
                }
                for flush in self.flushes.drain(..) {
                    // Who gave up waiting does not want to know.
                    let _ = flush.send(());
                }
                continue;
            };
            let due = since + self.batching.age_max;
            if self.has_room()
                && Instant::now() < due
                && let Ok(Some(message)) = timeout_at(due, self.messages.recv()).await
            {
                self.accept(message);
                continue;
            }
            return Some(self.pending.take(&self.batching));
        }
    }

    /// Whether more can be put into the present batch.
    fn has_room(&self) -> bool {
        self.flushes.is_empty() && !self.pending.is_full(&self.batching)
    }

    fn accept(&mut self, message: Message) {
        match message {
            Message::Flush(reply) => self.flushes.push(reply),
            Message::Chunk(queued) => self.pending.push(queued),
        }
    }

    /// Gives a batch to the sink until it is through.
    async fn deliver(&self, batch: &OutputBatch) -> Result<Attempt, Over> {
        let mut backoff = Backoff::between(self.retry.backoff_min, self.retry.backoff_max);
        let first = Instant::now();
        loop {
            let begun = Instant::now();
            let answer = timeout(self.time_limit, self.sink.deliver(batch)).await;
            let (message, retry_after) = match answer {
                Ok(Ok(rejections)) => {
                    return Ok(Attempt {
                        rejections,
                        took: begun.elapsed(),
                        had_failed: backoff.attempts() > 0,
                    });
                }
                Ok(Err(DeliverError::Ended { message, is_closed })) => {
                    return Err(Over { message, is_closed });
                }
                Ok(Err(DeliverError::Passing {
                    message,
                    retry_after,
                })) => (message, retry_after),
                Err(_) => {
                    let limit = humantime::format_duration(self.time_limit);
                    (format!("no answer within {limit}"), None)
                }
            };
            let is_first = backoff.attempts() == 0;
            let delay = backoff.next_delay();
            let delay = retry_after.map_or(delay, |asked| {
                asked.clamp(self.retry.backoff_min, RETRY_AFTER_MAX)
            });
            self.counters.failed(&message, is_first);
            if let Some(limit) = self.retry.give_up_after
                && first.elapsed() + delay >= limit
            {
                let limit = humantime::format_duration(limit);
                return Err(Over {
                    message: format!("given up after {limit}: {message}"),
                    is_closed: false,
                });
            }
            sleep(delay).await;
        }
    }
}
