//! What a lane does with its ops: filter, look up, handle, pass on.

use std::{sync::Arc, time::Instant};

use super::{
    breaker::Admission,
    failure::{Called, Failure, Next},
    instances::{Instances, States},
    job::Job,
    order::OrderKeys,
    outlet::Letter,
    parked::{Key, ParkedOps},
    put_off::{Parked, Tries, Wait},
    segment::Segment,
    shared::Shared,
    tally::Tally,
    trials::Outputs,
    updates::Window,
};
use crate::{
    flow::{Stop, Turn, Work, Worker},
    guest::GuestError,
    op::{Ack, DocumentState, Op},
    sink::{Cause, Closed},
};

/// One lane's instances, and its room for work.
pub(super) struct LaneWorker {
    pub(super) shared: Arc<Shared>,
    /// Which of the lanes it is.
    pub(super) lane: usize,
    pub(super) instances: Instances,
    pub(super) turn: Turn,
    pub(super) segment: Segment,
    pub(super) parked: ParkedOps<Parked>,
    pub(super) keys: OrderKeys,
    pub(super) tally: Tally,
    /// The op that modules are called for.
    pub(super) op_bytes: Vec<u8>,
    pub(super) window: Window,
}

impl LaneWorker {
    /// Makes this lane's instances.
    pub(super) fn new(
        shared: Arc<Shared>,
        lane: usize,
        states: &States,
    ) -> Result<Self, GuestError> {
        let instances = Instances::new(shared.clone(), states)?;
        Ok(Self {
            lane,
            turn: Turn::new(shared.gate.clone(), shared.runtime.clone()),
            segment: Segment::new(shared.clone(), instances.versions()),
            instances,
            parked: ParkedOps::default(),
            keys: OrderKeys::new(shared.ordering),
            tally: Tally::new(shared.modules.len(), &shared.stats.namespaces),
            op_bytes: Vec::new(),
            window: Window::default(),
            shared,
        })
    }

    fn work_on(&mut self, work: &Work) -> Result<(), Stop> {
        let shared = self.shared.clone();
        let modules = &shared.streams[work.ticket.stream].modules;
        self.window.end = 0;
        for at in 0..work.places.len() {
            if self.shared.orders.has_some(self.lane) {
                self.end_segment()?;
                self.obey();
            }
            if !self.turn.may_go_on() {
                // Who pauses the run is to see as done what is done.
                self.end_segment()?;
                self.begin()?;
            }
            if !self.parked.is_empty() {
                self.try_due_between(work)?;
            }
            let mut job = Job::new(work, work.places[at]);
            match job.op.is_pending() {
                true => self.pending_op(work, at, &mut job, modules)?,
                false => self.complete_op(&mut job, modules)?,
            }
            self.end_op(job)?;
            if self.segment.is_due() {
                self.end_segment()?;
            }
        }
        Ok(())
    }

    /// Tries what is due in the middle of a batch, when it is.
    fn try_due_between(&mut self, work: &Work) -> Result<(), Stop> {
        if self.parked.due().is_none_or(|due| due > Instant::now()) {
            return Ok(());
        }
        // What modules have gathered so far belongs to ops that are told as done now.
        self.end_segment()?;
        self.segment.end();
        let tried = self.try_due();
        self.segment.begin(&work.batch, work.ticket, 0);
        tried.and_then(|()| self.begin())
    }

    /// An op whose document is in the batch: filter and handle in one go, on one copy.
    fn complete_op(&mut self, job: &mut Job<'_>, modules: &[usize]) -> Result<(), Stop> {
        self.op_bytes.clear();
        job.op.encode(DocumentState::NotAsked, &mut self.op_bytes);
        modules
            .iter()
            .try_for_each(|&module| self.serve(module, job, true))
    }

    /// Lets a module have the op that is encoded in `op_bytes`.
    pub(super) fn serve(
        &mut self,
        module: usize,
        job: &mut Job<'_>,
        ask: bool,
    ) -> Result<(), Stop> {
        if !self.parked.is_empty() {
            let order = self.keys.of_parked(&job.op);
            let key = Key { module, order };
            if self.parked.holds(key) {
                self.queue(key, job, Tries::default());
                return Ok(());
            }
        }
        let breaker = &self.shared.standings[module].breaker;
        if breaker.is_shunting()
            && let Admission::DeadLetter(error) = breaker.admit(Instant::now())
        {
            let failure = Failure::Breaker(error);
            self.write_letter(module, job, &failure, Tries::default());
            return Ok(());
        }
        match self.call(module, &job.op, job.place, ask) {
            Called::Dropped | Called::Handled(_) => {
                if self.instances.tries {
                    self.hold_job_for_trial(module, job);
                }
                Ok(())
            }
            Called::Later(delay) => {
                self.park(module, job, Wait::Asked(delay), Tries::default());
                Ok(())
            }
            Called::Failed(failure) => self.failed(module, job, &failure),
        }
    }

    #[cold]
    fn failed(&mut self, module: usize, job: &mut Job<'_>, failure: &Failure) -> Result<(), Stop> {
        let mut tries = Tries::default();
        match self.judge(module, &job.op, failure, &mut tries)? {
            Next::Retry => self.park(module, job, Wait::Backoff, tries),
            Next::Hold => self.park(module, job, Wait::Pause, tries),
            Next::DeadLetter => self.write_letter(module, job, failure, tries),
            Next::Skip | Next::Stop => {}
        }
        Ok(())
    }

    fn write_letter(&mut self, module: usize, job: &mut Job<'_>, why: &Failure, tries: Tries) {
        let letter = self.letter(module, &job.op, job.ticket, why, &tries);
        let part = job.part(&self.shared);
        job.letters.push((letter, part));
    }

