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
    done::Done,
    ended::Ended,
    read::{Phase, Read},
    segment::{Segment, State, Verdict},
};
use crate::{
    checkpoint::Progress,
    op::{Batch, Cluster, KeyRange, Op, Operation, Position, Timestamp},
};

/// All reads of a run, and how far its streams are.
#[derive(Debug, Default)]
pub(super) struct Coverage {
    pub(super) reads: Vec<Read>,
    /// The reads of each namespace.
    pub(super) by_namespace: HashMap<String, Vec<usize>>,
    streams: Vec<Reached>,
    clocks: Vec<Clock>,
    /// Nothing more is given: as many ops as the run is to give were, or readers cannot go on.
    is_given_up: bool,
    next_id: u64,
}

/// A deployment that is read. Times of two deployments cannot be compared.
#[derive(Debug)]
struct Clock {
    cluster: Cluster,
    /// The latest change of it that was given or covered.
    latest: Timestamp,
}

/// How far the lanes have what a stream gave.
#[derive(Debug, Clone, Default)]
struct Reached {
    /// Which of the deployments it reads.
    deployment: usize,
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
    /// A session begins, with so many streams of each of these deployments.
    pub(super) fn begin<'a>(
        &mut self,
        clusters: impl IntoIterator<Item = &'a Cluster>,
        streams: usize,
    ) {
        let before = std::mem::take(&mut self.clocks);
        let clocks = clusters.into_iter().map(|cluster| {
            let known = before.iter().filter(|clock| clock.cluster.is_same(cluster));
            Clock {
                cluster: cluster.clone(),
                latest: known.map(|clock| clock.latest).max().unwrap_or_default(),
            }
        });
        self.clocks = clocks.collect();
        let of_each = (0..self.clocks.len()).flat_map(|of| std::iter::repeat_n(of, streams));
        let stream = |deployment| Reached {
            deployment,
            ..Reached::default()
        };
        self.streams = of_each.map(stream).collect();
        self.is_given_up = false;
    }

    pub(super) fn give_up(&mut self) {
        self.is_given_up = true;
    }

    /// Whether what waits waits in vain.
    pub(super) fn is_given_up(&self) -> bool {
        self.is_given_up
    }

    /// The latest change of a read's deployment that was given or covered.
    pub(super) fn latest(&self, read: usize) -> Timestamp {
        self.clocks[self.reads[read].deployment].latest
    }

    fn saw(&mut self, stream: usize, time: Timestamp) {
        let clock = &mut self.clocks[self.streams[stream].deployment];
        clock.latest = clock.latest.max(time);
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
            self.saw(stream, op.timestamp());
        }
        let Some((place, at)) = waits else {
            batch.leave_out(&covered);
            return None;
        };
        let mut part = batch.split_to(place, before.clone());
        part.leave_out(&covered);
        Some((at, part))
    }

    /// Whether everything is read, and no change that a stream has still to give is covered or has to
    /// wait.
    pub(super) fn is_over(&self, stream: usize) -> bool {
        let Reached {
            time: reached,
            deployment,
            ..
        } = self.streams[stream];
        let is_over = |read: &Read| {
            let is_read = matches!(read.phase, Phase::Complete | Phase::Ended(_));
            let mut segments = read.segments.iter();
            let is_behind = |segment: &Segment| match segment.state {
                State::Finished(at) => at < reached,
                _ => false,
            };
            is_read && (read.deployment != deployment || segments.all(is_behind))
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
        let is_touched = |read: &Read| ended.includes(&read.namespace);
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
                    cluster = read.shown_cluster(),
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
            self.saw(stream, time);
        }
        let reached = &mut self.streams[stream];
        if reached.position.as_ref() != Some(position) {
            reached.position = Some(position.clone());
        }
    }

    /// The lanes have what a stream gave before that time, and perhaps more, which its position does not
    /// tell.
    pub(super) fn reached_before(&mut self, stream: usize, at: Timestamp) {
        let reached = &mut self.streams[stream];
        reached.time = reached.time.max(at.before());
        reached.position = None;
    }

    /// The same where all streams are given in one order: nothing of the other streams of that
    /// deployment is left before that either, and they wait with this one.
    pub(super) fn all_reached_before(&mut self, stream: usize, at: Timestamp) {
        let deployment = self.streams[stream].deployment;
        let streams = self.streams.iter_mut();
        for other in streams.filter(|other| other.deployment == deployment) {
            other.time = other.time.max(at.before());
        }
        self.reached_before(stream, at);
    }

    /// A stream gives nothing more.
    pub(super) fn over(&mut self, stream: usize) {
        self.streams[stream].is_over = true;
    }

    /// Whether no stream gives anything more.
    pub(super) fn are_streams_over(&self) -> bool {
        self.streams.iter().all(|reached| reached.is_over)
    }

    /// Whether the streams are beyond that time, so that documents of it may be given.
    pub(super) fn are_beyond(&self, read: usize, at: Timestamp) -> bool {
        let mut streams = self.reads[read].streams.iter().map(|of| &self.streams[*of]);
        self.is_given_up || streams.all(|reached| reached.is_over || reached.time >= at)
    }

    /// What is to be done next in a deployment, which is marked as being done; none while there is
    /// nothing to begin.
    pub(super) fn next(&mut self, deployment: usize) -> Option<Step> {
        for (index, read) in self.reads.iter_mut().enumerate() {
            if read.deployment != deployment {
                continue;
            }
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
        let latest = self.latest(read);
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

    /// The latest cluster time of what was read of a stream's deployment.
    pub(super) fn read_up_to(&self, stream: usize) -> Timestamp {
        let deployment = self.streams[stream].deployment;
        let reads = self.reads.iter();
        let reads = reads.filter(|read| read.deployment == deployment);
        let segments = reads.flat_map(|read| &read.segments);
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
