//! Log lines and counters of a handler.

use std::fmt;

use crate::{abi::level, host};

/// How much a log line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i32)]
pub enum Level {
    /// Something failed.
    Error = level::ERROR,
    /// Something is degraded.
    Warn = level::WARN,
    /// Life cycle.
    Info = level::INFO,
    /// For whoever debugs the handler.
    Debug = level::DEBUG,
    /// Per-op detail.
    Trace = level::TRACE,
}

/// Writes a line to the host's log, under the module's name. The macros [`error!`](crate::error), [`warn!`](crate::warn),
/// [`info!`](crate::info), [`debug!`](crate::debug) and [`trace!`](crate::trace) read better.
///
/// The host limits length and rate, and says so when it drops lines.
pub fn log(level: Level, line: fmt::Arguments<'_>) {
    match line.as_str() {
        Some(text) => host::log(level as i32, text),
        None => host::log(level as i32, &line.to_string()),
    }
}

/// Adds to a counter of the module's own, shown with the host's metrics.
///
/// Names are `[a-z0-9_]{1,64}`, at most 100 of them; never put a document's value into one.
pub fn count(name: &str, delta: i64) {
    host::count(name, delta);
}

/// Logs a failure: takes what `format!` takes.
#[macro_export]
macro_rules! error {
    ($($line:tt)+) => { $crate::log($crate::Level::Error, ::core::format_args!($($line)+)) };
}

/// Logs something degraded: takes what `format!` takes.
#[macro_export]
macro_rules! warn {
    ($($line:tt)+) => { $crate::log($crate::Level::Warn, ::core::format_args!($($line)+)) };
}

/// Logs a step of life: takes what `format!` takes.
#[macro_export]
macro_rules! info {
    ($($line:tt)+) => { $crate::log($crate::Level::Info, ::core::format_args!($($line)+)) };
}

/// Logs for debugging: takes what `format!` takes.
#[macro_export]
macro_rules! debug {
    ($($line:tt)+) => { $crate::log($crate::Level::Debug, ::core::format_args!($($line)+)) };
}

/// Logs a detail of an op: takes what `format!` takes.
#[macro_export]
macro_rules! trace {
    ($($line:tt)+) => { $crate::log($crate::Level::Trace, ::core::format_args!($($line)+)) };
}
