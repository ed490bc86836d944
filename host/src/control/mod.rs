//! The only part that knows the others: it wires sources, lanes, guests, sinks, dead letters and
//! checkpoints into a run.
//!
//! Enters: options, loaded modules, the [`Deployments`] to read, a token that asks for an end.
//! Leaves: a [`Summary`]. [`prepare`] asks the modules for their pipelines before anything is opened;
//! [`run`] reads until an end is reached or asked for, lets lanes and sinks finish what they have, and
//! saves how far that is. A [`Handle`] asks a run how it stands, and has it pause, resume, seek or
//! drain. [`Redrive`] runs dead letters through a module again; [`mod@tail`] is changes without
//! modules, for programs and for `oplet tail`.
//!
//! Promised: an op counts as done only when all of its modules' outputs are where they belong, or it
//! lies in the dead letters, or was skipped as its policy says; commands take effect between two ops,
//! can be repeated, and are answered. Errors: [`PlanError`] before a run, [`Error`] for one that ended
//! before its time, [`CommandError`] for a command that is refused.
//!
//! One `Supervisor` owns a run's state. It starts a session (streams and lanes, from one set of
//! positions on), and another after a seek; sinks, dead letters and the saver outlive sessions.

mod assembly;
mod barrier;
mod begin;
mod board;
mod bounds;
mod breaker;
mod commit;
mod delivery;
mod deployments;
mod desk;
mod direct;
mod ending;
mod event;
mod failure;
mod gathered;
mod handle;
mod handover;
mod instances;
mod job;
mod kept;
mod lookups;
mod lost;
mod making;
mod measured;
mod merging;
mod options;
mod order;
mod orders;
mod outflow;
mod outlet;
mod parked;
mod pipeline;
mod plan;
mod policy;
mod post;
mod probation;
mod profiling;
mod put_off;
mod reach;
mod redeploying;
mod redrive;
mod reopening;
mod restored;
mod retries;
mod rollout;
mod saved_ops;
mod saver;
mod saving;
mod seek;
mod segment;
mod session;
mod shards;
mod share;
mod shared;
mod snapshot;
mod state;
mod stats;
mod supervisor;
mod swap;
mod swap_stats;
mod swap_words;
mod swapping;
mod switching;
pub mod tail;
mod tally;
mod ticks;
mod transaction;
mod trial;
mod trials;
mod trying;
mod turns;
mod undecodable;
mod updates;
mod versions;
mod vitals;
mod waiting;
mod worker;

#[cfg(test)]
mod tests;

pub use bounds::{Bounds, End};
pub use deployments::{Deployment, Deployments, DeploymentsError};
pub use direct::{DirectReadOptions, DirectReadStatus};
pub use handle::{Answer, Command, CommandError, Handle, Reached};
pub use options::{Error, Options};
pub use pipeline::run;
pub use plan::{ModuleSpec, Plan, PlanError, ReadPlan, StreamPlan, prepare};
pub use policy::{FailurePolicy, OnError, OnPositionLost, WhenOpen};
pub use profiling::{PROFILE_TIME_MAX, ProfileAnswer, ProfileError};
pub use redrive::{Redrive, RedriveError, RedriveSinks, RedriveSummary};
pub use rollout::{RolloutError, RolloutWords, share};
pub use share::{ListDocument, ListPlace, ShareError, ShareOptions};
pub use state::{
    CheckpointStatus, DeploymentStatus, ModuleStatus, RunState, ShownGap, ShownOps, ShownPosition,
    SinkStatus, Status, rfc3339,
};
pub use stats::{Stats, Summary};
pub use swap::{
    Absent, Canary, Origin, Rollout, Shadow, Swap, SwapAnswer, SwapError, Swapped, Version,
};
pub use tail::tail;
pub use trial::{Difference, TrialStatus};
pub use versions::KnownVersion;
