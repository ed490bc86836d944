//! What a lane does with its ops: filter, look up, handle, deliver.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::{
    ModuleSpec, Stats,
    failure::{ATTEMPTS_MAX, Failure, OnError},
    pipeline::Error,
};
use crate::{
    backoff::Backoff,
    flow::{Cut, Documents, Lookup, Stop, Work, Worker},
    guest::{GuestError, Instance, Outcome, Verdict},
    op::{Batch, DocumentState, Format, Op, write_json},
    sink::{self, Stdout},
};

/// How many updates are looked ahead for documents to fetch in one go.
const LOOKUP_WINDOW: usize = 1_000;

/// How much output is gathered before it is written.
const OUTPUT_BYTES: usize = 64 << 10;

/// How long output waits at most while a lane goes on with its batch.
const OUTPUT_AGE: Duration = Duration::from_millis(20);

/// What the lanes of a run share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) modules: Vec<ModuleSpec>,
    /// Which modules see the ops of each stream.
    pub(super) streams: Vec<Vec<usize>>,
    pub(super) on_error: OnError,
    pub(super) format: Format,
    pub(super) stats: Arc<Stats>,
    pub(super) cut: Cut,
    pub(super) lookup: Lookup,
    pub(super) runtime: Handle,
    /// Why the run cannot go on, from the first lane that found out.
    pub(super) failure: Mutex<Option<Error>>,
    /// Cancelled with `failure`, so that who waits for a source learns of it.
    pub(super) failed: CancellationToken,
}

impl Shared {
    /// Ends the run; what other lanes have not begun, they leave alone.
    fn stop(&self, error: Error) -> Stop {
        // The first reason counts.
        self.failure
            .lock()
            .expect("no holder of this lock panics")
            .get_or_insert(error);
        self.cut.throw();
        self.failed.cancel();
        Stop
    }

    /// Why the run could not go on, if it could not.
    pub(super) fn take_failure(&self) -> Option<Error> {
        self.failure
            .lock()
            .expect("no holder of this lock panics")
            .take()
    }
}

/// One lane's instances, and its room for work.
pub(super) struct LaneWorker {
    shared: Arc<Shared>,
    /// One per module.
    instances: Vec<Instance>,
    sinks: Arc<[String]>,
    documents: Documents,
    /// What filters said about pending updates of the window, by place and module.
    verdicts: HashMap<(u32, usize), Verdict>,
    /// Up to which of the batch's places verdicts are known.
    window_end: usize,
    op_bytes: Vec<u8>,
    output: Output,
    tally: Tally,
}

/// What a lane counted since it last told.
#[derive(Debug, Default)]
struct Tally {
    kept: u64,
    handled: u64,
    emitted: u64,
    failed: u64,
    skipped: u64,
}

/// Lines that wait to be written.
#[derive(Debug)]
struct Output {
    sink: Stdout,
    lines: String,
    since: Instant,
}

/// How a call into a module ended.
enum Step<T> {
    Done(T),
    Failed(Failure),
    Later(Duration),
}

