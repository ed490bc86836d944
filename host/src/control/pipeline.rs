//! A run: the data flow in code.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{Notify, mpsc},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    Bounds, End, OnPositionLost, Plan, Stats, Summary,
    interim::{LoggedLetters, StdoutOutlet, Unheard},
    shared::{Shared, Standing},
    worker::LaneWorker,
};
use crate::{
    flow::{self, Dispatcher, Gate, Lanes, Lookup, OrderingGuarantee, Panicked},
    guest::{GuestError, Limits},
    mongo::Server,
    op::{Batch, BatchTicket, Format, Since, SourceKind},
    sink::{self, Broken},
    source::{self, Source, Start},
};

/// How a run reads and works.
#[derive(Debug, Clone)]
pub struct Options {
    /// What the checkpoint and its lease are kept under; one process at a time works under a name.
    pub name: String,
    /// Which reader.
    pub source: SourceKind,
    /// Where to begin; without it at the checkpoint, and where there is none, now.
    pub since: Option<Since>,
    /// What follows when the oplog no longer reaches back to the position.
    pub on_position_lost: OnPositionLost,
    /// Where to end by itself.
    pub end: End,
    /// Entries or events per reply, at most.
    pub batch_size: u32,
    /// The collection that is read as the oplog.
    pub oplog_namespace: (String, String),
    /// What stays in order.
    pub ordering: OrderingGuarantee,
    /// How many lanes work.
    pub workers: usize,
    /// How emitted documents are written.
    pub format: Format,
    /// How long the lanes may go on when an end was asked for.
    pub grace_period: Duration,
    /// How many bytes of ops may be in the lanes.
    pub queue_bytes: usize,
    /// How many ops may be read and not done; then the source waits.
    pub window_ops: u64,
    /// The least time between two savings of the checkpoint while ops come.
    pub save_every: Duration,
    /// Wait while another process works under the name, to take over from it.
    pub standby: bool,
    /// How long the lease on the name lasts unless it is renewed.
    pub lease: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: "oplet".into(),
            source: SourceKind::ChangeStream,
            since: None,
            on_position_lost: OnPositionLost::default(),
            end: End::default(),
            batch_size: source::BATCH_SIZE,
            oplog_namespace: source::default_oplog_namespace(),
            ordering: OrderingGuarantee::default(),
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            format: Format::default(),
            grace_period: Duration::from_secs(10),
            queue_bytes: 64 << 20,
            window_ops: 100_000,
            save_every: Duration::from_secs(1),
            standby: false,
            lease: Duration::from_secs(7),
        }
    }
}

