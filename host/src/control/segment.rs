//! What a lane has done and not yet passed on.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{outlet::Outlet, shared::Shared};
use crate::{
    guest::Instance,
    op::{Ack, Batch, BatchTicket},
    sink::{Cause, Chunk, Encoding, Output},
};

/// How much output is gathered before it is passed on, in bytes.
const OUTPUT_BYTES: usize = 64 << 10;

/// How long output waits at most while a lane goes on with its batch.
#[cfg(not(test))]
const OUTPUT_AGE: Duration = Duration::from_millis(20);
/// Tests of a lane say what comes of a batch, however long the machine holds the lane up in it.
#[cfg(test)]
const OUTPUT_AGE: Duration = Duration::from_secs(20);

/// A part of a batch: the ops that were done since the last segment, and what was emitted for them.
#[derive(Debug)]
pub(super) struct Segment {
    shared: Arc<Shared>,
    of: Option<(Arc<Batch>, BatchTicket)>,
    /// Places of ops that are done as soon as their outputs are delivered, in ascending order.
    done: Vec<u32>,
    /// Parts in the duties of ops that also wait for something else, by place.
    waiting: Vec<(u32, Ack)>,
    /// By module: what it has done with since it was last asked to give what it gathered.
    seen: Vec<Seen>,
    /// By sink.
    slots: Vec<Slot>,
    output_bytes: usize,
    /// When the first of the output came.
    since: Instant,
    line: String,
    /// The versions that emit.
    versions: Arc<[String]>,
}

/// Ops that a module has done with, and of which it may hold something back.
#[derive(Debug, Clone, Default)]
struct Seen {
    /// Place of the last one.
    last: Option<u32>,
    /// Those that it has handled, with how many documents it emitted for each; of a module that gathers.
    gathered: Vec<(u32, u64)>,
}

#[derive(Debug)]
struct Slot {
    encoding: Encoding,
    /// By the sink's worker.
    drafts: Vec<Draft>,
}

/// A chunk that is being written.
#[derive(Debug, Default)]
struct Draft {
    outputs: Vec<Output>,
    bytes: Vec<u8>,
}

/// A chunk, and where it goes: to which worker of which sink.
#[derive(Debug)]
pub(super) struct Addressed {
    pub(super) sink: usize,
    pub(super) worker: usize,
    pub(super) chunk: Chunk,
}

impl Segment {
    pub(super) fn new(shared: Arc<Shared>, versions: Arc<[String]>) -> Self {
        let slot = |outlet: &Arc<dyn Outlet>| Slot {
            encoding: outlet.encoding(),
            drafts: (0..outlet.workers().max(1))
                .map(|_| Draft::default())
                .collect(),
        };
        Self {
            of: None,
            done: Vec::new(),
            waiting: Vec::new(),
            seen: vec![Seen::default(); shared.modules.len()],
            slots: shared.outlets.iter().map(slot).collect(),
            output_bytes: 0,
            since: Instant::now(),
            line: String::new(),
            versions,
            shared,
        }
    }

    /// Begins a batch, of which about so many ops will be done.
    pub(super) fn begin(&mut self, batch: &Arc<Batch>, ticket: BatchTicket, ops: usize) {
        debug_assert!(self.is_empty(), "a segment is of one batch");
        self.of = Some((batch.clone(), ticket));
        self.done.reserve(ops);
    }

    /// Other versions of the modules emit from now on.
    pub(super) fn set_versions(&mut self, versions: Arc<[String]>) {
        debug_assert!(self.output_bytes == 0, "outputs of one version in a chunk");
        self.versions = versions;
    }

    /// Leaves the batch.
    pub(super) fn end(&mut self) {
        self.of = None;
        for seen in &mut self.seen {
            seen.last = None;
            seen.gathered.clear();
        }
    }

    /// Whether there is nothing to pass on.
    pub(super) fn is_empty(&self) -> bool {
        self.done.is_empty() && self.waiting.is_empty() && self.output_bytes == 0
    }

    /// Whether what waits is much, or has waited long.
    #[inline]
    pub(super) fn is_due(&self) -> bool {
        self.output_bytes > 0
            && (self.output_bytes > OUTPUT_BYTES || self.since.elapsed() > OUTPUT_AGE)
    }

