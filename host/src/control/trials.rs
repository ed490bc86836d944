//! Calls of versions that are tried.

use super::{
    Difference,
    failure::{Called, Failure},
    instances::{Instances, OnTrial, filter_and_handle},
    orders::Served,
    segment::Segment,
    trial::Trial,
    worker::LaneWorker,
};
use crate::{op::Op, sink::Cause};

/// What a call emitted, each with the number of its sink.
pub(super) type Outputs = Vec<(u32, Vec<u8>)>;

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
        if trial.has(self.keys.of(op))
            && let Some(called) = self.call_canary(module, op, place, &trial)
        {
            return called;
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
                        self.tally.handled(module, op, emitted);
                        trial.saw();
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
                return Some(Called::Failed(failure));
            }
            Called::Failed(failure) => failure,
        };
        trial.failed();
        let name = on_trial.served.spec.module.name();
        tracing::warn!(module = name, version = trial.version.digest, op_id = %op.id(),
            error = failure.message(), "a canary failed; the version before has the op");
        self.instances.revive_trial(module);
        None
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
        order: impl FnOnce() -> u64,
    ) -> u64 {
        let (_, module, _) = from;
        let version = self.version_on_trial(module);
        let Some(OnTrial { trial, served }) = &mut self.trials[module] else {
            return 0;
        };
        let mut emitted = 0;
        match served.instance.flush() {
            Ok(()) if trial.is_shadow() => {}
            Ok(()) => {
                let instance = &mut served.instance;
                match segment.take_outputs_behind(before, instance, from, version, order) {
                    Ok(count) => emitted = count,
                    Err(error) => {
                        tracing::error!(error, "an output of a canary cannot be written");
                    }
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a version on trial failed at a batch border");
                trial.failed();
            }
        }
        self.revive_trial(module);
        emitted
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
