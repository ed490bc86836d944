//! The lists that held one after another.

use super::{Ring, RingKind, WorkerList};
use crate::op::{Batch, Op, Timestamp};

/// From when on a list holds.
#[derive(Debug, Clone)]
pub struct Spell {
    /// The ops after this cluster time belong by the list.
    pub since: Timestamp,
    ring: Ring,
    /// The place of this process's worker in the list.
    place: Option<usize>,
}

/// The part that one worker has in the work, as the lists have changed.
#[derive(Debug, Clone)]
pub struct Membership {
    worker: String,
    kind: RingKind,
    /// At least one; by the time from which on they hold.
    spells: Vec<Spell>,
}

impl Spell {
    /// The list.
    #[must_use]
    pub fn list(&self) -> &WorkerList {
        self.ring.list()
    }

    fn owns(&self, op: &Op<'_>, scratch: &mut Vec<u8>) -> bool {
        let Some(place) = self.place else {
            return false;
        };
        // What has no id is everybody's.
        let id = op.document_id();
        id.is_none_or(|id| self.ring.owner(id, scratch) == place)
    }
}

impl Membership {
    /// The part of a worker by a list that held from the beginning.
    #[must_use]
    pub fn new(worker: &str, kind: RingKind, list: WorkerList) -> Self {
        let mut membership = Self {
            worker: worker.to_owned(),
            kind,
            spells: Vec::new(),
        };
        membership.add(Timestamp::default(), list);
        membership
    }

    /// A list holds from then on. Of two that hold from the same time on the later one counts.
    pub fn add(&mut self, since: Timestamp, list: WorkerList) {
        let place = list.place(&self.worker);
        let ring = Ring::new(self.kind, list);
        let at = self.spells.partition_point(|spell| spell.since <= since);
        self.spells.insert(at, Spell { since, ring, place });
    }

    /// The name of this process's worker.
    #[must_use]
    pub fn worker(&self) -> &str {
        &self.worker
    }

    /// The lists, one after another.
    #[must_use]
    pub fn spells(&self) -> &[Spell] {
        &self.spells
    }

    /// The list that holds last.
    ///
    /// # Panics
    /// Never: there is always one.
    #[must_use]
    pub fn newest(&self) -> &Spell {
        self.spells.last().expect("there is at least one")
    }

    /// Whether the worker is in any of the lists.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        self.spells.iter().any(|spell| spell.place.is_some())
    }

    /// Whether nothing after that time is the worker's, as far as is known: it was taken out of the
    /// list, or was not in it yet and there is no later one.
    #[must_use]
    pub fn is_over_at(&self, time: Timestamp) -> bool {
        let later = self.spells.iter().filter(|spell| spell.since >= time);
        self.at(time.next()).place.is_none() && later.into_iter().all(|spell| spell.place.is_none())
    }

    /// Since when the worker has been in the list that holds last, without a break: what came after
    /// that is its part. None where it is not in it.
    #[must_use]
    pub fn joined(&self) -> Option<Timestamp> {
        let own = self
            .spells
            .iter()
            .rev()
            .take_while(|spell| spell.place.is_some());
        own.last().map(|spell| spell.since)
    }

    /// Leaves only this worker's ops in a batch, and tells how many others there were.
    pub fn retain_own(&self, batch: &mut Batch, scratch: &mut Vec<u8>) -> usize {
        let newest = self.newest();
        batch.retain(|op| {
            let time = op.timestamp();
            let is_newest = newest.since < time;
            let spell = if is_newest { newest } else { self.at(time) };
            spell.owns(op, scratch)
        })
    }

    /// The list by which an op at that time belongs to somebody.
    fn at(&self, time: Timestamp) -> &Spell {
        let at = self.spells.partition_point(|spell| spell.since < time);
        &self.spells[at.saturating_sub(1)]
    }
}

#[cfg(test)]
mod tests {
    use oplet_sdk::raw::kind;

    use super::*;
    use crate::op::{BatchBuilder, Operation, Position, Record, SourceKind, Value};

    fn list(names: &[&str]) -> WorkerList {
        WorkerList::new(names.iter().map(ToString::to_string).collect()).unwrap()
    }

    fn at(seconds: u32) -> Timestamp {
        Timestamp::new(seconds, 1)
    }

    /// One op per second on documents that count up, and a command at the end.
    fn batch(seconds: std::ops::Range<u32>) -> Batch {
        let mut builder = BatchBuilder::new(Vec::new().into());
        let namespace = builder.make(|extra| extra.extend_from_slice(b"a.b"));
        let end = seconds.end;
        for second in seconds {
            let span = builder.make(|extra| extra.extend_from_slice(&second.to_le_bytes()));
            let mut record = Record::new(Operation::Insert, namespace, at(second));
            record.id = Some(Value {
                kind: kind::INT32,
                span,
            });
            builder.push(record);
        }
        builder.push(Record::new(Operation::Command, namespace, at(end)));
        builder.finish(SourceKind::Oplog, Position::Time(at(end)), true)
    }

    fn kept(membership: &Membership, seconds: std::ops::Range<u32>) -> Vec<u32> {
        let mut batch = batch(seconds);
        let len = batch.len();
        let others = membership.retain_own(&mut batch, &mut Vec::new());
        assert_eq!(batch.len() + others, len);
        batch.ops().map(|op| op.timestamp().seconds).collect()
    }

    /// Each document belongs to one worker at each time, and commands to all of the list.
    #[test]
    fn workers_agree_across_a_change() {
        let names = ["a", "b", "c"];
        let (before, after) = (list(&["a", "b"]), list(&["b", "c"]));
        let members = names.map(|name| {
            let mut membership = Membership::new(name, RingKind::Oplet, before.clone());
            membership.add(at(100), after.clone());
            membership
        });
        let mut owners = vec![Vec::new(); 200];
        for (name, membership) in names.iter().zip(&members) {
            for second in kept(membership, 1..199) {
                owners[second as usize].push(*name);
            }
        }
        for (second, owners) in owners.iter().enumerate().take(199).skip(1) {
            assert_eq!(owners.len(), 1, "{second}: {owners:?}");
            let list = if second <= 100 { &before } else { &after };
            assert!(list.place(owners[0]).is_some(), "{second}: {owners:?}");
        }
        assert_eq!(owners[199], ["b", "c"], "the command");
    }

    #[test]
    fn a_worker_knows_when_it_came_and_when_it_went() {
        let mut stays = Membership::new("a", RingKind::Oplet, list(&["a", "b"]));
        let mut comes = Membership::new("c", RingKind::Oplet, list(&["a", "b"]));
        let mut goes = Membership::new("b", RingKind::Oplet, list(&["a", "b"]));
        assert!(!comes.is_listed() && comes.is_over_at(at(1)));
        for membership in [&mut stays, &mut comes, &mut goes] {
            membership.add(at(9), list(&["a", "c"]));
        }
        assert_eq!(stays.joined(), Some(Timestamp::default()));
        assert_eq!(comes.joined(), Some(at(9)));
        assert_eq!(goes.joined(), None);
        assert!(goes.is_listed() && comes.is_listed());
        for (time, expected) in [
            (at(8), false),
            (at(9).before(), false),
            (at(9), true),
            (at(20), true),
        ] {
            assert_eq!(goes.is_over_at(time), expected, "{time}");
            assert!(!stays.is_over_at(time) && !comes.is_over_at(time));
        }
        goes.add(at(30), list(&["a", "b"]));
        assert!(!goes.is_over_at(at(20)), "it will come back");
        assert_eq!(goes.joined(), Some(at(30)));
    }
}
