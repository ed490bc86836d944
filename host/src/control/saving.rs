//! The task that saves: when, what, and what is done about a store that does not answer.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};
use tracing::{info, warn};

use super::{
    Error, Stats,
    commit::Written,
    direct::DirectReads,
    saver::{Saved, Task},
};
use crate::{
    backoff::Backoff,
    checkpoint::{self, AckWindow, Checkpoint, DirectRead, Holder, Lease, Progress},
    op::Frontier,
};

/// How often a position is saved that moved without an op. Each save is a write of its own, which
/// moves the position of who watches the deployment: without a longer pause an idle run would never
/// come to rest.
const IDLE_EVERY: Duration = Duration::from_secs(10);

/// After how long a save counts as one that may fail: what is done meanwhile is bounded.
const SLOW: Duration = Duration::from_secs(1);

/// How long outputs gather before they are written with the checkpoint.
const GATHER: Duration = Duration::from_millis(5);

/// What is to be saved.
#[derive(Debug, Clone)]
pub(super) struct Followed {
    pub(super) window: Arc<AckWindow>,
    /// A checkpoint of the run as it is now; its frontiers are replaced.
    pub(super) template: Arc<Checkpoint>,
    /// What is read directly.
    pub(super) reads: Arc<DirectReads>,
}

/// Why the task wakes.
enum Wake {
    Lost(Option<Holder>),
    Asked(oneshot::Sender<bool>),
    Window,
    Due,
}

/// What the task is at.
pub(super) struct Run {
    pub(super) task: Task,
    pub(super) requests: mpsc::Receiver<oneshot::Sender<bool>>,
    pub(super) followed: watch::Receiver<Followed>,
    pub(super) saved: watch::Sender<Saved>,
    pub(super) following: Following,
    pub(super) last: Option<Instant>,
    /// Not before this time is the store asked again.
    pub(super) next: Instant,
    pub(super) backoff: Backoff,
}

/// The window whose frontiers are saved.
pub(super) struct Following {
    window: Arc<AckWindow>,
    template: Arc<Checkpoint>,
    /// Its frontiers that were saved last; at first where it began.
    saved: Vec<Frontier>,
    /// Ops that were done then.
    ops: u64,
    /// Nothing was saved of it yet.
    is_fresh: bool,
    reads: Arc<DirectReads>,
    /// What was saved of them last.
    saved_reads: Vec<DirectRead>,
}

impl Following {
    pub(super) fn begin(followed: Followed) -> Self {
        let Followed {
            window,
            template,
            reads,
        } = followed;
        Self {
            saved: window.starts().to_vec(),
            window,
            template,
            ops: 0,
            is_fresh: true,
            saved_reads: reads.saved(),
            reads,
        }
    }
}

