//! What a run reads directly, for all that have to do with it: streams, readers, the saver, who asks
//! how it stands.

use std::{
    sync::{Arc, Mutex, MutexGuard, Weak},
    time::Instant,
};

use bson::RawDocumentBuf;
use tokio::sync::watch;

use super::{
    coverage::{Coverage, Step},
    read::{Phase, Read},
    segment::State,
    stage::Stage,
};
use crate::{
    checkpoint::{AckWindow, DirectRead, Progress},
    control::{DirectReadStatus, Plan},
    op::{KeyRange, Namespace, Timestamp},
    source::direct_read::Target,
};

/// What a run reads directly. It outlives sessions.
#[derive(Debug, Default)]
pub(in crate::control) struct DirectReads {
    /// The lock is held for a look at one batch, or to note what happened to a segment.
    coverage: Mutex<Coverage>,
    /// Told whenever a segment is further than before: streams wait for that.
    changes: watch::Sender<()>,
    /// Told whenever a stream is: readers of segments that follow wait for that.
    moves: watch::Sender<()>,
    /// What the store holds. The lock is held to read or replace it.
    saved: Mutex<Vec<DirectRead>>,
    /// What the present session gives goes through that. The lock is held to look at it, or to replace it.
    window: Mutex<Weak<AckWindow>>,
}

impl DirectReads {
    /// What a run is to read, where a process before has come so far. A run that goes on from a
    /// checkpoint may have given changes of what it has not read yet.
    pub(in crate::control) fn new(plan: &Plan, saved: Option<&[DirectRead]>) -> Arc<Self> {
        let reads = Arc::new(Self::default());
        let is_first = saved.is_none();
        let saved = saved.unwrap_or_default();
        let mut coverage = reads.coverage();
        for wanted in &plan.reads {
            let names = wanted.names(plan);
            let at = coverage.reads.len();
            let namespace = wanted.namespace.to_string();
            let known = saved.iter().find(|read| {
                let are_served = match names.is_empty() {
                    // For a program without modules.
                    true => read.modules.is_empty(),
                    false => names.iter().all(|name| read.modules.contains(name)),
                };
                read.namespace == namespace && are_served
            });
            let mut read = Read::new(namespace, names, !is_first);
            read.tally.begun_ms = bson::DateTime::now().timestamp_millis();
            if let Some(known) = known {
                read.uuid = known.uuid;
                read.seen_at = known.seen;
                // One that was not looked at has nothing to be compared with.
                read.is_known = known.seen != Timestamp::default();
                read.was_complete = known.complete_ms.is_some();
                read.tally.complete_ms = known.complete_ms;
                read.tally.begun_ms = known.begun_ms;
                read.tally.finished_documents = known.documents;
            }
            coverage.reads.push(read);
            if let Some(known) = known {
                coverage.restore(at, &known.ranges);
            }
        }
        drop(coverage);
        *reads.saved.lock().expect("no holder of this lock panics") = saved.to_vec();
        reads
    }

    /// A session begins, with the streams of that plan, so many over all deployments. From now on its reads have the places of the
    /// plan's.
    pub(in crate::control) fn begin(&self, plan: &Plan, streams: usize) {
        self.extend(plan);
        self.take_pipelines(plan);
        let mut coverage = self.coverage();
        coverage.begin(streams);
        coverage.by_namespace.clear();
        for (at, wanted) in plan.reads.iter().enumerate() {
            let read = &mut coverage.reads[at];
            read.streams.clone_from(&wanted.streams);
            let namespace = read.namespace.clone();
            coverage.by_namespace.entry(namespace).or_default().push(at);
        }
    }

    /// The way of a stream's batches, while something is read that decides about them.
    pub(in crate::control) fn stage(self: &Arc<Self>, stream: usize) -> Option<Stage> {
        self.are_any()
            .then(|| Stage::new(self.clone(), stream, self.changes()))
    }

    /// Whether there is something to read, or to look at whether there is.
    pub(in crate::control) fn are_under_way(&self) -> bool {
        let coverage = self.coverage();
        let is_over = |read: &Read| matches!(read.phase, Phase::Complete | Phase::Ended(_));
        !coverage.reads.iter().all(is_over)
    }

    /// What is given from now on goes through that window.
    pub(in crate::control) fn follow(&self, window: &Arc<AckWindow>) {
        let mut followed = self.window.lock().expect("no holder of this lock panics");
        *followed = Arc::downgrade(window);
    }

    /// Notes what is finished when everything in a window is so far done, and tells how far it all is. What
    /// is done in the window of a session before says nothing of the present one.
    pub(in crate::control) fn settle(
        &self,
        window: &Arc<AckWindow>,
        progress: &Progress,
    ) -> Vec<DirectRead> {
        let mut coverage = self.coverage();
        if coverage.reads.is_empty() {
            return Vec::new();
        }
        let followed = self.window.lock().expect("no holder of this lock panics");
        if std::ptr::eq(followed.as_ptr(), Arc::as_ptr(window)) {
            coverage.settle(progress);
        }
        coverage.reads.iter().map(Read::record).collect()
    }