    /// Calls a module for an op, and takes its outputs.
    pub(super) fn call(&mut self, module: usize, op: &Op<'_>, place: u32, ask: bool) -> Called {
        if self.instances.tries {
            return self.call_with_trial(module, op, place, ask);
        }
        self.call_present(module, op, place, ask, None)
    }

    /// Calls the present version of a module; `emitted` gets a copy of its outputs.
    pub(super) fn call_present(
        &mut self,
        module: usize,
        op: &Op<'_>,
        place: u32,
        ask: bool,
        emitted: Option<&mut Outputs>,
    ) -> Called {
        let mut called = self
            .instances
            .call(module, &self.op_bytes, ask, &mut self.tally);
        if let Some(copy) = emitted {
            let outputs = self.instances.get(module).outputs();
            copy.extend(outputs.map(|(sink, document)| (sink, document.to_vec())));
        }
        if let Called::Handled(emitted @ 1..) = called {
            let (instance, keys) = (self.instances.get(module), &mut self.keys);
            let from = (place, module, Cause::Op);
            match self
                .segment
                .take_outputs(instance, from, module, || keys.of(op))
            {
                Ok(taken) => debug_assert_eq!(taken, emitted),
                Err(reason) => called = Called::Failed(Failure::Output(reason)),
            }
        }
        let breaker = &self.shared.standings[module].breaker;
        match called {
            Called::Handled(emitted) => {
                breaker.succeeded();
                self.segment.saw(module, place);
                if self.instances.get(module).gathers() {
                    self.segment.gathered(module, place, emitted);
                }
                self.tally.handled(module, op, emitted);
            }
            Called::Dropped => {
                breaker.dropped();
                self.segment.saw(module, place);
            }
            Called::Later(_) | Called::Failed(_) => {}
        }
        called
    }

    /// The modules have had their turn.
    #[inline]
    fn end_op(&mut self, job: Job<'_>) -> Result<(), Stop> {
        match job.own {
            None => self.segment.done(job.place),
            Some(own) => self.segment.hold(job.place, own),
        }
        if job.letters.is_empty() {
            return Ok(());
        }
        // What was handled before does not wait for the letters' store.
        self.end_segment()?;
        for (letter, ack) in job.letters {
            self.put(letter, ack)?;
        }
        Ok(())
    }

    /// Gives a letter away.
    pub(super) fn put(&mut self, letter: Letter, ack: Ack) -> Result<(), Stop> {
        let put = self.turn.wait(self.shared.letters.put(letter, ack));
        match put {
            Some(()) => self.go_on(),
            None => Err(Stop),
        }
    }

    /// Lets the modules emit what they gathered, passes on what was emitted, and tells which ops are
    /// done.
    pub(super) fn end_segment(&mut self) -> Result<(), Stop> {
        let flushed = self.flush();
        let ack = self.segment.take_ack();
        // What was handled is passed on, also when a module failed just now; but then its ops are not
        // told as done.
        let sent = self.send(ack.as_ref());
        self.tell();
        if let Some(ack) = ack.filter(|_| flushed.is_ok() && sent.is_ok()) {
            ack.done();
        }
        flushed.and(sent)
    }

    /// Lets the modules emit what they gathered.
    pub(super) fn flush(&mut self) -> Result<(), Stop> {
        let flushed = self
            .instances
            .flush(&mut self.segment, &mut self.keys, &mut self.tally);
        if self.instances.tries {
            self.give_back_lost();
        }
        flushed
    }

    /// Hands the segment's chunks to the sinks.
    pub(super) fn send(&mut self, ack: Option<&Ack>) -> Result<(), Stop> {
        let chunks = self.segment.take_chunks(ack);
        if chunks.is_empty() {
            return Ok(());
        }
        let outlets = &self.shared.outlets;
        let sent = self.turn.wait(async {
            for to in chunks {
                outlets[to.sink].send(to.worker, to.chunk).await?;
            }
            Ok(())
        });
        match sent {
            Some(Ok(())) => Ok(()),
            Some(Err(Closed)) => Err(self.shared.halt()),
            None => Err(Stop),
        }
    }

    /// Now, since a lane that is left behind will not come to it later.
    pub(super) fn tell(&mut self) {
        let modules = self.shared.standings.iter().map(|module| &module.stats);
        self.tally.tell(&self.shared.stats, modules);
    }
}

impl Worker for LaneWorker {
    fn work(&mut self, work: &Work) -> Result<(), Stop> {
        self.begin()?;
        self.segment
            .begin(&work.batch, work.ticket, work.places.len());
        let worked = self.work_on(work);
        // What was handled is passed on, also when the lane ends here.
        let ended = self.end_segment();
        self.segment.end();
        self.turn.rest();
        worked.and(ended)
    }

    fn due(&self) -> Option<Instant> {
        let due = [self.parked.due(), self.instances.ticks.due()];
        due.into_iter().flatten().min()
    }

    fn has_put_off(&self) -> bool {
        !self.parked.is_empty()
    }

    fn wake(&mut self) -> Result<(), Stop> {
        self.begin()?;
        let tried = self.try_due().and_then(|()| self.tick_due());
        self.tell();
        self.turn.rest();
        tried
    }

    fn look(&mut self) -> Result<(), Stop> {
        self.obey();
        Ok(())
    }

    fn finish(&mut self) {
        // All that was handled was passed on at the end of its batch; what waits is not done.
        self.turn.rest();
        self.tell();
        let mut handover = self.shared.handover();
        if let Some(states) = &mut *handover {
            states[self.lane] = self.instances.states();
        }
    }
}
