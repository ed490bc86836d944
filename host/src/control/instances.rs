//! A lane's instances.

use std::{collections::HashMap, sync::Arc};

use super::{
    ModuleSpec, OnError,
    failure::Called,
    handover::{Before, Handover, HandoverFailed, hand_over},
    options::Error,
    order::OrderKeys,
    orders::Served,
    segment::Segment,
    shared::{Shared, Standing},
    tally::Tally,
    ticks::Ticks,
    trial::Trial,
    trials::Held,
};
use crate::{
    flow::Stop,
    guest::{GuestError, Instance, Outcome, Verdict},
    op::Op,
    sink::Cause,
};

/// What modules hand over from one instance to the next, by their names.
pub(super) type States = HashMap<String, Vec<u8>>;

/// One lane's instances, one per module.
pub(super) struct Instances {
    shared: Arc<Shared>,
    served: Vec<Served>,
    /// Versions that were replaced, by module, until every lane has done so.
    before: Vec<Option<Before>>,
    /// Versions that are tried, by module.
    pub(super) trials: Vec<Option<OnTrial>>,
    /// Whether there are any.
    pub(super) tries: bool,
    /// When modules are told the time.
    pub(super) ticks: Ticks,
}

/// A version that is tried in a lane.
pub(super) struct OnTrial {
    pub(super) trial: Arc<Trial>,
    pub(super) served: Served,
    pub(super) held: Held,
}

impl Instances {
    /// Makes one of each module, with the state that the lane of the session before has handed over.
    pub(super) fn new(shared: Arc<Shared>, states: &States) -> Result<Self, GuestError> {
        let served: Vec<_> = shared
            .modules
            .iter()
            .map(|spec| {
                let mut served = Served::fresh(spec, &shared.sinks)?;
                if let Some(state) = states.get(spec.module.name()) {
                    served.instance.restore(state)?;
                }
                Ok(served)
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            shared,
            before: served.iter().map(|_| None).collect(),
            trials: served.iter().map(|_| None).collect(),
            tries: false,
            ticks: Ticks::new(served.iter().map(|served| &*served.spec)),
            served,
        })
    }

    /// What a module is, in the version that works here.
    pub(super) fn spec(&self, module: usize) -> &Arc<ModuleSpec> {
        &self.served[module].spec
    }

    /// The modules' versions, by number; behind them those that are tried.
    pub(super) fn versions(&self) -> Arc<[String]> {
        let version = |served: &Served| served.spec.module.digest().to_owned();
        let trials = self.trials.iter().map(|on_trial| {
            let served = on_trial.as_ref().map(|on_trial| &on_trial.served);
            served.map(version).unwrap_or_default()
        });
        self.served.iter().map(version).chain(trials).collect()
    }

    /// The number of the version of a module that is tried.
    pub(super) fn version_on_trial(&self, module: usize) -> usize {
        self.served.len() + module
    }

    /// Tries another version beside the present one, with its state.
    pub(super) fn begin_trial(
        &mut self,
        module: usize,
        mut served: Served,
        trial: Arc<Trial>,
    ) -> Result<Handover, HandoverFailed> {
        let handover = hand_over(&mut self.served[module], &mut served)?;
        self.trials[module] = Some(OnTrial {
            trial,
            served,
            held: Held::default(),
        });
        self.tries = true;
        Ok(handover)
    }

    /// Lets go of the version that is tried.
    pub(super) fn end_trial(&mut self, module: usize) {
        self.trials[module] = None;
        self.tries = self.trials.iter().any(Option::is_some);
    }

    /// Lets another version take over, with the state of the one before, which is kept. So many calls
    /// were made of the module.
    pub(super) fn switch(
        &mut self,
        module: usize,
        mut fresh: Served,
        calls: u64,
    ) -> Result<Handover, HandoverFailed> {
        let handover = hand_over(&mut self.served[module], &mut fresh)?;
        self.count(module);
        let served = std::mem::replace(&mut self.served[module], fresh);
        self.before[module] = Some(Before {
            served,
            handover,
            calls,
        });
        Ok(handover)
    }

    /// Puts the version before back. What the one that gives way has handled since is handed back, as
    /// far as the two can.
    pub(super) fn undo(&mut self, module: usize, calls: u64) {
        if let Some(before) = self.before[module].take() {
            self.count(module);
            let sinks = self.shared.sinks.clone();
            before.put_back(&mut self.served[module], calls, &sinks);
        }
    }

    /// Lets go of the version before.
    pub(super) fn settle(&mut self, module: usize) {
        self.before[module] = None;
    }

    /// What the instances hand over to the next session's, by name. One that cannot begins anew.
    pub(super) fn states(&mut self) -> States {
        let mut states = States::new();
        for served in &mut self.served {
            let name = served.spec.module.name();
            match served.instance.save() {
                Ok(None) => {}
                Ok(Some(state)) => {
                    states.insert(name.to_owned(), state);
                }
                Err(error) => {
                    tracing::error!(module = name, %error, "the state of a module is lost: it could not be saved");
                }
            }
        }
        states
    }

