//! How a run reads, works and delivers; and why it ended before its time.

use std::{path::PathBuf, time::Duration};

use super::{DirectReadOptions, End, OnPositionLost, PlanError, ShareError, ShareOptions};
use crate::{
    checkpoint, dead_letters,
    flow::OrderingGuarantee,
    guest::GuestError,
    op::{Format, Namespace, Since, SourceKind, StoreSpec},
    sink, source,
};

/// How a run reads, works and delivers.
#[derive(Debug, Clone)]
pub struct Options {
    /// The name of the run: the identity of its checkpoint and its lease.
    pub name: String,
    /// Which reader.
    pub source: SourceKind,
    /// Where to begin; `None` at the checkpoint, or now where there is none.
    pub since: Option<Since>,
    /// Where to end by itself.
    pub end: End,
    /// What to do when what follows the position is gone.
    pub on_position_lost: OnPositionLost,
    /// Entries or events per reply, at most.
    pub batch_size: u32,
    /// The collection that is read as the oplog.
    pub oplog_namespace: (String, String),
    /// How the source reads.
    pub reading: source::Reading,
    /// What stays in order.
    pub ordering: OrderingGuarantee,
    /// How many lanes work.
    pub workers: usize,
    /// How long the lanes and sinks may go on when an end was asked for.
    pub grace_period: Duration,
    /// How many bytes of batches may be read and not done.
    pub queue_bytes: usize,
    /// How many ops may be read and not done; while the checkpoint cannot be saved also how many may
    /// be done and not saved.
    pub window_ops: u64,
    /// Where positions are kept; `None` keeps none, and takes no lease.
    pub checkpoint: Option<StoreSpec>,
    /// How often the checkpoint is saved, at most.
    pub save_every: Duration,
    /// After how long without a sign of life another process may take over.
    pub lease: Duration,
    /// How long a version that took over may have to give way, when it fails more often than the one
    /// before; zero for never.
    pub probation: Duration,
    /// Wait while another process of the same name is at work.
    pub standby: bool,
    /// Where emitted documents go; the first is the default sink.
    pub sinks: Vec<sink::Spec>,
    /// Reads environment variables, for secrets of sinks that are kept there.
    pub environment: fn(&str) -> Option<String>,
    /// Where ops go that a module or a sink will never take.
    pub dead_letters: StoreSpec,
    /// The folder that ops are saved to that a module fails on, each as a file for `oplet replay`, up to
    /// a hundred; `None` saves none.
    pub save_failed: Option<PathBuf>,
    /// The part of the work that this process has, where others have the rest.
    pub share: Option<ShareOptions>,
    /// What is read directly, and how; what is named here is for a run whose plan has it, too.
    pub direct: DirectReadOptions,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: "oplet".into(),
            source: SourceKind::ChangeStream,
            since: None,
            end: End::default(),
            on_position_lost: OnPositionLost::default(),
            batch_size: source::BATCH_SIZE,
            oplog_namespace: source::default_oplog_namespace(),
            reading: source::Reading::default(),
            ordering: OrderingGuarantee::default(),
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            grace_period: Duration::from_secs(10),
            queue_bytes: 64 << 20,
            window_ops: 100_000,
            checkpoint: None,
            save_every: Duration::from_secs(1),
            lease: Duration::from_secs(7),
            probation: Duration::from_secs(60),
            standby: false,
            sinks: vec![sink::Spec::stdout(Format::default())],
            environment: |_| None,
            dead_letters: StoreSpec::own(dead_letters::COLLECTION),
            save_failed: None,
            share: None,
            direct: DirectReadOptions::default(),
        }
    }
}

/// Why a run ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A source is at its end.
    #[error(transparent)]
    Source(#[from] source::Error),
    /// The checkpoint cannot be read, kept, or is another's.
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::Error),
    /// The modules that worked last cannot be run together.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Another process has taken over under the same name.
    #[error("the lease of `{name}` is lost: {reason}")]
    LeaseLost {
        /// The name of the run.
        name: String,
        /// How that showed.
        reason: String,
    },
    /// A collection cannot be read directly.
    #[error("the direct read of {namespace} has failed")]
    DirectRead {
        /// The collection.
        namespace: Namespace,
        /// Why.
        #[source]
        source: Box<source::direct_read::Error>,
    },
    /// A resume token is a position in one deployment.
    #[error("a resume token is a position in one deployment, and several are read")]
    TokenOfOne,
    /// The checkpoint is not where it is looked for.
    #[error("the checkpoint of `{name}` is on {hosts}, which is not the first deployment")]
    CheckpointElsewhere {
        /// The name of the run.
        name: String,
        /// Where it is.
        hosts: String,
    },
    /// The process does not know which part of the work it has.
    #[error(transparent)]
    Share(Box<ShareError>),
    /// A shard by itself does not tell what is its own. After a migration it still has documents that
    /// are another's, and only a router can have it leave them out; and one that moves while two shards
    /// are read, each at a time of its own, is in both or in none.
    #[error(
        "direct reads, and the policy `resnapshot`, are not for shards that are read one by one: a shard also has \
         documents that belong to another one, and does not tell which"
    )]
    ReadOfShards,
    /// A sink cannot be opened.
    #[error(transparent)]
    SinkOpen(#[from] sink::OpenError),
    /// A sink takes no more.
    #[error("the sink `{sink}` takes no more: {message}")]
    SinkEnded {
        /// Its name.
        sink: String,
        /// What it says.
        message: String,
        /// Nobody reads it any more: a normal end.
        is_closed: bool,
    },
    /// Outputs and checkpoint cannot be written in one transaction.
    #[error("a transactional sink cannot be used: {reason}")]
    Transactional {
        /// Why not.
        reason: String,
    },
    /// A module failed on an op, and the policy is to stop.
    #[error("the module `{module}` failed on the op {op_id}")]
    Module {
        /// The module's name.
        module: String,
        /// The op.
        op_id: String,
    },
    /// A module failed to emit what it had gathered.
    #[error("the module `{module}` failed at a batch border")]
    Flush {
        /// The module's name.
        module: String,
        /// How it failed.
        #[source]
        source: GuestError,
    },
    /// A module failed when it was told the time, and the policy is to stop.
    #[error("the module `{module}` failed at a tick")]
    Tick {
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
    /// A part of the run panicked: a fault in the program.
    #[error("{0} panicked; please report it with the log above")]
    Panicked(&'static str),
    /// The system has no threads left.
    #[error("cannot start a lane")]
    Thread(#[source] std::io::Error),
}

impl From<ShareError> for Error {
    fn from(error: ShareError) -> Self {
        Self::Share(Box::new(error))
    }
}
