//! How far a read is, in numbers.

use std::time::Instant;

use super::{
    read::{Phase, Read},
    segment::State,
};
use crate::{checkpoint::DirectRead, control::DirectReadStatus};

/// How much was read.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::control) struct Tally {
    /// Documents that the lanes were given in this process.
    pub(in crate::control) documents: u64,
    /// Documents of finished segments, also by processes before.
    pub(in crate::control) finished_documents: u64,
    /// How many there are, by the server's estimate.
    pub(in crate::control) expected: Option<u64>,
    /// Segments that it was cut into, and how many of them the lanes have whole.
    pub(in crate::control) segments: u64,
    pub(in crate::control) segments_given: u64,
    /// When this process began with it, and when the lanes had all of it.
    pub(in crate::control) begun: Option<Instant>,
    pub(in crate::control) ended: Option<Instant>,
    /// When it was begun, and when all of it was done, in milliseconds since 1970.
    pub(in crate::control) begun_ms: i64,
    pub(in crate::control) complete_ms: Option<i64>,
}

impl Read {
    /// As people are told.
    pub(super) fn status(&self) -> DirectReadStatus {
        let Tally {
            documents,
            finished_documents,
            expected,
            segments,
            segments_given,
            begun,
            ended,
            ..
        } = self.tally;
        let seconds = begun.map(|begun| ended.unwrap_or_else(Instant::now) - begun);
        DirectReadStatus {
            cluster: self.shown_cluster().map(str::to_owned),
            namespace: self.namespace.clone(),
            modules: self.modules.clone(),
            state: match self.phase {
                Phase::Planned | Phase::Planning => "planned",
                Phase::Reading => "reading",
                Phase::Complete => "complete",
                Phase::Ended(_) => "ended",
            },
            documents: documents.max(finished_documents),
            documents_expected: expected,
            segments,
            segments_read: segments_given,
            seconds: seconds.map(|time| time.as_secs_f64()),
            reason: match &self.phase {
                Phase::Ended(reason) => Some(reason.clone()),
                _ => None,
            },
        }
    }

    /// As it stands in the checkpoint.
    pub(super) fn record(&self) -> DirectRead {
        let ranges = self
            .segments
            .iter()
            .filter_map(|segment| match segment.state {
                State::Finished(at) => Some((segment.range.clone(), at)),
                _ => None,
            });
        let Tally {
            finished_documents,
            begun_ms,
            complete_ms,
            ..
        } = self.tally;
        DirectRead {
            cluster: Some(self.cluster.clone()),
            namespace: self.namespace.clone(),
            modules: self.modules.clone(),
            uuid: self.uuid,
            begun_ms,
            seen: self.seen_at,
            documents: finished_documents,
            ranges: ranges.collect(),
            complete_ms,
            ended: match &self.phase {
                Phase::Ended(reason) => Some(reason.clone()),
                _ => None,
            },
        }
    }
}
