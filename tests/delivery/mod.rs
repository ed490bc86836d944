//! What is promised about acknowledgement, checkpoints, control and sinks, by runs in this process
//! and by processes.

mod control;
mod lease;
mod lost;
pub(crate) mod member;
mod metrics;
pub(crate) mod pair;
pub(crate) mod process;
mod restart;
pub(crate) mod run;
pub(crate) mod scrape;
pub(crate) mod several;
mod sinks;
mod states;
mod transaction;
