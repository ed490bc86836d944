//! One collection that is read directly, for modules that share the reading.

use bson::{RawDocumentBuf, Uuid};
use tracing::info;

use super::{
    done::Done,
    segment::{Segment, State, Verdict},
    tally::Tally,
};
use crate::{
    op::{Cluster, KeyRange, Op, Timestamp},
    source::direct_read::{Kind, Target},
};

/// A collection or view that is read, and how far that is.
#[derive(Debug)]
pub(in crate::control) struct Read {
    /// The deployment that it is in.
    pub(super) cluster: Cluster,
    /// It is told from others of that name, in other deployments.
    pub(super) is_told_apart: bool,
    pub(in crate::control) namespace: String,
    /// Names of the modules that its documents go to: with the deployment and the namespace, what it is
    /// known by.
    pub(in crate::control) modules: Vec<String>,
    /// Which of the run's deployments it is in, and which of its plan's reads it is.
    pub(super) deployment: usize,
    pub(super) place: usize,
    /// Which of the run's streams have changes of it for them.
    pub(super) streams: Vec<usize>,
    pub(super) phase: Phase,
    /// In the order of their keys.
    pub(super) segments: Vec<Segment>,
    /// Keys can be compared here, so that it is known which segment one belongs to.
    pub(super) is_ordered: bool,
    /// Documents, or changes of them, may have been given before.
    pub(super) follows: bool,
    /// A process before has begun with it; it had that UUID, and was complete then, or not.
    pub(super) is_known: bool,
    pub(super) was_complete: bool,
    /// What the server does to its documents.
    pub(super) pipeline: Vec<RawDocumentBuf>,
    pub(super) uuid: Option<Uuid>,
    /// A cluster time at which it was there, with that UUID.
    pub(super) seen_at: Timestamp,
    pub(super) tally: Tally,
}

/// What is to be done about a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::control) enum Phase {
    /// To look what there is, and where to cut it.
    Planned,
    /// That is being done.
    Planning,
    /// To read its segments.
    Reading,
    /// Nothing: it was read to its end.
    Complete,
    /// Nothing: what was read is no more there, or became something else.
    Ended(String),
}

impl Read {
    pub(super) fn new(
        cluster: Cluster,
        namespace: String,
        modules: Vec<String>,
        follows: bool,
    ) -> Self {
        Self {
            cluster,
            is_told_apart: false,
            namespace,
            modules,
            deployment: 0,
            place: 0,
            streams: Vec::new(),
            phase: Phase::Planned,
            segments: vec![Segment::new(0, KeyRange::all(), follows)],
            is_ordered: true,
            follows,
            is_known: false,
            was_complete: false,
            pipeline: Vec::new(),
            uuid: None,
            seen_at: Timestamp::default(),
            tally: Tally::default(),
        }
    }

    /// Says whether documents, or changes of them, may have been given before. To be said before it is
    /// begun.
    pub(super) fn set_follows(&mut self, follows: bool) {
        self.follows = follows;
        for segment in &mut self.segments {
            segment.follows = follows;
        }
    }

    /// The name of its deployment, where several are read.
    pub(super) fn shown_cluster(&self) -> Option<&str> {
        self.is_told_apart.then(|| self.cluster.name())
    }

    /// What becomes of a change of one of its documents.
    pub(super) fn verdict(&self, op: &Op<'_>) -> Verdict {
        let at = op.timestamp();
        let verdict = match op.document_id() {
            Some(key) if self.is_ordered => {
                let segment = self.segment_of(key);
                // Keys beyond the bound of a read are not read.
                segment.map_or(Verdict::Deliver, |segment| segment.verdict(at))
            }
            _ => self.verdict_of_any(at),
        };
        match self.phase {
            // That there is a collection, and where its keys end, was perhaps seen before this change.
            Phase::Planning if !self.follows && verdict == Verdict::Covered => Verdict::Wait,
            _ => verdict,
        }
    }

    fn segment_of(&self, key: (u8, &[u8])) -> Option<&Segment> {
        let behind = self
            .segments
            .partition_point(|segment| segment.begins_at_or_before(key));
        let segment = self.segments.get(behind.checked_sub(1)?)?;
        segment.ends_behind(key).then_some(segment)
    }

