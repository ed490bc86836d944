//! Puts a session together.

use std::sync::{Arc, Mutex};

use tokio::{runtime::Handle, sync::Notify};
use tokio_util::sync::CancellationToken;

use super::{
    Bounds, Deployment, Deployments, Error, Options, Plan, Stats,
    barrier::Barrier,
    begin::Begin,
    board::Board,
    delivery::Delivery,
    deployments::StreamOf,
    direct::{Conductor, DirectReads, Horizon, Way, Wiring},
    instances::States,
    lookups::ServerLookups,
    merging::{Holdup, Merger},
    orders::Orders,
    outflow::Outflow,
    reach::Reach,
    saved_ops::SavedOps,
    session::{Reading, Session, Stream},
    share::Share,
    shared::{Shared, Standing, StreamShare},
    worker::LaneWorker,
};
use crate::{
    checkpoint::{AckWindow, WindowOptions},
    flow::{self, Gate, Lanes, Lookup, OrderingGuarantee},
    guest::Limits,
    source::{self, Source},
};

/// How much larger a lane's stack is than the guests'.
const STACK_MARGIN_BYTES: usize = 2 << 20;

/// What every session of a run is made of.
pub(super) struct Assembly<'a> {
    pub(super) deployments: Deployments,
    pub(super) plan: Arc<Plan>,
    pub(super) options: &'a Options,
    pub(super) limits: &'a Limits,
    /// Of each deployment.
    pub(super) bounds: Vec<Bounds>,
    pub(super) share: Option<Arc<Share>>,
    pub(super) delivery: Arc<Delivery>,
    pub(super) lookups: Arc<ServerLookups>,
    /// Who holds up the others, where all are read in one order.
    pub(super) holdup: Holdup,
    /// They outlive sessions, as the modules' failures do.
    pub(super) standings: Arc<[Arc<Standing>]>,
    pub(super) stats: Arc<Stats>,
    pub(super) sources: Arc<source::Stats>,
    /// They outlive sessions, too.
    pub(super) reads: Arc<DirectReads>,
    pub(super) board: Board,
}

