//! Reading, from one position on: what the task does between two commands.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use tokio::sync::mpsc;
use tracing::{error, warn};

use super::{
    Batch, Change, Error, Event, OnRefusal,
    batch::Part,
    handle::Shared,
    stream::{Content, Item},
};
use crate::{
    backoff::Backoff,
    checkpoint::{AckWindow, Gap},
    control::{OnPositionLost, begin::Begin},
    flow::{Documents, Lookup},
    mongo::describe,
    op::{self, Acknowledge as _, Op, Position, Scope, Since},
    source::{self, Source, Start, Trouble},
};

/// Reading, from one position on.
pub(super) struct Session {
    shared: Arc<Shared>,
    window: Arc<AckWindow>,
    lookup: Lookup,
    /// Where a source is opened; moves with what was read.
    begin: Begin,
    pub(super) generation: u64,
    /// Reading broke off, and has not gone on yet.
    is_troubled: Arc<AtomicBool>,
}

impl Session {
    /// The first one, over the window that the tail was made with.
    pub(super) fn first(shared: &Arc<Shared>, begin: Begin) -> Self {
        let is_troubled = Arc::new(AtomicBool::new(false));
        let (events, troubled) = (shared.events.clone(), is_troubled.clone());
        shared.stats.on_trouble(move |trouble| {
            troubled.store(true, SeqCst);
            let _ = events.send(Event::from(trouble));
        });
        let is_causal = shared.options.oplog_namespace == source::default_oplog_namespace();
        Self {
            window: shared.window(),
            lookup: Lookup::new(shared.server.client.clone(), is_causal),
            shared: shared.clone(),
            begin,
            generation: shared.generation(),
            is_troubled,
        }
    }

    /// Another one, elsewhere: what this one has read is not given any more.
    pub(super) fn go_to(&mut self, begin: Begin) {
        let window = AckWindow::new(vec![begin.frontier()], self.shared.options.window);
        self.generation = self.shared.begin_generation();
        self.shared.set_window(window.clone());
        if let Some(saver) = &self.shared.saver {
            saver.follow(window.clone(), self.shared.template.clone());
        }
        self.window = window;
        self.begin = begin;
    }

    /// Reads until a bound is reached. May be given up at any point, and then begun elsewhere.
    pub(super) async fn read(&mut self, items: &mpsc::Sender<Item>) -> Result<(), Error> {
        let mut backoff = Backoff::new();
        loop {
            let mut source = self.open();
            let error = loop {
                match source.next().await {
                    Ok(batch) => {
                        backoff.reset();
                        self.note_recovery(batch.position());
                        if self.give(batch, items).await? {
                            return Ok(());
                        }
                    }
                    Err(error) => break error,
                }
            };
            drop(source);
            let options = &self.shared.options;
            match error {
                source::Error::Unauthorized { what, source, .. }
                    if options.on_refusal == OnRefusal::Retry =>
                {
                    self.wait(&what, &source, &mut backoff).await;
                }
                source::Error::PositionLost { .. }
                    if options.on_position_lost == OnPositionLost::Skip =>
                {
                    self.pass_over(&error).await?;
                }
                error => {
                    self.record(&error).await;
                    return Err(error.into());
                }
            }
        }
    }

    fn open(&self) -> Source {
        let options = &self.shared.options;
        let source_options = source::Options {
            scope: Scope::new(options.watch.iter().cloned()),
            start: self.begin.start.clone(),
            behind: self.begin.behind,
            pipeline: options.pipeline.clone(),
            batch_size: options.batch_size,
            oplog_namespace: options.oplog_namespace.clone(),
            reading: options.reading.clone(),
        };
        let stats = self.shared.stats.clone();
        Source::new(options.source, &self.shared.server, source_options, stats)
    }

    /// Gives a batch to the stream; tells whether a bound was reached.
    async fn give(
        &mut self,
        mut batch: op::Batch,
        items: &mpsc::Sender<Item>,
    ) -> Result<bool, Error> {
        let shared = self.shared.clone();
        let len = batch.len();
        let reached = shared.bounds.apply(&mut batch, shared.options.source);
        if batch.len() < len {
            // What was cut off is not done: a later tail has to read it.
            batch.hold_at(self.begin.start.position());
        }
        let batch = Arc::new(batch);
        let ticket = self.window.admit(0, &batch).await;
        let filters = &shared.options.namespace_filters;
        let is_wanted = |place: &u32| {
            let op = batch.op(*place as usize);
            filters.iter().all(|filter| filter(&op))
        };
        let (wanted, refused): (Vec<_>, Vec<_>) = (0..batch.len() as u32).partition(is_wanted);
        if !refused.is_empty() {
            self.window.acknowledge(ticket, &refused);
        }
        let mut rest = &wanted[..];
        while !rest.is_empty() {
            // The documents of a whole batch may be more than is fetched in one go.
            let (documents, looked_up) = self.look_up(&batch, rest).await?;
            let (now, later) = rest.split_at(looked_up);
            let part = Arc::new(Part::new(
                batch.clone(),
                documents,
                (self.window.clone(), ticket),
                self.generation,
            ));
            if let Some(places) = self.filter(&part, now) {
                let content = Content::Batch(Batch { part, places });
                self.send(items, content).await?;
            }
            rest = later;
        }
        // From here a source could be opened again: all of this is in the window.
        if let Some(last) = batch.len().checked_sub(1) {
            let point = batch.op(last).point();
            self.begin.behind = point.or(self.begin.behind);
        }
        self.begin.start = Start::After(batch.position().clone());
        Ok(reached)
    }

