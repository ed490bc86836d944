//! A deployment, a process that reads it, and what it gives.

use std::collections::BTreeMap;

use oplet_sdk::raw::kind;

use super::{NAMESPACE, Turn, Write};
use crate::{
    checkpoint::Progress,
    control::direct::{
        coverage::{Coverage, Step},
        read::{Phase, Read},
        segment::State,
    },
    op::{
        Batch, BatchBuilder, Cluster, Frontier, Key, KeyRange, Op, Operation, Position, Record,
        SourceKind, Timestamp, Value,
    },
};

/// A version of a document: the time at which it was written.
pub(super) type Documents = BTreeMap<i32, u32>;

/// A segment under way.
#[derive(Debug, Clone)]
pub(super) struct UnderWay {
    id: u64,
    range: KeyRange,
    follows: bool,
    /// Its time and documents, once the server has opened it.
    open: Option<(u32, Documents)>,
    /// That time is known.
    is_open: bool,
}

/// A deployment, a process that reads it, and what it gives.
pub(super) struct World {
    pub(super) history: Vec<Write>,
    pub(super) coverage: Coverage,
    pub(super) under_way: Vec<UnderWay>,
    /// How many entries the stream has handed over, and what it has read and not handed over.
    pub(super) position: usize,
    pub(super) rest: Option<Batch>,
    /// What was given behind each other: a key with its version, or that there is none.
    pub(super) map: Documents,
    /// The newest time that was given of each key, by this process.
    pub(super) newest: BTreeMap<i32, u32>,
    /// The latest change that was given, by this process.
    pub(super) given_up_to: u32,
    /// Batches of segments that were given.
    pub(super) sequence: u64,
    /// How far the stream was when it was saved, and what was finished then.
    pub(super) saved: (usize, Vec<(KeyRange, Timestamp)>),
    pub(super) boundaries: Vec<i32>,
    pub(super) is_ordered: bool,
}

pub(super) fn time(entry: u32) -> Timestamp {
    Timestamp::new(entry, 1)
}

pub(super) fn cluster(name: &str) -> Cluster {
    Cluster::new(name, None)
}

pub(super) fn nowhere() -> Position {
    Position::Time(Timestamp::default())
}

pub(super) fn key(number: i32) -> Key {
    Key::new(kind::INT32, &number.to_le_bytes())
}

impl World {
    pub(super) fn new(history: Vec<Write>, boundaries: Vec<i32>, is_ordered: bool) -> Self {
        let mut world = Self {
            position: history.len(),
            saved: (history.len(), Vec::new()),
            history,
            coverage: Coverage::default(),
            under_way: Vec::new(),
            rest: None,
            map: Documents::new(),
            newest: BTreeMap::new(),
            given_up_to: 0,
            sequence: 0,
            boundaries,
            is_ordered,
        };
        let read = Read::new(
            cluster("rs0"),
            NAMESPACE.into(),
            vec!["m".into()],
            !is_ordered,
        );
        world.begin(read);
        world
    }

    pub(super) fn begin(&mut self, mut read: Read) {
        read.streams = vec![0];
        read.is_ordered = self.is_ordered;
        self.coverage.reads = vec![read];
        self.coverage.by_namespace = [(NAMESPACE.to_owned(), vec![0])].into();
        self.coverage.begin([&cluster("rs0")], 1);
    }

    /// The collection as it was at that time.
    pub(super) fn at(&self, entry: u32) -> Documents {
        let mut documents = Documents::new();
        for (number, write) in self.history[..entry as usize].iter().enumerate() {
            match write {
                Write::Put(key) => drop(documents.insert(*key, number as u32 + 1)),
                Write::Delete(key) => drop(documents.remove(key)),
            }
        }
        documents
    }

    /// Entries as a batch, whose position is behind the last.
    pub(super) fn batch(&self, from: usize, to: usize) -> Batch {
        let mut builder = BatchBuilder::new(Vec::new().into());
        let namespace = builder.make(|extra| extra.extend_from_slice(NAMESPACE.as_bytes()));
        for (number, write) in self.history[from..to].iter().enumerate() {
            let (operation, key) = match write {
                Write::Put(key) => (Operation::Update, key),
                Write::Delete(key) => (Operation::Delete, key),
            };
            let span = builder.make(|extra| extra.extend_from_slice(&key.to_le_bytes()));
            let at = time((from + number + 1) as u32);
            let mut record = Record::new(operation, namespace, at);
            record.id = Some(Value {
                kind: kind::INT32,
                span,
            });
            builder.push(record);
        }
        let position = Position::Time(time(to as u32));
        builder.finish(SourceKind::Oplog, position, to == self.history.len())
    }

