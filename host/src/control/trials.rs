//! Calls of versions that are tried.

use std::time::{Duration, Instant};

use super::{
    Difference,
    failure::{Called, Failure},
    instances::{Instances, OnTrial, filter_and_handle},
    job::Job,
    orders::Served,
    parked::Key,
    put_off::{Parked, Tries},
    segment::Segment,
    tally::Tally,
    trial::Trial,
    worker::LaneWorker,
};
use crate::{op::Op, sink::Cause};

/// What a call emitted, each with the number of its sink.
pub(super) type Outputs = Vec<(u32, Vec<u8>)>;

/// Ops that a canary has handled since it was last asked to give what it gathered. They are not done
/// before it has given that: what it loses, the present version has.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// With how many documents were emitted for each.
    ops: Vec<(Parked, u64)>,
    /// How many documents were emitted for one that has just been handled.
    handled: Option<u64>,
    /// What was gathered of them is lost.
    is_lost: bool,
}

impl LaneWorker {
    /// Calls a module, of which another version may be tried: as a canary it has the op to itself,
    /// unless it fails; as a shadow it has it, too.
    #[cold]
    pub(super) fn call_with_trial(
        &mut self,
        module: usize,
        op: &Op<'_>,
        place: u32,
        ask: bool,
    ) -> Called {
        let Some(trial) = self.instances.trial(module) else {
            return self.call_present(module, op, place, ask, None);
        };
        if trial.is_shadow() {
            return self.call_with_shadow(module, op, place, ask, &trial);
        }
        if trial.has(self.keys.of(op)) {
            if let Some(called) = self.call_canary(module, op, place, &trial) {
                return called;
            }
            let order = self.keys.of_parked(op);
            if self.parked.holds(Key { module, order }) {
                // Behind what it has lost of the same key just now.
                return Called::Later(Duration::ZERO);
            }
        }
        self.call_present(module, op, place, ask, None)
    }

    /// None when it failed: then the present version has the op.
    fn call_canary(
        &mut self,
        module: usize,
        op: &Op<'_>,
        place: u32,
        trial: &Trial,
    ) -> Option<Called> {
        let version = self.instances.version_on_trial(module);
        let on_trial = self.instances.trials[module].as_mut()?;
        let begun = self.tally.begin_call(module);
        let called = on_trial.call(&self.op_bytes);
        self.tally.end_call(module, begun);
        let failure = match called {
            Called::Handled(_) => {
                let from = (place, module, Cause::Op);
                let (instance, keys) = (&mut on_trial.served.instance, &mut self.keys);
                match self
                    .segment
                    .take_outputs(instance, from, version, || keys.of(op))
                {
                    Ok(emitted) => {
                        self.segment.saw(module, place);
                        if instance.gathers() {
                            on_trial.held.handled = Some(emitted);
                        } else {
                            self.tally.handled(module, op, emitted);
                            trial.saw();
                        }
                        return Some(called);
                    }
                    Err(reason) => Failure::Output(reason),
                }
            }
            Called::Dropped => {
                self.segment.saw(module, place);
                trial.saw();
                return Some(called);
            }
            Called::Later(_) => return Some(called),
            // No version could have done more: it is tried again.
            Called::Failed(failure) if failure.is_passing() => {
                self.instances.revive_trial(module);
                self.give_back_lost();
                return Some(Called::Failed(failure));
            }
            Called::Failed(failure) => failure,
        };
        trial.failed();
        let name = on_trial.served.spec.module.name();
        tracing::warn!(module = name, version = trial.version.digest, op_id = %op.id(),
            error = failure.message(), "a canary failed; the version before has the op");
        self.instances.revive_trial(module);
        self.give_back_lost();
        None
    }

    /// Holds an op that a canary which gathers has just handled.
    pub(super) fn hold_for_trial(&mut self, module: usize, parked: impl FnOnce(&Self) -> Parked) {
        let handled = |on_trial: &mut OnTrial| on_trial.held.handled.take();
        let Some(emitted) = self.instances.trials[module].as_mut().and_then(handled) else {
            return;
        };
        let parked = parked(self);
        if let Some(on_trial) = &mut self.instances.trials[module] {
            on_trial.held.ops.push((parked, emitted));
        }
    }

    /// The same with the op whose turn it is.
    pub(super) fn hold_job_for_trial(&mut self, module: usize, job: &mut Job<'_>) {
        self.hold_for_trial(module, |lane| lane.parked_op(job, Tries::for_present()));
    }

