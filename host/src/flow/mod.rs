//! Stage 2: from batches in the server's order to lanes that work side by side.
//!
//! Enters: a [`Batch`](crate::op::Batch). Leaves: the same batch, shared by the lanes, each with the
//! places of its own ops. Promised: ops that the [`OrderingGuarantee`] keeps in order go to the same
//! lane, in order. Work is handed over by the batch: one message per lane that has an op in it. What
//! waits in front of a lane is bounded in batches; who reads the batches bounds their bytes.
//!
//! A lane is one thread with one [`Worker`], which owns all that it needs; what a worker does is not
//! this room's business, but that it works only while the [`Gate`] is open: by its [`Turn`].
//! [`Lookup`] fetches the current documents of updates. [`Merge`] brings several streams into one order.
//! [`workers`] says which of several processes an op belongs to.

mod gate;
mod lanes;
mod lookup;
mod merge;
mod ordering;
mod partition;
mod turn;
pub mod workers;

pub use gate::{Gate, Pass, Word};
pub use lanes::{Closed, Dispatcher, Lanes, Options, Panicked, Stop, Work, Worker};
pub use lookup::{Documents, Lookup};
pub use merge::Merge;
pub use ordering::OrderingGuarantee;
pub use turn::{Begun, Turn};
