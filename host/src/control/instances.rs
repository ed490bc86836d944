//! A lane's instances.

use std::sync::Arc;

use super::{
    OnError,
    failure::Called,
    options::Error,
    order::OrderKeys,
    segment::Segment,
    shared::{Shared, Standing},
    tally::Tally,
};
use crate::{
    flow::Stop,
    guest::{GuestError, Instance, Outcome, Verdict},
    sink::Cause,
};

/// One lane's instances, one per module.
pub(super) struct Instances {
    shared: Arc<Shared>,
    instances: Vec<Instance>,
}

impl Instances {
    /// Makes one of each module.
    pub(super) fn new(shared: Arc<Shared>) -> Result<Self, GuestError> {
        let instances = shared
            .modules
            .iter()
            .map(|spec| {
                let config = spec.config.as_deref();
                spec.module.instantiate(&shared.sinks, config)
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { shared, instances })
    }

    /// The instance of a module.
    pub(super) fn get(&mut self, module: usize) -> &mut Instance {
        &mut self.instances[module]
    }

    /// Asks a filter about a pending update, whose document is not known yet.
    pub(super) fn filter(&mut self, module: usize, op: &[u8]) -> Result<Verdict, GuestError> {
        let instance = &mut self.instances[module];
        instance.write_op(op)?;
        instance.filter(true)
    }

    /// Lets a module filter, if it is to be asked, and handle an op. Its outputs wait in the
    /// instance.
    pub(super) fn call(
        &mut self,
        module: usize,
        op: &[u8],
        ask: bool,
        tally: &mut Tally,
    ) -> Called {
        let begun = tally.begin_call(module);
        let called = filter_and_handle(&mut self.instances[module], op, ask);
        tally.end_call(module, begun);
        called.unwrap_or_else(|error| Called::Failed(error.into()))
    }

    /// Lets every module that has done with an op of the segment give what it gathered.
    pub(super) fn flush(
        &mut self,
        segment: &mut Segment,
        keys: &mut OrderKeys,
        tally: &mut Tally,
    ) -> Result<(), Stop> {
        let mut flushed = Ok(());
        for module in 0..self.instances.len() {
            if let Some(place) = segment.take_last(module) {
                flushed = flushed.and(self.flush_one(module, place, segment, keys, tally));
            }
        }
        flushed
    }

    fn flush_one(
        &mut self,
        module: usize,
        place: u32,
        segment: &mut Segment,
        keys: &mut OrderKeys,
        tally: &mut Tally,
    ) -> Result<(), Stop> {
        let instance = &mut self.instances[module];
        let spec = &self.shared.modules[module];
        let name = spec.module.name();
        let flushed = instance.flush();
        for (counter, delta) in instance.take_counts() {
            self.shared.stats.count(name, counter, delta);
        }
        let Err(source) = flushed else {
            let batch = segment.batch().cloned();
            let batch = batch.expect("what was seen since the segment began is of its batch");
            let op = batch.op(place as usize);
            let order = || keys.of(&op);
            match segment.take_outputs(instance, (place, module, Cause::Flush), order) {
                Ok(0) => {}
                Ok(emitted) => tally.flushed(module, &op, emitted),
                Err(error) => {
                    instance.clear_outputs();
                    tracing::error!(module = name, error, "an output cannot be written");
                }
            }
            return Ok(());
        };
        tally.failed(module, source.class.as_str());
        tracing::error!(module = name, error = %source, "a module failed at a batch border");
        if spec.policy.on_error == OnError::Skip {
            return self.revive(module);
        }
        // What the module had gathered is gone with its instance; trying again cannot bring it back,
        // but a restart gives the ops again.
        let module = name.to_owned();
        Err(self.shared.stop(Error::Flush { module, source }))
    }

    /// Forgets what a failed call has emitted, and puts a fresh instance in the place of one that the
    /// failure has ended.
    pub(super) fn revive(&mut self, module: usize) -> Result<(), Stop> {
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
        let sinks = &self.shared.sinks;
        match spec.module.instantiate(sinks, spec.config.as_deref()) {
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

    /// How a module stands, over all lanes.
    pub(super) fn standing(&self, module: usize) -> &Standing {
        &self.shared.standings[module]
    }
}

#[inline]
fn filter_and_handle(instance: &mut Instance, op: &[u8], ask: bool) -> Result<Called, GuestError> {
    use super::failure::Failure::{Reject, Retry};

    instance.write_op(op)?;
    if ask && instance.filter(false)? != Verdict::Keep {
        return Ok(Called::Dropped);
    }
    Ok(match instance.handle()? {
        Outcome::Done => Called::Handled(instance.outputs().len() as u64),
        Outcome::Retry { reason } => Called::Failed(Retry(reason)),
        Outcome::Reject { reason } => Called::Failed(Reject(reason)),
        Outcome::RetryAfter { delay, .. } => Called::Later(delay),
    })
}