    /// The op is done, but for its outputs here.
    #[inline]
    pub(super) fn done(&mut self, place: u32) {
        self.done.push(place);
    }

    /// An op also waits for something else; this is the part of its duty that its outputs here hold.
    pub(super) fn hold(&mut self, place: u32, part: Ack) {
        self.waiting.push((place, part));
    }

    /// One more part in the duty of an op of the segment, which is not done before that is.
    fn split(&mut self, place: u32) -> Option<Ack> {
        let Ok(at) = self.done.binary_search(&place) else {
            let (_, own) = self.waiting.iter().find(|(of, _)| *of == place)?;
            return Some(own.split());
        };
        let (_, ticket) = self.of.as_ref()?;
        self.done.remove(at);
        let own = Ack::new(self.shared.acks.clone(), *ticket, vec![place]);
        let part = own.split();
        self.waiting.push((place, own));
        Some(part)
    }

    /// A module has done with an op.
    #[inline]
    pub(super) fn saw(&mut self, module: usize, place: u32) {
        self.seen[module].last = Some(place);
    }

    /// A module that gathers has handled an op, and emitted so many documents for it.
    pub(super) fn gathered(&mut self, module: usize, place: u32, emitted: u64) {
        self.seen[module].gathered.push((place, emitted));
    }

    /// The last op that a module has done with, if it has done with any; asking forgets it.
    pub(super) fn take_last(&mut self, module: usize) -> Option<u32> {
        self.seen[module].gathered.clear();
        self.seen[module].last.take()
    }

    /// Takes out the ops of which a module's present version has lost what it gathered. The last comes first:
    /// the place of each, how many documents were emitted for it, and a part in the op's duty.
    pub(super) fn take_gathered(&mut self, module: usize) -> Vec<(u32, u64, Ack)> {
        let Seen { gathered, .. } = std::mem::take(&mut self.seen[module]);
        let with_duty = |(place, emitted)| Some((place, emitted, self.split(place)?));
        gathered.into_iter().rev().filter_map(with_duty).collect()
    }

    /// The batch and its ticket, while there is one.
    pub(super) fn of(&self) -> Option<(&Arc<Batch>, BatchTicket)> {
        self.of.as_ref().map(|(batch, ticket)| (batch, *ticket))
    }

    /// The batch, while there is one.
    pub(super) fn batch(&self) -> Option<&Arc<Batch>> {
        self.of.as_ref().map(|(batch, _)| batch)
    }

    /// Takes what an instance has emitted, and tells how many documents. `version` is the number of the
    /// instance's in the versions that were set. `order` gives the op's order
    /// key, where it is asked.
    ///
    /// # Errors
    /// When a document cannot be encoded; then none of them is taken.
    pub(super) fn take_outputs(
        &mut self,
        instance: &mut Instance,
        from: (u32, usize, Cause),
        version: usize,
        order: impl FnOnce() -> u64,
    ) -> Result<u64, String> {
        self.take_outputs_behind(0, instance, from, version, order)
    }

    /// The same, behind so many documents that the module has emitted for that op and cause before.
    pub(super) fn take_outputs_behind(
        &mut self,
        before: u32,
        instance: &mut Instance,
        (place, module, cause): (u32, usize, Cause),
        version: usize,
        order: impl FnOnce() -> u64,
    ) -> Result<u64, String> {
        let outputs = instance.outputs();
        let count = outputs.len();
        if count == 0 {
            return Ok(0);
        }
        if self.output_bytes == 0 {
            self.since = Instant::now();
        }
        let mut order = Some(order);
        let mut key = None;
        for (number, (sink, document)) in outputs.enumerate() {
            let slot = &mut self.slots[sink as usize];
            let workers = slot.drafts.len() as u64;
            let worker = match workers {
                1 => 0,
                _ => {
                    let ask = order.take();
                    let key = *key.get_or_insert_with(|| ask.map_or(0, |ask| ask()));
                    (key % workers) as usize
                }
            };
            let draft = &mut slot.drafts[worker];
            let bytes_before = draft.bytes.len();
            if let Err(reason) = slot
                .encoding
                .write(document, &mut self.line, &mut draft.bytes)
            {
                self.roll_back(place, module, version, cause);
                return Err(reason.to_string());
            }
            self.output_bytes += draft.bytes.len() - bytes_before;
            draft.outputs.push(Output {
                place,
                module: module as u32,
                version: version as u32,
                number: before.saturating_add(number as u32),
                cause,
                end: draft.bytes.len() as u32,
            });
        }
        instance.clear_outputs();
        Ok(count as u64)
    }

