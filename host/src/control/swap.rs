//! What can be asked of a run about its modules, and what comes of it.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use tokio::sync::oneshot;

use super::PlanError;
use crate::guest::{self, GuestError};

/// A version of a module to take the place of the present one, or another module.
#[derive(Debug, Clone)]
pub struct Swap {
    /// The module's name.
    pub module: String,
    /// The bytes of the new version.
    pub wasm: Arc<[u8]>,
    /// Where the bytes come from.
    pub origin: Origin,
    /// What is done when no module has that name.
    pub absent: Absent,
    /// How it takes over.
    pub rollout: Rollout,
}

/// Where the bytes of a version come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Origin {
    /// From somebody who asked for the swap: a restart with the same file goes on with them.
    #[default]
    Request,
    /// From the file that the run was started with, which has changed.
    File,
}

/// What is done about a name that no module has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Absent {
    /// Refuse it: it is a slip of the pen.
    #[default]
    Refuse,
    /// Add a module of that name; it sees what comes from now on.
    Add,
}

/// How a new version takes over.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Rollout {
    /// In every lane, between two ops.
    #[default]
    AtOnce,
    /// For a share of the keys first; then for all, or not at all.
    Canary(Canary),
    /// Not at all: it runs beside the present version, and what it emits is compared and thrown away.
    Shadow(Shadow),
}

/// A new version that sees some of the keys first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Canary {
    /// The share of the keys, above 0 and at most 1.
    pub share: f64,
    /// After how many ops of its own it takes over.
    pub ops: u64,
    /// How many of them may fail; one more, and the present version has its keys back.
    pub failures_max: u64,
}

impl Default for Canary {
    fn default() -> Self {
        Self {
            share: 0.05,
            ops: 1_000,
            failures_max: 0,
        }
    }
}

/// A new version that runs beside the present one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shadow {
    /// After how many ops it is let go.
    pub ops: u64,
}

impl Default for Shadow {
    fn default() -> Self {
        Self { ops: 1_000 }
    }
}

/// A version of a module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// SHA-256 of its bytes, in hex.
    pub digest: String,
    /// Counts the versions that took over under this module's name; 1 is what the run began with.
    pub generation: u64,
}

/// What a swap led to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Swapped {
    /// The module's name.
    pub module: String,
    /// The version before; none for a module that was added.
    pub from: Option<Version>,
    /// The version that works now; none for a module that was removed. With a canary or a shadow it is
    /// still the version before.
    pub to: Option<Version>,
    /// The version that runs as canary or shadow, if one does.
    pub trial: Option<Version>,
    /// Whether the sources were opened again, at the same position: what the server filters differs.
    pub reopened: bool,
    /// The longest time that a lane stood still for it, in microseconds.
    pub pause_us: u64,
    /// How many lanes have nothing of the state of the version before: its instance there had failed,
    /// and its memory was gone. Left out where it is 0.
    #[serde(skip_serializing_if = "is_none")]
    pub lanes_without_state: u64,
}

/// Left out where there are none.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

/// Why nothing was swapped: the version before goes on as if nothing had been asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SwapError {
    /// No module has that name.
    #[error("there is no module `{module}`; there is `{}`", .known.join("`, `"))]
    NoSuchModule {
        /// The name.
        module: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// The bytes are no module that can run here; the error has all findings.
    #[error(transparent)]
    Load(Arc<guest::Error>),
    /// It cannot be started, or its `pipeline` cannot be used.
    #[error(transparent)]
    Plan(Arc<PlanError>),
    /// A lane could not take it, or the version before could not hand over.
    #[error("the version before goes on: {what}")]
    Lane {
        /// What was attempted.
        what: &'static str,
        /// How the guest failed.
        #[source]
        source: Arc<GuestError>,
    },
    /// A lane did not come to it in time: it waits for a sink, or is in a long call.
    #[error("a lane did not come to it within {}; the version before goes on", humantime::format_duration(*.waited))]
    Late {
        /// How long it was waited for.
        waited: Duration,
    },
    /// There is no version to go back to.
    #[error("the module `{module}` has no version before this one")]
    NoVersionBefore {
        /// Its name.
        module: String,
    },
    /// A run without modules does nothing.
    #[error("`{module}` is the only module, which cannot be removed")]
    LastModule {
        /// Its name.
        module: String,
    },
    /// What was asked for makes no sense, or cannot be done now.
    #[error("{0}")]
    Refused(String),
    /// The run has ended, or does before it can answer.
    #[error("the run has ended")]
    Ended,
}

/// Where the answer goes.
pub type SwapAnswer = oneshot::Sender<Result<Swapped, SwapError>>;
