//! What an instance's store carries: all that the imports read and write.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::Memory;

use super::exact::Exact;
use super::limits::{Limiter, Limits};
use super::log::Log;
use super::lookup::LookupState;
use super::module::Module;
use super::profile::Sampling;
use super::runtime::whole_ticks;
use super::settings::Settings;
use super::stdio::Stdio;

/// Which call is under way. Some imports make sense in some of them only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Start,
    Initialize,
    Configure,
    Alloc,
    Filter,
    Handle,
    Pipeline,
    Flush,
    /// As `Flush`, with what was emitted before it kept.
    FlushBehind,
    Tick,
    Save,
    Restore,
}

impl Phase {
    /// The export that is running.
    pub(super) fn export(self) -> &'static str {
        use oplet_sdk::abi::export;
        match self {
            Self::Start => "start",
            Self::Initialize => export::INITIALIZE,
            Self::Configure => export::CONFIGURE,
            Self::Alloc => export::ALLOC,
            Self::Filter => export::FILTER,
            Self::Handle => export::HANDLE,
            Self::Pipeline => export::PIPELINE,
            Self::Flush | Self::FlushBehind => export::FLUSH,
            Self::Tick => export::TICK,
            Self::Save => export::SAVE,
            Self::Restore => export::RESTORE,
        }
    }

    pub(super) fn may_emit(self) -> bool {
        matches!(
            self,
            Self::Handle | Self::Flush | Self::FlushBehind | Self::Tick
        )
    }

    pub(super) fn may_look_up(self) -> bool {
        self.may_emit()
    }

    /// Whether the op can be put off, so that nothing is lost when the call fails.
    pub(super) fn can_be_tried_again(self) -> bool {
        matches!(self, Self::Handle | Self::FlushBehind)
    }
}

/// What an import ends a call with.
#[derive(Debug, thiserror::Error)]
pub(super) enum HostTrap {
    /// The guest did what it may not, or said that it gives up.
    #[error("{0}")]
    Message(String),
    /// The guest called `proc_exit`.
    #[error("the module called `proc_exit` with code {0}")]
    Exit(i32),
}

/// Ends the call with that sentence.
pub(super) fn trap(message: impl fmt::Display) -> wasmtime::Error {
    wasmtime::Error::new(HostTrap::Message(message.to_string()))
}

pub(super) struct State {
    pub(super) limiter: Limiter,
    /// Known once the instance stands; the start section runs before that.
    pub(super) memory: Option<Memory>,
    pub(super) phase: Phase,
    pub(super) sinks: Arc<[String]>,
    pub(super) outputs: Outputs,
    /// Where the op lies that was written last.
    pub(super) op: Option<(u32, u32)>,
    pub(super) lookup: LookupState,
    /// Given by `fail`.
    pub(super) reason: Option<String>,
    /// Given by `retry_after`.
    pub(super) retry_after: Option<Duration>,
    pub(super) counters: Counters,
    pub(super) stdio: Stdio,
    pub(super) log: Arc<Log>,
    /// Time that the call has spent waiting inside imports, not yet given back to its deadline.
    pub(super) waited: Duration,
    /// What the module is granted.
    pub(super) settings: Arc<Settings>,
    /// Clock and random of a deterministic module.
    pub(super) exact: Option<Exact>,
    /// The profile that is being taken.
    pub(super) sampling: Option<Box<Sampling>>,
}

impl State {
    pub(super) fn new(module: &Module, sinks: Arc<[String]>) -> Self {
        let settings = module.settings();
        let limits = &settings.limits;
        Self {
            limiter: Limiter::new(limits),
            memory: None,
            phase: Phase::Start,
            sinks,
            outputs: Outputs::new(limits),
            op: None,
            lookup: LookupState::new(module),
            reason: None,
            retry_after: None,
            counters: Counters::default(),
            stdio: Stdio::default(),
            log: module.log().clone(),
            waited: Duration::ZERO,
            settings: settings.clone(),
            exact: settings.deterministic.then(Exact::default),
            sampling: None,
        }
    }

    /// The time that the call has waited in the host so far, in ticks; it is given back once.
    pub(super) fn take_waited_ticks(&mut self) -> u64 {
        whole_ticks(mem::take(&mut self.waited))
    }

    /// Forgets what belonged to the call before.
    #[inline]
    pub(super) fn begin_call(&mut self, phase: Phase) {
        self.phase = phase;
        self.waited = Duration::ZERO;
        self.limiter.begin_call();
        self.stdio.begin_call();
        self.lookup.begin_call();
        self.retry_after = None;
        if self.reason.is_some() {
            self.reason = None;
        }
        if let Some(sampling) = &mut self.sampling {
            sampling.begin_call();
        }
        if phase.may_emit() && phase != Phase::FlushBehind {
            self.outputs.clear();
        }
    }
}

/// The documents that one op emitted, one behind the other in one buffer that is kept.
pub(super) struct Outputs {
    bytes: Vec<u8>,
    /// Sink and end of each document.
    documents: Vec<(u32, usize)>,
    documents_max: usize,
    bytes_max: usize,
}

impl Outputs {
    /// Capacity that is kept from op to op, in bytes; one large op is not to be paid for ever.
    const KEPT_BYTES: usize = 1 << 20;

    fn new(limits: &Limits) -> Self {
        Self {
            bytes: Vec::new(),
            documents: Vec::new(),
            documents_max: limits.outputs_documents,
            bytes_max: limits.outputs_bytes,
        }
    }

    pub(super) fn has_room(&self, len: usize) -> bool {
        self.documents.len() < self.documents_max && len <= self.bytes_max - self.bytes.len()
    }

    pub(super) fn push(&mut self, sink: u32, document: &[u8]) {
        self.bytes.extend_from_slice(document);
        self.documents.push((sink, self.bytes.len()));
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.documents.clear();
        if self.bytes.capacity() > Self::KEPT_BYTES {
            self.bytes.shrink_to(Self::KEPT_BYTES);
        }
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (u32, &[u8])> {
        let mut start = 0;
        self.documents.iter().map(move |&(sink, end)| {
            let document = &self.bytes[start..end];
            start = end;
            (sink, document)
        })
    }
}

/// What an instance has counted since it was asked last.
#[derive(Default)]
pub(super) struct Counters {
    // At most a hundred, and a handler uses few: a walk is faster than a hash.
    counts: Vec<(Arc<str>, i64)>,
}

impl Counters {
    /// Adds to a counter that this instance has used before.
    pub(super) fn add(&mut self, name: &[u8], delta: i64) -> bool {
        let known = self
            .counts
            .iter_mut()
            .find(|(known, _)| known.as_bytes() == name);
        match known {
            Some((_, count)) => {
                *count = count.saturating_add(delta);
                true
            }
            None => false,
        }
    }

    pub(super) fn insert(&mut self, name: Arc<str>, delta: i64) {
        self.counts.push((name, delta));
    }

    /// Adds what another instance has counted.
    pub(super) fn absorb(&mut self, other: Self) {
        for (name, delta) in other.counts {
            if !self.add(name.as_bytes(), delta) {
                self.insert(name, delta);
            }
        }
    }

    pub(super) fn take(&mut self) -> impl Iterator<Item = (&str, i64)> {
        self.counts
            .iter_mut()
            .filter(|(_, count)| *count != 0)
            .map(|(name, count)| (&**name, mem::take(count)))
    }
}
