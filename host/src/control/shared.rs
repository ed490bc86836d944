//! What the lanes of a run share.

use std::sync::{Arc, Mutex};

use tokio::{runtime::Handle, sync::Notify};
use tokio_util::sync::CancellationToken;

use super::{
    ModuleSpec, Stats,
    breaker::Breaker,
    outlet::{Letters, Outlet},
    pipeline::Error,
    tally::ModuleStats,
};
use crate::{
    flow::{Gate, Lookup, OrderingGuarantee, Stop},
    op::Acknowledge,
};

/// What the lanes of a run share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) modules: Vec<ModuleSpec>,
    /// The modules' names, by number.
    pub(super) names: Arc<[String]>,
    /// How the modules stand, by number.
    pub(super) standings: Vec<Standing>,
    /// Which modules see the ops of each stream.
    pub(super) streams: Vec<Vec<usize>>,
    pub(super) ordering: OrderingGuarantee,
    /// Names of the sinks that modules can ask for, by number.
    pub(super) sinks: Arc<[String]>,
    /// The sinks, by number.
    pub(super) outlets: Vec<Arc<dyn Outlet>>,
    pub(super) letters: Arc<dyn Letters>,
    pub(super) acks: Arc<dyn Acknowledge>,
    pub(super) stats: Arc<Stats>,
    pub(super) gate: Gate,
    pub(super) lookup: Lookup,
    pub(super) runtime: Handle,
    /// Why the run cannot go on, from the first lane that found out.
    pub(super) failure: Mutex<Option<Error>>,
    /// Cancelled with `failure`, so that who waits for a source learns of it.
    pub(super) failed: CancellationToken,
    /// A breaker has opened and closed the gate: the run is to be shown as paused.
    pub(super) breaker_opened: Notify,
}

/// How a module stands, over all lanes.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) breaker: Breaker,
    pub(super) stats: ModuleStats,
}

impl Standing {
    /// A module that was not called yet.
    pub(super) fn new(spec: &ModuleSpec) -> Self {
        Self {
            breaker: Breaker::new(&spec.policy),
            stats: ModuleStats::default(),
        }
    }
}

impl Shared {
    /// Ends the run; what other lanes have not begun, they leave alone.
    pub(super) fn stop(&self, error: Error) -> Stop {
        // The first reason counts.
        self.failure
            .lock()
            .expect("no holder of this lock panics")
            .get_or_insert(error);
        self.halt()
    }

    /// The same, where the reason is noted elsewhere.
    pub(super) fn halt(&self) -> Stop {
        self.gate.throw();
        self.failed.cancel();
        Stop
    }

    /// Pauses the run: a breaker has opened.
    pub(super) fn trip(&self) {
        self.gate.close();
        self.breaker_opened.notify_one();
    }

    /// Why the run could not go on, if it could not.
    pub(super) fn take_failure(&self) -> Option<Error> {
        self.failure
            .lock()
            .expect("no holder of this lock panics")
            .take()
    }
}
