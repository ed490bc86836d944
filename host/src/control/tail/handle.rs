//! What can be asked of a tail, and told.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
};

use futures_util::task::AtomicWaker;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{Error, Event, Events, Options, event::EVENTS_KEPT, reads::Told};
use crate::{
    checkpoint::{AckWindow, Checkpoint, DirectRead, InFlight, Progress, Store},
    control::{
        Bounds, Deployments, DirectReadStatus, begin::Begin, direct::DirectReads, saver::Saver,
    },
    mongo::Server,
    op::{Frontier, Namespace, Position, Since},
    source::{self, Window},
};

/// Asks a tail how it stands, and has it pause, resume, seek or stop: from any task, between two
/// changes. Cheap to clone; it does not keep the tail alive.
///
/// All of it may be repeated, and works while nothing happens, while nobody reads, and in any order.
#[derive(Debug, Clone)]
pub struct Handle(pub(super) Arc<Shared>);

/// What the stream, its handles and the task share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) server: Server,
    /// The same as what is read directly is read of.
    pub(super) deployments: Deployments,
    pub(super) options: Options,
    pub(super) bounds: Bounds,
    pub(super) stats: Arc<source::Stats>,
    /// A checkpoint of the tail, but for how far it is.
    pub(super) template: Arc<Checkpoint>,
    pub(super) saver: Option<Arc<Saver>>,
    pub(super) store: Option<Store>,
    /// What is read directly; it outlives sessions.
    pub(super) reads: Arc<DirectReads>,
    /// What is to be read next, as somebody has asked. The lock is held to add to it or to take of it.
    asked: Mutex<VecDeque<Namespace>>,
    /// The lock is held to tell of each.
    pub(super) told: Mutex<Told>,
    /// Of the session at work.
    window: Mutex<Arc<AckWindow>>,
    /// Counts sessions; what was read in an older one is not given any more.
    generation: AtomicU64,
    is_paused: AtomicBool,
    /// Who waits for the stream.
    pub(super) waker: AtomicWaker,
    pub(super) commands: mpsc::Sender<Goto>,
    pub(super) events: broadcast::Sender<Event>,
    /// For the first that asks for events: what it has not missed.
    first_events: Mutex<Option<broadcast::Receiver<Event>>>,
    /// Nothing more is to be read, nor given.
    pub(super) stop: CancellationToken,
    /// The task has come to its end.
    pub(super) ended: CancellationToken,
    /// What was done at the end is not durable.
    pub(super) is_unsaved: AtomicBool,
}

/// The order to go on elsewhere.
#[derive(Debug)]
pub(super) struct Goto {
    pub(super) begin: Begin,
    pub(super) answer: oneshot::Sender<()>,
}

/// What a tail is made of.
pub(super) struct Parts {
    pub(super) server: Server,
    pub(super) options: Options,
    pub(super) bounds: Bounds,
    pub(super) stats: Arc<source::Stats>,
    pub(super) template: Arc<Checkpoint>,
    pub(super) saver: Option<Arc<Saver>>,
    pub(super) store: Option<Store>,
    pub(super) reads: Arc<DirectReads>,
    pub(super) window: Arc<AckWindow>,
    pub(super) commands: mpsc::Sender<Goto>,
}

// === impl Handle ===

impl Handle {
    /// Gives nothing more, until [`resume`](Self::resume): not one more change when this returns. What
    /// was read already is kept, and reading stops when the window is full.
    pub fn pause(&self) {
        if !self.0.is_paused.swap(true, SeqCst) {
            self.0.tell(Event::Paused);
        }
    }

    /// Goes on where [`pause`](Self::pause) left off.
    pub fn resume(&self) {
        if self.0.is_paused.swap(false, SeqCst) {
            self.0.tell(Event::Resumed);
            self.0.waker.wake();
        }
    }