impl Run {
    /// Saves until nobody can ask for it any more, or it cannot go on.
    pub(super) async fn run(mut self) -> Option<Error> {
        let keeper = self.task.keeper.clone();
        loop {
            self.follow_latest();
            let due = self.due();
            let wake = tokio::select! {
                biased;
                by = keeper.lost() => Wake::Lost(by),
                request = self.requests.recv() => Wake::Asked(request?),
                changed = self.followed.changed() => {
                    changed.ok()?;
                    Wake::Window
                }
                () = due => Wake::Due,
            };
            let answer = match wake {
                Wake::Lost(by) => return Some(self.lost(by.as_ref())),
                Wake::Asked(answer) => Some(answer),
                Wake::Due => None,
                Wake::Window => continue,
            };
            let is_asked = answer.is_some();
            self.next = Instant::now() + self.task.every;
            let window = self.following.window.clone();
            let slow = async {
                tokio::time::sleep(SLOW).await;
                window.hold_unsaved(true);
                std::future::pending::<()>().await;
            };
            let saved = tokio::select! {
                biased;
                // What is saved after that does not count: it need not be waited for.
                by = keeper.lost() => return Some(self.lost(by.as_ref())),
                saved = self.save(is_asked) => saved,
                () = slow => continue,
            };
            match saved {
                Ok(is_saved) => {
                    if let Some(answer) = answer {
                        // Who asked may have stopped waiting.
                        let _ = answer.send(is_saved);
                    }
                }
                Err(error) if error.is_passing() => {
                    self.away(&error);
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
            name: self.following.template.name.clone(),
            reason,
        }
    }

    /// Turns to the window that is at work now. A request may come together with another window, and
    /// is about that one.
    fn follow_latest(&mut self) {
        let followed = self.followed.borrow_and_update().clone();
        let is_described = Arc::ptr_eq(&followed.template, &self.following.template);
        if !Arc::ptr_eq(&followed.window, &self.following.window) {
            self.following = Following::begin(followed);
            let window = &self.following.window;
            // It may begin where another one has ended.
            let is_fresh = !is_described || self.saved.borrow().frontiers != window.starts();
            self.following.is_fresh = is_fresh;
            self.following.window.hold_unsaved(self.is_holding());
        } else if !is_described {
            self.following.template = followed.template;
            self.following.is_fresh = true;
        }
    }

    /// Whether what is done and not saved is bounded like what is not done: outputs wait for the
    /// checkpoint, or the store is away.
    fn is_holding(&self) -> bool {
        self.task.ledger.is_some() || self.saved.borrow().error.is_some()
    }

    /// The store does not answer: work goes on up to the window's bound.
    fn away(&mut self, error: &checkpoint::Error) {
        self.following.window.hold_unsaved(true);
        Stats::add(&self.task.stats.checkpoint_failures, 1);
        let pause = self.backoff.next_delay();
        if self.backoff.attempts() == 1 {
            warn!(
                store = self.task.store.place(),
                error = checkpoint::chain(error),
                "the checkpoint cannot be saved; work goes on up to the window's bound"
            );
        }
        let text = checkpoint::chain(error);
        self.saved.send_modify(|saved| saved.error = Some(text));
        self.next = Instant::now() + pause;
    }

    /// Waits for the next time to save. Outputs that are written with the checkpoint are written when
    /// something was done: who reads them waits for it. Cancellation safe.
    fn due(&self) -> impl Future<Output = ()> + use<> {
        let is_timed = self.task.ledger.is_none()
            || self.following.is_fresh
            || self.saved.borrow().error.is_some();
        let next = self.next;
        let window = self.following.window.clone();
        async move {
            if is_timed {
                return tokio::time::sleep_until(next).await;
            }
            window.moved().await;
            tokio::time::sleep(GATHER).await;
        }
    }

    /// Saves what there is to save; tells whether everything that is done is durable.
    async fn save(&mut self, is_asked: bool) -> Result<bool, checkpoint::Error> {
        loop {
            self.follow_latest();
            let Following { ops, is_fresh, .. } = self.following;
            let progress = self.following.window.progress();
            let Following { reads, window, .. } = &self.following;
            let reads = reads.settle(window, &progress);
            let are_read = self.following.saved_reads != reads;
            // Documents that are done move no frontier.
            let has_moved = progress.ops != ops && self.following.reads.are_under_way();
            let is_saved = self.following.saved == progress.frontiers && !are_read && !has_moved;
            if !is_fresh && is_saved {
                return Ok(true);
            }
            let is_idle_move = progress.ops == ops && !is_fresh && !are_read;
            let is_early = self.last.is_some_and(|last| last.elapsed() < IDLE_EVERY);
            if is_idle_move && is_early && !is_asked {
                return Ok(false);
            }
            match self.write(progress, reads).await? {
                Written::All => return Ok(true),
                Written::Part => {}
                // The window that they belong to follows at once.
                Written::Stale => return Ok(false),
            }
        }
    }

    /// Writes a checkpoint, with the outputs that belong to it.
    async fn write(
        &mut self,
        progress: Progress,
        reads: Vec<DirectRead>,
    ) -> Result<Written, checkpoint::Error> {
        let Task {
            store,
            lease,
            ledger,
            ..
        } = &self.task;
        let mut checkpoint = self.checkpoint(lease, &progress.frontiers);
        checkpoint.direct_reads = reads;
        let Following {
            window,
            saved,
            saved_reads,
            ..
        } = &self.following;
        let written = match ledger {
            None => {
                store.save(lease, &checkpoint).await?;
                Written::All
            }
            Some(ledger) => {
                ledger
                    .commit(
                        store,
                        lease,
                        &mut checkpoint,
                        &progress,
                        (window, saved, saved_reads),
                    )
                    .await?
            }
        };
        match written {
            Written::Stale => return Ok(written),
            Written::Part => {}
            Written::All => {
                window.saved(progress.mark);
                self.following.ops = progress.ops;
            }
        }
        if self.saved.borrow().error.is_some() {
            info!(store = store.place(), "the checkpoint is saved again");
        }
        self.backoff.reset();
        let frontiers = checkpoint.streams.into_iter();
        let frontiers: Vec<_> = frontiers.map(|stream| stream.frontier).collect();
        self.following.saved.clone_from(&frontiers);
        self.following.saved_reads = checkpoint.direct_reads;
        self.following.reads.are_saved(&self.following.saved_reads);
        self.following.is_fresh = false;
        self.last = Some(Instant::now());
        Stats::add(&self.task.stats.checkpoint_saves, 1);
        self.saved.send_replace(Saved {
            frontiers,
            at: Some(SystemTime::now()),
            error: None,
        });
        self.following.window.hold_unsaved(self.is_holding());
        Ok(written)
    }

    fn checkpoint(&self, lease: &Lease, frontiers: &[Frontier]) -> Checkpoint {
        let mut checkpoint = Checkpoint::clone(&self.following.template);
        checkpoint.epoch = lease.epoch;
        checkpoint.saved_ms = bson::DateTime::now().timestamp_millis();
        for (stream, frontier) in checkpoint.streams.iter_mut().zip(frontiers) {
            stream.frontier = frontier.clone();
        }
        checkpoint
    }
}
