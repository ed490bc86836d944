//! Puts a session together.

use std::sync::{Arc, Mutex};

use tokio::{runtime::Handle, sync::Notify};
use tokio_util::sync::CancellationToken;

use super::{
    Bounds, Error, Options, Plan, Stats,
    barrier::Barrier,
    begin::Begin,
    delivery::Delivery,
    instances::States,
    lookups::ServerLookups,
    orders::Orders,
    saved_ops::SavedOps,
    session::{Session, Stream},
    share::Share,
    shared::{Shared, Standing},
    worker::LaneWorker,
};
use crate::{
    checkpoint::{AckWindow, WindowOptions},
    flow::{self, Gate, Lanes, Lookup},
    guest::Limits,
    mongo::Server,
    source::{self, Source},
};

/// How much larger a lane's stack is than the guests'.
const STACK_MARGIN_BYTES: usize = 2 << 20;

/// What every session of a run is made of.
pub(super) struct Assembly<'a> {
    pub(super) server: &'a Server,
    pub(super) plan: Arc<Plan>,
    pub(super) options: &'a Options,
    pub(super) limits: &'a Limits,
    pub(super) bounds: Bounds,
    pub(super) share: Option<Arc<Share>>,
    pub(super) delivery: Arc<Delivery>,
    pub(super) lookups: Arc<ServerLookups>,
    /// They outlive sessions, as the modules' failures do.
    pub(super) standings: Arc<[Arc<Standing>]>,
    pub(super) stats: Arc<Stats>,
    pub(super) sources: Arc<source::Stats>,
}

impl Assembly<'_> {
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
        let window = AckWindow::new(
            begins.iter().map(Begin::frontier).collect(),
            WindowOptions {
                ops_max: options.window_ops,
                bytes_max: options.queue_bytes,
            },
        );
        if let Some(ledger) = &self.delivery.ledger {
            // Before a lane can emit.
            ledger.begin(window.clone());
        }
        let is_causal = options.oplog_namespace == source::default_oplog_namespace();
        self.lookups.give_up_with(gate.clone());
        let modules = self.plan.modules.iter();
        let shared = Arc::new(Shared {
            names: modules.map(|spec| spec.module.name().to_owned()).collect(),
            streams: self
                .plan
                .streams
                .iter()
                .map(|stream| stream.modules.clone())
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
            lookup: Lookup::new(self.server.client.clone(), is_causal),
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
        let streams = self.plan.streams.iter().zip(begins).enumerate();
        let streams = streams.map(|(index, (stream, begin))| {
            let source_options = source::Options {
                scope: stream.scope.clone(),
                start: begin.start.clone(),
                behind: begin.behind,
                pipeline: stream.pipeline.clone(),
                batch_size: options.batch_size,
                oplog_namespace: options.oplog_namespace.clone(),
            };
            Stream {
                index,
                kind: options.source,
                source: Source::new(
                    options.source,
                    self.server,
                    source_options,
                    self.sources.clone(),
                ),
                bounds: self.bounds.clone(),
                share: self.share.clone(),
                position: begin.start.position(),
                window: window.clone(),
                lanes: Barrier {
                    dispatcher: lanes.dispatcher(),
                    ordering: options.ordering,
                    window: window.clone(),
                    delivery: self.delivery.clone(),
                    gate: gate.clone(),
                },
                ledger: self.delivery.ledger.clone(),
                stats: self.stats.clone(),
                stop: stop.clone(),
            }
        });
        let streams = streams.collect();
        Ok((Session::start(window, lanes, streams, stop), shared))
    }
}
