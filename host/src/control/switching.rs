//! A version that is ready is kept, and given to every lane or to none.

use std::{sync::Arc, time::Duration};

use tokio::{sync::oneshot, time::timeout};

use super::{
    SwapError,
    handover::Handover,
    making::no_such,
    orders::{Order, Served},
    shared::Shared,
    supervisor::{AtWork, COMMAND_TIME, Supervisor},
    swapping::Ready,
    trial::Trial,
};
use crate::checkpoint::{self, VersionKey};

/// How long lanes get to come to the end of the op that they are at, and of what they pass on.
const LANE_TIME: Duration = Duration::from_secs(10);

/// How every lane has switched.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Switched {
    /// The longest time that one stood still.
    pub(super) pause: Duration,
    /// How many had lost the state of the version before.
    pub(super) lanes_without_state: u64,
}

impl Switched {
    pub(super) fn pause_us(self) -> u64 {
        u64::try_from(self.pause.as_micros()).unwrap_or(u64::MAX)
    }
}

impl Supervisor<'_> {
    /// Keeps the bytes of a version before it takes over: after a crash the ops that come again are to
    /// meet it.
    pub(super) async fn keep(&mut self, module: &str, ready: &Ready) -> Result<(), SwapError> {
        let (Some(store), Some(wasm)) = (self.store.clone(), ready.wasm.clone()) else {
            return Ok(());
        };
        let Some(at) = ready.plan.find(module) else {
            return Ok(());
        };
        let key = VersionKey {
            name: self.assembly.options.name.clone(),
            module: module.to_owned(),
            digest: ready.plan.modules[at].module.digest().to_owned(),
        };
        let kept = timeout(
            COMMAND_TIME,
            async move { store.keep_version(&key, wasm).await },
        );
        let reason = match self.desk.hold_while(kept).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => checkpoint::chain(&error),
            Err(_) => "the store does not answer".to_owned(),
        };
        Err(SwapError::Refused(format!(
            "the version cannot be kept, and after a crash it would be missed: {reason}"
        )))
    }

    /// Every lane switches, or begins the trial, or none does.
    pub(super) async fn switch_lanes(
        &mut self,
        at_work: &AtWork,
        name: &str,
        fresh: Vec<Served>,
        trial: Option<&Arc<Trial>>,
    ) -> Result<Switched, SwapError> {
        let Some(module) = self.assembly.plan.find(name) else {
            return Err(no_such(&self.assembly.plan, name));
        };
        let shared: &Shared = &at_work.shared;
        let swaps = self.assembly.standings[module].clone();
        let lanes = fresh.len();
        let mut answers = Vec::with_capacity(lanes);
        for (lane, fresh) in fresh.into_iter().enumerate() {
            let (answer, answered) = oneshot::channel();
            let fresh = Box::new(fresh);
            let order = match trial {
                None => Order::Switch {
                    module,
                    fresh,
                    answer,
                },
                Some(trial) => Order::Try {
                    module,
                    fresh,
                    trial: trial.clone(),
                    answer,
                },
            };
            shared.orders.give(lane, order);
            answers.push(answered);
        }
        at_work.session.wake_lanes();
        let switched = async {
            let mut all = Switched::default();
            for answered in answers {
                match answered.await {
                    Ok(Ok(switched)) => {
                        swaps.swaps.paused(switched.pause);
                        all.pause = all.pause.max(switched.pause);
                        all.lanes_without_state += u64::from(switched.handover == Handover::Lost);
                    }
                    Ok(Err(failed)) => {
                        return Err(SwapError::Lane {
                            what: failed.what,
                            source: Arc::new(failed.source),
                        });
                    }
                    // The lane has ended.
                    Err(_) => return Err(SwapError::Ended),
                }
            }
            Ok(all)
        };
        let asked_to_end = self.asked_to_end();
        let switched = async {
            tokio::select! {
                switched = timeout(LANE_TIME, switched) => switched
                    .unwrap_or(Err(SwapError::Late { waited: LANE_TIME })),
                () = asked_to_end => Err(SwapError::Ended),
            }
        };
        let switched = self.desk.hold_while(switched).await;
        let last = match (&switched, trial) {
            (Ok(_), None) => Order::Settle,
            (Ok(_), Some(_)) => return switched,
            // A lane that comes to it later does both.
            (Err(_), None) => Order::Undo,
            (Err(_), Some(_)) => Order::EndTrial,
        };
        for lane in 0..lanes {
            shared.orders.give(lane, last(module));
        }
        at_work.session.wake_lanes();
        switched
    }
}