    /// Takes back what a version of a module emitted just now.
    fn roll_back(&mut self, place: u32, module: usize, version: usize, cause: Cause) {
        let is_its = |output: &Output| {
            let by = (output.module as usize, output.version as usize);
            (output.place, by, output.cause) == (place, (module, version), cause)
        };
        self.output_bytes = 0;
        for draft in self.slots.iter_mut().flat_map(|slot| &mut slot.drafts) {
            while draft.outputs.last().is_some_and(is_its) {
                draft.outputs.pop();
            }
            let end = draft.outputs.last().map_or(0, |last| last.end as usize);
            draft.bytes.truncate(end);
            self.output_bytes += end;
        }
    }

    /// Takes back all that a version of a module emitted since the last of it was passed on.
    pub(super) fn take_back(&mut self, module: usize, version: usize) {
        let is_its = |output: &Output| {
            (output.module as usize, output.version as usize) == (module, version)
        };
        self.output_bytes = 0;
        for draft in self.slots.iter_mut().flat_map(|slot| &mut slot.drafts) {
            let Draft { outputs, bytes } = std::mem::take(draft);
            let mut begin = 0;
            for mut output in outputs {
                let document = &bytes[begin..output.end as usize];
                begin = output.end as usize;
                if !is_its(&output) {
                    draft.bytes.extend_from_slice(document);
                    output.end = draft.bytes.len() as u32;
                    draft.outputs.push(output);
                }
            }
            self.output_bytes += draft.bytes.len();
        }
    }

    /// The duty for the ops that were done, which whoever passes the segment on has to tell as done
    /// after its chunks were handed over. None where no op was done: what there is belongs to an op
    /// that was left half way, or to one that has a duty of its own.
    pub(super) fn take_ack(&mut self) -> Option<Ack> {
        let (_, ticket) = self.of.as_ref()?;
        if self.done.is_empty() && self.waiting.is_empty() {
            return None;
        }
        let done = std::mem::take(&mut self.done);
        let ack = Ack::new(self.shared.acks.clone(), *ticket, done);
        let parts = self.waiting.drain(..);
        parts.for_each(|(_, part)| ack.then(part));
        Some(ack)
    }

    /// The outputs as chunks, each with a part of that duty.
    pub(super) fn take_chunks(&mut self, ack: Option<&Ack>) -> Vec<Addressed> {
        let mut chunks = Vec::new();
        let Some((batch, ticket)) = self.of.as_ref().filter(|_| self.output_bytes > 0) else {
            return chunks;
        };
        self.output_bytes = 0;
        for (sink, slot) in self.slots.iter_mut().enumerate() {
            for (worker, draft) in slot.drafts.iter_mut().enumerate() {
                if draft.outputs.is_empty() {
                    continue;
                }
                // The next chunk will be much like this one.
                let next = Draft {
                    outputs: Vec::with_capacity(draft.outputs.len().min(OUTPUT_BYTES / 64)),
                    bytes: Vec::with_capacity(draft.bytes.len().min(OUTPUT_BYTES)),
                };
                let Draft { outputs, bytes } = std::mem::replace(draft, next);
                let ack = match ack {
                    Some(ack) => ack.split(),
                    // A part of a duty whose other part is gone: it is never told.
                    None => Ack::new(self.shared.acks.clone(), *ticket, Vec::new()).split(),
                };
                let chunk = Chunk {
                    batch: batch.clone(),
                    modules: self.shared.names.clone(),
                    versions: self.versions.clone(),
                    outputs,
                    bytes,
                    ack,
                };
                chunks.push(Addressed {
                    sink,
                    worker,
                    chunk,
                });
            }
        }
        chunks
    }
}
