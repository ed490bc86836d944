//! Direct reads: what lies in collections is given as ops, and then its changes are, without a gap and
//! without an older version of a document behind a newer one.
//!
//! ```text
//! stream -> source -> Stage (leaves out what is covered, waits) -> window -> lanes
//! DirectReads (which segments there are, how far each is)
//! Conductor -> a reader for each of so many segments            -> window -> lanes
//! ```
//! The streams' positions are durable before the first segment is read. A segment is read as it was at
//! one cluster time, which says of each change of its keys whether it is contained in it: see
//! [`coverage`]. It is finished when all its documents are done; what is finished stands in the
//! checkpoint, so that another process goes on with the rest.
//!
//! Where several deployments are read, each has reads of its own: cluster times of two of them cannot
//! be compared.

mod conductor;
mod coverage;
mod done;
mod ended;
mod forecast;
mod meant;
mod options;
mod read;
mod reader;
mod reads;
mod segment;
mod stage;
mod tally;
#[cfg(test)]
mod tests;
mod told;
mod way;

pub(super) use conductor::{Conductor, Wiring};
pub use options::{DirectReadOptions, DirectReadStatus};
pub(super) use reads::DirectReads;
pub(super) use stage::{Idleness, Stage};
pub(super) use way::{Horizon, Way};
