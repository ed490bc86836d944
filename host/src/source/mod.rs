//! Stage 1: readers that turn what the server says into batches of ops.
//!
//! Enters: a [`Server`], a [`Scope`], a [`Start`]. Leaves:
//! [`Batch`]es in the server's order, each with the position after it; an empty
//! batch only moves the position. Promised: only what a majority of the replica set has
//! acknowledged; after a passing fault (fail-over, network, a killed cursor) reading goes on behind
//! the last batch that was given, without a gap; what cannot be decoded is counted and logged, and
//! reading goes on behind it. An [`Error`] is the end of the source: the position is lost, or the
//! server refuses in a way that waiting does not mend.

mod aside;
mod behind;
pub mod change_stream;
pub mod direct_read;
pub mod oplog;
mod reading;
mod resume;
mod start;
mod stats;
mod window;

use std::sync::Arc;

use bson::RawDocumentBuf;

pub use aside::{Aside, Undecodable};
pub use reading::{Before, Commands, FullDocument, Reading, ReadingError, Updates};
pub use resume::Error;
pub use start::{Start, oldest_entry, resolve};
pub use stats::{Stats, Trouble};
pub use window::Window;

use crate::{
    mongo::Server,
    op::{Batch, OpPoint, Scope, SourceKind},
};

/// What a source reads, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// What is watched.
    pub scope: Scope,
    /// Where to begin.
    pub start: Start,
    /// Ops at or before this point are done already, and are passed over: a position lies between
    /// batches, and before a whole transaction. Ops that have no point are given all the same.
    pub behind: Option<OpPoint>,
    /// Stages that the server applies to the events of a change stream; the oplog has none.
    pub pipeline: Vec<RawDocumentBuf>,
    /// Entries or events per reply, at most.
    pub batch_size: u32,
    /// The collection that is read as the oplog: its database and name.
    pub oplog_namespace: (String, String),
    /// How.
    pub reading: Reading,
}

/// Events or entries per reply. Large enough that a reply's fixed cost does not show, small enough
/// that the lanes begin before a long reply has arrived.
pub const BATCH_SIZE: u32 = 2_000;

/// Database and collection where a replica set keeps its oplog.
#[must_use]
pub fn default_oplog_namespace() -> (String, String) {
    ("local".into(), "oplog.rs".into())
}

/// A reader of changes.
#[derive(Debug)]
pub enum Source {
    /// Reads the oplog.
    Oplog(Box<oplog::Tail>),
    /// Reads a change stream.
    ChangeStream(Box<change_stream::Tail>),
}

impl Source {
    /// A reader of that server; nothing is opened before the first [`next`](Self::next).
    #[must_use]
    pub fn new(kind: SourceKind, server: &Server, options: Options, stats: Arc<Stats>) -> Self {
        match kind {
            SourceKind::Oplog => Self::Oplog(Box::new(oplog::Tail::new(server, options, stats))),
            SourceKind::ChangeStream => {
                Self::ChangeStream(Box::new(change_stream::Tail::new(server, options, stats)))
            }
        }
    }

    /// From now on, what cannot be decoded is kept by that one before the source goes on behind it.
    pub fn put_aside(&mut self, keeper: Arc<dyn Aside>) {
        match self {
            Self::Oplog(tail) => tail.shelf.set_keeper(keeper),
            Self::ChangeStream(tail) => tail.shelf.set_keeper(keeper),
        }
    }

    /// The next batch; waits for one as long as nothing happens, but gives an empty one about every
    /// second, so that the position moves.
    ///
    /// Not cancellation safe: after a dropped call, drop the source, too.
    ///
    /// # Errors
    /// [`Error`]: the source is at its end.
    pub async fn next(&mut self) -> Result<Batch, Error> {
        match self {
            Self::Oplog(tail) => tail.next().await,
            Self::ChangeStream(tail) => tail.next().await,
        }
    }
}