impl LaneWorker {
    /// Makes this lane's instances.
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
            documents: Documents::default(),
            verdicts: HashMap::new(),
            window_end: 0,
            op_bytes: Vec::new(),
            output: Output {
                sink: Stdout,
                lines: String::new(),
                since: Instant::now(),
            },
            tally: Tally::default(),
        })
    }

    /// An op whose document is in the batch: filter and handle in one go, on one copy.
    fn complete_op(&mut self, op: &Op<'_>, modules: &[usize]) -> Result<(), Stop> {
        self.op_bytes.clear();
        op.encode(DocumentState::NotAsked, &mut self.op_bytes);
        for &module in modules {
            self.deliver(module, op, true)?;
        }
        Ok(())
    }

    /// An update whose document has to be looked up, if any filter wants the op.
    fn pending_op(&mut self, work: &Work, at: usize, modules: &[usize]) -> Result<(), Stop> {
        if at >= self.window_end {
            self.look_ahead(work, at, modules)?;
        }
        let place = work.places[at];
        let op = work.batch.op(place as usize);
        let verdicts = &self.verdicts;
        let is_wanted = |module: &usize| {
            verdicts
                .get(&(place, *module))
                .is_some_and(|v| *v != Verdict::Drop)
        };
        if !modules.iter().any(is_wanted) {
            return Ok(());
        }
        if self.documents.get(&op).is_none() {
            self.fetch(work, at)?;
        }
        self.op_bytes.clear();
        let document = self.documents.get(&op).flatten();
        op.encode(DocumentState::LookedUp(document), &mut self.op_bytes);
        for &module in modules {
            match self.verdicts.get(&(place, module)) {
                Some(Verdict::Keep) => self.deliver(module, &op, false)?,
                Some(Verdict::AskAgain) => self.deliver(module, &op, true)?,
                Some(Verdict::Drop) | None => {}
            }
        }
        Ok(())
    }

    /// Asks the filters about the next pending updates, and fetches the documents of those wanted.
    fn look_ahead(&mut self, work: &Work, at: usize, modules: &[usize]) -> Result<(), Stop> {
        self.verdicts.clear();
        self.documents.clear();
        let end = (at + LOOKUP_WINDOW).min(work.places.len());
        for &place in &work.places[at..end] {
            let op = work.batch.op(place as usize);
            if !op.is_pending() {
                continue;
            }
            self.op_bytes.clear();
            op.encode(DocumentState::NotAsked, &mut self.op_bytes);
            for &module in modules {
                let bytes = &self.op_bytes;
                let call = |instance: &mut Instance| {
                    instance.write_op(bytes)?;
                    instance.filter(true).map(Step::Done)
                };
                let verdict = attempt(
                    &self.shared,
                    &mut self.instances,
                    &self.sinks,
                    &mut self.tally,
                    module,
                    &op,
                    call,
                )?;
                self.verdicts
                    .insert((place, module), verdict.unwrap_or(Verdict::Drop));
            }
        }
        self.window_end = end;
        Ok(())
    }

    /// Fetches the documents of the window's wanted updates, from this one on.
    fn fetch(&mut self, work: &Work, at: usize) -> Result<(), Stop> {
        let batch: &Batch = &work.batch;
        let wanted: Vec<Op<'_>> = work.places[at..self.window_end]
            .iter()
            .filter(|&&place| {
                let verdicts = (0..self.instances.len())
                    .filter_map(|module| self.verdicts.get(&(place, module)));
                verdicts
                    .into_iter()
                    .any(|verdict| *verdict != Verdict::Drop)
            })
            .map(|&place| batch.op(place as usize))
            .collect();
        self.documents.clear();
        let (lookup, cut) = (&self.shared.lookup, &self.shared.cut);
        let documents = &mut self.documents;
        let fetched = self.shared.runtime.block_on(async {
            tokio::select! {
                fetched = lookup.fetch(&wanted, documents) => Some(fetched),
                () = cut.thrown() => None,
            }
        });
        match fetched {
            Some(Ok(())) => Ok(()),
            Some(Err(source)) => {
                let namespace = wanted.first().map_or("", |op| op.namespace()).to_owned();
                Err(self.shared.stop(Error::Lookup { namespace, source }))
            }
            // The op has not begun: it is left alone, as all that follow.
            None => Err(Stop),
        }
    }

    /// Lets a module filter and handle the op that is encoded in `op_bytes`.
    fn deliver(&mut self, module: usize, op: &Op<'_>, ask: bool) -> Result<(), Stop> {
        let (bytes, format) = (&self.op_bytes, self.shared.format);
        let lines = &mut self.output.lines;
        let before = lines.len();
        let mut emitted = 0;
        let mut kept = false;
        let call = |instance: &mut Instance| {
            instance.write_op(bytes)?;
            kept = !ask || instance.filter(false)? == Verdict::Keep;
            if !kept {
                return Ok(Step::Done(()));
            }
            match instance.handle()? {
                Outcome::Done => {}
                Outcome::Retry { reason } => return Ok(Step::Failed(Failure::Retry(reason))),
                Outcome::Reject { reason } => return Ok(Step::Failed(Failure::Reject(reason))),
                Outcome::RetryAfter { delay, .. } => return Ok(Step::Later(delay)),
            }
            match write_outputs(instance, format, lines) {
                Ok(count) => emitted = count,
                Err(reason) => {
                    lines.truncate(before);
                    return Ok(Step::Failed(Failure::Output(reason)));
                }
            }
            Ok(Step::Done(()))
        };
        let done = attempt(
            &self.shared,
            &mut self.instances,
            &self.sinks,
            &mut self.tally,
            module,
            op,
            call,
        )?;
        self.tally.kept += u64::from(kept);
        if done.is_some() && kept {
            self.tally.handled += 1;
            self.tally.emitted += emitted;
        }
        Ok(())
    }

    /// Lets the modules emit what they gathered, and writes what waits.
    fn end_batch(&mut self) -> Result<(), Stop> {
        let flushed = (0..self.instances.len()).try_for_each(|module| self.flush(module));
        // What was handled is written, also when a module failed just now.
        let written = self.write_output();
        let Tally {
            kept,
            handled,
            emitted,
            failed,
            skipped,
        } = std::mem::take(&mut self.tally);
        let stats = &self.shared.stats;
        Stats::add(&stats.kept, kept);
        Stats::add(&stats.handled, handled);
        Stats::add(&stats.emitted, emitted);
        Stats::add(&stats.failed, failed);
        Stats::add(&stats.skipped, skipped);
        flushed.and(written)
    }

    fn flush(&mut self, module: usize) -> Result<(), Stop> {
        let instance = &mut self.instances[module];
        let spec = &self.shared.modules[module].module;
        let flushed = instance.flush();
        for (counter, delta) in instance.take_counts() {
            self.shared.stats.count(spec.name(), counter, delta);
        }
        let Err(source) = flushed else {
            match write_outputs(instance, self.shared.format, &mut self.output.lines) {
                Ok(emitted) => self.tally.emitted += emitted,
                Err(error) => {
                    tracing::error!(module = spec.name(), error, "an output cannot be written")
                }
            }
            return Ok(());
        };
        self.tally.failed += 1;
        tracing::error!(module = spec.name(), error = %source, "a module failed at a batch border");
        if self.shared.on_error == OnError::Skip {
            return revive(&self.shared, instance, &self.sinks, module);
        }
        // What the module had gathered is gone with its instance; trying again cannot bring it back.
        let module = spec.name().to_owned();
        Err(self.shared.stop(Error::Flush { module, source }))
    }

    fn write_output(&mut self) -> Result<(), Stop> {
        self.output.since = Instant::now();
        if self.output.lines.is_empty() {
            return Ok(());
        }
        let written = self.output.sink.write(&self.output.lines);
        self.output.lines.clear();
        written.map_err(|broken| self.shared.stop(Error::OutputClosed(broken)))
    }

    fn work_on(&mut self, work: &Work) -> Result<(), Stop> {
        let shared = self.shared.clone();
        let modules = &shared.streams[work.stream];
        self.window_end = 0;
        for at in 0..work.places.len() {
            if self.shared.cut.is_thrown() {
                break;
            }
            let op = work.batch.op(work.places[at] as usize);
            match op.is_pending() {
                true => self.pending_op(work, at, modules)?,
                false => self.complete_op(&op, modules)?,
            }
            let lines = self.output.lines.len();
            if lines > OUTPUT_BYTES || (lines > 0 && self.output.since.elapsed() > OUTPUT_AGE) {
                self.write_output()?;
            }
        }
        Ok(())
    }
}

