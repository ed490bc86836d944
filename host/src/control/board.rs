//! What is known of a run at any moment, and shown.

use std::{
    sync::{Arc, Mutex, MutexGuard, atomic::Ordering::Relaxed},
    time::SystemTime,
};

use super::{
    CheckpointStatus, Deployment, DeploymentStatus, Deployments, Options, Reached, RunState,
    ShownGap, ShownOps, ShownPosition, Stats, Status,
    delivery::{Delivery, sink_status},
    direct::DirectReads,
    merging::Holdup,
    rfc3339,
    saver::Saver,
    shared::Shared,
    vitals::{Vitals, VitalsWatch},
};
use crate::{
    checkpoint::AckWindow,
    op::{Cluster, Frontier, Timestamp},
    source,
    telemetry::{Collect as _, Samples},
};

/// What is known of a run; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Board(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    name: String,
    source: &'static str,
    scope: String,
    store: Option<String>,
    pub(super) stats: Arc<Stats>,
    pub(super) sources: Arc<source::Stats>,
    holdup: Holdup,
    parts: Mutex<Parts>,
}

/// What comes and goes in the life of a run. The lock is held to read or replace them, never across
/// anything that waits.
#[derive(Debug)]
pub(super) struct Parts {
    state: RunState,
    since: SystemTime,
    reason: Option<String>,
    window: Option<Arc<AckWindow>>,
    pub(super) shared: Option<Arc<Shared>>,
    pub(super) delivery: Option<Arc<Delivery>>,
    saver: Option<(Arc<Saver>, u64)>,
    deployments: Vec<Watched>,
    gap: Option<ShownGap>,
    pub(super) reads: Option<Arc<DirectReads>>,
    /// What was measured at the end.
    pub(super) last: Option<Samples>,
}

/// A deployment whose history is looked at.
#[derive(Debug)]
struct Watched {
    cluster: Cluster,
    hosts: String,
    vitals: VitalsWatch,
}

impl Watched {
    fn start(deployment: &Deployment) -> Self {
        let Deployment {
            cluster, server, ..
        } = deployment;
        Self {
            cluster: cluster.clone(),
            hosts: server.hosts.clone(),
            vitals: VitalsWatch::start(server),
        }
    }
}

impl Board {
    pub(super) fn new(
        options: &Options,
        scope: String,
        stats: Arc<Stats>,
        sources: Arc<source::Stats>,
    ) -> Self {
        Self(Arc::new(Inner {
            name: options.name.clone(),
            source: options.source.as_str(),
            scope,
            store: options.checkpoint.as_ref().map(ToString::to_string),
            stats,
            sources,
            holdup: Holdup::default(),
            parts: Mutex::new(Parts {
                state: RunState::Starting,
                since: SystemTime::now(),
                reason: None,
                window: None,
                shared: None,
                delivery: None,
                saver: None,
                deployments: Vec::new(),
                gap: None,
                reads: None,
                last: None,
            }),
        }))
    }

