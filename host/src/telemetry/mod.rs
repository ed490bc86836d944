//! What is measured: counters, gauges and histograms of a run, as Prometheus reads them.
//!
//! Enters: numbers, from whoever has them. Leaves: text, by [`Metrics::encode`]. Every metric is
//! declared once, in `names`; it is called `oplet_<room>_<noun>_<unit>`, and counters end with
//! `_total`. Promised: what is counted never waits (handles hold atomic numbers; the one lock is taken
//! once a batch, or when a namespace is seen first), and labels stay bounded: beyond
//! [`NAMESPACES_MAX`] namespaces and [`COUNTS_MAX`] counters of the modules' own, the rest is
//! [`OTHER`]. Values of documents never appear. Nothing here fails.
//!
//! Lanes count into plain numbers of their own ([`NamespaceCounts`], [`LocalTimes`]) and add them
//! once a batch.

mod gauges;
mod handles;
mod metrics;
mod names;
mod namespaces;
mod times;

pub use gauges::{Gauges, ModuleGauges, SinkGauges};
pub use handles::{CheckpointMetrics, ModuleMetrics, SinkMetrics, SourceMetrics};
pub use metrics::{CONTENT_TYPE, COUNTS_MAX, Metrics};
pub use names::{ALL, Kind, Metric};
pub use namespaces::{NAMESPACES_MAX, NamespaceCounts, Stage};
pub use times::{LocalTimes, Times};

/// The label of all that has none of its own.
pub const OTHER: &str = "other";
