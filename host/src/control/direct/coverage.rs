//! Which changes are given, which are covered by a document that is read, and which have to wait.
//!
//! A segment contains the state of its keys at one cluster time, exactly. So a change of one of them
//! that happened up to then is contained in it, and a later one is to be given behind it:
//!
//! ```text
//! the segment is        a change up to its time   a later one
//! not begun             (its time is not known)   covered: it will be read later than that
//! being opened          waits until the time is known
//! being given           covered                   waits until the lanes have all its documents
//! given, or finished    covered                   is given
//! ```
//! Nothing is kept aside: a stream that has to wait stands still, for a part of a segment's time.
//!
//! A change that is covered may be a delete, of a document that is then not among those read. That is
//! right where the document was never given. Where it may have been, because the run goes on from a
//! checkpoint or a segment is read for the second time, the segment *follows* the streams: its changes
//! are given up to its time, the documents then, and the later changes behind them.

use std::collections::HashMap;

use super::{
    read::{Done, Phase, Read},
    segment::{Segment, State, Verdict},
};
use crate::{
    checkpoint::Progress,
    op::{Batch, KeyRange, Op, Operation, Position, Timestamp},
};

/// All reads of a run, and how far its streams are.
#[derive(Debug, Default)]
pub(super) struct Coverage {
    pub(super) reads: Vec<Read>,
    /// The reads of each namespace.
    pub(super) by_namespace: HashMap<String, Vec<usize>>,
    streams: Vec<Reached>,
    /// The latest change that was given or covered.
    latest: Timestamp,
    /// Nothing more is given: as many ops as the run is to give were, or readers cannot go on.
    is_given_up: bool,
    next_id: u64,
}

/// How far the lanes have what a stream gave.
#[derive(Debug, Clone, Default)]
struct Reached {
    /// Every change up to then.
    time: Timestamp,
    /// Where the stream stands, and that the lanes have everything up to there.
    position: Option<Position>,
    is_over: bool,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// Look what there is, and cut it.
    Plan { read: usize },
    /// Read a segment.
    Segment {
        read: usize,
        id: u64,
        range: KeyRange,
        follows: bool,
    },
}

impl Coverage {
    /// A session begins, with so many streams.
    pub(super) fn begin(&mut self, streams: usize) {
        self.streams = vec![Reached::default(); streams];
        self.is_given_up = false;
    }

    pub(super) fn give_up(&mut self) {
        self.is_given_up = true;
    }

    /// Whether what waits waits in vain.
    pub(super) fn is_given_up(&self) -> bool {
        self.is_given_up
    }

    pub(super) fn latest(&self) -> Timestamp {
        self.latest
    }

    /// Leaves out of a batch what is covered. Where something has to wait, what comes before it is taken
    /// off, as a batch that ends at `before`; with the time of what waits. This is to be asked about the
    /// rest again when something has changed.
    pub(super) fn sift(
        &mut self,
        stream: usize,
        batch: &mut Batch,
        before: &Position,
    ) -> Option<(Timestamp, Batch)> {
        let mut covered = Vec::new();
        let mut waits = None;
        for (place, op) in batch.ops().enumerate() {
            match self.verdict(stream, &op) {
                Verdict::Deliver => {}
                Verdict::Covered => covered.push(place as u32),
                Verdict::Wait => {
                    waits = Some((place, op.timestamp()));
                    break;
                }
            }
            self.latest = self.latest.max(op.timestamp());
        }
        let Some((place, at)) = waits else {
            batch.leave_out(&covered);
            return None;
        };
        let mut part = batch.split_to(place, before.clone());
        part.leave_out(&covered);
        Some((at, part))
    }

    /// Whether no change that a stream has still to give is covered or has to wait.
    pub(super) fn is_over(&self, stream: usize) -> bool {
        let reached = self.streams[stream].time;
        let is_over = |read: &Read| {
            let is_read = matches!(read.phase, Phase::Complete | Phase::Ended(_));
            let mut segments = read.segments.iter();
            is_read
                && segments.all(|segment| match segment.state {
                    State::Finished(at) => at < reached,
                    _ => false,
                })
        };
        self.reads.iter().all(is_over)
    }

