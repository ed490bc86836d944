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
use tracing::{info, warn};

use super::{Error, Stats, transaction::Ledger};
use crate::{
    backoff::Backoff,
    checkpoint::{self, AckWindow, Checkpoint, Holder, Keeper, Lease, Progress, Store},
    op::Frontier,
};

/// How often a position is saved that moved without an op. Each save is a write of its own, which
/// moves the position of who watches the deployment: without a longer pause an idle run would never
/// come to rest.
const IDLE_EVERY: Duration = Duration::from_secs(10);

/// How long outputs gather before they are written with the checkpoint.
const GATHER: Duration = Duration::from_millis(5);

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
    window: watch::Sender<Arc<AckWindow>>,
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
    /// A checkpoint of this run; its frontiers are replaced.
    pub(super) template: Checkpoint,
    pub(super) every: Duration,
    /// Where outputs lie that are written together with the checkpoint.
    pub(super) ledger: Option<Arc<Ledger>>,
    pub(super) stats: Arc<Stats>,
}

impl Saver {
    /// Starts to save the frontiers of that window; `saved` is what the store holds.
    pub(super) fn start(task: Task, window: Arc<AckWindow>, saved: Saved) -> Self {
        let (requests, receiver) = mpsc::channel(4);
        let (windows, window_receiver) = watch::channel(window);
        let (reports, saved_receiver) = watch::channel(saved);
        let failed = CancellationToken::new();
        let run = Run {
            task,
            requests: receiver,
            window: window_receiver,
            saved: reports,
            ops: 0,
            last: None,
            next: Instant::now(),
            backoff: Backoff::new(),
            fresh_window: true,
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
            window: windows,
            saved: saved_receiver,
            failed,
            task: Mutex::new(Some(task)),
        }
    }

