//! What the lanes of a run share.

use std::sync::{Arc, Mutex};

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::{ModuleSpec, Stats, pipeline::Error};
use crate::{
    flow::{Gate, Lookup, Stop},
    op::Format,
};

/// What the lanes of a run share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) modules: Vec<ModuleSpec>,
    /// Which modules see the ops of each stream.
    pub(super) streams: Vec<Vec<usize>>,
    pub(super) format: Format,
    pub(super) stats: Arc<Stats>,
    pub(super) gate: Gate,
    pub(super) lookup: Lookup,
    pub(super) runtime: Handle,
    /// Why the run cannot go on, from the first lane that found out.
    pub(super) failure: Mutex<Option<Error>>,
    /// Cancelled with `failure`, so that who waits for a source learns of it.
    pub(super) failed: CancellationToken,
}

impl Shared {
    /// Ends the run; what other lanes have not begun, they leave alone.
    pub(super) fn stop(&self, error: Error) -> Stop {
        // The first reason counts.
        self.failure
            .lock()
            .expect("no holder of this lock panics")
            .get_or_insert(error);
        self.gate.throw();
        self.failed.cancel();
        Stop
    }

    /// Why the run could not go on, if it could not.
    pub(super) fn take_failure(&self) -> Option<Error> {
        self.failure
            .lock()
            .expect("no holder of this lock panics")
            .take()
    }
}
