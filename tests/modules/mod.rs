//! What a run promises to its modules, and modules to it, against a real replica set.
//!
//! A test writes first and runs afterwards, from the time before the writes until the source is
//! idle: what is on standard output then is all there is. The vocabulary for this is in `scene`,
//! that for modules written by hand in `handwritten`.

mod abi;
mod barrier;
mod cache;
mod enrich;
mod examples;
mod failures;
pub(crate) mod gathering;
mod handwritten;
mod lookups;
mod ordering;
mod passing;
mod pipelines;
pub(crate) mod scene;
mod several;
mod ticks;

pub(crate) use barrier::failing;
pub(crate) use handwritten::{Handwritten, bytes, data};
pub(crate) use scene::{Ended, Scene};

/// A server that is not there: who opens anything waits for it for ever.
pub(crate) const NOWHERE: &str = "mongodb://127.0.0.1:1";

/// Both ways to read changes, as words of the command line.
const SOURCES: [&str; 2] = ["change-stream", "oplog"];
