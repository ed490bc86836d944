//! Ops that wait for another try, and those behind them.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    time::Instant,
};

/// Which ops stay in order: those of one module, and of one order key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    /// Number of the module.
    pub(super) module: usize,
    /// What of its ops stays in order; see [`OrderKeys`](super::order::OrderKeys).
    pub(super) order: u64,
}

/// What waits in one lane. The first of a key has a time at which it is tried; the others follow it,
/// in order. Keys do not wait for each other.
///
/// It is bounded by who bounds the ops that are under way.
#[derive(Debug)]
pub(super) struct ParkedOps<T> {
    queues: HashMap<Key, VecDeque<T>>,
    /// When the first of each key is due; those that are out for a try are not in here.
    due: BTreeSet<(Instant, Key)>,
}

impl<T> Default for ParkedOps<T> {
    fn default() -> Self {
        Self {
            queues: HashMap::new(),
            due: BTreeSet::new(),
        }
    }
}

impl<T> ParkedOps<T> {
    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    /// When the next one wants to be tried, if any waits.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Whether an op of that key has to wait for others.
    pub(super) fn holds(&self, key: Key) -> bool {
        self.queues.contains_key(&key)
    }

    /// Parks the first op of a key, until `due`.
    pub(super) fn park(&mut self, key: Key, due: Instant, op: T) {
        debug_assert!(!self.holds(key), "others of this key come first");
        self.queues.insert(key, VecDeque::from([op]));
        self.due.insert((due, key));
    }

    /// Parks an op behind the others of its key.
    pub(super) fn queue(&mut self, key: Key, op: T) {
        self.queues.entry(key).or_default().push_back(op);
    }

    /// Parks an op before the others of its key, which may be waiting already.
    pub(super) fn put_before(&mut self, key: Key, due: Instant, op: T) {
        self.due.retain(|(_, other)| *other != key);
        self.park_again(key, due, op);
    }

    /// Takes out the op that has been due the longest, to be tried. Its key stays held until
    /// [`succeed`](Self::succeed) or [`park_again`](Self::park_again).
    pub(super) fn take_due(&mut self, now: Instant) -> Option<(Key, T)> {
        let (_, key) = self.due.first().filter(|(due, _)| *due <= now)?;
        let key = *key;
        self.due.pop_first();
        let op = self.queues.get_mut(&key)?.pop_front()?;
        Some((key, op))
    }

    /// The op that was taken out is done, in one way or another: the next of its key follows at once.
    pub(super) fn succeed(&mut self, key: Key, now: Instant) {
        match self.queues.get(&key) {
            Some(queue) if !queue.is_empty() => {
                self.due.insert((now, key));
            }
            _ => {
                self.queues.remove(&key);
            }
        }
    }

    /// The op that was taken out waits again, before the others of its key.
    pub(super) fn park_again(&mut self, key: Key, due: Instant, op: T) {
        self.queues.entry(key).or_default().push_front(op);
        self.due.insert((due, key));
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, time::Duration};

    use proptest::prelude::*;

    use super::*;

    /// One op of a lane: its order key, and how often it fails before it succeeds.
    #[derive(Debug, Clone, Copy)]
    struct Planned {
        key: u64,
        failures: u32,
    }

    fn key(order: u64) -> Key {
        Key { module: 0, order }
    }

    proptest! {
        /// Ops come one a millisecond; a failed one is tried again after 5 ms.
        #[test]
        fn ops_of_a_key_stay_in_order_and_others_do_not_wait(
            plan in prop::collection::vec((0_u64..4, 0_u32..3), 1..40)
        ) {
            let plan: Vec<Planned> =
                plan.into_iter().map(|(key, failures)| Planned { key, failures }).collect();
            let start = Instant::now();
            let at = |step: u64| start + Duration::from_millis(step);
            let delay = Duration::from_millis(5);
            let mut left: Vec<u32> = plan.iter().map(|op| op.failures).collect();
            let mut parked = ParkedOps::default();
            let mut done: Vec<(usize, u64)> = Vec::new();
            let mut step = 0;
            while step < plan.len() as u64 || !parked.is_empty() {
                let now = at(step);
                while let Some((held, op)) = parked.take_due(now) {
                    prop_assert!(parked.holds(held), "a key stays held during its try");
                    if left[op] > 0 {
                        left[op] -= 1;
                        parked.park_again(held, now + delay, op);
                    } else {
                        done.push((op, step));
                        parked.succeed(held, now);
                    }
                }
                if let Some(op) = plan.get(step as usize) {
                    let (op, key) = (step as usize, key(op.key));
                    if parked.holds(key) {
                        parked.queue(key, op);
                    } else if left[op] > 0 {
                        left[op] -= 1;
                        parked.park(key, now + delay, op);
                    } else {
                        done.push((op, step));
                    }
                }
                step += 1;
                prop_assert!(step < 10_000, "everything comes to an end");
            }
            prop_assert_eq!(parked.due(), None);
            prop_assert_eq!(done.len(), plan.len());
            let mut last = HashMap::new();
            for (op, _) in &done {
                let before = last.insert(plan[*op].key, *op);
                prop_assert!(before.is_none_or(|before| before < *op), "{:?}", done);
            }
            // A key without failures never waits for another one.
            for (op, step) in &done {
                let planned = plan[*op];
                let same = plan.iter().filter(|other| other.key == planned.key);
                if same.map(|other| other.failures).sum::<u32>() == 0 {
                    prop_assert_eq!(*step, *op as u64);
                }
            }
        }
    }

    #[test]
    fn modules_do_not_wait_for_each_other() {
        let now = Instant::now();
        let mut parked = ParkedOps::default();
        parked.park(key(1), now, "op");
        let other = Key {
            module: 1,
            order: 1,
        };
        assert!(parked.holds(key(1)) && !parked.holds(other));
        assert_eq!(parked.take_due(now), Some((key(1), "op")));
        parked.succeed(key(1), now);
        assert!(parked.is_empty());
    }
}