    pub(super) fn parts(&self) -> MutexGuard<'_, Parts> {
        self.0.parts.lock().expect("no holder of this lock panics")
    }

    pub(super) fn state(&self) -> RunState {
        self.parts().state
    }

    /// Why it is in that state, where that is not plain.
    pub(super) fn reason(&self) -> Option<String> {
        self.parts().reason.clone()
    }

    /// Shows another state.
    pub(super) fn enter(&self, state: RunState, reason: Option<String>) {
        let mut parts = self.parts();
        if parts.state != state {
            tracing::debug!(
                from = parts.state.as_str(),
                to = state.as_str(),
                reason,
                "the run changes its state"
            );
            parts.since = SystemTime::now();
        }
        parts.state = state;
        parts.reason = reason;
    }

    pub(super) fn show_session(&self, window: Arc<AckWindow>, shared: Arc<Shared>) {
        let mut parts = self.parts();
        parts.window = Some(window);
        parts.shared = Some(shared);
    }

    pub(super) fn show_delivery(&self, delivery: Arc<Delivery>) {
        self.parts().delivery = Some(delivery);
    }

    pub(super) fn show_saver(&self, saver: Arc<Saver>, epoch: u64) {
        self.parts().saver = Some((saver, epoch));
    }

    pub(super) fn show_deployments(&self, deployments: &Deployments) {
        let watched = deployments.read().iter().map(Watched::start);
        self.parts().deployments = watched.collect();
    }

    /// Where it is noted which deployment holds up the others.
    pub(super) fn holdup(&self) -> &Holdup {
        &self.0.holdup
    }

    /// The window of the session that is at work, or was last.
    pub(super) fn window(&self) -> Option<Arc<AckWindow>> {
        self.parts().window.clone()
    }

    pub(super) fn show_reads(&self, reads: Arc<DirectReads>) {
        self.parts().reads = Some(reads);
    }

    pub(super) fn show_gap(&self, gap: ShownGap) {
        self.parts().gap = Some(gap);
    }

    /// Lets go of everything that works, and keeps what was measured. Nothing follows.
    pub(super) fn close(&self) {
        self.enter(RunState::Stopped, None);
        let mut last = Samples::default();
        self.collect(&mut last);
        let mut parts = self.parts();
        parts.last = Some(last);
        parts.window = None;
        parts.shared = None;
        parts.delivery = None;
        parts.saver = None;
        parts.deployments.clear();
    }

    /// The state, and up to where everything is done.
    pub(super) fn reached(&self, saved: bool) -> Reached {
        let parts = self.parts();
        Reached {
            state: parts.state,
            position: ShownPosition::of_time(parts.done_time()),
            saved,
        }
    }

    /// Up to where everything of a deployment is done, and the oldest that its oplog still has; with its
    /// name, where several are read.
    pub(super) fn reach(
        &self,
        deployment: usize,
    ) -> (Option<String>, Option<Timestamp>, Option<Timestamp>) {
        let parts = self.parts();
        let done = parts.done_times().into_iter().nth(deployment).flatten();
        let Some(watched) = parts.deployments.get(deployment) else {
            return (None, done, None);
        };
        let is_one = parts.deployments.len() == 1;
        let cluster = (!is_one).then(|| watched.cluster.name().to_owned());
        (cluster, done, watched.vitals.latest().oldest)
    }

    /// Whether everything that is done is also saved.
    pub(super) fn is_saved(&self) -> bool {
        let parts = self.parts();
        let (Some((saver, _)), Some(window)) = (&parts.saver, &parts.window) else {
            return false;
        };
        saver.saved().frontiers == window.frontiers()
    }

    /// How the run stands.
    pub(super) fn status(&self) -> Status {
        let parts = self.parts();
        let inner = &*self.0;
        let done = parts.done_time();
        let in_flight = parts.window.as_ref().map(|window| window.in_flight());
        let deployments = parts.deployments(inner.holdup.get().as_ref());
        let checkpoint = inner
            .store
            .as_ref()
            .and_then(|store| parts.checkpoint(store));
        let delivery = parts.delivery.as_ref();
        let sinks = delivery.map(|delivery| delivery.sinks());
        let sinks: Vec<_> = sinks.into_iter().flatten().map(sink_status).collect();
        let is_kept = checkpoint
            .as_ref()
            .is_none_or(|checkpoint| checkpoint.error.is_none());
        let dead_lettered = delivery.map_or(0, |delivery| delivery.letters().written.load(Relaxed));
        Status {
            name: inner.name.clone(),
            state: parts.state,
            since: shown(parts.since),
            reason: parts.reason.clone(),
            ready: parts.state == RunState::Streaming
                && is_kept
                && sinks.iter().all(|sink| sink.ready),
            source: inner.source,
            scope: inner.scope.clone(),
            position: ShownPosition::of_time(done),
            // Of the one that is furthest behind, and of the one that is lost first.
            lag_seconds: deployments
                .iter()
                .filter_map(|deployment| deployment.lag_seconds)
                .max_by(f64::total_cmp),
            oplog_window_hours: deployments
                .iter()
                .filter_map(|deployment| deployment.oplog_window_hours)
                .min_by(f64::total_cmp),
            in_flight_ops: in_flight.as_ref().map_or(0, |in_flight| in_flight.ops),
            in_flight_bytes: in_flight
                .as_ref()
                .map_or(0, |in_flight| in_flight.bytes as u64),
            oldest_unacknowledged_seconds: in_flight
                .and_then(|in_flight| in_flight.oldest)
                .map(|oldest| oldest.elapsed().as_secs_f64()),
            ops: inner.ops(dead_lettered),
            checkpoint,
            modules: parts
                .shared
                .as_ref()
                .map(|shared| shared.module_statuses())
                .unwrap_or_default(),
            sinks,
            direct_reads: parts
                .reads
                .as_ref()
                .map(|reads| reads.statuses())
                .unwrap_or_default(),
            deployments: match deployments.len() {
                // All that is said of one is said already.
                0 | 1 => Vec::new(),
                _ => deployments,
            },
            gap: parts.gap.clone(),
        }
    }
}

