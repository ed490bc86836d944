//! How segments are read.

use std::{sync::Arc, time::Duration};

use super::{Pace, SEGMENT_BYTES, SEGMENT_DOCUMENTS, Stages};
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
            pace: None,
            started,
        }
    }
}
