//! All that is measured in one run.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{self, Registry},
};

use super::{
    OTHER,
    gauges::{Gauges, Reading},
    handles::{CheckpointMetrics, ModuleMetrics, SinkMetrics, SourceMetrics},
    names::{self, Kind, Metric},
    namespaces::{NamespaceCounts, Namespaces, StageFamilies},
    times::Times,
};

/// The media type of [`Metrics::encode`]'s text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Counters of the modules' own that are told apart, over all modules.
pub const COUNTS_MAX: usize = 200;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ModuleLabels {
    module: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct FailureLabels {
    pub(super) module: Arc<str>,
    pub(super) class: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CountLabels {
    pub(super) module: Arc<str>,
    pub(super) name: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SinkLabels {
    sink: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

/// Metrics that have labels.
#[derive(Debug, Default)]
pub(super) struct Families {
    stages: StageFamilies,
    calls: Family<ModuleLabels, Counter>,
    times: Family<ModuleLabels, Times>,
    pub(super) failures: Family<FailureLabels, Counter>,
    emitted: Family<ModuleLabels, Counter>,
    retries: Family<ModuleLabels, Counter>,
    dead_letters: Family<ModuleLabels, Counter>,
    skipped: Family<ModuleLabels, Counter>,
    pub(super) counts: Family<CountLabels, Gauge>,
    /// Modules and names that have a label. The lock is held to look one up.
    counted: Mutex<HashSet<(Arc<str>, Arc<str>)>>,
    delivered: Family<SinkLabels, Counter>,
    rejected: Family<SinkLabels, Counter>,
    sink_failures: Family<SinkLabels, Counter>,
    sink_times: Family<SinkLabels, Times>,
    state: Family<StateLabels, Reading>,
    waiting: Family<ModuleLabels, Reading>,
    breaker: Family<ModuleLabels, Reading>,
    queued: Family<SinkLabels, Reading>,
    queued_bytes: Family<SinkLabels, Reading>,
    sink_ready: Family<SinkLabels, Reading>,
}

impl Families {
    /// The label of a module's own counter: its name while there is room.
    pub(super) fn count_label(&self, module: &Arc<str>, name: &str) -> Arc<str> {
        let mut counted = self.counted.lock().expect("no holder of this lock panics");
        let key = (module.clone(), name.into());
        if counted.len() < COUNTS_MAX || counted.contains(&key) {
            counted.insert(key.clone());
            return key.1;
        }
        OTHER.into()
    }
}

/// Gauges without labels.
#[derive(Debug, Default)]
struct Readings {
    ready: Reading,
    lag: Reading,
    position: Reading,
    oplog_window: Reading,
    in_flight_ops: Reading,
    in_flight_bytes: Reading,
    unacknowledged: Reading,
    checkpoint_age: Reading,
}

/// All that is measured in one run; made once, cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    families: Arc<Families>,
    readings: Readings,
    source: SourceMetrics,
    checkpoint: CheckpointMetrics,
    namespaces: Arc<Namespaces>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Every counter at 0, and no gauge known.
    #[must_use]
    pub fn new() -> Self {
        let mut inner = Inner {
            registry: Registry::default(),
            families: Arc::default(),
            readings: Readings::default(),
            source: SourceMetrics::default(),
            checkpoint: CheckpointMetrics::default(),
            namespaces: Arc::default(),
        };
        inner.register();
        Self(Arc::new(inner))
    }

    /// What the sources count with.
    #[must_use]
    pub fn source(&self) -> SourceMetrics {
        self.0.source.clone()
    }

    /// What the saver of checkpoints counts with.
    #[must_use]
    pub fn checkpoint(&self) -> CheckpointMetrics {
        self.0.checkpoint.clone()
    }

    /// What is counted for the module of this name, shown from here on.
    #[must_use]
    pub fn module(&self, name: &str) -> ModuleMetrics {
        let families = self.0.families.clone();
        let labels = ModuleLabels {
            module: name.into(),
        };
        ModuleMetrics {
            calls: families.calls.get_or_create_owned(&labels),
            times: families.times.get_or_create_owned(&labels),
            emitted: families.emitted.get_or_create_owned(&labels),
            retries: families.retries.get_or_create_owned(&labels),
            dead_letters: families.dead_letters.get_or_create_owned(&labels),
            skipped: families.skipped.get_or_create_owned(&labels),
            name: labels.module,
            families,
        }
    }

    /// What is counted for the sink of this name, shown from here on.
    #[must_use]
    pub fn sink(&self, name: &str) -> SinkMetrics {
        let families = &self.0.families;
        let labels = SinkLabels { sink: name.into() };
        SinkMetrics {
            delivered: families.delivered.get_or_create_owned(&labels),
            rejected: families.rejected.get_or_create_owned(&labels),
            failures: families.sink_failures.get_or_create_owned(&labels),
            times: families.sink_times.get_or_create_owned(&labels),
        }
    }

    /// What one thread counts ops with, by namespace.
    #[must_use]
    pub fn namespace_counts(&self) -> NamespaceCounts {
        NamespaceCounts::new(self.0.namespaces.clone())
    }

    /// Adds what a thread has counted, and lets it begin anew; once a batch.
    pub fn merge(&self, counts: &mut NamespaceCounts) {
        counts.merge(&self.0.families.stages);
    }

    /// Sets what is looked at when somebody asks.
    pub fn set_gauges(&self, gauges: &Gauges) {
        let number = |value: Option<u64>| value.map(|value| value as f64);
        let readings = &self.0.readings;
        readings.ready.set(gauges.ready.map(f64::from));
        readings.lag.set(gauges.lag_seconds);
        readings.position.set(gauges.position_seconds);
        readings.oplog_window.set(gauges.oplog_window_hours);
        readings.in_flight_ops.set(number(gauges.in_flight_ops));
        readings.in_flight_bytes.set(number(gauges.in_flight_bytes));
        let unacknowledged = gauges.oldest_unacknowledged_seconds;
        readings.unacknowledged.set(unacknowledged);
        readings.checkpoint_age.set(gauges.checkpoint_age_seconds);
        let families = &self.0.families;
        for &(state, is_in) in &gauges.states {
            let reading = families.state.get_or_create_owned(&StateLabels { state });
            reading.set(Some(f64::from(is_in)));
        }
        for module in &gauges.modules {
            let labels = ModuleLabels {
                module: module.name.as_str().into(),
            };
            let set = |family: &Family<ModuleLabels, Reading>, value: f64| {
                family.get_or_create_owned(&labels).set(Some(value));
            };
            set(&families.waiting, module.waiting_ops as f64);
            set(&families.breaker, f64::from(module.is_breaker_open));
        }
        for sink in &gauges.sinks {
            let labels = SinkLabels {
                sink: sink.name.as_str().into(),
            };
            let set = |family: &Family<SinkLabels, Reading>, value: f64| {
                family.get_or_create_owned(&labels).set(Some(value));
            };
            set(&families.queued, sink.queued_documents as f64);
            set(&families.queued_bytes, sink.queued_bytes as f64);
            set(&families.sink_ready, f64::from(sink.is_ready));
        }
    }

    /// Everything, in the text form that Prometheus reads; see [`CONTENT_TYPE`].
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        text::encode(&mut text, &self.0.registry).expect("a string takes all that is written");
        text
    }
}

impl Inner {
    fn register(&mut self) {
        let (families, readings) = (&self.families, &self.readings);
        let [read, handled, emitted] = &families.stages;
        let to = &mut self.registry;
        register(to, names::CONTROL_STATE, &families.state);
        register(to, names::CONTROL_READY, &readings.ready);
        register(to, names::SOURCE_OPS, read);
        register(to, names::SOURCE_BATCHES, &self.source.batches);
        register(to, names::SOURCE_BYTES, &self.source.bytes);
        register(to, names::SOURCE_RECONNECTS, &self.source.reconnects);
        register(to, names::SOURCE_UNDECODABLE, &self.source.undecodable);
        register(to, names::SOURCE_GAPS, &self.source.gaps);
        register(to, names::SOURCE_LAG, &readings.lag);
        register(to, names::SOURCE_POSITION, &readings.position);
        register(to, names::SOURCE_OPLOG_WINDOW, &readings.oplog_window);
        register(to, names::FLOW_HANDLED_OPS, handled);
        register(to, names::FLOW_OUTPUTS, emitted);
        register(to, names::FLOW_IN_FLIGHT_OPS, &readings.in_flight_ops);
        register(to, names::FLOW_IN_FLIGHT_BYTES, &readings.in_flight_bytes);
        register(to, names::GUEST_CALLS, &families.calls);
        register(to, names::GUEST_CALL_SECONDS, &families.times);
        register(to, names::GUEST_FAILURES, &families.failures);
        register(to, names::GUEST_OUTPUTS, &families.emitted);
        register(to, names::GUEST_RETRIES, &families.retries);
        register(to, names::GUEST_DEAD_LETTERS, &families.dead_letters);
        register(to, names::GUEST_SKIPPED, &families.skipped);
        register(to, names::GUEST_WAITING, &families.waiting);
        register(to, names::GUEST_BREAKER, &families.breaker);
        register(to, names::MODULE_COUNT, &families.counts);
        register(to, names::SINK_DELIVERED, &families.delivered);
        register(to, names::SINK_REJECTED, &families.rejected);
        register(to, names::SINK_FAILURES, &families.sink_failures);
        register(to, names::SINK_SECONDS, &families.sink_times);
        register(to, names::SINK_QUEUED, &families.queued);
        register(to, names::SINK_QUEUED_BYTES, &families.queued_bytes);
        register(to, names::SINK_READY, &families.sink_ready);
        let unacknowledged = &readings.unacknowledged;
        register(to, names::CHECKPOINT_UNACKNOWLEDGED, unacknowledged);
        register(to, names::CHECKPOINT_AGE, &readings.checkpoint_age);
        register(to, names::CHECKPOINT_SAVES, &self.checkpoint.saves);
        register(to, names::CHECKPOINT_FAILURES, &self.checkpoint.failures);
    }
}

fn register(to: &mut Registry, metric: Metric, values: &(impl registry::Metric + Clone)) {
    // The crate adds the counters' ending itself.
    let name = match metric.kind {
        Kind::Counter => metric.name.trim_end_matches("_total"),
        Kind::Gauge | Kind::Histogram => metric.name,
    };
    to.register(name, metric.help, values.clone());
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, time::Duration};

    use super::*;
    use crate::{
        op::Operation,
        telemetry::{ALL, LocalTimes, ModuleGauges, SinkGauges, Stage},
    };

    /// Metrics of which every series has a value.
    fn filled() -> Metrics {
        let metrics = Metrics::new();
        metrics.source().add_batch(1000);
        metrics.checkpoint().add_save();
        let module = metrics.module("audit");
        let mut times = LocalTimes::default();
        times.observe(Duration::from_micros(20));
        times.observe(Duration::from_secs(7));
        module.add_times(&mut times);
        module.add_failure("trap");
        module.add_count("seen", -3);
        metrics.sink("stdout").observe_delivery(Duration::ZERO);
        let mut counts = metrics.namespace_counts();
        for stage in [Stage::Read, Stage::Handled, Stage::Emitted] {
            counts.count(stage, r#"odd."name\"#, Operation::Insert, 1);
        }
        metrics.merge(&mut counts);
        metrics.set_gauges(&Gauges {
            states: vec![("streaming", true), ("paused", false)],
            ready: Some(true),
            lag_seconds: Some(0.25),
            position_seconds: Some(1_700_000_001.0),
            oplog_window_hours: Some(12.5),
            in_flight_ops: Some(3),
            in_flight_bytes: Some(700),
            oldest_unacknowledged_seconds: Some(0.5),
            checkpoint_age_seconds: Some(0.75),
            modules: vec![ModuleGauges {
                name: "audit".into(),
                waiting_ops: 2,
                is_breaker_open: true,
            }],
            sinks: vec![SinkGauges {
                name: "stdout".into(),
                queued_documents: 4,
                queued_bytes: 90,
                is_ready: false,
            }],
        });
        metrics
    }

    #[test]
    fn what_is_shown_is_what_is_declared() {
        let text = filled().encode();
        let ends = ["_bucket", "_sum", "_count"];
        let mut shown = BTreeSet::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, _) = line.split_once(['{', ' ']).unwrap();
            let metric = ALL.iter().find(|metric| match metric.kind {
                Kind::Histogram => ends
                    .map(|end| format!("{}{end}", metric.name))
                    .contains(&name.to_owned()),
                _ => metric.name == name,
            });
            let metric = metric.unwrap_or_else(|| panic!("{line}"));
            shown.insert(metric.name);
            for label in metric.labels {
                assert!(line.contains(&format!("{label}=\"")), "{line}");
            }
            let labels = line.matches("=\"").count() - line.matches("le=\"").count();
            // `module="` ends with `le="` as well.
            let labels = labels + line.matches("module=\"").count();
            assert_eq!(labels, metric.labels.len(), "{line}");
        }
        let declared: BTreeSet<_> = ALL.iter().map(|metric| metric.name).collect();
        assert_eq!(shown, declared);
        for metric in ALL {
            assert!(text.contains(&format!(
                "{} {}.\n",
                metric.name.trim_end_matches("_total"),
                metric.help
            )));
        }
    }

    #[test]
    fn values_are_shown_as_they_were_given() {
        let text = filled().encode();
        for line in [
            r#"oplet_control_state{state="streaming"} 1.0"#,
            r#"oplet_control_state{state="paused"} 0.0"#,
            "oplet_source_lag_seconds 0.25",
            "oplet_source_position_timestamp_seconds 1700000001.0",
            "oplet_source_read_bytes_total 1000",
            r#"oplet_source_ops_total{namespace="odd.\"name\\",operation="insert"} 1"#,
            r#"oplet_guest_call_seconds_bucket{le="0.00001",module="audit"} 0"#,
            r#"oplet_guest_call_seconds_bucket{le="0.000025",module="audit"} 1"#,
            r#"oplet_guest_call_seconds_bucket{le="5.0",module="audit"} 1"#,
            r#"oplet_guest_call_seconds_bucket{le="+Inf",module="audit"} 2"#,
            r#"oplet_guest_calls_total{module="audit"} 2"#,
            r#"oplet_guest_failures_total{module="audit",class="trap"} 1"#,
            r#"oplet_module_count{module="audit",name="seen"} -3"#,
        ] {
            assert!(
                text.lines().any(|shown| shown == line),
                "{line}\nin\n{text}"
            );
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn a_gauge_that_is_not_known_is_not_shown() {
        let metrics = filled();
        metrics.set_gauges(&Gauges::default());
        let text = metrics.encode();
        assert!(!text.contains("\noplet_source_lag_seconds "), "{text}");
        assert!(text.contains("# TYPE oplet_source_lag_seconds gauge"));
    }

    #[test]
    fn counters_that_guests_name_are_bounded() {
        let metrics = Metrics::new();
        let module = metrics.module("audit");
        for n in 0..COUNTS_MAX + 10 {
            module.add_count(&format!("n{n}"), 1);
        }
        module.add_count("n0", 1);
        let text = metrics.encode();
        let series = text
            .lines()
            .filter(|line| line.starts_with("oplet_module_count{"));
        assert_eq!(series.count(), COUNTS_MAX + 1);
        assert!(text.contains(r#"oplet_module_count{module="audit",name="other"} 10"#));
        assert!(text.contains(r#"oplet_module_count{module="audit",name="n0"} 2"#));
    }
}
