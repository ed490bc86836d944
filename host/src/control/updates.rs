//! Updates without their document: which of them are wanted, and the lookup of those.

use std::collections::HashMap;

use super::{job::Job, options::Error, worker::LaneWorker};
use crate::{
    flow::{Documents, Stop, Work},
    guest::Verdict,
    op::{DocumentState, Op},
};

/// How many updates are looked ahead for documents to fetch in one go.
const LOOKUP_WINDOW: usize = 1_000;

/// What is known of the next pending updates of a batch.
#[derive(Debug, Default)]
pub(super) struct Window {
    documents: Documents,
    /// What filters said, by place and module.
    verdicts: HashMap<(u32, usize), Verdict>,
    /// Up to which of the lane's places in the batch.
    pub(super) end: usize,
}

impl LaneWorker {
    /// An update whose document has to be looked up, if any filter wants the op.
    pub(super) fn pending_op(
        &mut self,
        work: &Work,
        at: usize,
        job: &mut Job<'_>,
        modules: &[usize],
    ) -> Result<(), Stop> {
        if at >= self.window.end {
            self.look_ahead(work, at, modules)?;
        }
        let (op, place) = (job.op, job.place);
        if self.is_wanted(place, modules) {
            if self.window.documents.get(&op).is_none() && !self.fetch_window(work, at, modules)? {
                self.put_off_wanted(job, modules);
                return Ok(());
            }
            self.op_bytes.clear();
            let document = self.window.documents.get(&op).flatten();
            op.encode(DocumentState::LookedUp(document), &mut self.op_bytes);
        }
        for &module in modules {
            match self.window.verdicts.get(&(place, module)) {
                Some(Verdict::Keep) => self.serve(module, job, false)?,
                Some(Verdict::AskAgain) => self.serve(module, job, true)?,
                Some(Verdict::Drop) | None => {
                    self.segment.saw(module, place);
                    self.tally.dropped_ahead(module);
                }
            }
        }
        Ok(())
    }

    /// The document cannot be had at present: the modules that want the op get it later.
    fn put_off_wanted(&mut self, job: &mut Job<'_>, modules: &[usize]) {
        for &module in modules {
            match self.window.verdicts.get(&(job.place, module)) {
                Some(Verdict::Keep | Verdict::AskAgain) => self.put_off(module, job),
                Some(Verdict::Drop) | None => {
                    self.segment.saw(module, job.place);
                    self.tally.dropped_ahead(module);
                }
            }
        }
    }

    /// Asks the filters about the next pending updates, so that the documents of all that are wanted
    /// can be fetched in one go.
    fn look_ahead(&mut self, work: &Work, at: usize, modules: &[usize]) -> Result<(), Stop> {
        self.window.verdicts.clear();
        self.window.documents.clear();
        let end = (at + LOOKUP_WINDOW).min(work.places.len());
        self.window.end = end;
        for (index, &place) in work.places[..end].iter().enumerate().skip(at) {
            let op = work.batch.op(place as usize);
            if !op.is_pending() {
                continue;
            }
            self.op_bytes.clear();
            op.encode(DocumentState::NotAsked, &mut self.op_bytes);
            let mut is_well = true;
            for &module in modules {
                let verdict = self.ask_ahead(module, &op)?;
                is_well &= verdict.is_some();
                let verdict = verdict.unwrap_or(Verdict::AskAgain);
                self.window.verdicts.insert((place, module), verdict);
            }
            // Neither a pause nor the module's policy waits for a whole window of failures.
            if !is_well || !self.turn.may_go_on() {
                self.window.end = index + 1;
                break;
            }
        }
        Ok(())
    }

    /// A filter's verdict on a pending update; none where it failed. It is not judged for that: the
    /// op counts as wanted, and is asked about again, with its document, in its turn.
    fn ask_ahead(&mut self, module: usize, op: &Op<'_>) -> Result<Option<Verdict>, Stop> {
        // A version that is tried has a filter of its own.
        if self.instances.tries || self.instances.standing(module).breaker.is_shunting() {
            return Ok(Some(Verdict::AskAgain));
        }
        match self.instances.filter(module, &self.op_bytes) {
            Ok(verdict) => Ok(Some(verdict)),
            Err(error) => {
                tracing::debug!(op_id = %op.id(), %error, "a filter failed on an update without its document");
                self.revive(module);
                Ok(None)
            }
        }
    }

    /// Whether a filter kept the pending update of that place, or wants to see its document.
    fn is_wanted(&self, place: u32, modules: &[usize]) -> bool {
        let verdict = |module: &usize| self.window.verdicts.get(&(place, *module));
        modules
            .iter()
            .filter_map(verdict)
            .any(|verdict| *verdict != Verdict::Drop)
    }

    /// Fetches the documents of the window's wanted updates, from this one on; tells whether they can be
    /// had at present.
    fn fetch_window(&mut self, work: &Work, at: usize, modules: &[usize]) -> Result<bool, Stop> {
        // What was handled before does not wait for the server.
        self.end_segment()?;
        let wanted: Vec<Op<'_>> = work.places[at..self.window.end]
            .iter()
            .filter(|&&place| self.is_wanted(place, modules))
            .map(|&place| work.batch.op(place as usize))
            .collect();
        let mut documents = std::mem::take(&mut self.window.documents);
        let fetched = self.fetch(work.ticket.stream, &wanted, &mut documents);
        self.window.documents = documents;
        fetched
    }

    /// Fetches documents of a stream's ops, the first of which is answered for certain. A lookup that is under way when
    /// the gate is closed is given up, and made again afterwards. Tells whether they can be had at
    /// present.
    pub(super) fn fetch(
        &mut self,
        stream: usize,
        ops: &[Op<'_>],
        documents: &mut Documents,
    ) -> Result<bool, Stop> {
        let from = &self.shared.streams[stream].documents;
        loop {
            documents.clear();
            let fetched = self.turn.wait_while_open(from.fetch(ops, documents));
            if let Some(Err(source)) = fetched {
                let namespace = ops.first().map_or("", |op| op.namespace()).to_owned();
                return Err(self.shared.stop(Error::Lookup { namespace, source }));
            }
            if !self.turn.begin() {
                return Err(Stop);
            }
            if let Some(Ok(could)) = fetched {
                return Ok(could);
            }
        }
    }
}
