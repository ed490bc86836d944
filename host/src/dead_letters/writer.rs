//! Stores letters as they come, and waits while the store is away.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    task::AbortHandle,
};

use super::{DeadLetter, Store};
use crate::{backoff::Backoff, op::Ack};

/// How many letters wait at most; who brings more waits.
const QUEUE_LETTERS: usize = 1_000;

/// How much of their memory is held at most, in KiB. An op and an output of 16 MiB each pass.
const QUEUE_KIB: usize = 64 << 10;

/// How many letters are written together.
const GROUP_LETTERS: usize = 500;

/// How often it is said again that letters cannot be stored, when that does not pass by itself.
const REMINDER: Duration = Duration::from_secs(60);

/// What a writer has done, for metrics.
#[derive(Debug, Default)]
pub struct Counts {
    /// Letters that are stored.
    pub written: AtomicU64,
    /// Letters that were handed over and are not stored yet.
    pub waiting: AtomicU64,
    /// Attempts to store some that failed.
    pub failures: AtomicU64,
}

#[derive(Debug)]
enum Message {
    Letter {
        letter: Box<DeadLetter>,
        ack: Ack,
        /// Held until the letter is stored.
        _room: OwnedSemaphorePermit,
    },
    Flush(oneshot::Sender<()>),
}

/// Stores letters as they come, in groups, and acknowledges their ops when they are stored. Cheap to
/// clone.
///
/// While the store is away, it tries again and again, with one line in the log: a letter is never
/// dropped. When the last clone is dropped, what is not stored yet is left alone, and its ops are
/// never acknowledged: [`flush`](Self::flush) first.
#[derive(Debug, Clone)]
pub struct Writer {
    queue: mpsc::Sender<Message>,
    room: Arc<Semaphore>,
    counts: Arc<Counts>,
    _task: Arc<StopOnDrop>,
}

#[derive(Debug)]
struct StopOnDrop(AbortHandle);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Writer {
    /// Starts to store letters, on the runtime that this is called in.
    ///
    /// # Panics
    /// Outside a runtime.
    #[must_use]
    pub fn start(store: Store) -> Self {
        let (queue, messages) = mpsc::channel(QUEUE_LETTERS);
        let counts = Arc::new(Counts::default());
        let task = tokio::spawn(write_all(store, messages, counts.clone()));
        Self {
            queue,
            room: Arc::new(Semaphore::new(QUEUE_KIB)),
            counts,
            _task: Arc::new(StopOnDrop(task.abort_handle())),
        }
    }

    /// Hands over a letter; waits while too much waits already. The duty is done when the letter is
    /// stored. Safe to cancel: the letter is then not handed over, and its op not acknowledged.
    pub async fn put(&self, letter: DeadLetter, ack: Ack) {
        let kib = (letter.bytes() >> 10).clamp(1, QUEUE_KIB);
        let permits = u32::try_from(kib).unwrap_or(u32::MAX);
        let room = self.room.clone().acquire_many_owned(permits).await;
        let place = self.queue.reserve().await;
        // Closed only when the task is gone, at the end of the runtime: nobody is told then.
        let (Ok(room), Ok(place)) = (room, place) else {
            return;
        };
        self.counts.waiting.fetch_add(1, Relaxed);
        place.send(Message::Letter {
            letter: Box::new(letter),
            ack,
            _room: room,
        });
    }

    /// Waits until every letter that was handed over before is stored; for as long as the store is
    /// away. Safe to cancel.
    pub async fn flush(&self) {
        let (told, stored) = oneshot::channel();
        if self.queue.send(Message::Flush(told)).await.is_ok() {
            // An error means that the task is gone with the runtime.
            let _ = stored.await;
        }
    }

    /// What it has done so far.
    #[must_use]
    pub fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }
}

async fn write_all(store: Store, mut messages: mpsc::Receiver<Message>, counts: Arc<Counts>) {
    let mut group = Vec::new();
    while messages.recv_many(&mut group, GROUP_LETTERS).await > 0 {
        let mut letters = Vec::with_capacity(group.len());
        let mut duties = Vec::with_capacity(group.len());
        let mut flushes = Vec::new();
        for message in group.drain(..) {
            match message {
                Message::Letter { letter, ack, _room } => {
                    letters.push(*letter);
                    duties.push((ack, _room));
                }
                Message::Flush(told) => flushes.push(told),
            }
        }
        if !letters.is_empty() {
            insert(&store, &letters, &counts).await;
        }
        let stored = letters.len() as u64;
        counts.written.fetch_add(stored, Relaxed);
        counts.waiting.fetch_sub(stored, Relaxed);
        for (ack, _room) in duties {
            ack.done();
        }
        for told in flushes {
            // Who does not wait any more need not be told.
            let _ = told.send(());
        }
    }
}

/// Stores letters, however long that takes.
async fn insert(store: &Store, letters: &[DeadLetter], counts: &Counts) {
    let mut backoff = Backoff::new();
    let mut last_said: Option<(bool, tokio::time::Instant)> = None;
    while let Err(error) = store.insert(letters).await {
        counts.failures.fetch_add(1, Relaxed);
        let delay = backoff.next_delay();
        let is_passing = error.is_passing();
        // An outage is told once; what somebody has to mend is told until it is mended.
        let is_due = last_said.is_none_or(|(was_passing, at)| {
            was_passing != is_passing || (!is_passing && at.elapsed() >= REMINDER)
        });
        if is_due {
            last_said = Some((is_passing, tokio::time::Instant::now()));
            let (store, waiting) = (store.place(), letters.len());
            let cause = std::error::Error::source(&error).map(|cause| match cause.downcast_ref() {
                Some(cause) => crate::mongo::describe(cause),
                None => cause.to_string(),
            });
            match is_passing {
                true => tracing::warn!(store, waiting, %error, cause,
                    "dead letters cannot be stored now; their ops wait"),
                false => tracing::error!(store, waiting, %error, cause,
                    "dead letters cannot be stored until somebody mends this; their ops wait"),
            }
        }
        tokio::time::sleep(delay).await;
    }
    if last_said.is_some() {
        tracing::info!(
            store = store.place(),
            stored = letters.len(),
            "dead letters are stored again"
        );
    }
}
