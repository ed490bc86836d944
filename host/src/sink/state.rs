//! How a sink stands, for status and metrics.

use std::{
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use tracing::{debug, info, warn};

use super::{OutputBatch, Rejected, queue::InQueue};

/// Upper bounds of the classes of [`Latency::classes`]; the last class has none.
pub const LATENCY_BOUNDS: [Duration; 10] = [
    Duration::from_millis(1),
    Duration::from_millis(3),
    Duration::from_millis(10),
    Duration::from_millis(30),
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
    Duration::from_secs(30),
];

/// How long deliveries took that worked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Latency {
    /// How many there were.
    pub count: u64,
    /// How long they took together.
    pub sum: Duration,
    /// How many took at most as long as the bound of the same place in [`LATENCY_BOUNDS`], and longer
    /// than the one before; the last one counts what took longer than every bound.
    pub classes: [u64; LATENCY_BOUNDS.len() + 1],
}

impl Latency {
    /// Adds a delivery that took so long.
    pub fn add(&mut self, took: Duration) {
        self.count += 1;
        self.sum += took;
        self.classes[class(took)] += 1;
    }
}

/// Which of the classes a time falls into.
fn class(took: Duration) -> usize {
    LATENCY_BOUNDS.partition_point(|bound| *bound < took)
}

/// How a sink stands.
#[derive(Debug, Clone)]
pub struct SinkState {
    /// Its name.
    pub name: String,
    /// The word for its kind.
    pub kind: &'static str,
    /// Where it delivers to, without secrets.
    pub target: String,
    /// Whether none of its workers is stuck.
    pub ready: bool,
    /// Documents that it has accepted.
    pub delivered: u64,
    /// Bytes of the documents that it has accepted.
    pub delivered_bytes: u64,
    /// Documents that it will never accept.
    pub rejected: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Documents that wait for it, those under way included.
    pub queued: u64,
    /// Bytes of the documents that wait for it.
    pub queued_bytes: u64,
    /// Since when it has not been ready.
    pub failing_since: Option<SystemTime>,
    /// Why it is not ready.
    pub last_error: Option<String>,
    /// How long deliveries took.
    pub latency: Latency,
}

/// What the workers of a sink count and tell.
#[derive(Debug)]
pub(super) struct Counters {
    name: String,
    kind: &'static str,
    target: String,
    delivered: AtomicU64,
    delivered_bytes: AtomicU64,
    rejected: AtomicU64,
    failures: AtomicU64,
    pub(super) queued: InQueue,
    latency_micros: AtomicU64,
    latency_classes: [AtomicU64; LATENCY_BOUNDS.len() + 1],
    /// Whether there is a fault, for who only looks.
    is_faulty: AtomicBool,
    /// Taken when something fails or works again, and to look at.
    fault: Mutex<Option<Fault>>,
}

/// A sink that does not work.
#[derive(Debug)]
struct Fault {
    since: SystemTime,
    message: String,
    /// How many workers have met it.
    workers: usize,
    is_final: bool,
}

impl Counters {
    pub(super) fn new(name: &str, kind: &'static str, target: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            target: target.to_owned(),
            delivered: AtomicU64::default(),
            delivered_bytes: AtomicU64::default(),
            rejected: AtomicU64::default(),
            failures: AtomicU64::default(),
            queued: InQueue::default(),
            latency_micros: AtomicU64::default(),
            latency_classes: Default::default(),
            is_faulty: AtomicBool::default(),
            fault: Mutex::default(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn fault(&self) -> MutexGuard<'_, Option<Fault>> {
        self.fault.lock().expect("no holder of this lock panics")
    }

    /// A batch was delivered, but for the documents that were rejected.
    pub(super) fn delivered(&self, batch: &OutputBatch, rejected: &[Rejected], took: Duration) {
        let len = |rejected: &Rejected| rejected.chunk.document(rejected.index).len();
        let bytes = batch.bytes() - rejected.iter().map(len).sum::<usize>();
        let documents = batch.len() - rejected.len();
        self.delivered.fetch_add(documents as u64, Relaxed);
        self.delivered_bytes.fetch_add(bytes as u64, Relaxed);
        self.rejected.fetch_add(rejected.len() as u64, Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.latency_micros.fetch_add(micros, Relaxed);
        self.latency_classes[class(took)].fetch_add(1, Relaxed);
    }

    /// The sink was away when it was to be opened: nobody waits for it yet.
    pub(super) fn is_away(&self, message: &str) {
        self.set_fault(message, 0);
    }

    /// An attempt to deliver failed. A fault is told when the first worker meets it, not at every
    /// attempt.
    pub(super) fn failed(&self, message: &str, is_first_of_worker: bool) {
        self.failures.fetch_add(1, Relaxed);
        self.set_fault(message, usize::from(is_first_of_worker));
    }

    fn set_fault(&self, message: &str, workers: usize) {
        let mut fault = self.fault();
        match &mut *fault {
            Some(fault) => {
                fault.workers += workers;
                message.clone_into(&mut fault.message);
                debug!(
                    sink = self.name,
                    error = message,
                    "the sink still does not take its documents"
                );
            }
            None => {
                *fault = Some(Fault {
                    since: SystemTime::now(),
                    message: message.to_owned(),
                    workers,
                    is_final: false,
                });
                self.is_faulty.store(true, Relaxed);
                warn!(
                    sink = self.name,
                    url = self.target,
                    error = message,
                    "the sink does not take its documents, which wait; it is tried again until it does"
                );
            }
        }
    }

    /// The sink was seen to work, by a worker that had met a fault before, or by somebody else.
    pub(super) fn works(&self, had_failed: bool) {
        if !had_failed && !self.is_faulty.load(Relaxed) {
            return;
        }
        let mut fault = self.fault();
        if let Some(present) = &mut *fault {
            present.workers = present.workers.saturating_sub(usize::from(had_failed));
            if present.workers == 0 && !present.is_final {
                let after = present.since.elapsed().unwrap_or_default();
                let after = Duration::from_millis(after.as_millis() as u64);
                info!(
                    sink = self.name,
                    ?after,
                    "the sink takes its documents again"
                );
                *fault = None;
                self.is_faulty.store(false, Relaxed);
            }
        }
    }

    /// It takes no more, for good.
    pub(super) fn ended(&self, message: &str) {
        let mut fault = self.fault();
        let since = fault
            .as_ref()
            .map_or_else(SystemTime::now, |fault| fault.since);
        *fault = Some(Fault {
            since,
            message: message.to_owned(),
            workers: 0,
            is_final: true,
        });
    }

    pub(super) fn state(&self) -> SinkState {
        let (queued, queued_bytes) = self.queued.get();
        let classes = self
            .latency_classes
            .each_ref()
            .map(|class| class.load(Relaxed));
        let fault = self.fault();
        SinkState {
            name: self.name.clone(),
            kind: self.kind,
            target: self.target.clone(),
            ready: fault.is_none(),
            delivered: self.delivered.load(Relaxed),
            delivered_bytes: self.delivered_bytes.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
            failures: self.failures.load(Relaxed),
            queued: queued as u64,
            queued_bytes: queued_bytes as u64,
            failing_since: fault.as_ref().map(|fault| fault.since),
            last_error: fault.as_ref().map(|fault| fault.message.clone()),
            latency: Latency {
                count: classes.iter().sum(),
                sum: Duration::from_micros(self.latency_micros.load(Relaxed)),
                classes,
            },
        }
    }
}
