//! Reading, from one position on: what the task does between two commands.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use tokio::sync::mpsc;
use tracing::{info, warn};

use super::{
    Error, Event, Giver, OnRefusal, handle::Shared, reading::Reading, reads, stream::Item,
};
use crate::{
    backoff::Backoff,
    checkpoint::AckWindow,
    control::{Bounds, OnPositionLost, Plan, begin::Begin, direct::Stage},
    flow::Lookup,
    mongo::describe,
    op::{Batch, Frontier, Position, Scope},
    source::{self, Source, Start, Trouble},
};

/// The number of a tail's only stream.
const STREAM: usize = 0;

/// Reading, from one position on.
pub(super) struct Session {
    pub(super) shared: Arc<Shared>,
    pub(super) window: Arc<AckWindow>,
    giver: Giver,
    /// Where a source is opened; moves with what was read.
    begin: Begin,
    pub(super) generation: u64,
    /// Reading broke off, and has not gone on yet.
    is_troubled: Arc<AtomicBool>,
    /// Where the stream ends.
    bounds: Bounds,
    /// What there is to read, the collections that are read directly among it.
    plan: Plan,
    /// What batches pass while something is read directly.
    stage: Option<Stage>,
    reading: Option<Reading>,
}

impl Session {
    /// The first one, over the window that the tail was made with.
    pub(super) fn first(
        shared: &Arc<Shared>,
        begin: Begin,
        plan: Plan,
        items: mpsc::Sender<Item>,
    ) -> Self {
        let is_troubled = Arc::new(AtomicBool::new(false));
        let (events, troubled) = (shared.events.clone(), is_troubled.clone());
        shared.stats.on_trouble(move |trouble| {
            troubled.store(true, SeqCst);
            let _ = events.send(Event::from(trouble));
        });
        let is_causal = shared.options.oplog_namespace == source::default_oplog_namespace();
        let lookup = Lookup::new(shared.server.client.clone(), is_causal);
        Self {
            window: shared.window(),
            giver: Giver::new(shared.clone(), lookup, items),
            shared: shared.clone(),
            begin,
            generation: shared.generation(),
            is_troubled,
            bounds: shared.bounds.clone(),
            plan,
            stage: None,
            reading: None,
        }
    }

    /// Another one, elsewhere: what this one has read is not given any more. What it has not finished of
    /// what is read directly is read again. May be given up, and then begun elsewhere.
    pub(super) async fn go_to(&mut self, begin: Begin) {
        // From here on nothing is given that this one reads.
        self.generation = self.shared.begin_generation();
        self.stop_reading().await;
        self.shared.reads.put_back(&self.window.look());
        let window = window(begin.frontier(), &self.shared.options);
        self.shared.set_window(window.clone());
        if let Some(saver) = &self.shared.saver {
            saver.follow(window.clone(), self.shared.template.clone());
        }
        self.giver = self.giver.renewed();
        self.window = window;
        self.begin = begin;
    }

    /// Ends what is read directly.
    pub(super) async fn stop_reading(&mut self) {
        self.stage = None;
        if let Some(reading) = &self.reading {
            reading.stop().await;
        }
        self.reading = None;
    }

    /// Reads until a bound is reached. May be given up at any point, and then begun elsewhere.
    pub(super) async fn read(&mut self) -> Result<(), Error> {
        let (mut backoff, mut of_reads) = (Backoff::new(), Backoff::new());
        self.begin_reading();
        let ended = loop {
            let ended = match self.read_stream(&mut backoff).await {
                Ok(()) => self.finish_reading().await,
                Err(error) => Err(error),
            };
            match ended {
                Ok(()) => break Ok(()),
                Err(error) => {
                    let backoff = match error {
                        Error::DirectRead { .. } => &mut of_reads,
                        _ => &mut backoff,
                    };
                    if let Err(error) = self.go_on_after(error, backoff).await {
                        break Err(error);
                    }
                }
            }
        };
        self.stop_reading().await;
        ended
    }

    /// Does what the options say about an error.
    ///
    /// # Errors
    /// The same, where the tail is at its end.
    async fn go_on_after(&mut self, error: Error, backoff: &mut Backoff) -> Result<(), Error> {
        let options = &self.shared.options;
        if let Some((what, refusal)) = error.refusal()
            && options.on_refusal == OnRefusal::Retry
        {
            self.wait(what, refusal, backoff).await;
            if matches!(error, Error::DirectRead { .. }) {
                self.stop_reading().await;
                self.shared.reads.put_back(&self.window.look());
                self.begin_reading();
            }
            return Ok(());
        }
        match error {
            Error::Source(lost @ source::Error::PositionLost { .. })
                if options.on_position_lost == OnPositionLost::Skip =>
            {
                self.pass_over(&lost).await?;
                self.begin_reading();
                Ok(())
            }
            Error::Source(error) => {
                self.record(&error).await;
                Err(error.into())
            }
            error => Err(error),
        }
    }

