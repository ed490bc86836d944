//! What the lanes of a run share.

use std::sync::{Arc, Mutex, MutexGuard, atomic::Ordering::Relaxed};

use tokio::{runtime::Handle, sync::Notify};
use tokio_util::sync::CancellationToken;

use super::{
    FailurePolicy, ModuleSpec, ModuleStatus, Stats,
    board::shown,
    breaker::Breaker,
    instances::States,
    options::Error,
    orders::Orders,
    outlet::{Letters, Outlet},
    reach::Reach,
    saved_ops::SavedOps,
    swap_stats::SwapStats,
    tally::ModuleStats,
    trial::Trial,
    versions::Versions,
};
use crate::{
    flow::{Gate, OrderingGuarantee, Stop},
    op::Acknowledge,
};

/// What the lanes of a run share.
#[derive(Debug)]
pub(super) struct Shared {
    /// The modules as the session begins with them; what works in a lane, the lane knows.
    pub(super) modules: Vec<Arc<ModuleSpec>>,
    /// The modules' names, by number.
    pub(super) names: Arc<[String]>,
    /// How the modules stand, by number.
    pub(super) standings: Arc<[Arc<Standing>]>,
    /// What the lanes are told about the modules.
    pub(super) orders: Orders,
    /// What the modules of each lane hand over to the next session, once that is asked for.
    pub(super) handover: Mutex<Option<Vec<States>>>,
    /// What there is to know of each stream, by number.
    pub(super) streams: Vec<StreamShare>,
    pub(super) ordering: OrderingGuarantee,
    /// Names of the sinks that modules can ask for, by number.
    pub(super) sinks: Arc<[String]>,
    /// The sinks, by number.
    pub(super) outlets: Arc<[Arc<dyn Outlet>]>,
    pub(super) letters: Arc<dyn Letters>,
    /// Where ops that modules fail on are saved, if they are.
    pub(super) saved_ops: Option<SavedOps>,
    pub(super) acks: Arc<dyn Acknowledge>,
    pub(super) stats: Arc<Stats>,
    pub(super) gate: Gate,
    pub(super) runtime: Handle,
    /// Why the run cannot go on, from the first lane that found out.
    pub(super) failure: Mutex<Option<Error>>,
    /// Cancelled with `failure`, so that who waits for a source learns of it.
    pub(super) failed: CancellationToken,
    /// A breaker has opened and closed the gate: the run is to be shown as paused.
    pub(super) breaker_opened: Notify,
}

/// What lanes know of a stream.
#[derive(Debug)]
pub(super) struct StreamShare {
    /// Which modules see its ops.
    pub(super) modules: Vec<usize>,
    /// Where the documents of its updates are.
    pub(super) documents: Reach,
}

/// How a module stands, over all lanes.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) breaker: Breaker,
    pub(super) stats: ModuleStats,
    pub(super) swaps: SwapStats,
    /// The lock is held to read or change it.
    versions: Mutex<Versions>,
    /// The version that is tried at present, or was last. The lock is held to read or replace it.
    trial: Mutex<Option<Arc<Trial>>>,
}

impl Standing {
    /// A module that was not called yet.
    pub(super) fn new(policy: &FailurePolicy, versions: Versions) -> Self {
        Self {
            breaker: Breaker::new(policy),
            stats: ModuleStats::default(),
            swaps: SwapStats::new(versions.version().generation),
            versions: Mutex::new(versions),
            trial: Mutex::new(None),
        }
    }

    /// The version that is tried at present, or was last.
    pub(super) fn trial(&self) -> MutexGuard<'_, Option<Arc<Trial>>> {
        self.trial.lock().expect("no holder of this lock panics")
    }

    /// The versions that it had.
    pub(super) fn versions(&self) -> MutexGuard<'_, Versions> {
        self.versions.lock().expect("no holder of this lock panics")
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

    /// What the lanes hand over, if they are to.
    pub(super) fn handover(&self) -> MutexGuard<'_, Option<Vec<States>>> {
        self.handover.lock().expect("no holder of this lock panics")
    }

    /// Pauses the run: a breaker has opened.
    pub(super) fn trip(&self) {
        self.gate.close();
        self.breaker_opened.notify_one();
    }

    /// The module whose breaker is open, and how it failed last.
    pub(super) fn open_breaker(&self) -> Option<(&str, String)> {
        let mut standings = self.names.iter().zip(self.standings.iter());
        standings.find_map(|(name, standing)| {
            let state = standing.breaker.state();
            state.open_since?;
            Some((name.as_str(), state.last_error.unwrap_or_default()))
        })
    }

    /// Lets modules with an open breaker try again.
    pub(super) fn half_open_breakers(&self) {
        self.standings
            .iter()
            .for_each(|standing| standing.breaker.half_open());
    }

    /// How the modules stand.
    pub(super) fn module_statuses(&self) -> Vec<ModuleStatus> {
        self.standings
            .iter()
            .map(|standing| {
                let state = standing.breaker.state();
                let versions = standing.versions();
                let spec = versions.present();
                ModuleStatus {
                    name: spec.module.name().to_owned(),
                    digest: spec.module.digest().to_owned(),
                    generation: versions.version().generation,
                    versions: versions.shown(),
                    grants: spec.module.settings().grants(),
                    trial: standing.trial().as_ref().map(|trial| trial.status()),
                    on_error: spec.policy.on_error.as_str(),
                    failures_in_a_row: state.failures_in_a_row,
                    breaker_open_since: state.open_since.map(shown),
                    last_error: state.last_error,
                    waiting_for_retry: standing.stats.parked.load(Relaxed),
                }
            })
            .collect()
    }

    /// Why the run could not go on, if it could not.
    pub(super) fn take_failure(&self) -> Option<Error> {
        self.failure
            .lock()
            .expect("no holder of this lock panics")
            .take()
    }
}
