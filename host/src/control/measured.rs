//! What is measured of a run, as it is at the moment.

use std::{collections::BTreeMap, sync::atomic::Ordering::Relaxed, time::Duration};

use super::{
    DirectReadStatus, RunState, Stats, Status,
    board::{Board, Parts},
    tally::{ModuleStats, TIME_BUCKETS},
};
use crate::{
    dead_letters,
    op::Timestamp,
    sink::{LATENCY_BOUNDS, SinkState},
    telemetry::{Collect, Samples, Times, names},
};

/// The label of a deployment that is the only one: none.
const ONE: &str = "";

impl Collect for Board {
    fn collect(&self, samples: &mut Samples) {
        if let Some(last) = &self.parts().last {
            last.clone_into(samples);
            return;
        }
        state(&self.status(), samples);
        self.counters(samples);
        let parts = self.parts();
        let seconds = |time: Option<Timestamp>| time.map(|time| f64::from(time.seconds));
        let clusters = parts.clusters();
        for (cluster, done) in clusters.iter().zip(parts.done_times()) {
            samples.gauge(names::SOURCE_POSITION, &[cluster], seconds(done));
        }
        if clusters.is_empty() {
            let done = parts.done_time();
            samples.gauge(names::SOURCE_POSITION, &[ONE], seconds(done));
        }
        gaps(&self.0.stats, &clusters, samples);
        delivery(&parts, samples);
        if let Some(shared) = &parts.shared {
            for (name, standing) in shared.names.iter().zip(shared.standings.iter()) {
                module(name, &standing.stats, samples);
                standing.swaps.collect(name, samples);
            }
        }
    }
}

impl Board {
    fn counters(&self, samples: &mut Samples) {
        let (stats, sources) = (&self.0.stats, &self.0.sources);
        stats.namespaces.collect(samples);
        for (metric, counter) in [
            (names::SOURCE_BATCHES, &sources.replies),
            (names::SOURCE_BYTES, &sources.bytes),
            (names::SOURCE_RECONNECTS, &sources.reopened),
            (names::SOURCE_UNDECODABLE, &sources.undecodable),
            (names::SOURCE_OVERSIZED, &sources.oversized),
            (names::SOURCE_OF_OTHERS, &stats.of_others),
            (names::CHECKPOINT_SAVES, &stats.checkpoint_saves),
            (names::CHECKPOINT_FAILURES, &stats.checkpoint_failures),
        ] {
            samples.count(metric, &[], counter.load(Relaxed));
        }
        let counts = stats.counts.lock().expect("no holder of this lock panics");
        for ((module, name), count) in &*counts {
            samples.gauge(names::MODULE_COUNT, &[module, name], *count as f64);
        }
    }
}

/// Positions that were lost.
fn gaps(stats: &Stats, clusters: &[&str], samples: &mut Samples) {
    if clusters.is_empty() {
        samples.count(names::SOURCE_GAPS, &[ONE], stats.gaps.load(Relaxed));
        return;
    }
    // Also of those that have left.
    let mut counts: BTreeMap<_, _> = clusters.iter().map(|of| ((*of).to_owned(), 0)).collect();
    let counted = stats.gaps_of.lock().expect("no holder of this lock panics");
    counts.extend(counted.clone());
    for (cluster, count) in counts {
        samples.count(names::SOURCE_GAPS, &[&cluster], count);
    }
}

/// What is read directly, for all modules together.
fn direct_reads(reads: &[DirectReadStatus], samples: &mut Samples) {
    let mut sums: BTreeMap<(&str, &str), [f64; 5]> = BTreeMap::new();
    for read in reads {
        let cluster = read.cluster.as_deref().unwrap_or(ONE);
        let sum = sums.entry((cluster, &read.namespace)).or_default();
        let expected = read.documents_expected.unwrap_or_default();
        let counts = [read.documents, expected, read.segments, read.segments_read];
        for (sum, count) in sum.iter_mut().zip(counts) {
            *sum += count as f64;
        }
        sum[4] = sum[4].max(read.seconds.unwrap_or_default());
    }
    for ((cluster, namespace), sum) in sums {
        for (metric, value) in [
            names::DIRECT_READ_DOCUMENTS,
            names::DIRECT_READ_EXPECTED,
            names::DIRECT_READ_SEGMENTS,
            names::DIRECT_READ_SEGMENTS_READ,
            names::DIRECT_READ_SECONDS,
        ]
        .into_iter()
        .zip(sum)
        {
            samples.gauge(metric, &[cluster, namespace], value);
        }
    }
}