    /// Reads until a bound is reached, or what is read directly has come to an end before its time.
    async fn read_stream(&mut self, backoff: &mut Backoff) -> Result<(), Error> {
        let mut source = self.open();
        loop {
            self.begin_asked().await;
            let (reading, shared) = (self.reading.clone(), self.shared.clone());
            let broken_off = async {
                match &reading {
                    Some(reading) => reading.broken_off(&shared).await,
                    None => std::future::pending().await,
                }
            };
            let batch = tokio::select! {
                biased;
                () = broken_off => return Ok(()),
                batch = source.next() => batch?,
            };
            backoff.reset();
            self.note_recovery(batch.position());
            if self.take(batch).await? {
                return Ok(());
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

    /// Takes a batch of the stream in, in as many parts as it takes: what has to wait for documents that
    /// are read comes behind them. Tells whether the stream is at its end.
    async fn take(&mut self, mut batch: Batch) -> Result<bool, Error> {
        let (position, is_caught_up) = (batch.position().clone(), batch.is_caught_up());
        let last = batch.len().checked_sub(1);
        let last_time = last.map(|last| batch.op(last).timestamp());
        let last = last.and_then(|last| batch.op(last).point());
        let before = self.begin.start.behind();
        if let Some(mut stage) = self.stage.take() {
            while let Some((waits, part)) = stage.sift(&mut batch, &before) {
                if self.give(part).await? {
                    return Ok(true);
                }
                stage.wait(waits).await;
                if stage.is_given_up() {
                    return Ok(true);
                }
            }
            self.stage = Some(stage);
            self.bound_by_reads();
        }
        let is_over = self.give(batch).await?;
        if let Some(stage) = &self.stage {
            stage.reached(&before, last_time, (&position, is_caught_up));
        }
        // From here a source could be opened again: all of this is in the window.
        self.begin.behind = last.or(self.begin.behind);
        self.begin.start = Start::After(position);
        Ok(is_over)
    }

    /// Gives a batch, up to the bounds, to the stream; tells whether one was reached.
    async fn give(&mut self, mut batch: Batch) -> Result<bool, Error> {
        let len = batch.len();
        let is_over = self.bounds.apply(&mut batch, self.shared.options.source);
        if batch.len() < len {
            // What was cut off is not done: a later tail has to read it.
            batch.hold_at(self.begin.start.behind());
        }
        let batch = Arc::new(batch);
        let ticket = self.window.admit(STREAM, &batch).await;
        self.giver.give(&batch, ticket).await?;
        if let Some(last) = batch.len().checked_sub(1) {
            let point = batch.op(last).point();
            self.begin.behind = point.or(self.begin.behind);
        }
        Ok(is_over)
    }

    /// While something is read directly, that the stream is idle is no end; behind that it passes no
    /// stage any more.
    fn bound_by_reads(&mut self) {
        let Some(stage) = &self.stage else {
            return;
        };
        self.bounds.idle_at = stage.idleness().idle_at(self.shared.bounds.idle_at);
        if stage.is_over() {
            self.stage = None;
        }
    }

    /// Lets what is not read yet be read.
    fn begin_reading(&mut self) {
        let reads = &self.shared.reads;
        reads.begin(&self.shared.deployments, &self.plan);
        reads.follow(&self.window);
        self.stage = reads.stage(STREAM);
        self.reading = reads
            .are_under_way()
            .then(|| Reading::start(&self.shared, &self.plan, &self.giver));
        self.bounds = self.shared.bounds.clone();
        self.bound_by_reads();
    }

    /// Lets be read what was asked for meanwhile. One is begun when the one before is over and the stream
    /// is beyond it, so that what was covered by that one is known to the end.
    async fn begin_asked(&mut self) {
        if self.shared.has_asked() {
            // It is not idle before that was read.
            self.bounds.idle_at = None;
        }
        self.bound_by_reads();
        if self.stage.is_some() || self.shared.reads.are_under_way() {
            return;
        }
        let Some(namespace) = self.shared.next_asked() else {
            return;
        };
        self.stop_reading().await;
        reads::add(&mut self.plan, &namespace, &self.shared.options);
        let reads = &self.shared.reads;
        reads.add_everywhere(&namespace);
        reads.extend(&self.shared.deployments, &self.plan);
        reads.renew(|_, other| *other == namespace);
        self.shared.tell_of_reads();
        info!(%namespace, "reading directly, as asked for");
        self.begin_reading();
    }

    /// The stream has come to its end: waits until everything else was given.
    async fn finish_reading(&mut self) -> Result<(), Error> {
        self.stage = None;
        let Some(reading) = &self.reading else {
            return Ok(());
        };
        tokio::select! {
            biased;
            ended = reading.ended() => ended,
            () = self.shared.reads.all_given() => Ok(()),
        }
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
}

/// A window over the stream that begins there, and the readers beside it.
pub(super) fn window(begin: Frontier, options: &super::Options) -> Arc<AckWindow> {
    AckWindow::with_reads(vec![begin], options.direct.concurrency, options.window)
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
