//! What is tailed, and how.

use std::{fmt, sync::Arc, time::Duration};

use bson::RawDocumentBuf;

use super::Change;
use crate::{
    checkpoint::{Checkpoint, WindowOptions},
    control::{DirectReadOptions, End, OnPositionLost},
    op::{Namespace, Op, Since, SourceKind, StoreSpec},
    source::{self, Reading},
};

/// A look at an op before anything is looked up for it.
pub type NamespaceFilter = Arc<dyn for<'a> Fn(&Op<'a>) -> bool + Send + Sync>;

/// A look at a whole change, with its document.
pub type Filter = Arc<dyn Fn(&Change) -> bool + Send + Sync>;

/// What is tailed, and how. The default tails a whole deployment by a change stream, from now on.
#[derive(Clone)]
#[non_exhaustive]
pub struct Options {
    /// Which reader: one change stream over all that is watched, or the oplog, which is several times
    /// faster and runs no pipelines.
    pub source: SourceKind,
    /// What is watched; nothing stands for the whole deployment.
    pub watch: Vec<Namespace>,
    /// Where to begin.
    pub begin: Begin,
    /// Where to end by itself.
    pub end: End,
    /// What is read directly, and how: its documents come among the changes, as inserts whose
    /// [`source`](super::Change::source) is the direct read, and its changes behind them, without a gap. It
    /// has to be watched for that. Reads of it pass the filters as changes do.
    ///
    /// With a position that is kept, what a process before has finished is not read again.
    pub direct: DirectReadOptions,
    /// Stages that the server applies to the documents of some of those, before they are sent.
    pub direct_pipelines: Vec<(Namespace, Vec<RawDocumentBuf>)>,
    /// Stages that the server applies to the events of a change stream, before they are sent. The
    /// oplog has none: see [`Error::Options`](super::Error::Options).
    pub pipeline: Vec<RawDocumentBuf>,
    /// How the source reads: which commands are given, with which documents changes come, how often an
    /// idle source's position moves. The documents of the oplog's updates are looked up, many per round
    /// trip, unless this says otherwise.
    pub reading: Reading,
    /// A change is given only if all of these accept it. They see what happened where and when, before
    /// its document is looked up: what they refuse costs no round trip.
    pub namespace_filters: Vec<NamespaceFilter>,
    /// A change is given only if all of these accept it, asked in this order up to the first that does
    /// not. Each is asked once per change, with its document, whatever the source. They run in the
    /// reading tasks and must not block.
    pub filters: Vec<Filter>,
    /// When a change counts as done.
    pub acknowledgement: Acknowledgement,
    /// How much may be read and not done. This bounds memory.
    pub window: WindowOptions,
    /// Entries or events per reply of the server, at most.
    pub batch_size: u32,
    /// Where positions are kept, if they are.
    pub saving: Option<Saving>,
    /// What to do when the server no longer has what follows the position.
    pub on_position_lost: OnPositionLost,
    /// What to do when the server does not let the user read.
    pub on_refusal: OnRefusal,
    /// Give up looking for a server after this long; `None` for never. A client of the caller's own has
    /// its time-out for that, and is asked once.
    pub connect_timeout: Option<Duration>,
    /// The collection that is read as the oplog: its database and name.
    pub oplog_namespace: (String, String),
}

/// Where a tail begins.
#[derive(Debug, Clone, PartialEq)]
pub enum Begin {
    /// At the position that is kept, else at the present.
    Saved,
    /// There, also when a position is kept. A cluster time means the first op after it, in both
    /// sources.
    At(Since),
    /// Where that checkpoint says, for programs that keep it themselves.
    Checkpoint(Box<Checkpoint>),
}

/// When a change counts as done: the position that is kept never passes one that does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Acknowledgement {
    /// When the next one is asked for, or its `ack` was called. Good for a loop that is done with a
    /// change before it takes the next; the one at which such a loop is left is not done without `ack`.
    #[default]
    OnNext,
    /// When its `ack` was called. Good for changes that are handed on. Without it the tail comes to a
    /// rest when as much is under way as the window allows.
    Explicit,
}

/// What to do when the server does not let the user read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnRefusal {
    /// End with an error.
    #[default]
    Fail,
    /// Ask again, at first soon and then every ten seconds or so, with an event and one line in the
    /// log each time: rights are often granted, or credentials replaced, while a program runs.
    Retry,
}

/// Where and how positions are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saving {
    /// Who keeps them: there is one process at a time for each name.
    pub name: String,
    /// Where. A collection lies on the deployment that is tailed.
    pub store: StoreSpec,
    /// How often, at most.
    pub every: Duration,
    /// After how long without a sign of life another process may take over.
    pub lease: Duration,
    /// Wait while another process works under the name, instead of giving up.
    pub standby: bool,
}

impl Saving {
    /// Keeps positions under that name in Oplet's own collection `oplet.checkpoints`.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            store: StoreSpec::own(crate::checkpoint::COLLECTION),
            every: Duration::from_secs(1),
            lease: Duration::from_secs(7),
            standby: false,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            source: SourceKind::ChangeStream,
            watch: Vec::new(),
            begin: Begin::Saved,
            end: End::default(),
            direct: DirectReadOptions::default(),
            direct_pipelines: Vec::new(),
            pipeline: Vec::new(),
            reading: Reading::default(),
            namespace_filters: Vec::new(),
            filters: Vec::new(),
            acknowledgement: Acknowledgement::default(),
            window: WindowOptions::default(),
            batch_size: source::BATCH_SIZE,
            saving: None,
            on_position_lost: OnPositionLost::default(),
            on_refusal: OnRefusal::default(),
            connect_timeout: None,
            oplog_namespace: source::default_oplog_namespace(),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("source", &self.source)
            .field("watch", &self.watch)
            .field("begin", &self.begin)
            .field("end", &self.end)
            .field("direct", &self.direct)
            .field("pipeline", &self.pipeline)
            .field("reading", &self.reading)
            .field("namespace_filters", &self.namespace_filters.len())
            .field("filters", &self.filters.len())
            .field("acknowledgement", &self.acknowledgement)
            .field("window", &self.window)
            .field("saving", &self.saving)
            .finish_non_exhaustive()
    }
}