impl Inner {
    fn ops(&self, dead_lettered: u64) -> ShownOps {
        let summary = self.stats.summary(&self.sources);
        ShownOps {
            read: summary.read,
            kept: summary.kept,
            handled: summary.handled,
            emitted: summary.emitted,
            failed: summary.failed,
            skipped: summary.skipped,
            dead_lettered,
        }
    }
}

impl Parts {
    /// The cluster time up to which everything is done, in all streams.
    pub(super) fn done_time(&self) -> Option<Timestamp> {
        earliest(&self.window.as_ref()?.frontiers())
    }

    /// The same of each deployment, its streams being those of the same share of all.
    pub(super) fn done_times(&self) -> Vec<Option<Timestamp>> {
        let frontiers = self.window.as_ref().map(|window| window.frontiers());
        let frontiers = frontiers.unwrap_or_default();
        let share = (frontiers.len() / self.deployments.len().max(1)).max(1);
        let mut of_each = frontiers.chunks(share);
        let deployments = self.deployments.iter();
        let done = deployments.map(|_| of_each.next().and_then(earliest));
        done.collect()
    }

    /// The names of the deployments, where they are several.
    pub(super) fn clusters(&self) -> Vec<&str> {
        match self.deployments.len() {
            0 | 1 => Vec::new(),
            _ => {
                let deployments = self.deployments.iter();
                deployments.map(|one| one.cluster.name()).collect()
            }
        }
    }

    /// How each deployment stands.
    fn deployments(&self, holdup: Option<&(Cluster, SystemTime)>) -> Vec<DeploymentStatus> {
        let deployments = self.deployments.iter().zip(self.done_times());
        let deployments = deployments.map(|(deployment, done)| {
            let Vitals { newest, oldest } = deployment.vitals.latest();
            let held = holdup.filter(|(cluster, _)| *cluster == deployment.cluster);
            DeploymentStatus {
                cluster: deployment.cluster.name().to_owned(),
                hosts: deployment.hosts.clone(),
                position: ShownPosition::of_time(done),
                lag_seconds: seconds_between(done, newest),
                oplog_window_hours: seconds_between(oldest, done).map(|seconds| seconds / 3600.0),
                holds_up_since: held.map(|(_, since)| shown(*since)),
            }
        });
        deployments.collect()
    }

    fn checkpoint(&self, store: &str) -> Option<CheckpointStatus> {
        let (saver, epoch) = self.saver.as_ref()?;
        let saved = saver.saved();
        let age = saved.at.map(|at| at.elapsed().unwrap_or_default());
        Some(CheckpointStatus {
            store: store.to_owned(),
            position: ShownPosition::of_time(earliest(&saved.frontiers)),
            saved: saved.at.map(shown),
            age_seconds: age.map(|age| age.as_secs_f64()),
            epoch: *epoch,
            error: saved.error,
        })
    }
}

/// The earliest cluster time of some frontiers.
pub(super) fn earliest(frontiers: &[Frontier]) -> Option<Timestamp> {
    frontiers
        .iter()
        .filter_map(|frontier| frontier.position.timestamp())
        .min()
}

/// Seconds from one cluster time to another; none for a negative span.
fn seconds_between(from: Option<Timestamp>, to: Option<Timestamp>) -> Option<f64> {
    Some(f64::from(to?.seconds.saturating_sub(from?.seconds)))
}

/// A moment as RFC 3339 text.
pub(super) fn shown(at: SystemTime) -> String {
    rfc3339(bson::DateTime::from_system_time(at).timestamp_millis())
}
