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
//! # Changes without WebAssembly
//!
//! Programs that handle changes themselves use [`tail()`] or [`TailBuilder`], as Go programs use gtm:
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use oplet::TailBuilder;
//!
//! let mut ops = TailBuilder::new("mongodb://localhost:27017")
//!     .watch("shop.orders".parse()?)
//!     .filter(|change| !change.is_command())
//!     .save_as("orders-to-somewhere")
//!     .start()
//!     .await?
//!     .ops();
//! while let Some(change) = ops.next().await {
//!     let change = change?;
//!     println!("{} {:?}", change.op_id(), change.data());
//!     // It counts as done when the next one is asked for, or at once:
//!     change.ack();
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The module [`mod@tail`] has the options, the handle that pauses and seeks, and typed documents;
//! `examples/tail.rs` is a whole program.
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

pub use control::{tail, tail::TailBuilder};