    /// What becomes of a change of a key that may belong to any segment.
    fn verdict_of_any(&self, at: Timestamp) -> Verdict {
        if self.segments.iter().any(|segment| segment.holds(at)) {
            return Verdict::Wait;
        }
        let is_covered = |segment: &Segment| segment.verdict(at) == Verdict::Covered;
        match !self.segments.is_empty() && self.segments.iter().all(is_covered) {
            true => Verdict::Covered,
            false => Verdict::Deliver,
        }
    }

    /// What becomes of a command that ends the collection. It is to be ended where that is delivered.
    pub(super) fn verdict_of_end(&self, at: Timestamp) -> Verdict {
        match self.phase {
            // Nothing was given yet, and it will be seen what there is.
            Phase::Planned | Phase::Planning => Verdict::Deliver,
            _ if at <= self.seen_at => match self.follows {
                true => Verdict::Deliver,
                // It ended another collection of that name, before.
                false => Verdict::Covered,
            },
            _ if self.segments.iter().any(|segment| segment.holds(at)) => Verdict::Wait,
            _ => Verdict::Deliver,
        }
    }

    /// Whether a command of that time ends it.
    pub(super) fn is_ended_by(&self, at: Timestamp) -> bool {
        self.phase == Phase::Reading && at > self.seen_at
    }

    /// Nothing more of it is begun.
    pub(super) fn end(&mut self, reason: &str) -> bool {
        self.leave_unread();
        if matches!(self.phase, Phase::Ended(_)) {
            return false;
        }
        self.phase = Phase::Ended(reason.to_owned());
        true
    }

    fn leave_unread(&mut self) {
        self.segments
            .retain(|segment| !matches!(segment.state, State::Unread | State::Taken));
    }

    /// A segment was not read to its end; documents as they were at that time were given.
    pub(super) fn failed(&mut self, id: u64, given: Option<Timestamp>) {
        if let Some(segment) = self.segment_mut(id) {
            segment.put_back(given);
        }
        if matches!(self.phase, Phase::Ended(_)) {
            self.leave_unread();
        }
    }

    /// Takes up what a process before has finished of it.
    pub(super) fn restore(&mut self, finished: &[(KeyRange, Timestamp)], next_id: &mut u64) {
        let mut segments = Vec::new();
        let mut add = |segments: &mut Vec<Segment>, range, at| {
            *next_id += 1;
            segments.push(match at {
                Some(at) => Segment::finished(*next_id, range, at),
                None => Segment::new(*next_id, range, true),
            });
        };
        // Where the next gap begins; none behind the end.
        let mut from = Some(None);
        for (range, at) in finished {
            if let Some(gap) = from.take()
                && gap != range.from
            {
                let gap = KeyRange {
                    from: gap,
                    to: range.from.clone(),
                };
                add(&mut segments, gap, None);
            }
            from = range.to.clone().map(Some);
            add(&mut segments, range.clone(), Some(*at));
        }
        if let Some(from) = from {
            add(&mut segments, KeyRange { from, to: None }, None);
        }
        self.segments = segments;
        self.follows = true;
    }

    /// The ranges that are to be cut into segments, in order.
    pub(super) fn gaps(&self) -> Vec<KeyRange> {
        let gaps = self
            .segments
            .iter()
            .filter(|segment| !segment.is_finished());
        gaps.map(|segment| segment.range.clone()).collect()
    }

    /// Its segments, from the parts that each gap was cut into.
    pub(super) fn cut(&mut self, parts: Vec<Vec<KeyRange>>, next_id: &mut u64) {
        let mut parts = parts.into_iter();
        let mut segments = Vec::new();
        for segment in std::mem::take(&mut self.segments) {
            if segment.is_finished() {
                segments.push(segment);
                continue;
            }
            for range in parts.next().into_iter().flatten() {
                *next_id += 1;
                segments.push(segment.part(*next_id, range));
            }
        }
        self.segments = segments;
        self.phase = Phase::Reading;
        self.count_given();
    }

    fn count_given(&mut self) {
        let given = self.segments.iter().filter(|segment| segment.is_given());
        self.tally.segments_given = given.count() as u64;
        self.tally.segments = self.segments.len() as u64;
    }

    pub(super) fn segment_mut(&mut self, id: u64) -> Option<&mut Segment> {
        self.segments.iter_mut().find(|segment| segment.id == id)
    }

    /// Whether the lanes have all there is to give.
    pub(super) fn is_given(&self) -> bool {
        match self.phase {
            Phase::Planned | Phase::Planning => false,
            _ => self.segments.iter().all(Segment::is_given),
        }
    }

