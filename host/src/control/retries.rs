//! Ops that a module failed on: what becomes of them, and their further tries.

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use super::{
    breaker::{Admission, Advice},
    failure::{Called, Failure, Next},
    job::Job,
    options::Error,
    outlet::Letter,
    parked::Key,
    put_off::{Parked, Tries, Wait},
    worker::LaneWorker,
};
use crate::{
    backoff::Backoff,
    flow::{Documents, Stop},
    op::{Ack, BatchTicket, DocumentState, Op},
};

/// The least time that a module gets when it asks for some: the lane goes on with other ops meanwhile.
const LATER_MIN: Duration = Duration::from_millis(1);

impl LaneWorker {
    /// What becomes of an op that a module failed on. The failure is counted and logged, and the
    /// instance can be called again.
    pub(super) fn judge(
        &mut self,
        module: usize,
        op: &Op<'_>,
        failure: &Failure,
        tries: &mut Tries,
    ) -> Result<Next, Stop> {
        self.tally.failed(module, failure.class());
        let has_ended = self.instances.revive(module);
        if failure.is_passing() {
            if has_ended {
                self.give_back_gathered(module);
            }
            let (op_id, reason) = (op.id(), failure.message());
            tracing::debug!(module, %op_id, reason, "the op waits for the server");
            return Ok(Next::Retry);
        }
        let shared = self.shared.clone();
        let spec = self.instances.spec(module).clone();
        let breaker = &shared.standings[module].breaker;
        let advice = breaker.failed(failure, tries.is_counted, Instant::now());
        tries.is_counted = true;
        tries.first_failed_ms.get_or_insert_with(now_ms);
        let attempt = tries.attempts + 1;
        let next = match advice {
            Advice::Trip | Advice::Hold => Next::Hold,
            Advice::DeadLetter => Next::DeadLetter,
            Advice::Policy => failure.next(&spec.policy, attempt),
        };
        let (name, digest) = (spec.module.name(), spec.module.digest());
        failure.log(name, digest, op, attempt, next);
        if let Some(saved) = &shared.saved_ops {
            saved.save(failure, next, name, op.id().text().as_str(), &self.op_bytes);
        }
        if next != Next::Hold {
            tries.attempts = attempt;
        }
        match next {
            _ if !has_ended => {}
            // What was emitted for them is passed on, but a restart gives them again.
            Next::Stop => drop(self.segment.take_gathered(module)),
            _ => self.give_back_gathered(module),
        }
        match next {
            Next::Hold => shared.trip(),
            Next::Stop => {
                return Err(shared.stop(Error::Module {
                    module: name.to_owned(),
                    op_id: op.id().to_string(),
                }));
            }
            Next::Skip => {
                self.tally.skipped(module);
                self.count_kept(failure);
            }
            Next::Retry | Next::DeadLetter => {}
        }
        Ok(next)
    }

    /// An op is counted as kept once: when it is handled, or given up behind its filter.
    fn count_kept(&mut self, failure: &Failure) {
        if failure.is_in_handle() {
            self.tally.kept();
        }
    }

    /// What the dead letters get; the op is the one in `op_bytes`.
    pub(super) fn letter(
        &mut self,
        module: usize,
        op: &Op<'_>,
        ticket: BatchTicket,
        failure: &Failure,
        tries: &Tries,
    ) -> Letter {
        self.tally.dead_lettered(module);
        self.count_kept(failure);
        let spec = &self.instances.spec(module).module;
        let (stderr, backtrace) = failure.traces();
        let failed_ms = now_ms();
        Letter {
            op: self.op_bytes.clone(),
            op_id: op.id().to_string(),
            namespace: op.namespace().to_owned(),
            timestamp: op.timestamp(),
            index: op.point().map(|point| point.index),
            stream: ticket.stream,
            module: spec.name().to_owned(),
            digest: spec.digest().to_owned(),
            class: failure.class(),
            export: failure.export(),
            message: failure.message().to_owned(),
            stderr: stderr.to_vec(),
            backtrace: backtrace.to_vec(),
            attempts: tries.attempts,
            first_failed_ms: tries.first_failed_ms.unwrap_or(failed_ms),
            failed_ms,
        }
    }

    /// Parks the op whose turn it is: for as long as the module asked for, or as its policy says.
    pub(super) fn park(&mut self, module: usize, job: &mut Job<'_>, wait: Wait, mut tries: Tries) {
        tries.was_called = true;
        let order = self.keys.of_parked(&job.op);
        let key = Key { module, order };
        if self.parked.holds(key) {
            // What was lost of the same key was put before it just now.
            return self.queue(key, job, tries);
        }
        let due = self.due_at(module, wait, &mut tries);
        let parked = self.parked_op(job, tries);
        self.parked.park(key, due, parked);
        self.count_parked(module, 1);
    }

    /// Parks the op whose turn it is until its document can be had, without calling the module.
    pub(super) fn put_off(&mut self, module: usize, job: &mut Job<'_>) {
        let order = self.keys.of_parked(&job.op);
        let key = Key { module, order };
        if self.parked.holds(key) {
            return self.queue(key, job, Tries::default());
        }
        let mut tries = Tries::default();
        let due = self.due_at(module, Wait::Backoff, &mut tries);
        let parked = self.parked_op(job, tries);
        self.parked.park(key, due, parked);
        self.count_parked(module, 1);
    }

