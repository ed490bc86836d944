//! Numbers that are looked at when somebody asks for them.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder},
    metrics::{MetricType, TypedMetric},
};

/// How a run stands, as numbers; what is not known is none, and is not shown.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Gauges {
    /// Every state of a run, and whether the run is in it.
    pub states: Vec<(&'static str, bool)>,
    /// Whether the run can be relied on.
    pub ready: Option<bool>,
    /// How far the position is behind the server's newest entry, in seconds.
    pub lag_seconds: Option<f64>,
    /// Cluster time up to which everything is done, in seconds since 1970.
    pub position_seconds: Option<f64>,
    /// How long until the oplog no longer reaches back to the position, in hours.
    pub oplog_window_hours: Option<f64>,
    /// Ops that were read and are not done.
    pub in_flight_ops: Option<u64>,
    /// Bytes of batches that were read and are not done.
    pub in_flight_bytes: Option<u64>,
    /// For how long the oldest op that is not done has been under way, in seconds.
    pub oldest_unacknowledged_seconds: Option<f64>,
    /// How long ago the checkpoint was saved, in seconds.
    pub checkpoint_age_seconds: Option<f64>,
    /// The modules.
    pub modules: Vec<ModuleGauges>,
    /// The sinks.
    pub sinks: Vec<SinkGauges>,
}

/// How a module stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleGauges {
    /// Its name.
    pub name: String,
    /// Ops that wait for another try.
    pub waiting_ops: u64,
    /// Whether its breaker is open.
    pub is_breaker_open: bool,
}

/// How a sink stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkGauges {
    /// Its name.
    pub name: String,
    /// Documents that wait for it.
    pub queued_documents: u64,
    /// Bytes that wait for it.
    pub queued_bytes: u64,
    /// Whether it took what it was given last.
    pub is_ready: bool,
}

/// A gauge that may have nothing to tell. The crate's own show 0 then, which is a claim.
#[derive(Clone)]
pub(super) struct Reading(Arc<AtomicU64>);

impl Reading {
    pub(super) fn set(&self, value: Option<f64>) {
        self.0.store(value.unwrap_or(f64::NAN).to_bits(), Relaxed);
    }

    fn get(&self) -> Option<f64> {
        Some(f64::from_bits(self.0.load(Relaxed))).filter(|value| !value.is_nan())
    }
}

impl Default for Reading {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(f64::NAN.to_bits())))
    }
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reading").field(&self.get()).finish()
    }
}

impl TypedMetric for Reading {
    const TYPE: MetricType = MetricType::Gauge;
}

impl EncodeMetric for Reading {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        match self.get() {
            Some(value) => encoder.encode_gauge(&value),
            None => Ok(()),
        }
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}