/// What the status has as numbers.
fn state(status: &Status, samples: &mut Samples) {
    for state in RunState::ALL {
        let is_in = f64::from(state == status.state);
        samples.gauge(names::CONTROL_STATE, &[state.as_str()], is_in);
    }
    samples.gauge(names::CONTROL_READY, &[], f64::from(status.ready));
    if status.deployments.is_empty() {
        samples.gauge(names::SOURCE_LAG, &[ONE], status.lag_seconds);
        samples.gauge(
            names::SOURCE_OPLOG_WINDOW,
            &[ONE],
            status.oplog_window_hours,
        );
    }
    for deployment in &status.deployments {
        let labels = [deployment.cluster.as_str()];
        samples.gauge(names::SOURCE_LAG, &labels, deployment.lag_seconds);
        let hours = deployment.oplog_window_hours;
        samples.gauge(names::SOURCE_OPLOG_WINDOW, &labels, hours);
    }
    samples.gauge(names::FLOW_IN_FLIGHT_OPS, &[], status.in_flight_ops as f64);
    let bytes = status.in_flight_bytes as f64;
    samples.gauge(names::FLOW_IN_FLIGHT_BYTES, &[], bytes);
    // Nothing under way is no age at all, which is a value: alerts compare with it.
    let oldest = status.oldest_unacknowledged_seconds.unwrap_or(0.0);
    samples.gauge(names::CHECKPOINT_UNACKNOWLEDGED, &[], oldest);
    let checkpoint = status.checkpoint.as_ref();
    let age = checkpoint.and_then(|checkpoint| checkpoint.age_seconds);
    samples.gauge(names::CHECKPOINT_AGE, &[], age);
    direct_reads(&status.direct_reads, samples);
    for module in &status.modules {
        let is_open = f64::from(module.breaker_open_since.is_some());
        samples.gauge(names::GUEST_BREAKER, &[&module.name], is_open);
    }
}

fn module(name: &str, stats: &ModuleStats, samples: &mut Samples) {
    let labels = [name];
    for (metric, counter) in [
        (names::GUEST_CALLS, &stats.calls),
        (names::GUEST_OUTPUTS, &stats.emitted),
        (names::GUEST_RETRIES, &stats.retries),
        (names::GUEST_DEAD_LETTERS, &stats.dead_lettered),
        (names::GUEST_SKIPPED, &stats.skipped),
    ] {
        samples.count(metric, &labels, counter.load(Relaxed));
    }
    let waiting = stats.parked.load(Relaxed) as f64;
    samples.gauge(names::GUEST_WAITING, &labels, waiting);
    let times = Times {
        bounds: &TIME_BUCKETS,
        counts: stats
            .times
            .iter()
            .map(|count| count.load(Relaxed))
            .collect(),
        sum: Duration::from_nanos(stats.time_ns.load(Relaxed)),
    };
    samples.times(names::GUEST_CALL_SECONDS, &labels, times);
    let failures: BTreeMap<_, _> = stats
        .failures
        .lock()
        .expect("no holder of this lock panics")
        .clone();
    for (class, count) in failures {
        samples.count(names::GUEST_FAILURES, &[name, class], count);
    }
}

fn delivery(parts: &Parts, samples: &mut Samples) {
    let Some(delivery) = &parts.delivery else {
        return;
    };
    delivery
        .sinks()
        .iter()
        .for_each(|state| sink(state, samples));
    let dead_letters::Counts {
        written,
        waiting,
        failures,
    } = delivery.letters();
    samples.count(names::DEAD_LETTERS_WRITTEN, &[], written.load(Relaxed));
    samples.gauge(
        names::DEAD_LETTERS_WAITING,
        &[],
        waiting.load(Relaxed) as f64,
    );
    samples.count(names::DEAD_LETTERS_FAILURES, &[], failures.load(Relaxed));
}

fn sink(state: &SinkState, samples: &mut Samples) {
    let labels = [state.name.as_str()];
    for (metric, count) in [
        (names::SINK_DELIVERED, state.delivered),
        (names::SINK_DELIVERED_BYTES, state.delivered_bytes),
        (names::SINK_REJECTED, state.rejected),
        (names::SINK_FAILURES, state.failures),
    ] {
        samples.count(metric, &labels, count);
    }
    let times = Times {
        bounds: &LATENCY_BOUNDS,
        counts: state.latency.classes.to_vec(),
        sum: state.latency.sum,
    };
    samples.times(names::SINK_SECONDS, &labels, times);
    samples.gauge(names::SINK_QUEUED, &labels, state.queued as f64);
    samples.gauge(names::SINK_QUEUED_BYTES, &labels, state.queued_bytes as f64);
    samples.gauge(names::SINK_READY, &labels, f64::from(state.ready));
}
