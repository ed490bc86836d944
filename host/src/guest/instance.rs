//! A module at work: one instance, one thread, one call at a time.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bson::RawDocumentBuf;
use oplet_sdk::abi::{export, outcome, unpack, verdict};
use oplet_sdk::raw::{self, EMPTY_DOCUMENT, Writer};
use wasmtime::TypedFunc;

use super::call::{Caller, Region};
use super::error::{Class, GuestError};
use super::exports::{Exports, typed};
use super::module::Module;
use super::pipeline::{self, PipelineError};
use super::renewal::Renewal;
use super::state::Phase;

/// What `filter` said about an op.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on to `handle`.
    Keep,
    /// It is not wanted.
    Drop,
    /// It is `pending`: fetch its document, write it again, and ask again.
    AskAgain,
}

/// What `handle` did with an op.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All of it; the outputs can be delivered.
    Done,
    /// Nothing; another attempt may succeed, and counts.
    Retry {
        /// Given by the guest; empty when it gave none.
        reason: String,
    },
    /// Nothing; no attempt will ever succeed.
    Reject {
        /// Given by the guest; empty when it gave none.
        reason: String,
    },
    /// Nothing yet; another attempt after this time costs nothing.
    RetryAfter {
        /// How long to wait.
        delay: Duration,
        /// Given by the guest; empty when it gave none.
        reason: String,
    },
}

/// An instance of a [`Module`]. It keeps its memory from op to op, and belongs to one thread at a
/// time, be it one after the other. Every call has its deadline anew.
///
/// After a trap, a deadline or an answer that the ABI does not know it [is dead](Self::is_dead): its
/// calls fail with [`Class::Ended`], and a fresh instance takes its place.
pub struct Instance {
    pub(super) caller: Caller,
    pub(super) exports: Exports,
    pub(super) region: Region,
    /// Where the op lies that was written last.
    pub(super) op: Option<(u32, u32)>,
    /// A copy of that op, for a module without `handle`, which passes it on: what lies in its memory
    /// its `filter` could have changed.
    passed_on: Vec<u8>,
    /// For an instance that lives for one op.
    pub(super) renewal: Option<Box<Renewal>>,
}

impl Instance {
    /// See [`Module::instantiate`].
    pub(super) fn new(
        module: &Module,
        sinks: &Arc<[String]>,
        config: Option<&[u8]>,
    ) -> Result<Self, GuestError> {
        let mut caller = Caller::new(module, sinks);
        caller.begin(Phase::Start);
        let instance = match module.instance_pre().instantiate(&mut caller.store) {
            Ok(instance) => instance,
            Err(error) => return Err(caller.trapped(&error)),
        };
        let memory = instance
            .get_memory(&mut caller.store, export::MEMORY)
            .expect("loading checked that there is a memory");
        caller.store.data_mut().memory = Some(memory);

        let store = &mut caller.store;
        let initialize = typed::<(), ()>(&instance, store, export::INITIALIZE);
        let configure = typed::<(u32, u32), i32>(&instance, store, export::CONFIGURE);
        let exports = Exports::new(&instance, store);
        let mut instance = Self {
            caller,
            exports,
            region: Region::default(),
            op: None,
            passed_on: Vec::new(),
            renewal: Renewal::of(module, sinks, config),
        };
        if let Some(initialize) = initialize {
            instance.caller.call(Phase::Initialize, &initialize, ())?;
        }
        instance.configure(configure, config)?;
        Ok(instance)
    }

    fn configure(
        &mut self,
        configure: Option<TypedFunc<(u32, u32), i32>>,
        config: Option<&[u8]>,
    ) -> Result<(), GuestError> {
        let Some(configure) = configure else {
            return match config {
                Some(config) if config.len() > EMPTY_DOCUMENT.len() => {
                    self.caller.begin(Phase::Configure);
                    Err(self.caller.failed(
                        Class::Refused,
                        format!(
                            "a configuration was given, but the module takes none: it exports no `{}`",
                            export::CONFIGURE
                        ),
                    ))
                }
                _ => Ok(()),
            };
        };
        // A module that can be configured is also told that nothing was configured.
        let config = config.unwrap_or(&EMPTY_DOCUMENT);
        let input = self
            .region
            .write(&mut self.caller, &self.exports.alloc, config)?;
        match self.caller.call(Phase::Configure, &configure, input)? {
            0 => Ok(()),
            code => {
                let message = match self.reason() {
                    reason if reason.is_empty() => {
                        format!("the module refused its configuration with code {code}")
                    }
                    reason => reason,
                };
                Err(self.caller.failed(Class::Refused, message))
            }
        }
    }

