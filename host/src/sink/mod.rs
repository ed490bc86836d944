//! Stage 4: where the documents that handlers emit go.
//!
//! Enters: lines of Extended JSON, those of one op together. Leaves: the same on the process's
//! standard output. Promised: lines are never torn or mixed, whichever lane they come from. The one
//! error is that it takes no more: since nobody reads any more, which ends a run quietly, or since
//! something is amiss.

mod chunk;
mod deliver;
pub mod http;
pub mod mongodb;
mod option;
mod stdout;

pub use chunk::{Cause, Chunk, Encoding, Output};
pub use deliver::{DeliverError, OutputBatch, Rejection, Sink};
pub use option::OptionError;
pub use stdout::{Broken, Stdout};

/// Names of the sinks that a module can ask for, by their number; 0 is the default.
pub const NAMES: [&str; 1] = ["stdout"];
