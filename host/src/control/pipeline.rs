//! A run: the data flow in code.

use std::{sync::Arc, time::Duration};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{
    Bounds, Deployments, Error, OnPositionLost, Options, Plan, RunState, Stats, Summary,
    assembly::Assembly,
    begin::{self, Begin},
    board::Board,
    delivery::Delivery,
    desk::Desk,
    direct::DirectReads,
    handle::Command,
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
    checkpoint::{
        AckWindow, Checkpoint, Holder, Holding, Keeper, Lease, LeaseOptions, Standby, Store,
        WindowOptions, take,
    },
    guest::{Limits, Lookups},
    sink::Spec,
    source::{self, Start},
    telemetry::Metrics,
};

/// How soon a position that could not be saved at the start is given to the store again.
const FIRST_SAVE_PAUSE: Duration = Duration::from_millis(200);

/// How long giving back the lease may take: without that it runs out.
const RELEASE_TIME: Duration = Duration::from_secs(2);

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

/// What a run that keeps a checkpoint holds.
struct Kept {
    store: Store,
    lease: Lease,
    keeper: Arc<Keeper>,
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
        if self.options.checkpoint.is_some() {
            // On the heap: it holds the opening of every kind of store.
            let taken = Box::pin(self.take_over(&delivery, holder, &board));
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
        if let Some(Kept { store, lease, .. }) = kept {
            // Who was fenced has nothing to give back.
            let released = tokio::time::timeout(RELEASE_TIME, store.release(&lease)).await;
            if !matches!(released, Ok(Ok(()))) {
                tracing::debug!("the lease is not given back, and runs out");
            }
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

    /// Opens the store, and waits for the lease.
    async fn take_over(
        &self,
        delivery: &Delivery,
        holder: Holder,
        board: &Board,
    ) -> Result<Kept, Error> {
        let spec = self
            .options
            .checkpoint
            .as_ref()
            .expect("the caller has looked");
        let client = match &delivery.ledger {
            Some(ledger) => ledger.client(),
            None => &self.deployments.home().client,
        };
        let store = Store::open(spec, client);
        if delivery.ledger.is_some() && !store.has_transactions() {
            let reason = format!("the checkpoint is in {spec}, which is not on its deployment");
            return Err(Error::Transactional { reason });
        }
        let holder = Holder {
            sessions: delivery.sessions().await,
            ..holder
        };
        let lease_options = LeaseOptions::with_ttl(self.options.lease);
        let standby = match self.options.standby {
            true => Standby::Wait,
            false => Standby::Refuse,
        };
        let on_wait = |by: &Holding| {
            let reason = format!("{} holds the lease", by.holder);
            let (name, holder) = (&self.options.name, &by.holder);
            match standby {
                Standby::Wait => {
                    info!(name, %holder, "standing by: another process holds the lease");
                    board.enter(RunState::Standby, Some(reason));
                }
                Standby::Refuse => {
                    info!(name, %holder, "looking whether the process that holds the lease is still alive");
                }
            }
        };
        let lease = take(
            &store,
            &self.options.name,
            &holder,
            &lease_options,
            standby,
            on_wait,
        )
        .await?;
        let keeper = Keeper::start(store.clone(), lease.clone(), lease_options);
        if !lease.replaced.is_empty() {
            // Before anything is read: what the one before had sent last must not come after it.
            delivery.end(&lease.replaced).await;
            if let Err(error) = store.settle(&lease).await {
                // Whoever takes over from this one does it again, which is harmless.
                tracing::debug!(%error, "it cannot be noted that nothing is left of the holder before");
            }
        }
        Ok(Kept {
            store,
            lease,
            keeper: Arc::new(keeper),
        })
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