    /// Notes which segments are finished: the window has passed them, and the streams are beyond
    /// them where that is needed. Ranges side by side become one where no stream will give a change
    /// that one of them covers.
    pub(super) fn settle(&mut self, is_passed: impl Fn(usize, u64) -> bool, streams: &[Done]) {
        let own = self
            .streams
            .iter()
            .filter_map(|stream| streams.get(*stream));
        for segment in &mut self.segments {
            let State::Given {
                at,
                behind: (slot, sequence),
                documents,
            } = segment.state
            else {
                continue;
            };
            let are_beyond = !segment.follows || own.clone().all(|done| done.is_at(at));
            if is_passed(slot, sequence) && are_beyond {
                segment.state = State::Finished(at);
                self.tally.finished_documents += documents;
            }
        }
        self.segments.dedup_by(|second, first| {
            let (State::Finished(later), State::Finished(earlier)) = (second.state, first.state)
            else {
                return false;
            };
            let at = later.max(earlier);
            let touch = first.range.to.is_some() && first.range.to == second.range.from;
            if !touch || !own.clone().all(|done| done.is_at(at)) {
                return false;
            }
            first.range.to = second.range.to.take();
            first.state = State::Finished(at);
            true
        });
        if self.phase == Phase::Reading && self.segments.iter().all(Segment::is_finished) {
            self.phase = Phase::Complete;
            let now = bson::DateTime::now().timestamp_millis();
            self.tally.complete_ms = Some(now);
            let time = self.tally.begun.map(|begun| begun.elapsed());
            info!(
                cluster = self.shown_cluster(),
                namespace = self.namespace,
                modules = (!self.modules.is_empty()).then(|| self.modules.join(", ")),
                documents = self.tally.finished_documents,
                segments = self.tally.segments,
                seconds = time.map(|time| time.as_secs_f64()),
                "the direct read is complete"
            );
        }
    }

    /// What is not finished is read again, by another session.
    pub(super) fn put_back(&mut self) {
        self.follows = true;
        let unfinished = |segment: &&mut Segment| !segment.is_finished();
        let segments = self.segments.iter_mut().filter(unfinished);
        segments.for_each(Segment::put_off);
        match self.phase {
            // Each session looks for itself what there is.
            Phase::Planning | Phase::Reading => self.phase = Phase::Planned,
            Phase::Ended(_) => self.leave_unread(),
            Phase::Planned | Phase::Complete => {}
        }
        self.count_given();
    }

    /// It is read from its beginning.
    pub(super) fn renew(&mut self) {
        let (namespace, modules) = (self.namespace.clone(), self.modules.clone());
        let cluster = self.cluster.clone();
        let begun_ms = bson::DateTime::now().timestamp_millis();
        *self = Self {
            is_told_apart: self.is_told_apart,
            deployment: self.deployment,
            place: self.place,
            streams: std::mem::take(&mut self.streams),
            pipeline: std::mem::take(&mut self.pipeline),
            tally: Tally {
                begun_ms,
                ..Tally::default()
            },
            ..Self::new(cluster, namespace, modules, true)
        };
    }

    /// What there is turns out; tells whether there is something to be cut and read.
    pub(super) fn look_at(&mut self, target: &Target, seen_at: Timestamp) -> bool {
        if self.is_known && self.uuid != target.uuid {
            let namespace = &self.namespace;
            tracing::warn!(
                cluster = self.shown_cluster(),
                namespace,
                "the collection is another one than before, and is read from its beginning"
            );
            self.renew();
        } else if self.was_complete {
            info!(
                cluster = self.shown_cluster(),
                namespace = self.namespace,
                documents = self.tally.finished_documents,
                "the direct read is complete already"
            );
            self.phase = Phase::Complete;
            return false;
        }
        self.phase = Phase::Planning;
        if !self.is_known {
            self.seen_at = seen_at;
        }
        self.is_known = true;
        self.uuid = target.uuid;
        self.is_ordered = target.orders_by_bytes() && target.inexact().is_none();
        if let Some(reason) = target.inexact() {
            let (cluster, namespace) = (self.shown_cluster(), &self.namespace);
            tracing::warn!(cluster, namespace, %reason,
                "a direct read cannot tell exactly which changes it contains: some may come twice, \
                 and documents may be newer than a change behind them");
        }
        if matches!(target.kind, Kind::View | Kind::TimeSeries) {
            // Their changes come under other names.
            self.streams.clear();
        }
        if !self.is_ordered {
            self.follows = true;
            for segment in &mut self.segments {
                segment.follows = true;
            }
        }
        true
    }
}
