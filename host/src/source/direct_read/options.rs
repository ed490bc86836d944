//! How segments are read.

use std::{sync::Arc, time::Duration};

use super::{Pace, SEGMENT_BYTES, SEGMENT_DOCUMENTS, Stages, Target, split::is_short};
use crate::op::Timestamp;

/// How long a segment may be read: a fifth of the time for which servers keep what a snapshot needs
/// (`minSnapshotHistoryWindowInSeconds`, 300 by default).
const SEGMENT_TIME: Duration = Duration::from_secs(60);

/// How much longer a segment may be than was planned, before it is cut: what lies between two
/// boundaries that were sampled is not all alike.
const SLACK: u64 = 2;

/// How segments are read; the same for all of one direct read.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// What the server does to the documents.
    pub stages: Stages,
    /// The server may use its disk for stages that need more than 100 MB.
    pub allow_disk_use: bool,
    /// A segment is cut behind so many documents.
    pub documents_max: u64,
    /// A segment is cut behind so many bytes.
    pub bytes_max: u64,
    /// A segment is cut when it was read for so long.
    pub time_max: Duration,
    /// What is no longer than a few segments, of which all keys are to be read, may be read as one, in
    /// the order in which the server keeps it: that takes half the time, but cannot be cut. What turns
    /// out to need longer than `time_max` is given up, and has to be read by its keys.
    pub may_scan: bool,
    /// How fast documents are read, together with all others that hold it.
    pub pace: Option<Arc<Pace>>,
    /// Names the direct read among all those of the collection, such as by the time at which it began:
    /// a part of each op's id, so that what is read once more on purpose is not taken for a repetition.
    pub started: Timestamp,
}

impl ReadOptions {
    /// Documents as they are, in segments of the usual length.
    #[must_use]
    pub fn new(started: Timestamp) -> Self {
        Self {
            stages: Stages::default(),
            allow_disk_use: false,
            documents_max: SLACK * SEGMENT_DOCUMENTS,
            bytes_max: SLACK * SEGMENT_BYTES,
            time_max: SEGMENT_TIME,
            may_scan: true,
            pace: None,
            started,
        }
    }

    /// Whether all of the target may be read as one segment.
    pub(super) fn scans(&self, target: &Target) -> bool {
        let is_in_time = self.pace.as_ref().is_none_or(|pace| {
            let per_second = u64::from(pace.documents_per_second());
            let in_time = per_second.saturating_mul(self.time_max.as_secs());
            target
                .documents
                .is_some_and(|documents| documents <= in_time)
        });
        // Who wants shorter segments than usual has seen that longer ones do not work.
        let is_usual = self.documents_max >= SLACK * SEGMENT_DOCUMENTS;
        self.may_scan && is_usual && is_in_time && self.stages.is_empty() && is_short(target)
    }
}
