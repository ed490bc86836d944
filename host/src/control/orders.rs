//! What lanes are told about the modules that they serve.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::sync::{Notify, oneshot};

use super::{
    ModuleSpec,
    handover::{Handover, HandoverFailed},
    trial::Trial,
};
use crate::guest::{GuestError, Instance, Profile};

/// A version of a module in one lane.
pub(super) struct Served {
    pub(super) spec: Arc<ModuleSpec>,
    pub(super) instance: Instance,
}

/// What a lane is to do between two ops.
pub(super) enum Order {
    /// Let this version take over, and keep the one before until it is settled.
    Switch {
        module: usize,
        fresh: Box<Served>,
        answer: oneshot::Sender<Result<LaneSwitched, HandoverFailed>>,
    },
    /// Try this version beside the present one.
    Try {
        fresh: Box<Served>,
        trial: Arc<Trial>,
        module: usize,
        answer: oneshot::Sender<Result<LaneSwitched, HandoverFailed>>,
    },
    /// The trial is over.
    EndTrial(usize),
    /// Put the version before back: another lane could not switch.
    Undo(usize),
    /// Let go of the version before: every lane has switched.
    Settle(usize),
    /// Begin to sample the module's calls.
    BeginProfile(usize),
    /// End that, and give what was seen.
    EndProfile {
        module: usize,
        answer: oneshot::Sender<Option<Profile>>,
    },
}

/// A lane has switched.
#[derive(Debug, Clone, Copy)]
pub(super) struct LaneSwitched {
    /// How long that took.
    pub(super) pause: Duration,
    pub(super) handover: Handover,
}

/// Orders on their way to the lanes, in order for each.
#[derive(Debug)]
pub(super) struct Orders(Box<[Lane]>);

#[derive(Debug, Default)]
struct Lane {
    /// The same as whether the queue has any, for who only looks.
    has_some: AtomicBool,
    /// The lock is held to put or take one.
    queue: Mutex<VecDeque<Order>>,
    come: Notify,
}

impl Served {
    /// An instance that has not handled anything.
    pub(super) fn fresh(spec: &Arc<ModuleSpec>, sinks: &Arc<[String]>) -> Result<Self, GuestError> {
        Ok(Self {
            instance: spec.module.instantiate(sinks, spec.config.as_deref())?,
            spec: spec.clone(),
        })
    }
}

impl std::fmt::Debug for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Switch { module, .. } => f.debug_tuple("Switch").field(module).finish(),
            Self::Try { module, .. } => f.debug_tuple("Try").field(module).finish(),
            Self::EndTrial(module) => f.debug_tuple("EndTrial").field(module).finish(),
            Self::Undo(module) => f.debug_tuple("Undo").field(module).finish(),
            Self::Settle(module) => f.debug_tuple("Settle").field(module).finish(),
            Self::BeginProfile(module) => f.debug_tuple("BeginProfile").field(module).finish(),
            Self::EndProfile { module, .. } => f.debug_tuple("EndProfile").field(module).finish(),
        }
    }
}

impl Orders {
    pub(super) fn new(lanes: usize) -> Self {
        Self((0..lanes).map(|_| Lane::default()).collect())
    }

    /// Gives a lane an order. An idle one has to be woken, too.
    pub(super) fn give(&self, lane: usize, order: Order) {
        let lane = &self.0[lane];
        let mut queue = lane.queue();
        queue.push_back(order);
        lane.has_some.store(true, SeqCst);
        drop(queue);
        lane.come.notify_one();
    }

    /// Whether there is one: a look between two ops.
    #[inline]
    pub(super) fn has_some(&self, lane: usize) -> bool {
        self.0[lane].has_some.load(SeqCst)
    }

    /// The next one.
    pub(super) fn take(&self, lane: usize) -> Option<Order> {
        let lane = &self.0[lane];
        let mut queue = lane.queue();
        let order = queue.pop_front();
        lane.has_some.store(!queue.is_empty(), SeqCst);
        order
    }

    /// Waits for one. Cancellation safe.
    pub(super) async fn come(&self, lane: usize) {
        let lane = &self.0[lane];
        while !lane.has_some.load(SeqCst) {
            lane.come.notified().await;
        }
    }
}

impl Lane {
    fn queue(&self) -> MutexGuard<'_, VecDeque<Order>> {
        self.queue.lock().expect("no holder of this lock panics")
    }
}
