//! Modules whose files change while a run works.
//!
//! Enters: the files that a run was started with, its [`Handle`](crate::control::Handle), and the
//! wish to look at them now. Leaves: swaps, and an [`Outcome`] for each. A file is read when nothing
//! about it has changed for a while, and is not picked up while it is half written; what is then wrong
//! with it is told once, and the version before goes on. Looking at size, time and inode is what counts: the
//! system's word that something has changed only makes it look sooner, so that nothing is missed where
//! the system says nothing (network file systems, folders that were made anew, links).

mod file;
mod outcome;
mod reloader;
mod watcher;

#[cfg(test)]
mod tests;

pub use file::ModuleFile;
pub use outcome::{Outcome, log};
pub use reloader::run;

use std::time::Duration;

/// How files are looked at.
#[derive(Debug, Clone)]
pub struct Options {
    /// The files.
    pub files: Vec<ModuleFile>,
    /// Whether they are watched; else they are looked at when that is asked for, only.
    pub watch: bool,
    /// For how long nothing about a file may change before it is taken.
    pub settle: Duration,
    /// How long to wait before a swap that was not possible is tried again, at first; each time it is
    /// twice as long.
    pub retry: Duration,
    /// How large a module may be, in bytes: no more is read, and one byte, by which it is refused.
    pub bytes_max: usize,
}

impl Options {
    /// Long enough for a copy or a linker to go on writing, short enough for somebody who waits.
    pub const SETTLE: Duration = Duration::from_millis(200);

    /// A lane that did not come to it may be in a long call.
    pub const RETRY: Duration = Duration::from_secs(5);
}