    /// Gives the present versions the ops of which canaries have lost what they gathered: before all
    /// that came of their keys since. What was emitted for them waits still, and is taken back.
    pub(super) fn give_back_lost(&mut self) {
        for module in 0..self.instances.trials.len() {
            let lost = |on_trial: &mut OnTrial| {
                let held = &mut on_trial.held;
                std::mem::take(&mut held.is_lost).then(|| std::mem::take(&mut held.ops))
            };
            let Some(ops) = self.instances.trials[module].as_mut().and_then(lost) else {
                continue;
            };
            let version = self.instances.version_on_trial(module);
            self.segment.take_back(module, version);
            self.count_parked(module, ops.len() as i64);
            for (parked, _) in ops.into_iter().rev() {
                let order = self.keys.of_parked(&parked.op());
                self.parked
                    .put_before(Key { module, order }, Instant::now(), parked);
            }
        }
    }

    fn call_with_shadow(
        &mut self,
        module: usize,
        op: &Op<'_>,
        place: u32,
        ask: bool,
        trial: &Trial,
    ) -> Called {
        let mut emitted = Outputs::new();
        let called = self.call_present(module, op, place, ask, Some(&mut emitted));
        let Some(on_trial) = self.instances.trials[module].as_mut() else {
            return called;
        };
        let tried = on_trial.call(&self.op_bytes);
        let emits = on_trial.served.instance.outputs().len();
        let is_same = emits == emitted.len()
            && std::iter::zip(on_trial.served.instance.outputs(), &emitted)
                .all(|((sink, document), (other, copy))| sink == *other && document == copy);
        if matches!(&tried, Called::Failed(failure) if !failure.is_passing()) {
            trial.failed();
        }
        let (present, other) = (said(&called, emitted.len()), said(&tried, emits));
        if !is_same || present != other {
            trial.differed(|| Difference {
                op_id: op.id().to_string(),
                present,
                trial: match is_same {
                    true => other,
                    false => format!("{other}, other documents"),
                },
            });
        }
        self.instances.revive_trial(module);
        trial.saw();
        called
    }
}

impl OnTrial {
    fn call(&mut self, op: &[u8]) -> Called {
        let called = filter_and_handle(&mut self.served.instance, op, true);
        called.unwrap_or_else(|error| Called::Failed(error.into()))
    }
}

impl Instances {
    /// The trial of a version of a module, while it goes on.
    fn trial(&self, module: usize) -> Option<std::sync::Arc<Trial>> {
        let trial = &self.trials[module].as_ref()?.trial;
        trial.goes_on().then(|| trial.clone())
    }

    /// Forgets what the version on trial has emitted, and makes a fresh instance of it where a failure
    /// has ended that.
    fn revive_trial(&mut self, module: usize) {
        let sinks = self.sinks();
        let Some(on_trial) = &mut self.trials[module] else {
            return;
        };
        on_trial.served.instance.clear_outputs();
        if !on_trial.served.instance.is_dead() {
            return;
        }
        on_trial.held.is_lost = !on_trial.held.ops.is_empty();
        match Served::fresh(&on_trial.served.spec, &sinks) {
            Ok(fresh) => on_trial.served = fresh,
            Err(error) => {
                tracing::warn!(module = on_trial.served.spec.module.name(), %error,
                    "a version on trial cannot be started again");
                on_trial.trial.failed();
                on_trial.trial.end();
            }
        }
    }

    /// Lets a version on trial give what it gathered, behind so many documents of the present one, and
    /// tells how many that are.
    pub(super) fn flush_trial(
        &mut self,
        before: u32,
        from: (u32, usize, Cause),
        segment: &mut Segment,
        tally: &mut Tally,
        order: impl FnOnce() -> u64,
    ) -> u64 {
        let (_, module, _) = from;
        let version = self.version_on_trial(module);
        let Some(OnTrial {
            trial,
            served,
            held,
        }) = &mut self.trials[module]
        else {
            return 0;
        };
        if !trial.is_shadow() && held.ops.is_empty() {
            return 0;
        }
        let instance = &mut served.instance;
        let given = match instance.flush() {
            Ok(()) if trial.is_shadow() => Ok(0),
            Ok(()) => segment.take_outputs_behind(before, instance, from, version, order),
            Err(error) => Err(error.to_string()),
        };
        match &given {
            Ok(_) => {
                for (parked, emitted) in held.ops.drain(..) {
                    tally.handled(module, &parked.op(), emitted);
                    trial.saw();
                    parked.done();
                }
            }
            Err(error) => {
                let name = served.spec.module.name();
                tracing::warn!(
                    module = name,
                    version = trial.version.digest,
                    ops = held.ops.len(),
                    error,
                    "a version on trial failed at a batch border; the version before has what it gathered"
                );
                trial.failed();
                // It may have kept a part of it.
                served.instance.end();
            }
        }
        self.revive_trial(module);
        given.unwrap_or(0)
    }
}

/// What a version did, in words to compare.
fn said(called: &Called, documents: usize) -> String {
    match called {
        Called::Dropped => "dropped".to_owned(),
        Called::Handled(_) => format!("handled, {documents} documents"),
        Called::Later(_) => "wants to be asked later".to_owned(),
        Called::Failed(failure) => format!("failed: {}", failure.class()),
    }
}