/// Why a run ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A source is at its end.
    #[error(transparent)]
    Source(#[from] source::Error),
    /// A module failed on an op, and the policy is to stop.
    #[error("the module `{module}` failed on the op {op_id}")]
    Module {
        /// The module's name.
        module: String,
        /// The op.
        op_id: String,
    },
    /// A module failed to emit what it had gathered, and the policy is to stop.
    #[error("the module `{module}` failed at a batch border")]
    Flush {
        /// The module's name.
        module: String,
        /// How it failed.
        #[source]
        source: GuestError,
    },
    /// A module failed, and no fresh instance of it could be made.
    #[error("the module `{module}` cannot be started again")]
    Revive {
        /// The module's name.
        module: String,
        /// How it failed.
        #[source]
        source: GuestError,
    },
    /// A module could not be started in every lane.
    #[error("a module cannot be started")]
    Start(#[source] GuestError),
    /// The documents of updates could not be looked up.
    #[error("cannot look up documents of {namespace}")]
    Lookup {
        /// The collection.
        namespace: String,
        /// What the server said.
        #[source]
        source: mongodb::error::Error,
    },
    /// The output takes no more: a normal end where nobody reads it any more.
    #[error(transparent)]
    Output(Broken),
    /// A part of the run panicked: a fault in the program.
    #[error("{0} panicked; please report it with the log above")]
    Panicked(&'static str),
    /// The system has no threads left.
    #[error("cannot start a lane")]
    Thread(#[source] std::io::Error),
}

/// Between the streams and the lanes: each stream may be one batch ahead.
const BATCHES_AHEAD: usize = 1;

/// The part of the grace period in which the lanes finish what they have; in the rest they only
/// finish the op that they are at.
const FINISH_SHARE: f64 = 0.8;

/// How much larger a lane's stack is than the guests'.
const STACK_MARGIN_BYTES: usize = 2 << 20;

/// Runs a plan until a bound is reached, `shutdown` is cancelled, or it cannot go on.
///
/// `on_start` is told where the streams begin, before the first op.
///
/// # Errors
/// [`Error`]. The lanes have ended then, too.
pub async fn run(
    server: &Server,
    plan: Plan,
    options: &Options,
    limits: &Limits,
    shutdown: &CancellationToken,
    on_start: impl FnOnce(&Start),
) -> (Summary, Result<(), Error>) {
    let stats = Arc::new(Stats::default());
    let sources = Arc::new(source::Stats::default());
    let ended = run_counted(
        server, plan, options, limits, shutdown, on_start, &stats, &sources,
    )
    .await;
    (stats.summary(&sources), ended)
}

#[expect(
    clippy::too_many_arguments,
    reason = "called once, by the function above, to count also what failed"
)]
async fn run_counted(
    server: &Server,
    plan: Plan,
    options: &Options,
    limits: &Limits,
    shutdown: &CancellationToken,
    on_start: impl FnOnce(&Start),
    stats: &Arc<Stats>,
    sources: &Arc<source::Stats>,
) -> Result<(), Error> {
    let found = async {
        let since = options.since.as_ref().unwrap_or(&Since::Now);
        let namespace = &options.oplog_namespace;
        let start = source::resolve(since, options.source, server, namespace).await?;
        let bounds = Bounds::resolve(&options.end, options.source, server, namespace).await?;
        Ok::<_, Error>((start, bounds))
    };
    let (start, bounds) = tokio::select! {
        found = found => found?,
        () = shutdown.cancelled() => return Ok(()),
    };
    let gate = Gate::default();
    let is_causal = options.oplog_namespace == source::default_oplog_namespace();
    let outlet = Arc::new(StdoutOutlet {
        format: options.format,
        broken: Mutex::default(),
    });
    let shared = Arc::new(Shared {
        names: plan
            .modules
            .iter()
            .map(|spec| spec.module.name().to_owned())
            .collect(),
        standings: plan.modules.iter().map(Standing::new).collect(),
        ordering: options.ordering,
        sinks: sink::NAMES.map(str::to_owned).to_vec().into(),
        outlets: vec![outlet.clone()],
        letters: Arc::new(LoggedLetters),
        acks: Arc::new(Unheard),
        breaker_opened: Notify::new(),
        streams: plan
            .streams
            .iter()
            .map(|stream| stream.modules.clone())
            .collect(),
        modules: plan.modules,
        stats: stats.clone(),
        gate: gate.clone(),
        lookup: Lookup::new(server.client.clone(), is_causal),
        runtime: Handle::current(),
        failure: Mutex::new(None),
        failed: CancellationToken::new(),
    });
    let lane_options = flow::Options {
        ordering: options.ordering,
        stack_bytes: limits.stack_bytes + STACK_MARGIN_BYTES,
    };
    let workers = (0..options.workers)
        .map(|_| LaneWorker::new(shared.clone()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(Error::Start)?;
    let mut lanes = Lanes::start(&lane_options, workers, &gate).map_err(Error::Thread)?;

    on_start(&start);
    let (sender, mut batches) = mpsc::channel(BATCHES_AHEAD);
    let mut streams = JoinSet::new();
    for (index, stream) in plan.streams.into_iter().enumerate() {
        let source_options = source::Options {
            scope: stream.scope,
            start: start.clone(),
            pipeline: stream.pipeline,
            batch_size: options.batch_size,
            oplog_namespace: options.oplog_namespace.clone(),
        };
        let source = Source::new(options.source, server, source_options, sources.clone());
        streams.spawn(read(
            source,
            options.source,
            bounds.clone(),
            index,
            sender.clone(),
        ));
    }
    drop(sender);

    let mut ended = tokio::select! {
        biased;
        () = shutdown.cancelled() => Ok(()),
        () = shared.failed.cancelled() => Ok(()),
        ended = hand_over(&mut batches, lanes.dispatcher(), stats) => ended,
    };
    streams.abort_all();
    while let Some(stream) = streams.join_next().await {
        if stream.is_err_and(|error| error.is_panic()) {
            ended = Err(Error::Panicked("a stream"));
        }
    }
    let asked = shutdown.is_cancelled();
    if asked {
        info!(grace_period = ?options.grace_period, "stopping: the lanes finish what they have");
    }
    let finished = finish(&mut lanes, &gate, options.grace_period, shutdown).await;
    if let Some(broken) = outlet.take_broken() {
        ended = Err(Error::Output(broken));
    }
    // The first failure of a lane explains what followed.
    if let Some(failure) = shared.take_failure() {
        ended = Err(failure);
    }
    ended.and(finished.map_err(|Panicked| Error::Panicked("a lane")))
}

/// Reads one stream to its end, and passes its batches on.
async fn read(
    mut source: Source,
    kind: SourceKind,
    bounds: Bounds,
    stream: usize,
    batches: mpsc::Sender<Result<(usize, Batch), source::Error>>,
) {
    loop {
        let batch = source.next().await.map(|mut batch| {
            let reached = bounds.apply(&mut batch, kind);
            (batch, reached)
        });
        let (item, is_last) = match batch {
            Ok((batch, reached)) => (Ok((stream, batch)), reached),
            Err(error) => (Err(error), true),
        };
        // Nobody receives any more when the run ends.
        if batches.send(item).await.is_err() || is_last {
            return;
        }
    }
}

/// Hands the batches of all streams to the lanes until the streams are at their ends.
async fn hand_over(
    batches: &mut mpsc::Receiver<Result<(usize, Batch), source::Error>>,
    mut lanes: Dispatcher,
    stats: &Stats,
) -> Result<(), Error> {
    for sequence in 0.. {
        let Some(item) = batches.recv().await else {
            break;
        };
        let (stream, batch) = item?;
        if batch.is_empty() {
            continue;
        }
        Stats::add(&stats.read, batch.len() as u64);
        let ticket = BatchTicket { stream, sequence };
        if lanes.dispatch(Arc::new(batch), ticket).await.is_err() {
            // A lane has ended, and noted why.
            return Ok(());
        }
    }
    Ok(())
}

/// Waits for the lanes. Once an end was asked for, they have the grace period: first to finish what
/// they have, at its end only the op that they are at.
async fn finish(
    lanes: &mut Lanes,
    gate: &Gate,
    grace_period: Duration,
    shutdown: &CancellationToken,
) -> Result<(), Panicked> {
    let grace_is_over = async {
        shutdown.cancelled().await;
        tokio::time::sleep(grace_period.mul_f64(FINISH_SHARE)).await;
        warn!("the grace period is nearly over: ops that have not begun are left alone");
        gate.throw();
        tokio::time::sleep(grace_period.mul_f64(1.0 - FINISH_SHARE)).await;
        warn!("the grace period is over: a lane is still at an op and is left behind");
    };
    tokio::select! {
        drained = lanes.drain() => drained,
        () = grace_is_over => Ok(()),
    }
}
