//! Oplet runs WebAssembly handlers on every change in MongoDB.
#![forbid(unsafe_code)]

pub mod op;
pub mod source;
