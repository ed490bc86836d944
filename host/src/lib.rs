//! Oplet runs WebAssembly handlers on every change in MongoDB.
//!
//! The rooms follow an op's life:
//!
//! - [`op`]: the nouns, without input or output
//! - [`source`]: stage 1, readers of change streams and the oplog
//! - [`flow`]: stage 2, from batches to lanes, and the documents of updates
//! - [`guest`]: stage 3, WebAssembly modules
//! - [`sink`]: stage 4, where emitted documents go
//! - [`checkpoint`]: stage 5, which ops are done, and positions made durable
//! - [`dead_letters`]: ops that could not be handled, kept until somebody mends what was wrong
//! - [`replay`]: recordings of ops, written, read, and played to a module without a server
//! - [`control`]: wires the stages into a run
//! - [`admin`]: the HTTP face of a run
//! - [`reload`]: modules whose files change while a run works
//! - [`project`]: handlers as people write them, made from a template and built into modules
//! - [`mongo`], [`telemetry`], [`backoff`]: leaves that any room may use
//!
//! Programs that want changes without WebAssembly use [`tail`].
#![forbid(unsafe_code)]

pub mod admin;
pub mod backoff;
pub mod checkpoint;
pub mod control;
pub mod dead_letters;
pub mod flow;
pub mod guest;
pub mod mongo;
pub mod op;
pub mod project;
pub mod reload;
pub mod replay;
pub mod sink;
pub mod source;
pub mod telemetry;

pub use control::{Tail, TailBatch, TailOptions, tail};