    /// Parks the op whose turn it is behind others.
    pub(super) fn queue(&mut self, key: Key, job: &mut Job<'_>, tries: Tries) {
        let parked = self.parked_op(job, tries);
        self.parked.queue(key, parked);
        self.count_parked(key.module, 1);
    }

    pub(super) fn parked_op(&self, job: &mut Job<'_>, tries: Tries) -> Parked {
        Parked {
            batch: job.batch.clone(),
            ticket: job.ticket,
            place: job.place,
            own: job.part(&self.shared),
            tries,
        }
    }

    fn due_at(&self, module: usize, wait: Wait, tries: &mut Tries) -> Instant {
        let policy = &self.instances.spec(module).policy;
        let backoff = || Backoff::between(policy.backoff_min, policy.backoff_max);
        let delay = match wait {
            Wait::Asked(delay) => delay.max(LATER_MIN),
            Wait::Backoff => tries.backoff.get_or_insert_with(backoff).next_delay(),
            // The lane waits at the gate.
            Wait::Pause => Duration::ZERO,
        };
        Instant::now() + delay
    }

    pub(super) fn count_parked(&self, module: usize, count: i64) {
        let parked = &self.shared.standings[module].stats.parked;
        match count {
            1.. => parked.fetch_add(count.unsigned_abs(), Relaxed),
            _ => parked.fetch_sub(count.unsigned_abs(), Relaxed),
        };
    }

    /// Tries every op that is due. The segment is of no batch meanwhile but theirs.
    pub(super) fn try_due(&mut self) -> Result<(), Stop> {
        // What becomes due meanwhile waits its turn behind other work.
        let now = Instant::now();
        while let Some((key, parked)) = self.parked.take_due(now) {
            // The op stays in no list when the gate is thrown: it is left alone.
            self.begin()?;
            self.try_again(key, parked, now)?;
        }
        Ok(())
    }

    fn try_again(&mut self, key: Key, mut parked: Parked, now: Instant) -> Result<(), Stop> {
        let (module, batch) = (key.module, parked.batch.clone());
        let op = batch.op(parked.place as usize);
        if !self.encode(&op, parked.ticket)? {
            let due = self.due_at(module, Wait::Backoff, &mut parked.tries);
            self.parked.park_again(key, due, parked);
            return Ok(());
        }
        let breaker = &self.shared.standings[module].breaker;
        if breaker.is_shunting()
            && let Admission::DeadLetter(error) = breaker.admit(Instant::now())
        {
            return self.give_up(key, parked, &Failure::Breaker(error), now);
        }
        if std::mem::replace(&mut parked.tries.was_called, true) {
            self.tally.retried(module);
        }
        self.segment.begin(&batch, parked.ticket, 0);
        let called = match parked.tries.is_for_present {
            true => self.call_present(module, &op, parked.place, true, None),
            false => self.call(module, &op, parked.place, true),
        };
        let wait = match called {
            Called::Dropped | Called::Handled(_) => {
                self.leave(key, now);
                if self.instances.tries {
                    self.hold_for_trial(module, |_| parked.part());
                }
                return self.end_try(parked.own);
            }
            Called::Later(delay) => Wait::Asked(delay),
            Called::Failed(failure) => {
                match self.judge(module, &op, &failure, &mut parked.tries)? {
                    Next::Retry => Wait::Backoff,
                    Next::Hold => Wait::Pause,
                    Next::DeadLetter => {
                        self.segment.end();
                        return self.give_up(key, parked, &failure, now);
                    }
                    Next::Skip | Next::Stop => {
                        self.leave(key, now);
                        return self.end_try(parked.own);
                    }
                }
            }
        };
        self.segment.end();
        let due = self.due_at(module, wait, &mut parked.tries);
        self.parked.park_again(key, due, parked);
        Ok(())
    }

    /// Encodes an op that was put off: an update with its document as it is now. Tells whether that can be
    /// had at present.
    fn encode(&mut self, op: &Op<'_>, ticket: BatchTicket) -> Result<bool, Stop> {
        let mut documents = Documents::default();
        if op.is_pending()
            && !self.fetch(ticket.stream, std::slice::from_ref(op), &mut documents)?
        {
            return Ok(false);
        }
        let state = match op.is_pending() {
            true => DocumentState::LookedUp(documents.get(op).flatten()),
            false => DocumentState::NotAsked,
        };
        self.op_bytes.clear();
        op.encode(state, &mut self.op_bytes);
        Ok(true)
    }

    /// The op goes into the dead letters.
    fn give_up(
        &mut self,
        key: Key,
        parked: Parked,
        failure: &Failure,
        now: Instant,
    ) -> Result<(), Stop> {
        let op = parked.batch.op(parked.place as usize);
        let letter = self.letter(key.module, &op, parked.ticket, failure, &parked.tries);
        self.leave(key, now);
        self.put(letter, parked.own)
    }

    /// The op waits no longer: the next of its key follows.
    fn leave(&mut self, key: Key, now: Instant) {
        self.parked.succeed(key, now);
        self.count_parked(key.module, -1);
    }

    /// Passes on what the try led to; the op's own duty goes with it.
    fn end_try(&mut self, own: Ack) -> Result<(), Stop> {
        let flushed = self.flush();
        let sent = self.send(Some(&own));
        self.segment.end();
        self.tell();
        if flushed.is_ok() && sent.is_ok() {
            own.done();
        }
        flushed.and(sent)
    }
}

fn now_ms() -> i64 {
    bson::DateTime::now().timestamp_millis()
}
