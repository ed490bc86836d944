//! Modules written in AssemblyScript, by the SDK in `guest-sdk/assemblyscript`: what they see and do is what modules in
//! Rust see and do. They run in the real guest room, without a server; `modules` has them in whole runs.

mod audit;
mod compiler;
mod documented;
mod lookups;
mod memory;
mod parity;
mod probe;
mod stage;

use stage::{Answer, Stage, bytes};