    /// The frontiers of another window are to be saved from now on.
    pub(super) fn follow(&self, window: Arc<AckWindow>) {
        self.window.send_replace(window);
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

/// Why the task wakes.
enum Wake {
    Lost(Option<Holder>),
    Asked(oneshot::Sender<bool>),
    Window,
    Due,
}

struct Run {
    task: Task,
    requests: mpsc::Receiver<oneshot::Sender<bool>>,
    window: watch::Receiver<Arc<AckWindow>>,
    saved: watch::Sender<Saved>,
    /// Ops that were done when it was saved last.
    ops: u64,
    last: Option<Instant>,
    /// Not before this time is the store asked again.
    next: Instant,
    backoff: Backoff,
    /// The window is one of which nothing was saved yet.
    fresh_window: bool,
}

impl Run {
    /// Saves until nobody can ask for it any more, or it cannot go on.
    async fn run(mut self) -> Option<Error> {
        let keeper = self.task.keeper.clone();
        loop {
            let window = self.window.borrow().clone();
            let due = self.due(window.clone());
            let wake = tokio::select! {
                biased;
                by = keeper.lost() => Wake::Lost(by),
                request = self.requests.recv() => Wake::Asked(request?),
                changed = self.window.changed() => {
                    changed.ok()?;
                    Wake::Window
                }
                () = due => Wake::Due,
            };
            let answer = match wake {
                Wake::Lost(by) => return Some(self.lost(by.as_ref())),
                Wake::Asked(answer) => Some(answer),
                Wake::Due => None,
                Wake::Window => {
                    self.fresh_window = true;
                    self.ops = 0;
                    continue;
                }
            };
            let is_asked = answer.is_some();
            self.next = Instant::now() + self.task.every;
            match self.save(&window, is_asked).await {
                Ok(()) => {
                    if let Some(answer) = answer {
                        // Who asked may have stopped waiting.
                        let _ = answer.send(true);
                    }
                }
                Err(error) if error.is_passing() => {
                    self.away(&window, &error);
                    if let Some(answer) = answer {
                        let _ = answer.send(false);
                    }
                }
                Err(checkpoint::Error::Fenced { by, .. }) => return Some(self.lost(by.as_deref())),
                Err(error) => return Some(Error::Checkpoint(error)),
            }
        }
    }

    fn lost(&self, by: Option<&Holder>) -> Error {
        let reason = match by {
            Some(holder) => format!("{holder} has taken over"),
            None => "it was given to another process".to_owned(),
        };
        Error::LeaseLost {
            name: self.task.template.name.clone(),
            reason,
        }
    }

    /// The store does not answer: work goes on up to the window's bound.
    fn away(&mut self, window: &AckWindow, error: &checkpoint::Error) {
        window.hold_unsaved(true);
        Stats::add(&self.task.stats.checkpoint_failures, 1);
        let pause = self.backoff.next_delay();
        if self.backoff.attempts() == 1 {
            warn!(store = self.task.store.place(), error = %error,
                "the checkpoint cannot be saved; work goes on up to the window's bound");
        }
        let text = error.to_string();
        self.saved.send_modify(|saved| saved.error = Some(text));
        self.next = Instant::now() + pause;
    }

    /// Waits for the next time to save. Outputs that are written with the checkpoint are written when
    /// something was done: who reads them waits for it. Cancellation safe.
    fn due(&self, window: Arc<AckWindow>) -> impl Future<Output = ()> + use<> {
        let is_timed = self.task.ledger.is_none() || self.saved.borrow().error.is_some();
        let next = self.next;
        async move {
            if is_timed {
                return tokio::time::sleep_until(next).await;
            }
            window.moved().await;
            tokio::time::sleep(GATHER).await;
        }
    }

    async fn save(&mut self, window: &AckWindow, is_asked: bool) -> Result<(), checkpoint::Error> {
        loop {
            let progress = window.progress();
            let is_new = self.fresh_window || self.saved.borrow().frontiers != progress.frontiers;
            if !is_new {
                return Ok(());
            }
            let is_idle_move = progress.ops == self.ops && !self.fresh_window;
            let is_early = self.last.is_some_and(|last| last.elapsed() < IDLE_EVERY);
            if is_idle_move && is_early && !is_asked {
                return Ok(());
            }
            if self.write(window, progress).await? {
                return Ok(());
            }
        }
    }

    /// Writes a checkpoint, with the outputs that belong to it; tells whether these were all.
    async fn write(
        &mut self,
        window: &AckWindow,
        progress: Progress,
    ) -> Result<bool, checkpoint::Error> {
        let Task {
            store,
            lease,
            ledger,
            ..
        } = &self.task;
        let mut checkpoint = self.checkpoint(lease, &progress.frontiers);
        let saved = self.saved.borrow().frontiers.clone();
        let is_all = match ledger {
            None => {
                store.save(lease, &checkpoint).await?;
                true
            }
            Some(ledger) => {
                ledger
                    .commit(store, lease, &mut checkpoint, &progress, &saved)
                    .await?
            }
        };
        if is_all {
            window.saved(progress.mark);
            self.ops = progress.ops;
        }
        window.hold_unsaved(false);
        if self.saved.borrow().error.is_some() {
            info!(store = store.place(), "the checkpoint is saved again");
        }
        self.backoff.reset();
        self.fresh_window = false;
        self.last = Some(Instant::now());
        Stats::add(&self.task.stats.checkpoint_saves, 1);
        self.saved.send_replace(Saved {
            frontiers: checkpoint
                .streams
                .into_iter()
                .map(|stream| stream.frontier)
                .collect(),
            at: Some(SystemTime::now()),
            error: None,
        });
        Ok(is_all)
    }

    fn checkpoint(&self, lease: &Lease, frontiers: &[Frontier]) -> Checkpoint {
        let mut checkpoint = self.task.template.clone();
        checkpoint.epoch = lease.epoch;
        checkpoint.saved_ms = bson::DateTime::now().timestamp_millis();
        for (stream, frontier) in checkpoint.streams.iter_mut().zip(frontiers) {
            stream.frontier = frontier.clone();
        }
        checkpoint
    }
}