impl Worker for LaneWorker {
    fn work(&mut self, work: &Work) -> Result<(), Stop> {
        let worked = self.work_on(work);
        // What was handled is written, also when the lane ends here.
        let ended = self.end_batch();
        worked.and(ended)
    }

    fn finish(&mut self) {
        // The lane ends either way, and the reason is noted.
        let _ = self.end_batch();
    }
}

/// Calls into a module until that succeeds or the policy gives up: `None` when the op was given up
/// or left alone.
fn attempt<T>(
    shared: &Shared,
    instances: &mut [Instance],
    sinks: &Arc<[String]>,
    tally: &mut Tally,
    module: usize,
    op: &Op<'_>,
    mut call: impl FnMut(&mut Instance) -> Result<Step<T>, GuestError>,
) -> Result<Option<T>, Stop> {
    let mut backoff = Backoff::new();
    loop {
        let instance = &mut instances[module];
        let failure = match call(instance) {
            Ok(Step::Done(done)) => return Ok(Some(done)),
            Ok(Step::Later(delay)) => {
                if !pause(shared, delay) {
                    return Ok(None);
                }
                continue;
            }
            Ok(Step::Failed(failure)) => failure,
            Err(error) => Failure::Guest(error),
        };
        tally.failed += 1;
        revive(shared, instance, sinks, module)?;
        let spec = &shared.modules[module].module;
        let attempt = backoff.attempts() + 1;
        let log = |next: &str| failure.log(spec.name(), spec.digest(), op, attempt, next);
        match shared.on_error {
            OnError::Skip => {
                log("the op is skipped");
                tally.skipped += 1;
                return Ok(None);
            }
            OnError::Retry if attempt < ATTEMPTS_MAX && failure.can_be_retried() => {
                log("the op is tried again");
                if !pause(shared, backoff.next_delay()) {
                    return Ok(None);
                }
            }
            OnError::Retry | OnError::Stop => {
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

/// Puts a fresh instance in the place of one that a failure has ended.
fn revive(
    shared: &Shared,
    instance: &mut Instance,
    sinks: &Arc<[String]>,
    module: usize,
) -> Result<(), Stop> {
    instance.clear_outputs();
    if !instance.is_dead() {
        return Ok(());
    }
    let spec = &shared.modules[module];
    let name = spec.module.name();
    for (counter, delta) in instance.take_counts() {
        shared.stats.count(name, counter, delta);
    }
    match spec.module.instantiate(sinks, spec.config.as_deref()) {
        Ok(fresh) => {
            *instance = fresh;
            Ok(())
        }
        Err(source) => Err(shared.stop(Error::Revive {
            module: name.to_owned(),
            source,
        })),
    }
}

/// Waits; `false` when the word came to leave alone what has not begun.
fn pause(shared: &Shared, delay: Duration) -> bool {
    shared.runtime.block_on(async {
        tokio::select! {
            () = tokio::time::sleep(delay) => true,
            () = shared.cut.thrown() => false,
        }
    })
}

/// Appends what an instance emitted, one line each, and returns how many there were.
fn write_outputs(
    instance: &mut Instance,
    format: Format,
    lines: &mut String,
) -> Result<u64, String> {
    let mut count = 0;
    for (_sink, document) in instance.outputs() {
        write_json(document, format, lines).map_err(|error| error.to_string())?;
        lines.push('\n');
        count += 1;
    }
    instance.clear_outputs();
    Ok(count)
}
