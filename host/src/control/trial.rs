//! A version that is tried before it takes over.

use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::SystemTime,
};

use serde::Serialize;
use tokio::sync::Notify;

use super::{ModuleSpec, Rollout, Version, board::shown};

/// How many differences are kept to be shown.
const SAMPLES_MAX: usize = 10;

/// The parts that a share is told in.
const PARTS: u64 = 1 << 32;

/// A version on trial, over all lanes.
#[derive(Debug)]
pub(super) struct Trial {
    pub(super) spec: Arc<ModuleSpec>,
    pub(super) version: Version,
    kind: Kind,
    since: SystemTime,
    ops: AtomicU64,
    failures: AtomicU64,
    different: AtomicU64,
    /// The lock is held to add a difference or to read them.
    samples: Mutex<Vec<Difference>>,
    is_over: AtomicBool,
    /// Whether what it led to was done.
    is_settled: AtomicBool,
    /// Told to who is to end it.
    over: Arc<Notify>,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Canary {
        parts: u64,
        ops: u64,
        failures_max: u64,
    },
    Shadow {
        ops: u64,
    },
}

/// What is to be done about a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It goes on.
    Open,
    /// It has done well, and takes over.
    TakeOver,
    /// It has failed too often.
    FallBack,
    /// It has seen what it was to see.
    Seen,
}

/// An op for which a version on trial did something else than the present one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// The op.
    pub op_id: String,
    /// What the present version did.
    pub present: String,
    /// What the one on trial did.
    pub trial: String,
}

/// How a version on trial stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TrialStatus {
    /// The version.
    #[serde(flatten)]
    pub version: Version,
    /// `canary` or `shadow`.
    pub kind: &'static str,
    /// Since when, by RFC 3339.
    pub since: String,
    /// Of how many ops it ends.
    pub ops_max: u64,
    /// Ops that it has seen.
    pub ops: u64,
    /// Ops that it has failed on.
    pub failures: u64,
    /// Ops for which a shadow did something else.
    pub different: u64,
    /// Some of those.
    pub samples: Vec<Difference>,
}

impl Trial {
    /// A trial that begins now; `None` for a version that takes over at once.
    pub(super) fn begin(
        spec: Arc<ModuleSpec>,
        version: Version,
        rollout: Rollout,
        over: Arc<Notify>,
    ) -> Option<Self> {
        let kind = match rollout {
            Rollout::AtOnce => return None,
            Rollout::Canary(canary) => Kind::Canary {
                parts: (canary.share.clamp(0.0, 1.0) * PARTS as f64) as u64,
                ops: canary.ops,
                failures_max: canary.failures_max,
            },
            Rollout::Shadow(shadow) => Kind::Shadow { ops: shadow.ops },
        };
        Some(Self {
            spec,
            version,
            kind,
            since: SystemTime::now(),
            ops: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            different: AtomicU64::new(0),
            samples: Mutex::default(),
            is_over: AtomicBool::new(false),
            is_settled: AtomicBool::new(false),
            over,
        })
    }

    /// Whether its outputs are thrown away.
    pub(super) fn is_shadow(&self) -> bool {
        matches!(self.kind, Kind::Shadow { .. })
    }

    /// Whether a canary has the ops of this key. Keys are spread over all numbers.
    pub(super) fn has(&self, key: u64) -> bool {
        match self.kind {
            // The upper half: lanes are chosen by the lower one.
            Kind::Canary { parts, .. } => (key >> 32) < parts && self.goes_on(),
            Kind::Shadow { .. } => false,
        }
    }

    /// Whether ops are still for it.
    pub(super) fn goes_on(&self) -> bool {
        !self.is_over.load(Relaxed)
    }

    /// It has done with an op.
    pub(super) fn saw(&self) {
        let seen = self.ops.fetch_add(1, Relaxed) + 1;
        let (Kind::Canary { ops, .. } | Kind::Shadow { ops }) = self.kind;
        if seen >= ops {
            self.end();
        }
    }

    /// It has failed on an op.
    pub(super) fn failed(&self) {
        let failures = self.failures.fetch_add(1, Relaxed) + 1;
        if let Kind::Canary { failures_max, .. } = self.kind
            && failures > failures_max
        {
            self.end();
        }
    }

    /// It did something else than the present version.
    pub(super) fn differed(&self, difference: impl FnOnce() -> Difference) {
        self.different.fetch_add(1, Relaxed);
        let mut samples = self.samples();
        if samples.len() < SAMPLES_MAX {
            samples.push(difference());
        }
    }

    /// No further op is for it.
    pub(super) fn end(&self) {
        self.is_over.store(true, Relaxed);
        self.over.notify_one();
    }

    /// What it led to is done: it is only shown from now on.
    pub(super) fn settle(&self) {
        self.is_over.store(true, Relaxed);
        self.is_settled.store(true, Relaxed);
    }

    pub(super) fn is_settled(&self) -> bool {
        self.is_settled.load(Relaxed)
    }

    pub(super) fn verdict(&self) -> Verdict {
        if self.goes_on() {
            return Verdict::Open;
        }
        match self.kind {
            Kind::Canary { failures_max, .. } if self.failures.load(Relaxed) > failures_max => {
                Verdict::FallBack
            }
            Kind::Canary { .. } => Verdict::TakeOver,
            Kind::Shadow { .. } => Verdict::Seen,
        }
    }

    pub(super) fn status(&self) -> TrialStatus {
        let (kind, ops_max) = match self.kind {
            Kind::Canary { ops, .. } => ("canary", ops),
            Kind::Shadow { ops } => ("shadow", ops),
        };
        TrialStatus {
            version: self.version.clone(),
            kind,
            since: shown(self.since),
            ops_max,
            ops: self.ops.load(Relaxed),
            failures: self.failures.load(Relaxed),
            different: self.different.load(Relaxed),
            samples: self.samples().clone(),
        }
    }

    fn samples(&self) -> MutexGuard<'_, Vec<Difference>> {
        self.samples.lock().expect("no holder of this lock panics")
    }
}
