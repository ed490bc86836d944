//! What tests, benchmarks and the demo share: a throwaway MongoDB, guests built
//! from source, the `oplet` binary as a child process, random histories, and
//! waiting for conditions.
//!
//! - [`replica_set`]: [`ReplicaSet`], a real mongod on a free port in a
//!   temporary folder, gone with its owner however that one ends
//! - [`cluster`]: [`Cluster`], several of them as one replica set, for fail-overs
//! - [`ports`]: [`free_port`], given to one only
//! - [`process`]: [`Oplet`], the built binary with its output captured by line
//! - [`lines`]: [`Lines`](lines::Lines), its output
//! - [`guests`]: [`guest`], modules compiled by `scripts/build-guests`, and
//!   [`wat()`], modules written by hand
//! - [`history`]: [`History`], seeded random writes of every kind
//! - [`wait`]: [`eventually`], instead of sleeping
//! - [`workspace`]: where the checkout and its build output lie
//!
//! Errors are `anyhow`: a test wants a sentence, not a branch.

#![forbid(unsafe_code)]

pub mod cluster;
mod guarded;
pub mod guests;
pub mod history;
mod keeper;
pub mod lines;
mod mongod;
pub mod names;
pub mod options;
pub mod ports;
pub mod process;
pub mod replica_set;
pub mod signal;
pub mod wait;
pub mod workspace;

pub use cluster::Cluster;
pub use guests::{guest, wat};
pub use history::History;
pub use names::database_name;
pub use options::{Mode, Options};
pub use ports::free_port;
pub use process::{Oplet, RunningOplet};
pub use replica_set::ReplicaSet;
pub use signal::Signal;
pub use wait::eventually;
