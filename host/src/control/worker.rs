//! What a lane does with its ops: filter, look up, handle, deliver.

use std::{collections::HashMap, sync::Arc};

use super::{
    failure::Failure,
    instances::{Instances, Step},
    output::{Output, write_outputs},
    pipeline::Error,
    shared::Shared,
};
use crate::{
    flow::{Documents, Stop, Work, Worker},
    guest::{GuestError, Instance, Outcome, Verdict},
    op::{Batch, DocumentState, Op},
};

/// How many updates are looked ahead for documents to fetch in one go.
const LOOKUP_WINDOW: usize = 1_000;

/// One lane's instances, and its room for work.
pub(super) struct LaneWorker {
    shared: Arc<Shared>,
    instances: Instances,
    documents: Documents,
    /// What filters said about pending updates of the window, by place and module.
    verdicts: HashMap<(u32, usize), Verdict>,
    /// Up to which of the batch's places verdicts are known.
    window_end: usize,
    op_bytes: Vec<u8>,
    output: Output,
}

impl LaneWorker {
    /// Makes this lane's instances.
    pub(super) fn new(shared: Arc<Shared>) -> Result<Self, GuestError> {
        let instances = Instances::new(shared.clone())?;
        Ok(Self {
            shared,
            instances,
            documents: Documents::default(),
            verdicts: HashMap::new(),
            window_end: 0,
            op_bytes: Vec::new(),
            output: Output::new(),
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
        if !self.is_wanted(place, modules) {
            return Ok(());
        }
        if self.documents.get(&op).is_none() {
            self.fetch(work, at, modules)?;
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

    /// Asks the filters about the next pending updates, so that the documents of all that are wanted
    /// can be fetched in one go.
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
                let call = |instance: &mut Instance, _: &mut String| {
                    instance.write_op(bytes)?;
                    instance.filter(true).map(Step::Done)
                };
                let verdict = self
                    .instances
                    .attempt(module, &op, &mut self.output, call)?;
                self.verdicts
                    .insert((place, module), verdict.unwrap_or(Verdict::Drop));
            }
        }
        self.window_end = end;
        Ok(())
    }

    /// Whether a filter kept the pending update of that place, or wants to see its document.
    fn is_wanted(&self, place: u32, modules: &[usize]) -> bool {
        let verdict = |module: &usize| self.verdicts.get(&(place, *module));
        modules
            .iter()
            .filter_map(verdict)
            .any(|verdict| *verdict != Verdict::Drop)
    }

    /// Fetches the documents of the window's wanted updates, from this one on.
    fn fetch(&mut self, work: &Work, at: usize, modules: &[usize]) -> Result<(), Stop> {
        let batch: &Batch = &work.batch;
        let wanted: Vec<Op<'_>> = work.places[at..self.window_end]
            .iter()
            .filter(|&&place| self.is_wanted(place, modules))
            .map(|&place| batch.op(place as usize))
            .collect();
        self.documents.clear();
        let (lookup, gate) = (&self.shared.lookup, &self.shared.gate);
        let documents = &mut self.documents;
        let fetched = self.shared.runtime.block_on(async {
            tokio::select! {
                biased;
                () = gate.thrown() => None,
                fetched = lookup.fetch(&wanted, documents) => Some(fetched),
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
        let mut emitted = 0;
        let mut kept = false;
        let call = |instance: &mut Instance, lines: &mut String| {
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
            let before = lines.len();
            match write_outputs(instance, format, lines) {
                Ok(count) => emitted = count,
                Err(reason) => {
                    lines.truncate(before);
                    return Ok(Step::Failed(Failure::Output(reason)));
                }
            }
            Ok(Step::Done(()))
        };
        let done = self.instances.attempt(module, op, &mut self.output, call)?;
        let tally = &mut self.output.tally;
        tally.kept += u64::from(kept);
        if done.is_some() && kept {
            tally.handled += 1;
            tally.emitted += emitted;
        }
        Ok(())
    }

    /// Lets the modules emit what they gathered, and writes what waits.
    fn end_batch(&mut self) -> Result<(), Stop> {
        let flushed = self.instances.flush(&mut self.output);
        // What was handled is written, also when a module failed just now.
        self.output.write(&self.shared)?;
        self.output.tell(&self.shared.stats);
        flushed
    }

    fn work_on(&mut self, work: &Work) -> Result<(), Stop> {
        let shared = self.shared.clone();
        let modules = &shared.streams[work.stream];
        self.window_end = 0;
        for at in 0..work.places.len() {
            if self.shared.gate.is_thrown() {
                break;
            }
            let op = work.batch.op(work.places[at] as usize);
            match op.is_pending() {
                true => self.pending_op(work, at, modules)?,
                false => self.complete_op(&op, modules)?,
            }
            if self.output.is_due() {
                self.output.write(&self.shared)?;
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
