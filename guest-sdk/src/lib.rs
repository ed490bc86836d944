//! Write Oplet handlers in Rust.
#![warn(missing_docs)]
pub mod abi;
pub mod raw;
