//! Changes from the oplog of a replica set.
//!
//! Decoding is pure: [`Decoder`] takes the bytes of one entry and adds the ops in it to a
//! [`BatchBuilder`](crate::op::BatchBuilder), as places in the server's reply.

mod apply_ops;
mod ddl;
mod decode;
mod dump;
mod entry;
mod images;
mod tail;
#[cfg(test)]
mod tests;
mod update_diff;

pub use apply_ops::Chain;
pub use decode::{Decoded, Decoder, Skipped};
pub use dump::Dump;
pub use entry::{Change, ChangeKind, Entry, EntryError, Fault, Link};
pub use tail::Tail;
pub use update_diff::{UpdateDescription, UpdateFault, apply_update};