    /// Writes an op into the guest's memory, for [`filter`](Self::filter) and
    /// [`handle`](Self::handle) to work on. The region is kept; the guest is asked for another only
    /// when the op does not fit. With [`Isolation::Op`](super::Isolation::Op) a fresh instance takes
    /// the op, when this one has had one.
    ///
    /// # Errors
    /// [`Class::MemoryLimit`] when the op is too large for the module's memory: then only the op has
    /// failed. Any other class ends the instance, also that of a fresh one that cannot be made.
    #[inline]
    pub fn write_op(&mut self, op: &[u8]) -> Result<(), GuestError> {
        // A failed write must not leave the op before for `handle` to take.
        self.op = None;
        if let Some(renewal) = &mut self.renewal
            && renewal.begin_op()
        {
            self.renew()?;
        }
        if let Some(exact) = &mut self.caller.store.data_mut().exact {
            exact.begin_op(op);
        }
        let input = self
            .region
            .write(&mut self.caller, &self.exports.alloc, op)?;
        if self.exports.handle.is_none() {
            self.passed_on.clear();
            self.passed_on.extend_from_slice(op);
        }
        self.op = Some(input);
        self.caller.store.data_mut().op = Some(input);
        Ok(())
    }

    /// Asks whether the op written last is wanted; a module without `filter` wants all. `pending`
    /// says that the op is marked so, and that the guest may ask for its document.
    ///
    /// # Errors
    /// As the guest fails; the instance is dead then.
    ///
    /// # Panics
    /// When no op was written.
    #[inline]
    pub fn filter(&mut self, pending: bool) -> Result<Verdict, GuestError> {
        let Some(filter) = &self.exports.filter else {
            return Ok(Verdict::Keep);
        };
        let op = self.op.expect("an op is written before `filter`");
        match self.caller.call(Phase::Filter, filter, op)? {
            verdict::DROP => Ok(Verdict::Drop),
            verdict::KEEP => Ok(Verdict::Keep),
            verdict::ASK_AGAIN if pending => Ok(Verdict::AskAgain),
            verdict::ASK_AGAIN => Err(self.caller.bad_return(format!(
                "`filter` answered {} on an op that is not pending",
                verdict::ASK_AGAIN
            ))),
            other => Err(self
                .caller
                .bad_return(format!("`filter` answered {other}, expected 0, 1 or 2"))),
        }
    }

    /// Hands the op written last to the guest; a module without `handle` passes the op itself on, to
    /// sink 0. What is emitted stands in [`outputs`](Self::outputs) until the next call of
    /// `handle` or [`flush`](Self::flush); after anything but [`Outcome::Done`] there is nothing.
    ///
    /// # Errors
    /// As the guest fails; the instance is dead then.
    ///
    /// # Panics
    /// When no op was written.
    #[inline]
    pub fn handle(&mut self) -> Result<Outcome, GuestError> {
        let op = self.op.expect("an op is written before `handle`");
        match &self.exports.handle {
            None => self.pass_on(),
            Some(handle) => match self.caller.call(Phase::Handle, handle, op)? {
                outcome::DONE => {}
                other => return self.not_done(other),
            },
        }
        if self.renewal.is_some() {
            self.flush_behind()?;
        }
        Ok(Outcome::Done)
    }

    /// Asks which stages the server shall run for a namespace; `source` as in
    /// [`oplet_sdk::abi::source`]. None when the module has no `pipeline`, or none for this one.
    ///
    /// # Errors
    /// [`PipelineError::Refused`] for stages that cannot be pushed to a change stream, on an
    /// instance that is as good as before; [`PipelineError::Guest`] as the guest fails.
    pub fn pipeline(
        &mut self,
        namespace: &str,
        source: &str,
    ) -> Result<Option<Vec<RawDocumentBuf>>, PipelineError> {
        let Some(pipeline) = &self.exports.pipeline else {
            return Ok(None);
        };
        self.op = None;
        let mut question = Vec::new();
        let mut writer = Writer::new(&mut question);
        writer.text(b"namespace", namespace);
        writer.text(b"source", source);
        writer.finish();
        let input = self
            .region
            .write(&mut self.caller, &self.exports.alloc, &question)?;
        let answer = self.caller.call(Phase::Pipeline, pipeline, input)?;
        let Some((ptr, len)) = unpack(answer) else {
            return Ok(None);
        };
        match self.returned_document(ptr, len) {
            Ok(document) => Ok(Some(pipeline::stages(document)?)),
            Err(message) => Err(self.caller.bad_return(message).into()),
        }
    }

