//! A run: the data flow in code.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{
    Bounds, Error, OnPositionLost, Options, Plan, RunState, Stats, Summary,
    assembly::Assembly,
    begin::{self, Begin},
    board::Board,
    delivery::Delivery,
    desk::Desk,
    handle::Command,
    saver::{Saved, Saver, Task},
    shared::Standing,
    supervisor::{Supervisor, last_word},
    vitals::VitalsWatch,
};
use crate::{
    checkpoint::{
        AckWindow, Checkpoint, Holder, Holding, Keeper, Lease, LeaseOptions, ModuleRef, Standby,
        Store, StreamCheckpoint, WindowOptions, take,
    },
    guest::Limits,
    mongo::Server,
    source::{self, Start},
    telemetry::Metrics,
};

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
    server: &Server,
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
    let mut run = Run {
        server,
        plan: &plan,
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
    server: &'a Server,
    plan: &'a Plan,
    options: &'a Options,
    limits: &'a Limits,
    shutdown: &'a CancellationToken,
    stats: Arc<Stats>,
    sources: Arc<source::Stats>,
}

/// What a run that keeps a checkpoint holds.
struct Kept {
    store: Store,
    lease: Lease,
    keeper: Arc<Keeper>,
    saved: Option<Checkpoint>,
}

impl Run<'_> {
    async fn work(&mut self, mut desk: Desk, on_start: impl FnOnce(&Start)) -> Result<(), Error> {
        if self.options.on_position_lost == OnPositionLost::Resnapshot {
            return Err(Error::Resnapshot);
        }
        let delivery = Arc::new(Delivery::open(self.server, self.plan, self.options).await?);
        let board = desk.board.clone();
        board.show_delivery(delivery.clone());
        board.show_vitals(VitalsWatch::start(self.server));
        let prepared = async {
            let kept = match &self.options.checkpoint {
                Some(_) => Some(self.take_over(&delivery, &board).await?),
                None => None,
            };
            board.enter(RunState::Starting, None);
            let saved = kept.as_ref().and_then(|kept| kept.saved.as_ref());
            let found = begin::find(self.server, self.plan, self.options, saved).await;
            let bounds = match &found {
                Ok(_) => Some(self.bounds().await?),
                Err(_) => None,
            };
            Ok::<_, Error>((kept, found, bounds))
        };
        let drain = desk.drain.clone();
        let asked_to_end = async {
            tokio::select! {
                () = self.shutdown.cancelled() => {}
                () = drain.cancelled() => {}
            }
        };
        let prepared = async {
            tokio::select! {
                prepared = prepared => Some(prepared),
                () = asked_to_end => None,
            }
        };
        // On the heap: it holds the opening of every kind of store.
        let Some(prepared) = desk.serve_while(Box::pin(prepared)).await else {
            last_word(&mut desk);
            return Ok(());
        };
        let (kept, found, bounds) = prepared?;
        let ended = match (found, bounds) {
            (Ok(begins), Some(bounds)) => {
                self.supervise(&mut desk, delivery, &kept, begins, bounds, on_start)
                    .await
            }
            (Err(error), _) => Err(error),
            (Ok(_), None) => Ok(()),
        };
        last_word(&mut desk);
        board.close();
        if let Some(Kept { store, lease, .. }) = kept {
            // Who was fenced has nothing to give back.
            if let Err(error) = store.release(&lease).await {
                tracing::debug!(%error, "the lease is not given back, and runs out");
            }
        }
        ended
    }

    async fn supervise(
        &self,
        desk: &mut Desk,
        delivery: Arc<Delivery>,
        kept: &Option<Kept>,
        begins: Vec<Begin>,
        bounds: Bounds,
        on_start: impl FnOnce(&Start),
    ) -> Result<(), Error> {
        let saver = kept
            .as_ref()
            .map(|kept| Arc::new(self.saver(kept, &delivery, &begins)));
        if let (Some(saver), Some(kept)) = (&saver, kept) {
            desk.board.show_saver(saver.clone(), kept.lease.epoch);
        }
        if let Some(begin) = begins.first() {
            on_start(&begin.start);
        }
        let mut supervisor = Supervisor {
            assembly: Assembly {
                server: self.server,
                plan: self.plan,
                options: self.options,
                limits: self.limits,
                bounds,
                delivery,
                standings: self.plan.modules.iter().map(Standing::new).collect(),
                stats: self.stats.clone(),
                sources: self.sources.clone(),
            },
            desk,
            saver: saver.clone(),
            store: kept.as_ref().map(|kept| kept.store.clone()),
            shutdown: self.shutdown,
        };
        let ended = supervisor.run(begins).await;
        let failure = match saver {
            Some(saver) => saver.end().await,
            None => None,
        };
        // A lost lease explains what followed.
        failure.map_or(ended, Err)
    }

    async fn bounds(&self) -> Result<Bounds, Error> {
        let Options {
            end,
            source,
            oplog_namespace,
            ..
        } = self.options;
        Ok(Bounds::resolve(end, *source, self.server, oplog_namespace).await?)
    }

    /// Opens the store, waits for the lease, and reads the checkpoint under it.
    async fn take_over(&self, delivery: &Delivery, board: &Board) -> Result<Kept, Error> {
        let spec = self
            .options
            .checkpoint
            .as_ref()
            .expect("the caller has looked");
        let client = match &delivery.ledger {
            Some(ledger) => ledger.client(),
            None => &self.server.client,
        };
        let store = Store::open(spec, client);
        if delivery.ledger.is_some() && !store.has_transactions() {
            let reason = format!("the checkpoint is in {spec}, which is not on its deployment");
            return Err(Error::Transactional { reason });
        }
        let holder = Holder::this_process();
        let lease_options = LeaseOptions::with_ttl(self.options.lease);
        let standby = match self.options.standby {
            true => Standby::Wait,
            false => Standby::Refuse,
        };
        let on_wait = |by: &Holding| {
            let reason = format!("{} holds the lease", by.holder);
            info!(name = self.options.name, holder = %by.holder, "standing by: another process holds the lease");
            board.enter(RunState::Standby, Some(reason));
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
        let saved = store.load(&self.options.name).await?;
        Ok(Kept {
            store,
            lease,
            keeper: Arc::new(keeper),
            saved,
        })
    }

    fn saver(&self, kept: &Kept, delivery: &Delivery, begins: &[Begin]) -> Saver {
        let identities = begin::identities(self.plan, self.options);
        let streams = identities.into_iter().zip(&self.plan.streams).zip(begins);
        let streams = streams.map(|((identity, stream), begin)| StreamCheckpoint {
            digest: identity.digest,
            scope: stream.scope.to_string(),
            modules: identity.modules,
            frontier: begin.frontier(),
        });
        let modules = self.plan.modules.iter().map(|spec| ModuleRef {
            name: spec.module.name().to_owned(),
            digest: spec.module.digest().to_owned(),
        });
        let template = Checkpoint {
            name: self.options.name.clone(),
            source: self.options.source,
            streams: streams.collect(),
            modules: modules.collect(),
            epoch: kept.lease.epoch,
            saved_ms: 0,
        };
        let task = Task {
            store: kept.store.clone(),
            lease: kept.lease.clone(),
            keeper: kept.keeper.clone(),
            template,
            every: self.options.save_every,
            ledger: delivery.ledger.clone(),
            stats: self.stats.clone(),
        };
        // The first session's window takes its place before anything is done.
        let frontiers = begins.iter().map(Begin::frontier).collect();
        let window = AckWindow::new(frontiers, WindowOptions::default());
        let saved = Saved::default();
        Saver::start(task, window, saved)
    }
}