    /// Fetches the documents of updates, and tells of how many of the ops everything is known.
    async fn look_up(
        &self,
        batch: &op::Batch,
        places: &[u32],
    ) -> Result<(Documents, usize), Error> {
        let mut documents = Documents::default();
        let ops = || places.iter().map(|&place| batch.op(place as usize));
        let pending: Vec<Op<'_>> = ops().filter(Op::is_pending).collect();
        if pending.is_empty() {
            return Ok((documents, places.len()));
        }
        let fetched = self.lookup.fetch(&pending, &mut documents).await;
        fetched.map_err(Error::Lookup)?;
        let is_known = |op: &Op<'_>| !op.is_pending() || documents.get(op).is_some();
        let known = ops().take_while(is_known).count();
        Ok((documents, known))
    }

    /// Which of these the filters accept, if any.
    fn filter(&self, part: &Arc<Part>, places: &[u32]) -> Option<Arc<[u32]>> {
        let filters = &self.shared.options.filters;
        if filters.is_empty() {
            return Some(places.into());
        }
        let is_wanted = |place: &u32| {
            let change = Change::new(part.clone(), *place);
            filters.iter().all(|filter| filter(&change))
        };
        let (wanted, refused): (Vec<u32>, Vec<u32>) =
            places.iter().partition(|place| is_wanted(place));
        part.acknowledge(&refused);
        (!wanted.is_empty()).then(|| wanted.into())
    }

    async fn send(&self, items: &mpsc::Sender<Item>, content: Content) -> Result<(), Error> {
        let generation = self.generation;
        let sent = items
            .send(Item {
                generation,
                content,
            })
            .await;
        sent.map_err(|_| Error::Stopped)
    }

    fn note_recovery(&self, position: &Position) {
        if self.is_troubled.swap(false, SeqCst) {
            let position = position.clone();
            self.shared.tell(Event::Recovered { position });
        }
    }

    /// Waits for the next attempt's turn.
    async fn wait(&self, what: &str, error: &mongodb::error::Error, backoff: &mut Backoff) {
        let retry_in = backoff.next_delay();
        let (error, attempt) = (describe(error), backoff.attempts());
        warn!(what, attempt, ?retry_in, error, "not allowed; trying again");
        self.shared.stats.tell_trouble(&Trouble {
            what,
            error: &error,
            attempt,
            retry_in,
        });
        tokio::time::sleep(retry_in).await;
    }

    /// Goes on at the oldest entries that are left.
    async fn pass_over(&mut self, error: &source::Error) -> Result<(), Error> {
        self.record(error).await;
        // What was given before the gap cannot be read again.
        self.window.idle().await;
        let shared = self.shared.clone();
        let (kind, namespace) = (shared.options.source, &shared.options.oplog_namespace);
        let start = source::resolve(&Since::Oldest, kind, &shared.server, namespace).await?;
        self.go_to(Begin::at(start));
        Ok(())
    }

    /// Shows and keeps a lost position; does nothing for other errors.
    async fn record(&self, lost: &source::Error) {
        let source::Error::PositionLost {
            position,
            oldest,
            reason,
        } = lost
        else {
            return;
        };
        let options = &self.shared.options;
        let policy = options.on_position_lost;
        error!(from = %position, to = oldest.map(|to| to.to_string()), reason,
            policy = policy.as_str(), "the position is lost: changes between these two were not seen");
        if policy == OnPositionLost::Skip {
            self.shared.tell(Event::PositionLost {
                from: position.clone(),
                to: *oldest,
                reason: reason.clone(),
            });
        }
        let (Some(store), Some(saving)) = (&self.shared.store, &options.saving) else {
            return;
        };
        let scope = Scope::new(options.watch.iter().cloned());
        let gap = Gap {
            name: saving.name.clone(),
            source: options.source,
            from: position.clone(),
            to: *oldest,
            namespaces: scope.namespaces().iter().map(ToString::to_string).collect(),
            reason: reason.clone(),
            policy: policy.as_str().to_owned(),
            at_ms: bson::DateTime::now().timestamp_millis(),
        };
        if let Err(error) = store.record_gap(&gap).await {
            warn!(%error, "the gap cannot be recorded");
        }
    }
}

impl From<&Trouble<'_>> for Event {
    fn from(trouble: &Trouble<'_>) -> Self {
        Self::Reconnecting {
            what: trouble.what.to_owned(),
            error: trouble.error.to_owned(),
            attempt: trouble.attempt,
            retry_in: trouble.retry_in,
        }
    }
}