    /// What the call before emitted: the number of the sink and the document, in the order of
    /// emission. Each is a BSON document that was checked through and through.
    pub fn outputs(&self) -> impl ExactSizeIterator<Item = (u32, &[u8])> {
        self.caller.store.data().outputs.iter()
    }

    /// Forgets the outputs, once they are delivered or not wanted.
    pub fn clear_outputs(&mut self) {
        self.caller.store.data_mut().outputs.clear();
    }

    /// What the guest has counted since the last time this was asked: name and sum. Also of a dead
    /// instance.
    pub fn take_counts(&mut self) -> impl Iterator<Item = (&str, i64)> {
        self.caller.store.data_mut().counters.take()
    }

    /// Fuel that the call before took, in units of wasmtime; none for a module without
    /// [`Settings::fuel`](super::Settings::fuel).
    #[must_use]
    pub fn fuel_used(&self) -> Option<u64> {
        self.caller.fuel_used()
    }

    /// Size of its linear memory, in bytes. It never shrinks. Also of a dead instance.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let store = &self.caller.store;
        let memory = store.data().memory.expect("an instance has a memory");
        memory.data_size(store)
    }

    /// Whether a failure has ended the instance; it can only be dropped then.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.caller.is_dead()
    }

    /// Ends it: it is not called again.
    pub(crate) fn end(&mut self) {
        self.caller.end();
    }

    /// The module that it is an instance of.
    #[must_use]
    pub fn module(&self) -> &Module {
        &self.caller.module
    }

    #[cold]
    fn not_done(&mut self, answer: i32) -> Result<Outcome, GuestError> {
        self.clear_outputs();
        let reason = self.reason();
        let is_known = (outcome::RETRY..=outcome::RETRY_AFTER).contains(&answer);
        if let Some(class) = self.caller.lookup_failed().filter(|_| is_known) {
            return Err(self.caller.failed(class, reason));
        }
        match answer {
            outcome::RETRY => Ok(Outcome::Retry { reason }),
            outcome::REJECT => Ok(Outcome::Reject { reason }),
            outcome::RETRY_AFTER => match self.caller.store.data().retry_after {
                Some(delay) => Ok(Outcome::RetryAfter { delay, reason }),
                None => Err(self.caller.bad_return(format!(
                    "`handle` answered {} without a call of `retry_after`",
                    outcome::RETRY_AFTER
                ))),
            },
            other => Err(self
                .caller
                .bad_return(format!("`handle` answered {other}, expected 0 to 3"))),
        }
    }

    fn pass_on(&mut self) {
        let outputs = &mut self.caller.store.data_mut().outputs;
        outputs.clear();
        outputs.push(0, &self.passed_on);
    }

    pub(super) fn reason(&mut self) -> String {
        self.caller
            .store
            .data_mut()
            .reason
            .take()
            .unwrap_or_default()
    }

    /// A document that the guest answered with, or what is wrong with it.
    pub(super) fn returned_document(&self, ptr: u32, len: u32) -> Result<&[u8], String> {
        let store = &self.caller.store;
        let memory = store.data().memory.expect("an instance has a memory");
        let data = memory.data(store);
        let document = (ptr as usize)
            .checked_add(len as usize)
            .and_then(|end| data.get(ptr as usize..end))
            .ok_or_else(|| {
                format!(
                    "answered {len} bytes at {ptr}, outside its memory of {}",
                    data.len()
                )
            })?;
        raw::validate(document)
            .map_err(|error| format!("answered {len} bytes that are {error}"))?;
        Ok(document)
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance")
            .field("module", &self.caller.module)
            .field("is_dead", &self.is_dead())
            .finish_non_exhaustive()
    }
}
