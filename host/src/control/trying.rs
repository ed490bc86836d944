//! Versions are tried before they take over.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use tracing::{info, warn};

use super::{
    SwapAnswer, SwapError, Swapped, Version,
    orders::Order,
    restored::short,
    supervisor::{AtWork, Supervisor},
    swapping::Ready,
    trial::{Trial, Verdict},
};

impl Supervisor<'_> {
    /// The trial of a version of that module that goes on.
    pub(super) fn open_trial(&self, module: usize) -> Option<Arc<Trial>> {
        let trial = self.assembly.standings[module].trial().clone()?;
        (!trial.is_settled()).then_some(trial)
    }

    /// Lets a version run as canary or shadow.
    pub(super) async fn begin_trial(
        &mut self,
        at_work: &AtWork,
        module: String,
        answer: SwapAnswer,
        ready: Ready,
    ) {
        let (Some(fresh), Some(at)) = (ready.fresh, ready.plan.find(&module)) else {
            let refused = "what the server filters for it differs: a version like that cannot be tried \
                           beside another one, only swapped at once";
            return self.refuse_swap(&module, answer, SwapError::Refused(refused.to_owned()));
        };
        let standing = self.assembly.standings[at].clone();
        let spec = ready.plan.modules[at].clone();
        let present = standing.versions().version();
        let version = Version {
            digest: spec.module.digest().to_owned(),
            generation: present.generation + 1,
        };
        let over = self.swaps.trial_over.clone();
        let Some(trial) = Trial::begin(spec, version.clone(), ready.rollout, over) else {
            return;
        };
        let trial = Arc::new(trial);
        match self
            .switch_lanes(at_work, &module, fresh, Some(&trial))
            .await
        {
            Ok(switched) => {
                info!(
                    module,
                    version = short(&version.digest),
                    kind = trial.status().kind,
                    "a version is tried"
                );
                *standing.trial() = Some(trial);
                let _ = answer.send(Ok(Swapped {
                    module,
                    from: Some(present.clone()),
                    to: Some(present),
                    trial: Some(version),
                    reopened: false,
                    pause_us: switched.pause_us(),
                    lanes_without_state: switched.lanes_without_state,
                }));
                self.load_next();
            }
            Err(error) => self.refuse_swap(&module, answer, error),
        }
    }

    /// Lets go of a version that is tried.
    pub(super) fn end_trial(&mut self, at_work: &AtWork, module: &str) {
        let Some(at) = self.assembly.plan.find(module) else {
            return;
        };
        if let Some(trial) = self.open_trial(at) {
            trial.settle();
            for lane in 0..self.assembly.options.workers {
                at_work.shared.orders.give(lane, Order::EndTrial(at));
            }
            at_work.session.wake_lanes();
        }
    }

    /// Looks which trials have seen enough, and does what they have led to.
    pub(super) fn look_at_trials(&mut self, at_work: &AtWork) {
        for at in 0..self.assembly.standings.len() {
            let Some(trial) = self.open_trial(at) else {
                continue;
            };
            let verdict = trial.verdict();
            if verdict == Verdict::Open {
                continue;
            }
            let module = self.assembly.plan.modules[at].module.name().to_owned();
            self.end_trial(at_work, &module);
            let status = trial.status();
            let version = short(&trial.version.digest);
            let (ops, failures, different) = (status.ops, status.failures, status.different);
            match verdict {
                Verdict::TakeOver => {
                    info!(
                        module,
                        version, ops, failures, "a canary has done well, and takes over"
                    );
                    self.promote(&module, trial.spec.clone());
                }
                Verdict::FallBack => {
                    self.assembly.standings[at].swaps.refused();
                    warn!(
                        module,
                        version,
                        ops,
                        failures,
                        "a canary has failed too often; the version before goes on"
                    );
                }
                Verdict::Seen | Verdict::Open => {
                    info!(
                        module,
                        version, ops, failures, different, "a shadow has seen what it was to see"
                    );
                }
            }
        }
    }

    /// A session that begins tries nothing.
    pub(super) fn drop_trials(&mut self) {
        for at in 0..self.assembly.standings.len() {
            if let Some(trial) = self.open_trial(at) {
                trial.settle();
                let module = self.assembly.plan.modules[at].module.name();
                warn!(
                    module,
                    version = short(&trial.version.digest),
                    "the trial ends: the source is opened again"
                );
            }
        }
    }

    /// Looks whether versions that took over lately do worse than those before, and lets them give way.
    pub(super) fn look_at_probations(&mut self) {
        let mut probations = std::mem::take(&mut self.swaps.probations);
        probations.retain(|probation| {
            let Some(at) = self.assembly.plan.find(&probation.module) else {
                return false;
            };
            let standing = self.assembly.standings[at].clone();
            let is_open = standing.breaker.state().open_since.is_some();
            let Some(reason) = probation.fails(&standing, is_open) else {
                return probation.goes_on();
            };
            let parked = standing.stats.parked.load(Relaxed);
            warn!(
                module = probation.module,
                reason, parked, "a version that took over lately gives way"
            );
            self.give_way(&probation.module, is_open);
            false
        });
        self.swaps.probations = probations;
    }
}