    fn verdict(&mut self, stream: usize, op: &Op<'_>) -> Verdict {
        if op.operation() == Operation::Command {
            return self.verdict_of_command(stream, op);
        }
        let Some(read) = self.read_of(stream, op.namespace()) else {
            return Verdict::Deliver;
        };
        self.reads[read].verdict(op)
    }

    fn read_of(&self, stream: usize, namespace: &str) -> Option<usize> {
        let reads = self.by_namespace.get(namespace)?;
        let is_its = |read: &&usize| self.reads[**read].streams.contains(&stream);
        reads.iter().find(is_its).copied()
    }

    /// A command that ends a collection ends what is read of it, for every module.
    fn verdict_of_command(&mut self, stream: usize, op: &Op<'_>) -> Verdict {
        let Some(ended) = Ended::by(op) else {
            return Verdict::Deliver;
        };
        let at = op.timestamp();
        let mut verdict = Verdict::Deliver;
        let is_touched = |read: &Read| ended.namespaces.iter().any(|of| of.is(&read.namespace));
        for read in self.reads.iter().filter(|read| is_touched(read)) {
            if !read.streams.contains(&stream) {
                continue;
            }
            match read.verdict_of_end(at) {
                Verdict::Wait => return Verdict::Wait,
                Verdict::Covered => verdict = Verdict::Covered,
                Verdict::Deliver => {}
            }
        }
        for read in self.reads.iter_mut().filter(|read| is_touched(read)) {
            let sees = read.streams.contains(&stream);
            if sees && read.is_ended_by(at) && read.end(ended.how) {
                tracing::warn!(
                    namespace = read.namespace,
                    documents = read.tally.documents,
                    "a direct read has ended: {}",
                    ended.how
                );
            }
        }
        verdict
    }

    /// The lanes have what a stream gave, up to there.
    pub(super) fn reached(&mut self, stream: usize, position: &Position, is_caught_up: bool) {
        let reached = &mut self.streams[stream];
        if let Some(time) = position.timestamp() {
            // More changes of that very time may follow.
            let time = if is_caught_up { time } else { time.before() };
            reached.time = reached.time.max(time);
            self.latest = self.latest.max(time);
        }
        if reached.position.as_ref() != Some(position) {
            reached.position = Some(position.clone());
        }
    }

    /// The lanes have what a stream gave before a change that has to wait.
    pub(super) fn reached_before(&mut self, stream: usize, at: Timestamp) {
        let reached = &mut self.streams[stream];
        reached.time = reached.time.max(at.before());
        reached.position = None;
    }

    /// A stream gives nothing more.
    pub(super) fn over(&mut self, stream: usize) {
        self.streams[stream].is_over = true;
    }

    /// Whether the streams are beyond that time, so that documents of it may be given.
    pub(super) fn are_beyond(&self, read: usize, at: Timestamp) -> bool {
        let mut streams = self.reads[read].streams.iter().map(|of| &self.streams[*of]);
        self.is_given_up || streams.all(|reached| reached.is_over || reached.time >= at)
    }

    /// What is to be done next, which is marked as being done; none while there is nothing to begin.
    pub(super) fn next(&mut self) -> Option<Step> {
        for (index, read) in self.reads.iter_mut().enumerate() {
            match read.phase {
                Phase::Planned => {
                    read.phase = Phase::Planning;
                    return Some(Step::Plan { read: index });
                }
                Phase::Reading => {}
                _ => continue,
            }
            let mut segments = read.segments.iter_mut();
            if let Some(segment) = segments.find(|segment| segment.state == State::Unread) {
                segment.state = State::Taken;
                return Some(Step::Segment {
                    read: index,
                    id: segment.id,
                    range: segment.range.clone(),
                    follows: segment.follows,
                });
            }
        }
        None
    }

    /// A segment is being opened: its documents must not be older than that time. None where it is no
    /// more to be read.
    pub(super) fn open(&mut self, read: usize, id: u64) -> Option<Timestamp> {
        let latest = self.latest;
        let read = &mut self.reads[read];
        let seen_at = read.seen_at;
        let segment = read.segment_mut(id)?;
        segment.state = State::Opening;
        Some(latest.max(seen_at))
    }

