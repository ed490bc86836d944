//! Into how many ranges, and where the boundaries lie.

use super::{
    Error, Stages, Target,
    bounds::bounds,
    sample::{Boundaries, find_boundaries},
};
use crate::{
    mongo::Server,
    op::{KeyRange, Timestamp},
};

/// Documents per segment. A change of a key in a segment that is being read has to wait for it, so
/// that a segment is what a fast server reads in about a second.
pub const SEGMENT_DOCUMENTS: u64 = 100_000;

/// Bytes per segment, of large documents.
pub const SEGMENT_BYTES: u64 = 64 << 20;

/// A collection of no more documents and bytes than these is read as one segment, in the order in which
/// the server keeps it: by its keys the server needs twice the time, as it has to look up each of them.
/// Not more than some segments together, since changes wait for it, and a restart begins with it again.
const SCAN_MAX: (u64, u64) = (5 * SEGMENT_DOCUMENTS, 4 * SEGMENT_BYTES);

/// Ranges at most, whatever there is to read. They need not be as short as a segment, since a reader
/// cuts what is longer; more of them would make the sample long, and bring no more at once.
const RANGES_MAX: u64 = 4096;

/// How a collection is split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Splitting {
    /// Boundaries at most, as gtm's `DirectReadSplitMax`: there is one more range. `None` lets the size
    /// of the collection decide.
    pub boundaries_max: Option<u32>,
    /// Documents per range, about, when the size decides.
    pub segment_documents: u64,
    /// Bytes per range, about, when the size decides.
    pub segment_bytes: u64,
    /// Only what lies between the first and the last key, as they are at one moment.
    pub is_bounded: bool,
    /// That moment is at or after this cluster time.
    pub after: Timestamp,
}

impl Default for Splitting {
    fn default() -> Self {
        Self {
            boundaries_max: None,
            segment_documents: SEGMENT_DOCUMENTS,
            segment_bytes: SEGMENT_BYTES,
            is_bounded: false,
            after: Timestamp::default(),
        }
    }
}

impl Splitting {
    /// How many ranges there are to be, for so many documents of that length. Where the server does not
    /// tell how many there are, only a wish for boundaries makes more than one.
    #[must_use]
    pub fn ranges(&self, documents: Option<u64>, average_bytes: Option<u64>) -> u64 {
        let by_size = || {
            let documents = documents.unwrap_or(0);
            let bytes = documents.saturating_mul(average_bytes.unwrap_or(0));
            let by_documents = documents.div_ceil(self.segment_documents.max(1));
            by_documents.max(bytes.div_ceil(self.segment_bytes.max(1)))
        };
        let wanted = match self.boundaries_max {
            Some(boundaries) => u64::from(boundaries) + 1,
            None => by_size(),
        };
        // A range needs a document.
        let at_most = documents.unwrap_or(RANGES_MAX).min(RANGES_MAX);
        wanted.min(at_most).max(1)
    }
}

/// Whether a target is short enough to be read as one segment.
pub(super) fn is_short(target: &Target) -> bool {
    let (Some(documents), Some(average)) = (target.documents, target.average_bytes) else {
        return false;
    };
    documents <= SCAN_MAX.0 && documents.saturating_mul(average) <= SCAN_MAX.1
}

/// Cuts the keys of a target into ranges that hold about as many documents each: all keys, or when
/// bounded all that lie between the first and the last one. The ranges are in the server's order; none
/// means that there is nothing to read.
///
/// Where the boundaries lie decides only how evenly the work is shared: every key lies in one range.
/// What [has no ranges](Target::has_ranges), or goes through stages that need all documents at once, is
/// one range of all keys, and cannot be bounded.
///
/// # Errors
/// [`Error`] when the server refuses. Passing faults are waited out.
pub async fn split(
    server: &Server,
    target: &Target,
    stages: &Stages,
    splitting: &Splitting,
) -> Result<Vec<KeyRange>, Error> {
    if target.kind == super::Kind::Absent {
        return Ok(Vec::new());
    }
    if !target.has_ranges() || !stages.is_per_document() {
        return Ok(vec![KeyRange::all()]);
    }
    let mut within = KeyRange::all();
    if splitting.is_bounded {
        match bounds(server, target, splitting.after).await? {
            Some(bounds) => within = bounds,
            None => return Ok(Vec::new()),
        }
    }
    let is_whole = splitting.boundaries_max.is_none() && !splitting.is_bounded;
    let is_scan = is_whole && stages.is_empty() && is_short(target);
    let ranges = splitting.ranges(target.documents, target.average_bytes);
    if is_scan || ranges == 1 {
        return Ok(vec![within]);
    }
    let wanted = Boundaries {
        count: ranges - 1,
        documents: target.documents,
        within: &within,
    };
    let boundaries = find_boundaries(server, target, &wanted).await?;
    Ok(within.cut(boundaries))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_decide_how_many_ranges_there_are() {
        let by_size = Splitting::default();
        let at_most = |boundaries| Splitting {
            boundaries_max: Some(boundaries),
            ..Splitting::default()
        };
        for (splitting, documents, average, ranges) in [
            (by_size, Some(0), Some(0), 1),
            (by_size, Some(100_000), Some(250), 1),
            (by_size, Some(100_001), Some(250), 2),
            (by_size, Some(1_000), Some(1 << 20), 16),
            (by_size, None, None, 1),
            (by_size, Some(u64::MAX), Some(u64::MAX), RANGES_MAX),
            (at_most(0), Some(1_000_000), Some(250), 1),
            (at_most(9), Some(1_000_000), Some(250), 10),
            (at_most(9), Some(3), Some(250), 3),
            (at_most(9), None, None, 10),
            (at_most(u32::MAX), Some(1 << 40), None, RANGES_MAX),
        ] {
            let found = splitting.ranges(documents, average);
            assert_eq!(found, ranges, "{splitting:?}, {documents:?} of {average:?}");
        }
    }
}
