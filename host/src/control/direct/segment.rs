//! One part of a collection that is read directly, and what that means for changes of its documents.

use crate::op::{KeyRange, Timestamp, compare_keys};

/// A range of keys, and how far its reading is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Segment {
    /// Names it within its read.
    pub(super) id: u64,
    pub(super) range: KeyRange,
    pub(super) state: State,
    /// Documents of it, or changes of them, may have been given before: then every change that comes
    /// before the reading is given before the documents. Else those need not be given at all.
    pub(super) follows: bool,
    /// Documents of it as they were at that time were given by an attempt that did not come to its end.
    pub(super) floor: Timestamp,
    /// The same of the first attempt, where that followed nothing: no change up to then was given, or will
    /// have to be, whatever a session that begins anew gives again.
    origin: Timestamp,
}

/// How far the reading of a segment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It was not begun.
    Unread,
    /// Nor now, but somebody is about to.
    Taken,
    /// It is being opened; what it will contain is not known yet.
    Opening,
    /// Its documents are those of that cluster time, and are being given.
    Open(Timestamp),
    /// The lanes have all its documents.
    Given {
        /// The cluster time of its documents.
        at: Timestamp,
        /// The window's stream that they came by, and the sequence of the batch to come behind them.
        behind: (usize, u64),
        /// How many documents.
        documents: u64,
    },
    /// All its documents are done.
    Finished(Timestamp),
}

/// What becomes of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is given.
    Deliver,
    /// The document was read later than it happened, or will be: it need not be given.
    Covered,
    /// It is given behind documents that are about to be given.
    Wait,
}

impl Segment {
    pub(super) fn new(id: u64, range: KeyRange, follows: bool) -> Self {
        Self {
            id,
            range,
            state: State::Unread,
            follows,
            floor: Timestamp::default(),
            origin: Timestamp::default(),
        }
    }

    /// A part of it that was not given, or is cut off of it.
    pub(super) fn part(&self, id: u64, range: KeyRange) -> Self {
        Self {
            floor: self.floor,
            origin: self.origin,
            ..Self::new(id, range, self.follows)
        }
    }

    /// A segment that another process, or an earlier session, has finished.
    pub(super) fn finished(id: u64, range: KeyRange, at: Timestamp) -> Self {
        Self {
            state: State::Finished(at),
            ..Self::new(id, range, true)
        }
    }

    /// What becomes of a change of one of its keys that happened at that time.
    pub(super) fn verdict(&self, at: Timestamp) -> Verdict {
        if at <= self.floor {
            return Verdict::Covered;
        }
        let unread = match self.follows {
            true => Verdict::Deliver,
            false => Verdict::Covered,
        };
        match self.state {
            State::Unread | State::Taken => unread,
            State::Opening => Verdict::Wait,
            State::Open(read) if at > read => Verdict::Wait,
            State::Open(_) => unread,
            State::Given { at: read, .. } | State::Finished(read) => match at > read {
                true => Verdict::Deliver,
                false => Verdict::Covered,
            },
        }
    }

    /// Whether documents older than a change of that time may still have to be given.
    pub(super) fn holds(&self, at: Timestamp) -> bool {
        match self.state {
            State::Opening => true,
            State::Open(read) => at > read,
            State::Unread | State::Taken | State::Given { .. } | State::Finished(_) => false,
        }
    }

    /// Whether the lanes have all its documents.
    pub(super) fn is_given(&self) -> bool {
        matches!(self.state, State::Given { .. } | State::Finished(_))
    }

    /// Whether all its documents are done.
    pub(super) fn is_finished(&self) -> bool {
        matches!(self.state, State::Finished(_))
    }

    /// Whether a key lies before its end, or it has none.
    pub(super) fn ends_behind(&self, key: (u8, &[u8])) -> bool {
        let to = self.range.to.as_ref();
        to.is_none_or(|to| compare_keys(key, to.parts()).is_lt())
    }

    /// Whether a key is its first one or lies behind that.
    pub(super) fn begins_at_or_before(&self, key: (u8, &[u8])) -> bool {
        let from = self.range.from.as_ref();
        from.is_none_or(|from| compare_keys(key, from.parts()).is_ge())
    }

    /// The attempt is over and has to be made again; `given` is the time of documents of it that were
    /// given.
    pub(super) fn put_back(&mut self, given: Option<Timestamp>) {
        let given = given.unwrap_or_default();
        if !self.follows {
            self.origin = given;
        }
        self.state = State::Unread;
        self.follows = true;
        self.floor = self.floor.max(given);
    }

    /// The session is over: another one reads it, and may give changes again that were not done.
    pub(super) fn put_off(&mut self) {
        self.put_back(match self.state {
            State::Open(at) | State::Given { at, .. } => Some(at),
            State::Unread | State::Taken | State::Opening | State::Finished(_) => None,
        });
        self.floor = self.origin;
    }

    /// Changes that it covers are to be given again.
    pub(super) fn forget(&mut self) {
        self.floor = Timestamp::default();
        self.origin = Timestamp::default();
        if self.is_finished() {
            self.state = State::Finished(Timestamp::default());
        }
    }
}
