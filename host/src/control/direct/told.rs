//! What readers ask, and what they tell of what they read.

use std::time::Instant;

use bson::RawDocumentBuf;

use super::{DirectReads, coverage::Step, read::Read, segment::State};
use crate::{
    op::{KeyRange, Timestamp},
    source::direct_read::Target,
};

impl DirectReads {
    /// The latest change of its deployment that was given or covered: what there is has to be looked at no
    /// earlier.
    pub(super) fn latest(&self, at: usize) -> Timestamp {
        self.coverage().latest(at)
    }

    pub(super) fn next(&self, deployment: usize) -> Option<Step> {
        self.coverage().next(deployment)
    }

    /// What there is turns out, as it was at that time; the ranges that are to be cut into segments.
    pub(super) fn look_at(
        &self,
        at: usize,
        target: &Target,
        seen: Timestamp,
    ) -> Option<Vec<KeyRange>> {
        let mut coverage = self.coverage();
        let read = &mut coverage.reads[at];
        read.tally.expected = target.documents;
        read.tally.begun.get_or_insert_with(Instant::now);
        let gaps = read.look_at(target, seen).then(|| read.gaps());
        drop(coverage);
        self.changed();
        gaps
    }

    /// How it is cut: parts for each of those ranges.
    pub(super) fn cut(&self, at: usize, parts: Vec<Vec<KeyRange>>) {
        self.coverage().cut(at, parts);
        self.changed();
    }

    /// Names the direct read among those of the same collection.
    pub(super) fn started(&self, at: usize) -> Timestamp {
        self.coverage().reads[at].seen_at
    }

    pub(super) fn open(&self, at: usize, id: u64) -> Option<Timestamp> {
        self.coverage().open(at, id)
    }

    pub(super) fn shorten(&self, at: usize, id: u64, rest: KeyRange) {
        self.coverage().shorten(at, id, rest);
    }

    /// What the server does to the documents, as the modules say at present.
    pub(super) fn pipeline(&self, at: usize) -> Vec<RawDocumentBuf> {
        self.coverage().reads[at].pipeline.clone()
    }

    pub(super) fn opened(&self, at: usize, id: u64, time: Timestamp) {
        self.note(at, |read| {
            if let Some(segment) = read.segment_mut(id) {
                segment.state = State::Open(time);
            }
        });
    }

    pub(super) fn gave(&self, at: usize, documents: u64) {
        self.coverage().reads[at].tally.documents += documents;
    }

    pub(super) fn given(
        &self,
        at: usize,
        id: u64,
        time: Timestamp,
        behind: (usize, u64),
        documents: u64,
    ) {
        self.note(at, |read| {
            if let Some(segment) = read.segment_mut(id) {
                segment.state = State::Given {
                    at: time,
                    behind,
                    documents,
                };
                read.tally.segments_given += 1;
            }
            if read.is_given() {
                read.tally.ended = Some(Instant::now());
            }
        });
    }

    /// A segment was not read to its end; documents as they were at that time were given.
    pub(super) fn failed(&self, at: usize, id: u64, given: Option<Timestamp>) {
        self.note(at, |read| read.failed(id, given));
    }

    /// What was read is no more there.
    pub(super) fn gone(&self, at: usize, id: Option<u64>, reason: &str) {
        self.note(at, |read| {
            if let Some(segment) = id.and_then(|id| read.segment_mut(id)) {
                // What was given of it is followed by the end of the collection.
                segment.state = State::Unread;
            }
            if read.end(reason) {
                tracing::warn!(
                    cluster = read.shown_cluster(),
                    namespace = read.namespace,
                    documents = read.tally.documents,
                    "a direct read has ended: {reason}"
                );
            }
        });
    }

    fn note(&self, at: usize, change: impl FnOnce(&mut Read)) {
        change(&mut self.coverage().reads[at]);
        self.changed();
    }

    /// Whether every stream is beyond that time.
    pub(super) fn are_beyond(&self, at: usize, time: Timestamp) -> bool {
        self.coverage().are_beyond(at, time)
    }

    /// Whether no stream gives anything more.
    pub(super) fn are_streams_over(&self) -> bool {
        self.coverage().are_streams_over()
    }
}
