//! What is measured: counters, gauges and histograms of a run, as Prometheus reads them.
//!
//! Everything is counted once, where it happens, in plain numbers of the room that it belongs to.
//! Enters: a [`Collect`], which looks at these numbers when somebody asks, and puts them into
//! [`Samples`]. Leaves: text, by [`Metrics::encode`]. Every metric is declared once, in `names`; it is
//! called `oplet_<room>_<noun>_<unit>`, and counters end with `_total`. Nothing here fails.
//!
//! The one thing that is counted here are ops by namespace ([`Namespaces`]), since their labels have
//! to stay bounded: beyond [`NAMESPACES_MAX`] they are [`OTHER`], as are counters of the modules' own
//! beyond [`COUNTS_MAX`]. Values of documents never appear. Threads count into plain numbers
//! ([`NamespaceCounts`]) and add them once a batch, without a lock.

mod metrics;
pub(crate) mod names;
mod namespaces;
mod samples;

pub use metrics::{CONTENT_TYPE, Collect, Metrics};
pub use names::{ALL, Kind, Metric};
pub use namespaces::{Counts, NAMESPACES_MAX, NamespaceCounts, Namespaces};
pub use samples::{Samples, Times};

/// The label of all that has none of its own.
pub const OTHER: &str = "other";

/// Counters of the modules' own that are told apart, over all modules.
pub const COUNTS_MAX: usize = 200;
