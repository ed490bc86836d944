//! A run: the data flow in code.

use std::{sync::Arc, time::Duration};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    Bounds, Deployments, Error, OnPositionLost, Options, Plan, RunState, Stats, Summary,
    assembly::Assembly,
    begin::{self, Begin},
    board::Board,
    delivery::Delivery,
    desk::Desk,
    direct::DirectReads,
    handle::Command,
    kept::Kept,
    lookups::ServerLookups,
    profiling::Profiles,
    restored::Restored,
    saver::{Saved, Saver, Task},
    shards::ShardWatch,
    share::Share,
    snapshot::with_unfinished_reads,
    supervisor::{Supervisor, last_word},
    swapping::Swaps,
};
use crate::{
    checkpoint::{AckWindow, Checkpoint, Holder, WindowOptions},
    guest::{Limits, Lookups},
    sink::Spec,
    source::{self, Start},
    telemetry::Metrics,
};

/// How soon a position that could not be saved at the start is given to the store again.
const FIRST_SAVE_PAUSE: Duration = Duration::from_millis(200);

/// Runs a plan until a bound is reached, an end is asked for, or it cannot go on.
///
/// `inbox` is where the run's [`Handle`](super::Handle) sends to; `metrics` show what is measured. `on_start` is told
/// where the streams begin, before the first op.
///
/// # Errors
/// [`Error`]. The lanes have ended then, too.
#[expect(
    clippy::too_many_arguments,
    reason = "what a run is made of, each named by its type"
)]
pub async fn run(
    deployments: impl Into<Deployments>,
    plan: Plan,
    options: &Options,
    limits: &Limits,
    inbox: mpsc::Receiver<Command>,
    metrics: &Metrics,
    shutdown: &CancellationToken,
    on_start: impl FnOnce(&Start),
) -> (Summary, Result<(), Error>) {
    let stats = Arc::new(Stats::default());
    let sources = Arc::new(source::Stats::default());
    let scopes: Vec<_> = plan
        .streams
        .iter()
        .map(|stream| stream.scope.to_string())
        .collect();
    let board = Board::new(options, scopes.join(", "), stats.clone(), sources.clone());
    metrics.show(Arc::new(board.clone()));
    let desk = Desk::new(board.clone(), inbox);
    let deployments = deployments.into();
    let lookups = Arc::new(ServerLookups::of_run(deployments.home(), options));
    let mut run = Run {
        deployments,
        plan: Arc::new(plan.with_lookups(&(lookups.clone() as Arc<dyn Lookups>))),
        lookups,
        options,
        limits,
        shutdown,
        stats: stats.clone(),
        sources: sources.clone(),
    };
    let ended = run.work(desk, on_start).await;
    // Whoever measures may keep the board longer than what it shows is to live.
    board.close();
    (stats.summary(&sources), ended)
}

struct Run<'a> {
    deployments: Deployments,
    plan: Arc<Plan>,
    lookups: Arc<ServerLookups>,
    options: &'a Options,
    limits: &'a Limits,
    shutdown: &'a CancellationToken,
    stats: Arc<Stats>,
    sources: Arc<source::Stats>,
}

/// With what a run begins.
struct Found {
    restored: Restored,
    begins: Vec<Begin>,
    reads: Arc<DirectReads>,
    share: Option<Arc<Share>>,
}