    /// Whether it is paused.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.0.is_paused()
    }

    /// Reads this collection or view directly, from its beginning, also when that was done before, and gives
    /// its documents among the changes; its changes follow if it is watched. Returns at once: it begins when
    /// what is being read is over, which [`Event::DirectReadBegun`] tells, and from then on the checkpoint
    /// has it. A tail whose stream has ended reads nothing more.
    ///
    /// # Errors
    /// [`Error::Options`] for what cannot be read, [`Error::Stopped`].
    pub fn snapshot(&self, namespace: &Namespace) -> Result<(), Error> {
        super::reads::check(namespace)?;
        if self.0.stop.is_cancelled() {
            return Err(Error::Stopped);
        }
        self.0.lock_asked().push_back(namespace.clone());
        Ok(())
    }

    /// How what is read directly stands.
    #[must_use]
    pub fn direct_reads(&self) -> Vec<DirectReadStatus> {
        self.0.reads.statuses()
    }

    /// Goes on from another position; when this returns, nothing from the old one is given any more. A
    /// tail that is paused stays so; one whose stream had ended gives changes again. What was given
    /// before and is not done does not come again, unless it lies behind the new position. What is being
    /// read directly goes on: what is not done of it is read again, and changes that were left out, since
    /// documents that were read contained them, are given, where they lie behind the new position.
    ///
    /// Waits for a server that is away. Cancellation safe: it goes on from there or it does not.
    ///
    /// # Errors
    /// [`Error::OutsideWindow`], [`Error::Source`] when the server does not tell, [`Error::Stopped`];
    /// the tail then goes on as it did.
    pub async fn since(&self, since: &Since) -> Result<(), Error> {
        let Shared {
            options,
            server,
            stop,
            ..
        } = &*self.0;
        if stop.is_cancelled() {
            return Err(Error::Stopped);
        }
        let namespace = &options.oplog_namespace;
        // `now` is not when it began.
        let refreshed = server.refreshed().await;
        let server = refreshed.map_err(|source| source::Error::Refused {
            what: "ask the server for its time".into(),
            source,
        })?;
        let start = source::resolve(since, options.source, &server, namespace).await?;
        let window = Window::ask(options.source, &server, namespace).await?;
        if !window.contains(&start) {
            return Err(Error::OutsideWindow {
                to: since.to_string(),
                window: window.to_string(),
            });
        }
        let (answer, answered) = oneshot::channel();
        let begin = Begin::at(start);
        let sent = self.0.commands.send(Goto { begin, answer }).await;
        sent.map_err(|_| Error::Stopped)?;
        answered.await.map_err(|_| Error::Stopped)
    }

    /// Ends the tail: the stream gives nothing more, what is done is saved, and the lease is given
    /// back. Returns within ten seconds or so, whatever the server and the stores do. Cancellation
    /// safe: it ends all the same.
    ///
    /// # Errors
    /// [`Error::NotSaved`] where a position is kept.
    pub async fn stop(&self) -> Result<(), Error> {
        self.0.stop();
        self.0.ended.cancelled().await;
        match (&self.0.options.saving, self.0.is_unsaved.load(SeqCst)) {
            (Some(saving), true) => Err(Error::NotSaved {
                name: saving.name.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// Waits until everything that is done at the call is durable, where a position is kept.
    /// Otherwise it becomes so about once a second. Cancellation safe.
    ///
    /// # Errors
    /// [`Error::NotSaved`].
    pub async fn save(&self) -> Result<(), Error> {
        match (&self.0.options.saving, &self.0.saver) {
            (Some(saving), Some(saver)) if !saver.save_now().await => Err(Error::NotSaved {
                name: saving.name.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// How far everything is done: what a program can keep by itself, and give to
    /// [`TailBuilder::resume_from`](super::TailBuilder::resume_from). It moves also while nothing
    /// happens.
    ///
    /// It holds which parts of what is read directly are done: a tail that goes on from it reads the
    /// rest, whether its options name the collection or not.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        let mut checkpoint = Checkpoint::clone(&self.0.template);
        checkpoint.saved_ms = bson::DateTime::now().timestamp_millis();
        let (progress, reads) = self.0.settle();
        checkpoint.direct_reads = reads;
        for (stream, frontier) in checkpoint.streams.iter_mut().zip(progress.frontiers) {
            stream.frontier = frontier;
        }
        checkpoint
    }

    /// The position up to which all changes are done, all batches of them. It says nothing of what is
    /// read directly: who begins there while that is not complete has to read it from its beginning.
    /// [`checkpoint`](Self::checkpoint) says both.
    #[must_use]
    pub fn position(&self) -> Position {
        self.frontier().position
    }

    /// The same, with the last change of the batch that is done in part.
    #[must_use]
    pub fn frontier(&self) -> Frontier {
        let frontiers = self.0.window().frontiers();
        let first = frontiers.into_iter().next();
        first.expect("a tail has one stream")
    }

    /// What is read and not done.
    #[must_use]
    pub fn in_flight(&self) -> InFlight {
        self.0.window().in_flight()
    }

    /// What happens beside changes. Who asks first hears of everything since the beginning, the last
    /// 256 at least; others of what happens from now on.
    #[must_use]
    pub fn events(&self) -> Events {
        let mut first = self.0.first_events.lock().expect("no holder panics");
        Events(first.take().unwrap_or_else(|| self.0.events.subscribe()))
    }

    /// What the reader has counted.
    #[must_use]
    pub fn stats(&self) -> &source::Stats {
        &self.0.stats
    }
}

// === impl Shared ===

impl Shared {
    pub(super) fn new(parts: Parts) -> Self {
        let (events, first_events) = broadcast::channel(EVENTS_KEPT);
        Self {
            deployments: Deployments::from(&parts.server),
            server: parts.server,
            options: parts.options,
            bounds: parts.bounds,
            stats: parts.stats,
            template: parts.template,
            saver: parts.saver,
            store: parts.store,
            reads: parts.reads,
            asked: Mutex::default(),
            told: Mutex::default(),
            window: Mutex::new(parts.window),
            generation: AtomicU64::new(0),
            is_paused: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            commands: parts.commands,
            events,
            first_events: Mutex::new(Some(first_events)),
            stop: CancellationToken::new(),
            ended: CancellationToken::new(),
            is_unsaved: AtomicBool::new(false),
        }
    }

    pub(super) fn is_paused(&self) -> bool {
        self.is_paused.load(SeqCst)
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(SeqCst)
    }

    /// From now on nothing is given that was read before; what is, has this number.
    pub(super) fn begin_generation(&self) -> u64 {
        self.generation.fetch_add(1, SeqCst) + 1
    }

    pub(super) fn window(&self) -> Arc<AckWindow> {
        self.lock_window().clone()
    }

    pub(super) fn set_window(&self, window: Arc<AckWindow>) {
        *self.lock_window() = window;
    }

    fn lock_window(&self) -> MutexGuard<'_, Arc<AckWindow>> {
        self.window.lock().expect("no holder of this lock panics")
    }

    /// How far everything is, at one moment.
    pub(super) fn settle(&self) -> (Progress, Vec<DirectRead>) {
        let window = self.window();
        let progress = window.look();
        let reads = self.reads.settle(&window, &progress);
        (progress, reads)
    }

    /// Whether something is to be read that was not begun.
    pub(super) fn has_asked(&self) -> bool {
        !self.lock_asked().is_empty()
    }

    /// What is to be read next.
    pub(super) fn next_asked(&self) -> Option<Namespace> {
        self.lock_asked().pop_front()
    }

    fn lock_asked(&self) -> MutexGuard<'_, VecDeque<Namespace>> {
        self.asked.lock().expect("no holder of this lock panics")
    }

    pub(super) fn stop(&self) {
        self.stop.cancel();
        self.waker.wake();
    }

    /// Tells who listens, if anybody does.
    pub(super) fn tell(&self, event: Event) {
        let _ = self.events.send(event);
    }
}
