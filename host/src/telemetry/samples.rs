//! The numbers of a moment.

use std::time::Duration;

use super::names::{Kind, Metric};

/// How often things took how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Times {
    /// Upper bounds of the buckets, from the least.
    pub bounds: &'static [Duration],
    /// How many fell into each bucket, and one more number for what was longer than every bound.
    pub counts: Vec<u64>,
    /// How long they took together.
    pub sum: Duration,
}

/// One number, or one histogram.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Count(u64),
    Number(f64),
    Times(Times),
}

/// One series of a metric.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    pub(super) metric: &'static str,
    pub(super) labels: Vec<(&'static str, String)>,
    pub(super) value: Value,
}

/// The numbers of a moment. What is not known is left out: 0 would be a claim.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples(pub(super) Vec<Sample>);

impl Samples {
    /// The value of a counter; `labels` are the values of its labels, in the order of their
    /// declaration. One that is empty is left out: it would mean the same.
    pub fn count(&mut self, metric: Metric, labels: &[&str], value: u64) {
        debug_assert_eq!(metric.kind, Kind::Counter, "{}", metric.name);
        self.push(metric, labels, Value::Count(value));
    }

    /// The value of a gauge, if it is known.
    pub fn gauge(&mut self, metric: Metric, labels: &[&str], value: impl Into<Option<f64>>) {
        debug_assert_eq!(metric.kind, Kind::Gauge, "{}", metric.name);
        if let Some(value) = value.into() {
            self.push(metric, labels, Value::Number(value));
        }
    }

    /// The value of a histogram.
    pub fn times(&mut self, metric: Metric, labels: &[&str], value: Times) {
        debug_assert_eq!(metric.kind, Kind::Histogram, "{}", metric.name);
        debug_assert_eq!(value.counts.len(), value.bounds.len() + 1);
        self.push(metric, labels, Value::Times(value));
    }

    fn push(&mut self, metric: Metric, labels: &[&str], value: Value) {
        debug_assert_eq!(metric.labels.len(), labels.len(), "{}", metric.name);
        let labels = metric.labels.iter().zip(labels);
        let labels = labels.filter(|(_, value)| !value.is_empty());
        let labels = labels.map(|(label, value)| (*label, (*value).to_owned()));
        self.0.push(Sample {
            metric: metric.name,
            labels: labels.collect(),
            value,
        });
    }
}