impl Run<'_> {
    async fn work(&mut self, mut desk: Desk, on_start: impl FnOnce(&Start)) -> Result<(), Error> {
        let reads = !self.plan.reads.is_empty()
            || self.options.on_position_lost == OnPositionLost::Resnapshot;
        if reads && self.deployments.listed().is_some() {
            return Err(Error::ReadOfShards);
        }
        let is_transactional = self.options.sinks.iter().any(Spec::is_transactional);
        if is_transactional && self.options.checkpoint.is_none() {
            let reason = "it is written together with the checkpoint, and none is kept".into();
            return Err(Error::Transactional { reason });
        }
        let board = desk.board.clone();
        let holder = Holder::this_process();
        let opened = Delivery::open(self.deployments.home(), self.options, &holder.id);
        let ended = match self.unless_asked_to_end(&mut desk, opened).await {
            Some(Ok(delivery)) => self.deliver(&mut desk, delivery, holder, on_start).await,
            Some(Err(error)) => Err(error),
            None => Ok(()),
        };
        last_word(&mut desk);
        board.close();
        ended
    }

    /// Works for as long as the lease is held, and gives it back.
    async fn deliver(
        &self,
        desk: &mut Desk,
        delivery: Delivery,
        holder: Holder,
        on_start: impl FnOnce(&Start),
    ) -> Result<(), Error> {
        let delivery = Arc::new(delivery);
        let board = desk.board.clone();
        board.show_delivery(delivery.clone());
        board.show_deployments(&self.deployments);
        let mut kept = None;
        if let Some(spec) = &self.options.checkpoint {
            let home = self.deployments.home();
            // On the heap: it holds the opening of every kind of store.
            let taken = Box::pin(Kept::take_over(
                spec,
                self.options,
                home,
                &delivery,
                holder,
                &board,
            ));
            match self.unless_asked_to_end(desk, taken).await {
                Some(taken) => kept = Some(taken?),
                None => return Ok(()),
            }
        }
        board.enter(RunState::Starting, None);
        let found = self.find(kept.as_ref());
        let ended = match self.unless_asked_to_end(desk, found).await {
            Some(Ok((found, bounds))) => {
                self.supervise(desk, delivery, kept.as_ref(), found, bounds, on_start)
                    .await
            }
            Some(Err(error)) => Err(error),
            None => Ok(()),
        };
        if let Some(kept) = kept {
            kept.release().await;
        }
        ended
    }

    /// Waits for something at the start of the run; `None` when the run is to end instead.
    async fn unless_asked_to_end<T>(
        &self,
        desk: &mut Desk,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let drain = desk.drain.clone();
        // On the heap: it holds the opening of every kind of store.
        let work = Box::pin(work);
        let work = async {
            tokio::select! {
                done = work => Some(done),
                () = self.shutdown.cancelled() => None,
                () = drain.cancelled() => None,
            }
        };
        desk.serve_while(work).await
    }

    /// Finds with which modules, and where the streams begin and end, and which part of them is ours.
    async fn find(&self, kept: Option<&Kept>) -> Result<(Found, Vec<Bounds>), Error> {
        let saved = match kept {
            Some(kept) => kept.store.load(&self.options.name).await?,
            None => None,
        };
        if kept.is_some() && saved.is_none() && self.options.since.is_none() {
            begin::look_elsewhere(&self.deployments, self.options).await?;
        }
        let plan = match self.deployments.listed() {
            Some(_) => self.plan.clone(),
            None => with_unfinished_reads(&self.plan, &self.deployments, saved.as_ref()).await?,
        };
        let restored = match (kept, &saved) {
            (Some(kept), Some(saved)) => Restored::after(plan, &kept.store, saved).await?,
            _ => Restored::as_given(plan),
        };
        let share = match &self.options.share {
            Some(options) => {
                let (home, stats) = (self.deployments.home(), self.stats.clone());
                Some(Arc::new(Share::open(home, options, stats).await?))
            }
            None => None,
        };
        let plan = &restored.plan;
        let (deployments, of) = (&self.deployments, share.as_deref());
        let begins = begin::find(deployments, plan, self.options, saved.as_ref(), of).await?;
        let bounds = Bounds::resolve_all(&self.deployments, self.options).await?;
        let reads = DirectReads::new(deployments, (plan, &self.plan), saved.as_ref());
        if self.options.since.is_some() {
            // What was asked for is to be seen.
            reads.forget();
        }
        let found = Found {
            restored,
            begins,
            reads,
            share,
        };
        Ok((found, bounds))
    }

    async fn supervise(
        &self,
        desk: &mut Desk,
        delivery: Arc<Delivery>,
        kept: Option<&Kept>,
        found: Found,
        bounds: Vec<Bounds>,
        on_start: impl FnOnce(&Start),
    ) -> Result<(), Error> {
        let Found {
            restored,
            begins,
            reads,
            share,
        } = found;
        let Restored { plan, standings } = restored;
        desk.board.show_reads(reads.clone());
        let saver = kept.map(|kept| {
            let template = begin::template(&self.deployments, &plan, self.options, &standings);
            Arc::new(self.saver(kept, &delivery, &begins, template, reads.clone()))
        });
        if let (Some(saver), Some(kept)) = (&saver, kept) {
            desk.board.show_saver(saver.clone(), kept.lease.epoch);
        }
        if let Some(saver) = &saver {
            // Whoever sees that the run has begun can rely on it: after a crash it begins there again.
            self.unless_asked_to_end(desk, begun(saver.clone())).await;
        }
        if let Some(begin) = begins.first() {
            on_start(&begin.start);
        }
        let mut supervisor = Supervisor {
            assembly: Assembly {
                deployments: self.deployments.clone(),
                plan,
                options: self.options,
                limits: self.limits,
                bounds,
                share,
                delivery,
                lookups: self.lookups.clone(),
                holdup: desk.board.holdup().clone(),
                standings,
                stats: self.stats.clone(),
                sources: self.sources.clone(),
                reads,
                board: desk.board.clone(),
            },
            desk,
            states: Vec::new(),
            swaps: Swaps::default(),
            profiles: Profiles::default(),
            shards: self.deployments.listed().cloned().map(ShardWatch::start),
            saver: saver.clone(),
            store: kept.map(|kept| kept.store.clone()),
            shutdown: self.shutdown,
        };
        let ended = supervisor.run(begins).await;
        let deployments = supervisor.assembly.deployments.clone();
        drop(supervisor);
        // Who began the run ends those that it began with.
        deployments.shutdown_others(&self.deployments).await;
        let failure = match saver {
            Some(saver) => saver.end().await,
            None => None,
        };
        // A lost lease explains what followed.
        failure.map_or(ended, Err)
    }

    fn saver(
        &self,
        kept: &Kept,
        delivery: &Delivery,
        begins: &[Begin],
        template: Arc<Checkpoint>,
        reads: Arc<DirectReads>,
    ) -> Saver {
        let task = Task {
            store: kept.store.clone(),
            lease: kept.lease.clone(),
            keeper: kept.keeper.clone(),
            every: self.options.save_every,
            ledger: delivery.ledger.clone(),
            stats: self.stats.clone(),
        };
        // The first session's window takes its place before anything is done.
        let frontiers = begins.iter().map(Begin::frontier).collect();
        let window = AckWindow::new(frontiers, WindowOptions::default());
        if let Some(ledger) = &delivery.ledger {
            ledger.begin(window.clone());
        }
        let saved = Saved::default();
        Saver::start(task, window, template, reads, saved)
    }
}

/// Waits until it is durable where the run begins, or never will be. Without that no op may be handled:
/// after a crash a run without a checkpoint would begin at the present, and skip what came meanwhile.
pub(super) async fn begun(saver: Arc<Saver>) {
    let saved = async {
        while !saver.save_now().await {
            tokio::time::sleep(FIRST_SAVE_PAUSE).await;
        }
    };
    tokio::select! {
        () = saved => {}
        () = saver.failed() => {}
    }
}