    /// Whether the lanes have all there is to read.
    pub(super) fn is_given(&self) -> bool {
        self.reads.iter().all(Read::is_given)
    }

    /// The latest cluster time of what was read.
    pub(super) fn read_up_to(&self) -> Timestamp {
        let segments = self.reads.iter().flat_map(|read| &read.segments);
        let times = segments.filter_map(|segment| match segment.state {
            State::Given { at, .. } | State::Finished(at) => Some(at),
            _ => None,
        });
        times.max().unwrap_or_default()
    }

    /// What was not given of a segment becomes one of its own; what was given counts as all of it.
    pub(super) fn shorten(&mut self, read: usize, id: u64, rest: KeyRange) {
        let read = &mut self.reads[read];
        let Some(place) = read.segments.iter().position(|segment| segment.id == id) else {
            return;
        };
        self.next_id += 1;
        let segment = &mut read.segments[place];
        segment.range.to.clone_from(&rest.from);
        let rest = segment.part(self.next_id, rest);
        // Where the collection has ended, nothing more of it is begun.
        if read.phase == Phase::Reading {
            read.segments.insert(place + 1, rest);
            read.tally.segments += 1;
        }
    }

    pub(super) fn cut(&mut self, read: usize, parts: Vec<Vec<KeyRange>>) {
        self.reads[read].cut(parts, &mut self.next_id);
    }

    pub(super) fn restore(&mut self, read: usize, finished: &[(KeyRange, Timestamp)]) {
        self.reads[read].restore(finished, &mut self.next_id);
    }

    /// Notes what is finished when everything is so far done.
    pub(super) fn settle(&mut self, progress: &Progress) {
        let streams = self.streams.iter().zip(&progress.frontiers);
        let streams: Vec<_> = streams
            .map(|(reached, frontier)| {
                // The lanes have nothing of it that is not done.
                let is_all = reached.position.as_ref() == Some(&frontier.position);
                Done::new(frontier, is_all.then_some(reached.time))
            })
            .collect();
        let is_passed = |slot: usize, behind: u64| progress.reached[slot].0 >= behind;
        for read in &mut self.reads {
            read.settle(is_passed, &streams);
        }
    }

    /// The session is over: what is not finished is read again.
    pub(super) fn put_back(&mut self) {
        self.reads.iter_mut().for_each(Read::put_back);
    }

    /// Streams are to give again what was covered by what is finished.
    pub(super) fn forget(&mut self) {
        let segments = self.reads.iter_mut().flat_map(|read| &mut read.segments);
        segments.for_each(Segment::forget);
    }
}

/// Collections that a command ends.
struct Ended<'a> {
    namespaces: Vec<Touched<'a>>,
    how: &'static str,
}

enum Touched<'a> {
    Collection(&'a str),
    Database(&'a str),
}

impl Touched<'_> {
    fn is(&self, namespace: &str) -> bool {
        match self {
            Self::Collection(collection) => *collection == namespace,
            Self::Database(database) => namespace
                .strip_prefix(database)
                .is_some_and(|rest| rest.starts_with('.')),
        }
    }
}

impl<'a> Ended<'a> {
    fn by(op: &Op<'a>) -> Option<Self> {
        let command = bson::RawDocument::from_bytes(op.data()?).ok()?;
        let (name, _) = command.iter().next()?.ok()?;
        let name: &str = name.as_ref();
        match name {
            "drop" => Some(Self {
                namespaces: vec![Touched::Collection(op.namespace())],
                how: "the collection was dropped",
            }),
            "dropDatabase" => {
                let (database, _) = crate::op::split_namespace(op.namespace());
                Some(Self {
                    namespaces: vec![Touched::Database(database)],
                    how: "the database was dropped",
                })
            }
            "renameCollection" => {
                let mut namespaces = vec![Touched::Collection(op.namespace())];
                namespaces.extend(command.get_str("to").ok().map(Touched::Collection));
                Some(Self {
                    namespaces,
                    how: "the collection was renamed, or another one to its name",
                })
            }
            _ => None,
        }
    }
}