impl Assembly<'_> {
    /// The stream of that number.
    pub(super) fn stream(&self, stream: usize) -> StreamOf<'_> {
        self.deployments.stream(&self.plan, stream)
    }

    /// Where the documents of a deployment's updates are looked up.
    fn documents_of(&self, deployment: &Deployment) -> Reach {
        let client = self.deployments.client_for_lookups(deployment).clone();
        let is_causal = self.options.oplog_namespace == source::default_oplog_namespace();
        let lookup = Lookup::new(client, is_causal);
        // In one order over all, every op waits for the one before it.
        match self.options.ordering {
            OrderingGuarantee::Oplog => Reach::patient(lookup),
            _ if self.deployments.are_told_apart() => {
                Reach::impatient(lookup, deployment.cluster.clone())
            }
            _ => Reach::patient(lookup),
        }
    }

    /// Streams and lanes that begin there, behind that gate, with the states that were handed over.
    ///
    /// # Errors
    /// When a module cannot be started, or a thread.
    pub(super) fn start(
        &self,
        begins: &[Begin],
        gate: &Gate,
        states: &[States],
    ) -> Result<(Session, Arc<Shared>), Error> {
        let options = self.options;
        if let Some(window) = self.board.window() {
            // What the session before has not finished is read again.
            self.reads.put_back(&window.look());
        }
        self.reads.begin(&self.deployments, &self.plan);
        let readers = Conductor::streams(&self.deployments, &self.plan, &options.direct);
        let window = AckWindow::with_reads(
            begins.iter().map(Begin::frontier).collect(),
            readers.len(),
            WindowOptions {
                ops_max: options.window_ops,
                bytes_max: options.queue_bytes,
            },
        );
        self.reads.follow(&window);
        if let Some(ledger) = &self.delivery.ledger {
            // Before a lane can emit.
            ledger.begin(window.clone());
        }
        self.lookups.give_up_with(gate.clone());
        self.lookups.serve(&self.deployments);
        let modules = self.plan.modules.iter();
        let streams = self.deployments.streams(&self.plan);
        let shared = Arc::new(Shared {
            names: modules.map(|spec| spec.module.name().to_owned()).collect(),
            streams: streams
                .map(|stream| StreamShare {
                    modules: stream.plan.modules.clone(),
                    documents: self.documents_of(stream.deployment),
                })
                .chain(readers.into_iter().map(|reader| StreamShare {
                    documents: self.documents_of(&self.deployments.read()[reader.deployment]),
                    modules: reader.modules,
                }))
                .collect(),
            modules: self.plan.modules.clone(),
            sinks: options.sinks.iter().map(|spec| spec.name.clone()).collect(),
            outlets: self.delivery.outlets.clone(),
            letters: self.delivery.post.clone(),
            saved_ops: options.save_failed.as_deref().map(SavedOps::new),
            acks: window.clone(),
            ordering: options.ordering,
            stats: self.stats.clone(),
            standings: self.standings.clone(),
            orders: Orders::new(options.workers),
            handover: Mutex::new(None),
            breaker_opened: Notify::new(),
            gate: gate.clone(),
            runtime: Handle::current(),
            failure: Mutex::new(None),
            failed: CancellationToken::new(),
        });
        let lane_options = flow::Options {
            ordering: options.ordering,
            stack_bytes: self.limits.stack_bytes + STACK_MARGIN_BYTES,
        };
        let nothing = States::new();
        let workers = (0..options.workers)
            .map(|lane| {
                let states = states.get(lane).unwrap_or(&nothing);
                LaneWorker::new(shared.clone(), lane, states)
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(Error::Start)?;
        let lanes = Lanes::start(&lane_options, workers, gate).map_err(Error::Thread)?;
        let stop = CancellationToken::new();
        let are_told_apart = self.deployments.are_told_apart();
        let streams = self.deployments.streams(&self.plan);
        let streams = streams.zip(begins).enumerate();
        let streams = streams.map(|(index, (stream, begin))| {
            let source_options = source::Options {
                scope: stream.plan.scope.clone(),
                start: begin.start.clone(),
                behind: begin.behind,
                pipeline: stream.plan.pipeline.clone(),
                batch_size: options.batch_size,
                oplog_namespace: options.oplog_namespace.clone(),
                reading: options.reading.clone(),
            };
            let mut source = Source::new(
                options.source,
                &stream.deployment.server,
                source_options,
                self.sources.clone(),
            );
            source.put_aside(self.delivery.post.clone());
            Stream {
                index,
                cluster: are_told_apart.then(|| stream.deployment.cluster.clone()),
                kind: options.source,
                source,
                bounds: self.bounds[stream.at].clone(),
                share: self.share.clone(),
                position: begin.start.behind(),
                leaving: stream.deployment.leaving.clone(),
                stop: stop.clone(),
            }
        });
        let outflow = || {
            let barrier = Barrier {
                dispatcher: lanes.dispatcher(),
                ordering: options.ordering,
                window: window.clone(),
                delivery: self.delivery.clone(),
                gate: gate.clone(),
            };
            let (stats, stop) = (self.stats.clone(), stop.clone());
            let ledger = self.delivery.ledger.clone();
            Outflow::new(window.clone(), barrier, ledger, stats, stop)
        };
        let reading = match options.ordering {
            OrderingGuarantee::Oplog if are_told_apart => {
                let streams = streams.map(|stream| {
                    let stage = self.reads.stage(stream.index);
                    (stream, stage)
                });
                let (streams, stop) = (streams.collect(), stop.clone());
                let (merger, feeders) = Merger::new(streams, outflow(), self.holdup.clone(), stop);
                Reading::Merged(Box::new(merger), feeders)
            }
            _ => {
                let streams = streams.map(|stream| {
                    let outflow = outflow().behind(self.reads.stage(stream.index));
                    (stream, outflow)
                });
                Reading::Apart(streams.collect())
            }
        };
        let wiring = Wiring {
            reads: &self.reads,
            options: &options.direct,
            plan: &self.plan,
            deployments: &self.deployments,
            window: &window,
            ledger: self.delivery.ledger.clone(),
            bounds: &self.bounds[0],
            share: self.share.clone(),
            stats: &self.stats,
            sources: &self.sources,
            stop: &stop,
            horizon: Horizon::Run(self.board.clone()),
        };
        let conductor = self.reads.are_under_way();
        let conductor =
            conductor.then(|| Conductor::new(wiring, || Way::Lanes(lanes.dispatcher())));
        let session = Session::start(window, lanes, reading, conductor, stop);
        Ok((session, shared))
    }
}
