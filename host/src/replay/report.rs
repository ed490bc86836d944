//! What came of a recording.

use std::{collections::BTreeMap, time::Duration};

use super::Times;

/// What a module made of a recording.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Ops that it was given.
    pub read: u64,
    /// Ops that its filter did not want.
    pub dropped: u64,
    /// Ops that it handled.
    pub handled: u64,
    /// Documents that it emitted for them, and at batch borders.
    pub emitted: u64,
    /// Tries that it answered `retry` to.
    pub retried: u64,
    /// Ops that it answered `retry` to at their last try.
    pub unfinished: u64,
    /// Ops that it rejected.
    pub rejected: u64,
    /// Ops that it failed on.
    pub failed: u64,
    /// Updates that it asked the document of, which the recording does not have.
    pub without_document: u64,
    /// Time of each op: writing it into the module's memory, `filter` and `handle`.
    pub times: Times,
    /// What the module has counted, by name.
    pub counters: BTreeMap<String, i64>,
    /// Linear memory of the instance at the end, in bytes.
    pub memory_bytes: usize,
    /// From the first op to the end.
    pub elapsed: Duration,
}