    pub(in crate::control) fn saved(&self) -> Vec<DirectRead> {
        let saved = self.saved.lock().expect("no holder of this lock panics");
        saved.clone()
    }

    pub(in crate::control) fn are_saved(&self, reads: &[DirectRead]) {
        let mut saved = self.saved.lock().expect("no holder of this lock panics");
        reads.clone_into(&mut saved);
    }

    /// A session is over, and everything is so far done: the rest is read again.
    pub(in crate::control) fn put_back(&self, progress: &Progress) {
        let mut coverage = self.coverage();
        coverage.settle(progress);
        coverage.put_back();
    }

    /// Changes are to be given again that were covered.
    pub(in crate::control) fn forget(&self) {
        self.coverage().forget();
    }

    /// Reads these once more, from the beginning.
    pub(in crate::control) fn renew(&self, is_meant: impl Fn(&Namespace) -> bool) {
        let mut coverage = self.coverage();
        let reads = coverage.reads.iter_mut();
        reads
            .filter(|read| {
                read.namespace
                    .parse()
                    .is_ok_and(|namespace| is_meant(&namespace))
            })
            .for_each(Read::renew);
    }

    /// Takes up what a plan reads that is not there yet, and drops what it does not read. A module that
    /// joins those that share a read sees what comes from now on.
    pub(in crate::control) fn extend(&self, plan: &Plan) {
        let mut coverage = self.coverage();
        let mut before = std::mem::take(&mut coverage.reads);
        for wanted in &plan.reads {
            let (namespace, names) = (wanted.namespace.to_string(), wanted.names(plan));
            let is_it = |read: &Read| {
                let is_shared = read.modules.iter().any(|name| names.contains(name));
                read.namespace == namespace && (is_shared || read.modules == names)
            };
            let mut read = match before.iter().position(is_it) {
                Some(place) => before.remove(place),
                None => {
                    let mut read = Read::new(namespace, Vec::new(), true);
                    read.tally.begun_ms = bson::DateTime::now().timestamp_millis();
                    read
                }
            };
            read.modules = names;
            coverage.reads.push(read);
        }
    }

    /// What the server is to do to documents is as a plan says from now on.
    pub(in crate::control) fn take_pipelines(&self, plan: &Plan) {
        for (read, wanted) in self.coverage().reads.iter_mut().zip(&plan.reads) {
            read.pipeline.clone_from(&wanted.pipeline);
        }
    }

    /// How it all stands.
    pub(in crate::control) fn statuses(&self) -> Vec<DirectReadStatus> {
        self.coverage().reads.iter().map(Read::status).collect()
    }

    pub(super) fn coverage(&self) -> MutexGuard<'_, Coverage> {
        self.coverage.lock().expect("no holder of this lock panics")
    }

    /// Whether it was [given up](Self::give_up) in this session.
    pub(in crate::control) fn are_given_up(&self) -> bool {
        self.coverage().is_given_up()
    }

    /// Waits until the lanes have everything. Cancellation safe.
    pub(in crate::control) async fn all_given(&self) {
        let mut changes = self.changes.subscribe();
        while !self.are_given() {
            // The sender lives as long as we do.
            let _ = changes.changed().await;
        }
    }

    pub(super) fn changed(&self) {
        self.changes.send_replace(());
    }

    /// Told of whenever a segment is further than before.
    pub(in crate::control) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Whether there is anything that is, or was, read.
    pub(in crate::control) fn are_any(&self) -> bool {
        !self.coverage().reads.is_empty()
    }

    pub(super) fn moved(&self) {
        self.moves.send_replace(());
    }

    /// The lanes have everything of a stream before a change that waits. Who reads a segment that
    /// follows the streams waits for that word.
    pub(super) fn reached_before(&self, stream: usize, at: Timestamp) {
        self.coverage().reached_before(stream, at);
        self.moved();
    }

    /// As many ops as the run is to give were given, or the readers cannot go on: who waits for documents, or
    /// for a stream, waits no more.
    pub(in crate::control) fn give_up(&self) {
        self.coverage().give_up();
        self.changed();
        self.moved();
    }

    /// The latest change that was given or covered: what there is has to be looked at no earlier.
    pub(super) fn latest(&self) -> Timestamp {
        self.coverage().latest()
    }

    pub(super) fn moves(&self) -> watch::Receiver<()> {
        self.moves.subscribe()
    }

    pub(super) fn next(&self) -> Option<Step> {
        self.coverage().next()
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

    /// Whether the lanes have everything.
    pub(in crate::control) fn are_given(&self) -> bool {
        self.coverage().is_given()
    }
}
