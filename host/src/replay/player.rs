//! Plays ops to a module.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Report, envelope};
use crate::guest::{GuestError, Instance, Module, Outcome, Verdict};

/// What is played to.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The module.
    pub module: Module,
    /// Names of the sinks that it can ask for, the default one first.
    pub sinks: Arc<[String]>,
    /// What it is configured with, as a BSON document.
    pub config: Option<Vec<u8>>,
    /// How often an op is tried that the module answers `retry` to, at least once.
    pub attempts_max: u32,
}

/// What a module made of an op.
#[derive(Debug)]
pub enum Answer {
    /// Its filter does not want it.
    Dropped,
    /// It handled it.
    Handled,
    /// It wants another try, with the reason that it gave.
    Retry(String),
    /// It wants another try after this time, with the reason that it gave.
    RetryAfter(Duration, String),
    /// It can never handle it, with the reason that it gave.
    Rejected(String),
    /// The call failed; the next op meets a fresh instance, if this one is dead.
    Failed(GuestError),
}

/// What became of an op.
#[derive(Debug)]
pub struct Played {
    /// Which op, from 1.
    pub number: u64,
    /// What the module answered, at its last try.
    pub answer: Answer,
    /// How often it was tried.
    pub attempts: u32,
    /// How long it took, all tries together.
    pub time: Duration,
}

/// Plays ops to one instance of a module, one after the other.
///
/// An op is filtered and handled as in a run, but nothing waits: `retry` is told, or tried again at
/// once. A recording has no document for an update that is pending (in one of oplog entries all are):
/// a module that wants it sees the op as if the document were gone.
///
/// Belongs on a thread with room for the guest's stack, as every [`Instance`].
#[derive(Debug)]
pub struct Player {
    setup: Setup,
    instance: Instance,
    report: Report,
    started: Option<Instant>,
    /// A pending op whose document was asked for.
    scratch: Vec<u8>,
}

impl Player {
    /// Makes the first instance.
    ///
    /// # Errors
    /// As [`Module::instantiate`].
    pub fn new(setup: Setup) -> Result<Self, GuestError> {
        Ok(Self {
            instance: instantiate(&setup)?,
            setup,
            report: Report::default(),
            started: None,
            scratch: Vec::new(),
        })
    }

    /// Plays an op. What it emits stands in [`outputs`](Self::outputs) until the next one.
    ///
    /// # Errors
    /// When the instance is dead, and no other can be made.
    pub fn play(&mut self, op: &[u8], is_pending: bool) -> Result<Played, GuestError> {
        self.revive()?;
        // Those of the op before, which stand there until `handle` is called again.
        self.instance.clear_outputs();
        let begun = Instant::now();
        self.started.get_or_insert(begun);
        let mut attempts = 1;
        let answer = loop {
            let answer = self.attempt(op, is_pending);
            let wants_another = matches!(answer, Answer::Retry(_) | Answer::RetryAfter(..));
            self.report.retried += u64::from(wants_another);
            if !wants_another || attempts >= self.setup.attempts_max {
                break answer;
            }
            attempts += 1;
        };
        let time = begun.elapsed();
        let report = &mut self.report;
        report.read += 1;
        report.times.add(time);
        match &answer {
            Answer::Dropped => report.dropped += 1,
            Answer::Handled => {
                report.handled += 1;
                report.emitted += self.instance.outputs().len() as u64;
            }
            Answer::Retry(_) | Answer::RetryAfter(..) => report.unfinished += 1,
            Answer::Rejected(_) => report.rejected += 1,
            Answer::Failed(_) => {
                report.failed += 1;
                self.instance.clear_outputs();
            }
        }
        Ok(Played {
            number: report.read,
            answer,
            attempts,
            time,
        })
    }

    /// Lets the module emit what it has gathered, as at a batch border. That stands in
    /// [`outputs`](Self::outputs) until the next op.
    ///
    /// # Errors
    /// As [`Instance::flush`]; also when the instance is dead, and no other can be made.
    pub fn flush(&mut self) -> Result<(), GuestError> {
        self.revive()?;
        self.instance.flush()?;
        self.report.emitted += self.instance.outputs().len() as u64;
        Ok(())
    }

    /// What was emitted last: the number of the sink, and the document.
    pub fn outputs(&self) -> impl ExactSizeIterator<Item = (u32, &[u8])> {
        self.instance.outputs()
    }

    /// The names of the sinks.
    #[must_use]
    pub fn sinks(&self) -> &[String] {
        &self.setup.sinks
    }

    /// Tells what came of all ops.
    #[must_use]
    pub fn finish(mut self) -> Report {
        self.take_counts();
        self.report.memory_bytes = self.instance.memory_bytes();
        self.report.elapsed = self.started.map_or(Duration::ZERO, |at| at.elapsed());
        self.report
    }

    fn attempt(&mut self, op: &[u8], is_pending: bool) -> Answer {
        let attempt = match is_pending {
            false => filter_and_handle(&mut self.instance, op),
            true => self.pending(op),
        };
        attempt.unwrap_or_else(Answer::Failed)
    }

    fn pending(&mut self, op: &[u8]) -> Result<Answer, GuestError> {
        self.instance.write_op(op)?;
        let verdict = self.instance.filter(true)?;
        if verdict == Verdict::Drop {
            return Ok(Answer::Dropped);
        }
        self.report.without_document += 1;
        self.scratch.clear();
        envelope::write_without_pending(op, &mut self.scratch)
            .expect("a recording gives well-formed documents only");
        if verdict == Verdict::AskAgain {
            return filter_and_handle(&mut self.instance, &self.scratch);
        }
        self.instance.write_op(&self.scratch)?;
        handle(&mut self.instance)
    }

    /// Puts a fresh instance in the place of a dead one.
    fn revive(&mut self) -> Result<(), GuestError> {
        if !self.instance.is_dead() {
            return Ok(());
        }
        self.take_counts();
        self.instance = instantiate(&self.setup)?;
        Ok(())
    }

    fn take_counts(&mut self) {
        for (name, delta) in self.instance.take_counts() {
            let count = self.report.counters.entry(name.to_owned()).or_default();
            *count = count.saturating_add(delta);
        }
    }
}

fn instantiate(setup: &Setup) -> Result<Instance, GuestError> {
    setup
        .module
        .instantiate(&setup.sinks, setup.config.as_deref())
}

#[inline]
fn filter_and_handle(instance: &mut Instance, op: &[u8]) -> Result<Answer, GuestError> {
    instance.write_op(op)?;
    match instance.filter(false)? {
        Verdict::Keep => handle(instance),
        _ => Ok(Answer::Dropped),
    }
}

#[inline]
fn handle(instance: &mut Instance) -> Result<Answer, GuestError> {
    Ok(match instance.handle()? {
        Outcome::Done => Answer::Handled,
        Outcome::Retry { reason } => Answer::Retry(reason),
        Outcome::RetryAfter { delay, reason } => Answer::RetryAfter(delay, reason),
        Outcome::Reject { reason } => Answer::Rejected(reason),
    })
}
