//! From numbers to text.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text},
    metrics::MetricType,
    registry::Registry,
};

use super::{
    names::{self, ALL, Kind},
    samples::{Samples, Times, Value},
};

/// The media type of [`Metrics::encode`]'s text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Whoever knows the numbers of a run.
pub trait Collect: fmt::Debug + Send + Sync {
    /// Puts in every number that is known at this moment. Waits for nothing.
    fn collect(&self, samples: &mut Samples);
}

/// All that is measured in one run, for whoever asks; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Metrics(
    /// Who knows the numbers, once there is somebody. The lock is held to read or replace it.
    Arc<Mutex<Option<Arc<dyn Collect>>>>,
);

impl Metrics {
    /// Of a run that has not begun.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn collector(&self) -> MutexGuard<'_, Option<Arc<dyn Collect>>> {
        self.0.lock().expect("no holder of this lock panics")
    }

    /// Shows the numbers of this run from here on.
    pub fn show(&self, run: Arc<dyn Collect>) {
        *self.collector() = Some(run);
    }

    /// Everything, in the text form that Prometheus reads; see [`CONTENT_TYPE`].
    #[must_use]
    pub fn encode(&self) -> String {
        let mut samples = Samples::default();
        let collector = self.collector().clone();
        match collector {
            Some(run) => run.collect(&mut samples),
            // Where no run has begun, nothing can be relied on: an alert has to see that.
            None => samples.gauge(names::CONTROL_READY, &[], 0.0),
        }
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Collected(samples)));
        let mut text = String::new();
        text::encode(&mut text, &registry).expect("a string takes all that is written");
        text
    }
}

/// The samples, for the crate that knows the text form.
#[derive(Debug)]
struct Collected(Samples);

impl Collector for Collected {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for metric in ALL {
            let (name, kind) = match metric.kind {
                // The crate adds the counters' ending itself.
                Kind::Counter => (metric.name.trim_end_matches("_total"), MetricType::Counter),
                Kind::Gauge => (metric.name, MetricType::Gauge),
                Kind::Histogram => (metric.name, MetricType::Histogram),
            };
            let help = format!("{}.", metric.help);
            let mut encoder = encoder.encode_descriptor(name, &help, None, kind)?;
            let samples = self
                .0
                .0
                .iter()
                .filter(|sample| sample.metric == metric.name);
            for sample in samples {
                match sample.labels.is_empty() {
                    true => encode(&mut encoder, &sample.value)?,
                    false => encode(&mut encoder.encode_family(&sample.labels)?, &sample.value)?,
                }
            }
        }
        Ok(())
    }
}

fn encode(encoder: &mut MetricEncoder<'_>, value: &Value) -> fmt::Result {
    match value {
        Value::Count(count) => encoder.encode_counter::<NoLabelSet, _, f64>(count, None),
        Value::Number(number) => encoder.encode_gauge(number),
        Value::Times(Times {
            bounds,
            counts,
            sum,
        }) => {
            let bounds = bounds.iter().map(|bound| bound.as_secs_f64());
            let buckets: Vec<_> = bounds
                .chain([f64::INFINITY])
                .zip(counts.iter().copied())
                .collect();
            // Counted from the buckets, so that the whole is never less than its parts.
            let count = counts.iter().sum();
            encoder.encode_histogram::<NoLabelSet>(sum.as_secs_f64(), count, &buckets, None)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const BOUNDS: [Duration; 2] = [Duration::from_micros(25), Duration::from_secs(5)];

    #[derive(Debug)]
    struct Run;

    impl Collect for Run {
        fn collect(&self, samples: &mut Samples) {
            samples.gauge(names::CONTROL_STATE, &["streaming"], 1.0);
            samples.gauge(names::CONTROL_STATE, &["paused"], 0.0);
            samples.gauge(names::SOURCE_LAG, &[""], 0.25);
            samples.gauge(names::SOURCE_LAG, &["eu"], 4.0);
            samples.gauge(names::SOURCE_POSITION, &["eu"], None);
            samples.count(names::SOURCE_BYTES, &[], 1000);
            let labels = [r#"odd."name\"#, "insert"];
            samples.count(names::SOURCE_OPS, &labels, 1);
            samples.gauge(names::MODULE_COUNT, &["audit", "seen"], -3.0);
            let times = Times {
                bounds: &BOUNDS,
                counts: vec![2, 0, 1],
                sum: Duration::from_millis(7500),
            };
            samples.times(names::GUEST_CALL_SECONDS, &["audit"], times);
        }
    }

    #[test]
    fn values_are_shown_as_they_were_given() {
        let metrics = Metrics::new();
        metrics.show(Arc::new(Run));
        let text = metrics.encode();
        let shown: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let expected = [
            r#"oplet_control_state{state="streaming"} 1.0"#,
            r#"oplet_control_state{state="paused"} 0.0"#,
            r#"oplet_source_ops_total{namespace="odd.\"name\\",operation="insert"} 1"#,
            "oplet_source_read_bytes_total 1000",
            "oplet_source_lag_seconds 0.25",
            r#"oplet_source_lag_seconds{cluster="eu"} 4.0"#,
            r#"oplet_guest_call_seconds_sum{module="audit"} 7.5"#,
            r#"oplet_guest_call_seconds_count{module="audit"} 3"#,
            r#"oplet_guest_call_seconds_bucket{le="0.000025",module="audit"} 2"#,
            r#"oplet_guest_call_seconds_bucket{le="5.0",module="audit"} 2"#,
            r#"oplet_guest_call_seconds_bucket{le="+Inf",module="audit"} 3"#,
            r#"oplet_module_count{module="audit",name="seen"} -3.0"#,
        ];
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn every_metric_is_explained_also_when_nothing_is_known() {
        let text = Metrics::new().encode();
        for metric in ALL {
            let name = metric.name.trim_end_matches("_total");
            let help = format!("# HELP {name} {}.\n# TYPE {name} ", metric.help);
            assert!(text.contains(&help), "{help}\nin\n{text}");
        }
        let shown: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(shown, ["oplet_control_ready 0.0"]);
        assert!(text.ends_with("# EOF\n"));
    }
}
