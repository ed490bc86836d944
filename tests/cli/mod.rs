//! The command line: what it teaches, what it refuses, and what it says of servers.

mod check;
mod checkpoint;
mod dev;
mod documented;
mod help;
mod output;
mod project;
mod refusals;
mod remote;
mod servers;
mod transcript;

use transcript::Transcript;
