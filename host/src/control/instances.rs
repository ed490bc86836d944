//! A lane's instances, and what becomes of an op that one of them failed on.

use std::{sync::Arc, time::Duration};

use super::{
    ModuleSpec, OnError,
    failure::Failure,
    output::{Output, write_outputs},
    pipeline::Error,
    shared::Shared,
};
use crate::{
    backoff::Backoff,
    flow::Stop,
    guest::{GuestError, Instance},
    op::Op,
    sink,
};

/// How a call into a module ended.
pub(super) enum Step<T> {
    Done(T),
    Failed(Failure),
    Later(Duration),
}

/// One lane's instances, one per module.
pub(super) struct Instances {
    shared: Arc<Shared>,
    instances: Vec<Instance>,
    sinks: Arc<[String]>,
}

impl Instances {
    /// Makes one of each module.
    pub(super) fn new(shared: Arc<Shared>) -> Result<Self, GuestError> {
        let sinks: Arc<[String]> = sink::NAMES.map(str::to_owned).to_vec().into();
        let instances = shared
            .modules
            .iter()
            .map(|spec| spec.module.instantiate(&sinks, spec.config.as_deref()))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            shared,
            instances,
            sinks,
        })
    }

    /// Calls into a module until that succeeds or the policy gives up: `None` when the op was given
    /// up or left alone.
    pub(super) fn attempt<T>(
        &mut self,
        module: usize,
        op: &Op<'_>,
        output: &mut Output,
        mut call: impl FnMut(&mut Instance, &mut String) -> Result<Step<T>, GuestError>,
    ) -> Result<Option<T>, Stop> {
        // Made at the first failure: most ops have none.
        let mut backoff: Option<Backoff> = None;
        loop {
            let failure = match call(&mut self.instances[module], &mut output.lines) {
                Ok(Step::Done(done)) => return Ok(Some(done)),
                Ok(Step::Later(delay)) => {
                    if !self.pause(output, delay)? {
                        return Ok(None);
                    }
                    continue;
                }
                Ok(Step::Failed(failure)) => failure,
                Err(error) => Failure::Guest(error),
            };
            output.tally.failed += 1;
            self.revive(module)?;
            let shared = &self.shared;
            let ModuleSpec {
                module: spec,
                policy,
                ..
            } = &shared.modules[module];
            let backoff = backoff.get_or_insert_default();
            let attempt = backoff.attempts() + 1;
            let log = |next: &str| failure.log(spec.name(), spec.digest(), op, attempt, next);
            match policy.on_error {
                OnError::Skip => {
                    log("the op is skipped");
                    output.tally.skipped += 1;
                    return Ok(None);
                }
                OnError::Retry if attempt < policy.attempts_max && failure.can_be_retried() => {
                    log("the op is tried again");
                    if !self.pause(output, backoff.next_delay())? {
                        return Ok(None);
                    }
                }
                OnError::Retry | OnError::DeadLetter | OnError::Stop => {
                    log("the run stops");
                    let module = spec.name().to_owned();
                    return Err(shared.stop(Error::Module {
                        module,
                        op_id: op.id().to_string(),
                    }));
                }
            }
        }
    }

    /// Lets every module emit what it gathered.
    pub(super) fn flush(&mut self, output: &mut Output) -> Result<(), Stop> {
        (0..self.instances.len()).try_for_each(|module| self.flush_one(module, output))
    }

    fn flush_one(&mut self, module: usize, output: &mut Output) -> Result<(), Stop> {
        let instance = &mut self.instances[module];
        let spec = &self.shared.modules[module].module;
        let flushed = instance.flush();
        for (counter, delta) in instance.take_counts() {
            self.shared.stats.count(spec.name(), counter, delta);
        }
        let Err(source) = flushed else {
            match write_outputs(instance, self.shared.format, &mut output.lines) {
                Ok(emitted) => output.tally.emitted += emitted,
                Err(error) => {
                    tracing::error!(module = spec.name(), error, "an output cannot be written")
                }
            }
            return Ok(());
        };
        output.tally.failed += 1;
        tracing::error!(module = spec.name(), error = %source, "a module failed at a batch border");
        if self.shared.modules[module].policy.on_error == OnError::Skip {
            return self.revive(module);
        }
        // What the module had gathered is gone with its instance; trying again cannot bring it back.
        let module = spec.name().to_owned();
        Err(self.shared.stop(Error::Flush { module, source }))
    }

    /// Puts a fresh instance in the place of one that a failure has ended.
    fn revive(&mut self, module: usize) -> Result<(), Stop> {
        let instance = &mut self.instances[module];
        instance.clear_outputs();
        if !instance.is_dead() {
            return Ok(());
        }
        let spec = &self.shared.modules[module];
        let name = spec.module.name();
        for (counter, delta) in instance.take_counts() {
            self.shared.stats.count(name, counter, delta);
        }
        match spec.module.instantiate(&self.sinks, spec.config.as_deref()) {
            Ok(fresh) => {
                *instance = fresh;
                Ok(())
            }
            Err(source) => Err(self.shared.stop(Error::Revive {
                module: name.to_owned(),
                source,
            })),
        }
    }

    /// Waits; `false` when the word came to leave alone what has not begun. What was handled before is
    /// written first: its readers do not wait as well.
    fn pause(&self, output: &mut Output, delay: Duration) -> Result<bool, Stop> {
        output.write(&self.shared)?;
        Ok(self.shared.runtime.block_on(async {
            tokio::select! {
                biased;
                // First: a lane that was left behind has no timers any more.
                () = self.shared.gate.thrown() => false,
                () = tokio::time::sleep(delay) => true,
            }
        }))
    }
}
