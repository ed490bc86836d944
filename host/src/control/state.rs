//! In which state a run is, and how it stands: what `status` shows.

use serde::Serialize;

use super::{DirectReadStatus, KnownVersion, TrialStatus};
use crate::op::{Position, Timestamp};

/// The life of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum RunState {
    /// Connecting, loading, finding where to begin.
    Starting,
    /// Another process of the same name is at work; this one waits for its place.
    Standby,
    /// Reading and handling.
    Streaming,
    /// Nothing is read or handled until somebody says `resume`.
    Paused,
    /// Nothing new is read; what was read is finished.
    Draining,
    /// What follows the position is gone, and the policy does not go on without it.
    PositionLost,
    /// Over.
    Stopped,
}

impl RunState {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Starting,
        Self::Standby,
        Self::Streaming,
        Self::Paused,
        Self::Draining,
        Self::PositionLost,
        Self::Stopped,
    ];

    /// The word that `status` and the metrics show.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Standby => "standby",
            Self::Streaming => "streaming",
            Self::Paused => "paused",
            Self::Draining => "draining",
            Self::PositionLost => "positionLost",
            Self::Stopped => "stopped",
        }
    }
}

/// A position as people and scripts read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownPosition {
    /// `SECONDS:INCREMENT`, a form that `--since` takes; none for a resume token of an unknown form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_time: Option<String>,
    /// The same as RFC 3339 time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
}

impl ShownPosition {
    /// Shows a position.
    #[must_use]
    pub fn of(position: &Position) -> Self {
        Self::of_time(position.timestamp())
    }

    /// Shows a cluster time.
    #[must_use]
    pub fn of_time(timestamp: Option<Timestamp>) -> Self {
        Self {
            cluster_time: timestamp.map(|timestamp| timestamp.to_string()),
            time: timestamp.map(|timestamp| rfc3339(i64::from(timestamp.seconds) * 1000)),
        }
    }
}

/// Milliseconds since 1970 as RFC 3339 text.
#[must_use]
pub fn rfc3339(milliseconds: i64) -> String {
    bson::DateTime::from_millis(milliseconds)
        .try_to_rfc3339_string()
        .unwrap_or_else(|_| format!("{milliseconds} ms"))
}

/// How a run stands.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The name of the run, and of its checkpoint.
    pub name: String,
    /// In which state it is.
    pub state: RunState,
    /// Since when, RFC 3339.
    pub since: String,
    /// Why it is in that state, where that is not plain: who holds the lease, which breaker opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether it can be relied on to handle what happens: streaming, sinks ready, checkpoint kept.
    pub ready: bool,
    /// Which reader.
    pub source: &'static str,
    /// What is watched.
    pub scope: String,
    /// Up to where everything is done.
    pub position: ShownPosition,
    /// How far that is behind the server's newest entry, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag_seconds: Option<f64>,
    /// How long until the oplog no longer reaches back to the position, at its present size and age,
    /// in hours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oplog_window_hours: Option<f64>,
    /// Ops that were read and are not done.
    pub in_flight_ops: u64,
    /// Bytes of batches that were read and are not done.
    pub in_flight_bytes: u64,
    /// For how long the oldest op that is not done has been under way, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_unacknowledged_seconds: Option<f64>,
    /// Ops read, and what became of them.
    pub ops: ShownOps,
    /// The checkpoint; none where none is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<CheckpointStatus>,
    /// The modules.
    pub modules: Vec<ModuleStatus>,
    /// The sinks.
    pub sinks: Vec<SinkStatus>,
    /// What is read directly.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub direct_reads: Vec<DirectReadStatus>,
    /// The deployments, where several are read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deployments: Vec<DeploymentStatus>,
    /// The last position that was lost, if one was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap: Option<ShownGap>,
}

/// How the reading of one of several deployments stands.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentStatus {
    /// What its ops carry in the field `cluster`.
    pub cluster: String,
    /// Where it is found.
    pub hosts: String,
    /// Up to where everything of it is done.
    pub position: ShownPosition,
    /// How far that is behind its newest entry, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag_seconds: Option<f64>,
    /// How long until its oplog no longer reaches back to the position, in hours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oplog_window_hours: Option<f64>,
    /// Since when the others wait for it, RFC 3339, where all are read in one order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holds_up_since: Option<String>,
}

/// Counts of ops since the start of the process.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownOps {
    /// Given by the source.
    pub read: u64,
    /// Kept by a filter.
    pub kept: u64,
    /// Handled.
    pub handled: u64,
    /// Documents emitted.
    pub emitted: u64,
    /// Failed calls.
    pub failed: u64,
    /// Given up by the policy `skip`.
    pub skipped: u64,
    /// Put into the dead letters.
    pub dead_lettered: u64,
}

/// How the checkpoint stands.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckpointStatus {
    /// Where it is kept.
    pub store: String,
    /// The position that was saved last.
    pub position: ShownPosition,
    /// When that was, RFC 3339; none when nothing was saved yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saved: Option<String>,
    /// How long ago, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<f64>,
    /// The epoch of the lease under which it is saved.
    pub epoch: u64,
    /// Why it cannot be saved at present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How a module stands.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ModuleStatus {
    /// Its name.
    pub name: String,
    /// SHA-256 of its bytes, in hex.
    pub digest: String,
    /// Counts the versions that took over under its name.
    pub generation: u64,
    /// The versions that are known, the present one last.
    pub versions: Vec<KnownVersion>,
    /// What it is granted: where it may look documents up, which variables it can read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grants: Option<String>,
    /// The version that is tried at present, or was last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trial: Option<TrialStatus>,
    /// What becomes of an op that it failed on.
    pub on_error: &'static str,
    /// Ops that failed, one after the other, since the last that did not.
    pub failures_in_a_row: u32,
    /// Since when its breaker is open, RFC 3339; none when it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breaker_open_since: Option<String>,
    /// How it failed last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Ops that wait for another try.
    pub waiting_for_retry: u64,
}

/// How a sink stands.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SinkStatus {
    /// Its name.
    pub name: String,
    /// What kind of sink.
    pub kind: &'static str,
    /// Whether it took what it was given last.
    pub ready: bool,
    /// Documents that it has accepted.
    pub delivered: u64,
    /// Documents that it will never accept.
    pub rejected: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Documents that wait for it.
    pub queued: u64,
    /// Bytes that wait for it.
    pub queued_bytes: u64,
    /// Why it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// A part of the history that was lost.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownGap {
    /// What the ops of the deployment carry in the field `cluster`, where several are read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Everything up to here was done.
    pub from: ShownPosition,
    /// Here it goes on, or could.
    pub to: ShownPosition,
    /// What is watched.
    pub namespaces: Vec<String>,
    /// How that showed.
    pub reason: String,
}