    pub(super) fn give(&mut self, key: i32, version: Option<u32>, at: u32) {
        let newest = self.newest.entry(key).or_default();
        assert!(*newest <= at, "{key} at {at} comes behind {newest}");
        *newest = at;
        match version {
            Some(version) => drop(self.map.insert(key, version)),
            None => drop(self.map.remove(&key)),
        }
    }

    pub(super) fn give_op(&mut self, op: &Op<'_>) {
        let (_, id) = op.document_id().unwrap();
        let key = i32::from_le_bytes(id.try_into().unwrap());
        let at = op.timestamp().seconds;
        let newest = self.newest.get(&key);
        assert!(
            newest < Some(&at),
            "{key} at {at} is contained in {newest:?}"
        );
        self.given_up_to = self.given_up_to.max(at);
        let version = (op.operation() == Operation::Update).then_some(at);
        self.give(key, version, at);
    }

    /// The stream goes on with what waits, or reads so many entries.
    pub(super) fn read(&mut self, count: usize) {
        let mut batch = self.rest.take().unwrap_or_else(|| {
            let to = (self.position + count).min(self.history.len());
            self.batch(self.position, to)
        });
        let before = Position::Time(time(self.position as u32));
        let waits = self.coverage.sift(0, &mut batch, &before);
        match waits {
            None => {
                batch.ops().for_each(|op| self.give_op(&op));
                let position = batch.position().clone();
                self.position = position.timestamp().unwrap().seconds as usize;
                self.coverage.reached(0, &position, batch.is_caught_up());
            }
            Some((at, part)) => {
                part.ops().for_each(|op| self.give_op(&op));
                assert_eq!(at, batch.op(0).timestamp());
                self.coverage.reached_before(0, at);
                self.rest = Some(batch);
            }
        }
    }

    pub(super) fn take(&mut self) {
        match self.coverage.next(0) {
            None => {}
            Some(Step::Plan { .. }) => {
                let ranges = KeyRange::all().cut(self.boundaries.iter().map(|&n| key(n)));
                let gaps = self.coverage.reads[0].gaps();
                let within = |gap: &KeyRange| {
                    let lies = |range: &KeyRange| {
                        let range = KeyRange {
                            from: range.from.clone().max(gap.from.clone()),
                            to: match (&range.to, &gap.to) {
                                (Some(a), Some(b)) => Some(a.min(b).clone()),
                                (a, b) => a.clone().or(b.clone()),
                            },
                        };
                        let is_some = range.to.is_none() || range.from < range.to;
                        is_some.then_some(range)
                    };
                    ranges.iter().filter_map(lies).collect()
                };
                let parts = gaps.iter().map(within).collect();
                self.coverage.cut(0, parts);
            }
            Some(Step::Segment {
                id, range, follows, ..
            }) => self.under_way.push(UnderWay {
                id,
                range,
                follows,
                open: None,
                is_open: false,
            }),
        }
    }

    pub(super) fn documents(&self, range: &KeyRange, at: u32) -> Documents {
        let mut documents = self.at(at);
        documents.retain(|number, _| range.contains(key(*number).parts()));
        documents
    }

    /// Has the server open a segment, or hears what it is, or gives its documents, of which only some when
    /// it is cut.
    pub(super) fn work(&mut self, which: usize, is_cut: bool) {
        if self.under_way.is_empty() {
            return;
        }
        let which = which % self.under_way.len();
        let mut segment = self.under_way[which].clone();
        let Some((at, mut documents)) = segment.open.take() else {
            let after = self.coverage.open(0, segment.id).unwrap();
            let at = self.history.len() as u32;
            assert!(after <= time(at), "the server has that time");
            assert!(after >= time(self.given_up_to) || self.given_up_to == 0);
            let documents = self.documents(&segment.range, at);
            self.under_way[which].open = Some((at, documents));
            return;
        };
        if !segment.is_open {
            self.coverage.reads[0]
                .segment_mut(segment.id)
                .unwrap()
                .state = State::Open(time(at));
            self.under_way[which].is_open = true;
            return;
        }
        if segment.follows && !self.coverage.are_beyond(0, time(at)) {
            return;
        }
        if is_cut && documents.len() > 1 {
            let middle = *documents.keys().nth(documents.len() / 2).unwrap();
            documents.retain(|number, _| *number < middle);
            let rest = KeyRange {
                from: Some(key(middle)),
                to: segment.range.to.clone(),
            };
            self.coverage.shorten(0, segment.id, rest);
        }
        let count = documents.len() as u64;
        for (number, version) in documents {
            self.give(number, Some(version), at);
        }
        self.sequence += 1;
        self.coverage.reads[0]
            .segment_mut(segment.id)
            .unwrap()
            .state = State::Given {
            at: time(at),
            behind: (1, self.sequence),
            documents: count,
        };
        self.under_way.remove(which);
    }

