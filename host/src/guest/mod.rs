//! Stage 3: WebAssembly modules and their instances.
//!
//! In go the bytes of a module and, one after the other, op documents; out come verdicts of
//! `filter`, outcomes of `handle`, the documents that a handler emitted, and the stages of
//! `pipeline`. The contract with the guest is ABI version 1; its names and numbers are in
//! [`oplet_sdk::abi`].
//!
//! ```text
//! Engine::new(&Options)  ->  Module::load(&engine, name, wasm, settings)  ->  module.instantiate(sinks, config)
//!                                                        write_op, filter, handle, outputs, save, restore
//! ```
//!
//! What is promised: a module that traps, loops, recurses, eats memory, floods the log or hands out
//! wrong pointers costs its own call, never the process and never another instance. A call that
//! failed gives a [`GuestError`], which is data about the guest and no failure of ours; after one the
//! instance may be dead ([`Instance::is_dead`]) and a fresh one is made from the same [`Module`]
//! within microseconds. What keeps a module from being loaded at all is an [`Error`], with all
//! findings at once.
//!
//! Calls are synchronous and belong on plain threads with at least [`Limits::stack_bytes`] plus
//! 1 MiB of stack; nothing here knows tokio, MongoDB, or any other room.

mod backtrace;
mod border;
mod cache_directory;
mod call;
mod compiling;
mod complexity;
mod contents;
mod engine;
mod error;
mod exact;
mod exports;
mod findings;
mod hand_over;
mod host_calls;
mod inspect;
mod instance;
mod limits;
mod log;
mod lookup;
mod memory;
mod module;
mod pipeline;
mod profile;
mod renewal;
mod runtime;
mod settings;
mod signature;
mod state;
mod stdio;
mod warnings;
mod wasi;

#[cfg(test)]
mod tests;

pub use engine::{Engine, Options};
pub use error::{Class, Error, Failure, GuestError};
pub use findings::Finding;
pub use inspect::{Inspection, Item};
pub use instance::{Instance, Outcome, Verdict};
pub use limits::Limits;
pub use lookup::{LookupAnswer, LookupError, LookupQuery, Lookups, NoLookups};
pub use module::Module;
pub use pipeline::{PipelineError, PipelineRefused};
pub use profile::{Profile, SAMPLE_INTERVAL};
pub use settings::{Isolation, Settings};
pub use warnings::Warning;