    /// Tells what an instance has counted.
    pub(super) fn count(&mut self, module: usize) {
        let served = &mut self.served[module];
        let name = served.spec.module.name();
        for (counter, delta) in served.instance.take_counts() {
            self.shared.stats.count(name, counter, delta);
        }
    }

    /// The instance of a module.
    pub(super) fn get(&mut self, module: usize) -> &mut Instance {
        &mut self.served[module].instance
    }

    /// Asks a filter about a pending update, whose document is not known yet.
    pub(super) fn filter(&mut self, module: usize, op: &[u8]) -> Result<Verdict, GuestError> {
        let instance = self.alive(module)?;
        instance.write_op(op)?;
        instance.filter(true)
    }

    /// The instance of a module, for another call. One that has ended could not be replaced when it
    /// did; that it still cannot is how this call fails.
    fn alive(&mut self, module: usize) -> Result<&mut Instance, GuestError> {
        let served = &mut self.served[module];
        if served.instance.is_dead() {
            *served = Served::fresh(&served.spec, &self.shared.sinks)?;
        }
        Ok(&mut served.instance)
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
        let alive = self.alive(module);
        let called = alive.and_then(|instance| filter_and_handle(instance, op, ask));
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
        for module in 0..self.served.len() {
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
        let batch = segment.batch().cloned();
        let batch = batch.expect("what was seen since the segment began is of its batch");
        let op = batch.op(place as usize);
        let from = (place, module, Cause::Flush);
        let flushed = self.flush_present(from, &op, segment, keys, tally)?;
        // Also where the present version has nothing to give, or could not: the ops of the one that is
        // tried are told as done with the others.
        let tried = match self.tries {
            true => {
                let before = flushed.unwrap_or(0) as u32;
                self.flush_trial(before, from, segment, tally, || keys.of(&op))
            }
            false => 0,
        };
        if let Some(emitted) = flushed {
            self.ticks.flushed(module, segment, place, emitted + tried);
        }
        Ok(())
    }

    /// Lets the present version give what it gathered, and tells how many documents; none where it
    /// could not.
    fn flush_present(
        &mut self,
        from: (u32, usize, Cause),
        op: &Op<'_>,
        segment: &mut Segment,
        keys: &mut OrderKeys,
        tally: &mut Tally,
    ) -> Result<Option<u64>, Stop> {
        let (_, module, _) = from;
        if self.get(module).is_dead() {
            // Of what it had gathered the ops are handled again.
            return Ok(None);
        }
        let flushed = self.get(module).flush();
        self.count(module);
        let Served { spec, instance } = &mut self.served[module];
        let name = spec.module.name();
        let Err(source) = flushed else {
            return Ok(Some(
                match segment.take_outputs(instance, from, module, || keys.of(op)) {
                    Ok(0) => 0,
                    Ok(emitted) => {
                        tally.flushed(module, op, emitted);
                        emitted
                    }
                    Err(error) => {
                        instance.clear_outputs();
                        tracing::error!(module = name, error, "an output cannot be written");
                        0
                    }
                },
            ));
        };
        tally.failed(module, source.class.as_str());
        tracing::error!(module = name, error = %source, "a module failed at a batch border");
        if spec.policy.on_error == OnError::Skip {
            self.revive(module);
            return Ok(None);
        }
        // What the module had gathered is gone with its instance; trying again cannot bring it back,
        // but a restart gives the ops again.
        let module = name.to_owned();
        Err(self.shared.stop(Error::Flush { module, source }))
    }

    /// Forgets what a failed call has emitted, and puts a fresh instance in the place of one that the
    /// failure has ended; tells whether it had. When there is none to be had, each further call asks for
    /// one again.
    pub(super) fn revive(&mut self, module: usize) -> bool {
        let instance = self.get(module);
        instance.clear_outputs();
        if !instance.is_dead() {
            return false;
        }
        self.count(module);
        let served = &mut self.served[module];
        match Served::fresh(&served.spec, &self.shared.sinks) {
            Ok(fresh) => *served = fresh,
            Err(error) => {
                let module = served.spec.module.name();
                tracing::error!(module, %error, "a module cannot be started again; its next op tries to");
            }
        }
        true
    }

    /// Ends the run.
    pub(super) fn stop(&self, error: Error) -> Stop {
        self.shared.stop(error)
    }

    /// The names of the sinks, by number.
    pub(super) fn sinks(&self) -> Arc<[String]> {
        self.shared.sinks.clone()
    }

    /// How a module stands, over all lanes.
    pub(super) fn standing(&self, module: usize) -> &Standing {
        &self.shared.standings[module]
    }
}

#[inline]
pub(super) fn filter_and_handle(
    instance: &mut Instance,
    op: &[u8],
    ask: bool,
) -> Result<Called, GuestError> {
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
