//! Makes a run's frontiers durable.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    Error, Stats,
    direct::DirectReads,
    saving::{Followed, Following, Run},
    transaction::Ledger,
};
use crate::{
    backoff::Backoff,
    checkpoint::{AckWindow, Checkpoint, Keeper, Lease, Store},
    op::Frontier,
};

/// What a saver last did.
#[derive(Debug, Clone, Default)]
pub(super) struct Saved {
    /// The frontiers that are durable.
    pub(super) frontiers: Vec<Frontier>,
    /// When they were saved; none before the first time.
    pub(super) at: Option<SystemTime>,
    /// Why the present ones cannot be saved.
    pub(super) error: Option<String>,
}

/// Saves frontiers, in the background.
#[derive(Debug)]
pub(super) struct Saver {
    requests: mpsc::Sender<oneshot::Sender<bool>>,
    followed: watch::Sender<Followed>,
    saved: watch::Receiver<Saved>,
    /// Cancelled with `failure`.
    failed: CancellationToken,
    task: Mutex<Option<JoinHandle<Option<Error>>>>,
}

/// All that the task owns.
pub(super) struct Task {
    pub(super) store: Store,
    pub(super) lease: Lease,
    pub(super) keeper: Arc<Keeper>,
    pub(super) every: Duration,
    /// Where outputs lie that are written together with the checkpoint.
    pub(super) ledger: Option<Arc<Ledger>>,
    pub(super) stats: Arc<Stats>,
}

impl Saver {
    /// Starts to save the frontiers of that window; `saved` is what the store holds.
    pub(super) fn start(
        task: Task,
        window: Arc<AckWindow>,
        template: Arc<Checkpoint>,
        reads: Arc<DirectReads>,
        saved: Saved,
    ) -> Self {
        let (requests, receiver) = mpsc::channel(4);
        let followed = Followed {
            window,
            template,
            reads,
        };
        let (windows, followed_receiver) = watch::channel(followed.clone());
        let (reports, saved_receiver) = watch::channel(saved);
        let failed = CancellationToken::new();
        let run = Run {
            task,
            requests: receiver,
            following: Following::begin(followed),
            followed: followed_receiver,
            saved: reports,
            last: None,
            next: Instant::now(),
            backoff: Backoff::new(),
        };
        let task = tokio::spawn({
            let failed = failed.clone();
            async move {
                let failure = run.run().await;
                if failure.is_some() {
                    failed.cancel();
                }
                failure
            }
        });
        Self {
            requests,
            followed: windows,
            saved: saved_receiver,
            failed,
            task: Mutex::new(Some(task)),
        }
    }

    /// The frontiers of another window are to be saved from now on, in a checkpoint like that one.
    pub(super) fn follow(&self, window: Arc<AckWindow>, template: Arc<Checkpoint>) {
        self.followed.send_modify(|followed| {
            followed.window = window;
            followed.template = template;
        });
    }

    /// The checkpoint is to say something else of the run from now on.
    pub(super) fn describe(&self, template: Arc<Checkpoint>) {
        self.followed
            .send_modify(|followed| followed.template = template);
    }

    /// Saves now, and tells whether everything that was done at the call is durable. Cancellation
    /// safe.
    pub(super) async fn save_now(&self) -> bool {
        let (answer, answered) = oneshot::channel();
        self.requests.send(answer).await.is_ok() && answered.await.unwrap_or(false)
    }

    /// What was done last.
    pub(super) fn saved(&self) -> Saved {
        self.saved.borrow().clone()
    }

    /// Waits until saving has come to an end for good. Cancellation safe.
    pub(super) async fn failed(&self) {
        self.failed.cancelled().await;
    }

    /// Ends the task; tells why it had ended before, if it had.
    pub(super) async fn end(&self) -> Option<Error> {
        let task = self
            .task
            .lock()
            .expect("no holder of this lock panics")
            .take()?;
        if !self.failed.is_cancelled() {
            task.abort();
        }
        match task.await {
            Ok(failure) => failure,
            Err(error) if error.is_panic() => Some(Error::Panicked("the saver")),
            Err(_) => None,
        }
    }
}