    /// The server no longer has the time of an open segment.
    pub(super) fn lose(&mut self, which: usize, some_given: bool) {
        if self.under_way.is_empty() {
            return;
        }
        let segment = self.under_way.remove(which % self.under_way.len());
        let open = segment.open.clone();
        let open = open.filter(|(at, _)| {
            some_given
                && segment.is_open
                && (!segment.follows || self.coverage.are_beyond(0, time(*at)))
        });
        if let Some((at, documents)) = &open {
            let some = documents.len() / 2;
            for (number, version) in documents.iter().take(some) {
                self.give(*number, Some(*version), *at);
            }
        }
        let given = open.map(|(at, _)| time(at));
        self.coverage.reads[0].failed(segment.id, given);
    }

    /// How far it is when all changes are done, and so many batches of what was read.
    pub(super) fn progress(&self, sequence: u64) -> Progress {
        let frontier = Frontier::at(Position::Time(time(self.position as u32)));
        Progress {
            frontiers: vec![frontier],
            mark: 0,
            ops: 0,
            reached: vec![(0, 0), (sequence, 0)],
        }
    }

    /// Everything that was given is done, and that is saved.
    pub(super) fn save(&mut self) {
        self.coverage.settle(&self.progress(self.sequence));
        let segments = self.coverage.reads[0].segments.iter();
        let finished = segments.filter_map(|segment| match segment.state {
            State::Finished(at) => Some((segment.range.clone(), at)),
            _ => None,
        });
        self.saved = (self.position, finished.collect());
    }

    /// Another process goes on at what was saved.
    pub(super) fn kill(&mut self) {
        self.under_way.clear();
        self.rest = None;
        self.newest.clear();
        self.given_up_to = 0;
        self.sequence = 0;
        self.position = self.saved.0;
        self.coverage = Coverage::default();
        let read = Read::new(cluster("rs0"), NAMESPACE.into(), vec!["m".into()], true);
        self.begin(read);
        let finished = self.saved.1.clone();
        self.coverage.restore(0, &finished);
    }

    /// Another session of the same process goes on behind the last change that was given. Some documents of
    /// what is under way were given, too.
    pub(super) fn session(&mut self, are_all_done: bool) {
        if let Some(rest) = self.rest.take() {
            self.position = rest.op(0).timestamp().seconds as usize - 1;
        }
        for segment in std::mem::take(&mut self.under_way) {
            let Some((at, documents)) = segment.open else {
                continue;
            };
            let may_wait = segment.follows && !self.coverage.are_beyond(0, time(at));
            if !segment.is_open || may_wait {
                continue;
            }
            let some = documents.len().div_ceil(2);
            for (number, version) in documents.into_iter().take(some) {
                self.give(number, Some(version), at);
            }
        }
        let done = if are_all_done { self.sequence } else { 0 };
        self.coverage.settle(&self.progress(done));
        self.coverage.put_back();
        self.sequence = 0;
        self.coverage.begin([&cluster("rs0")], 1);
    }

    pub(super) fn turn(&mut self, turn: Turn) {
        match turn {
            Turn::Write(write) => self.history.push(write),
            Turn::Read(count) => self.read(count),
            Turn::Begin => self.take(),
            Turn::Work(which, is_cut) => self.work(which, is_cut),
            Turn::Lose(which, some_given) => self.lose(which, some_given),
            Turn::Save => self.save(),
            Turn::Kill => self.kill(),
            Turn::Session(are_all_done) => self.session(are_all_done),
        }
    }

    /// Nobody writes any more, and everything comes to its end.
    pub(super) fn finish(&mut self) {
        for _ in 0..1_000 {
            self.take();
            // Any of them may be what the stream waits for.
            (0..8).for_each(|which| self.work(which, false));
            self.read(5);
            self.save();
            let is_read = self.coverage.reads[0].phase == Phase::Complete;
            if is_read && self.rest.is_none() && self.position == self.history.len() {
                return;
            }
        }
        panic!("it comes to no end: {:?}", self.coverage);
    }
}
