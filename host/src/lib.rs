//! Oplet runs WebAssembly handlers on every change in MongoDB.
#![forbid(unsafe_code)]

pub mod backoff;
pub mod flow;
pub mod mongo;
pub mod op;
pub mod source;
