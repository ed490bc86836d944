//! Consistent hashing: which worker a document belongs to.

use std::str::FromStr;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::{WorkerList, gtm};
use crate::op::canonical_id;

/// How many slots the documents are spread over. Each belongs to one worker; with 100 workers each has
/// 655 of them, give or take 25 (one standard deviation). The number is part of the contract with
/// other processes and never changes.
const SLOTS: usize = 1 << 16;

/// Which way documents are given to workers. All processes that share a list must use the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RingKind {
    /// Even shares; when the list changes, only what must move moves.
    #[default]
    Oplet,
    /// gtm's, whose shares are uneven, for who runs both side by side.
    Gtm,
}

impl RingKind {
    /// Every kind with the word that users write.
    pub const WORDS: [(&'static str, Self); 2] = [("oplet", Self::Oplet), ("gtm", Self::Gtm)];
}

impl FromStr for RingKind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut found = Self::WORDS.iter().filter(|(word, _)| *word == text);
        found.next().map(|(_, kind)| *kind).ok_or(())
    }
}

/// Gives each document to one of the workers of a list. The same for the same names, in whatever
/// order, in every process and version.
#[derive(Debug, Clone)]
pub struct Ring {
    list: WorkerList,
    owners: Owners,
}

#[derive(Debug, Clone)]
enum Owners {
    /// By slot: the place of its worker in the list.
    Slots(Box<[u16]>),
    Points(gtm::Points),
}

impl Ring {
    /// The ring of a list.
    ///
    /// # Panics
    /// When there are more than 65,536 workers.
    #[must_use]
    pub fn new(kind: RingKind, list: WorkerList) -> Self {
        let owners = match kind {
            RingKind::Oplet => Owners::Slots(slots(list.names())),
            RingKind::Gtm => Owners::Points(gtm::Points::of(list.names())),
        };
        Self { list, owners }
    }

    /// The list that it was made of.
    #[must_use]
    pub fn list(&self) -> &WorkerList {
        &self.list
    }

    /// Place in the list of the worker that a document belongs to; its `_id` is given as the type byte
    /// and the value's bytes. `scratch` saves an allocation per call.
    #[must_use]
    pub fn owner(&self, (kind, value): (u8, &[u8]), scratch: &mut Vec<u8>) -> usize {
        scratch.clear();
        match &self.owners {
            Owners::Slots(slots) => {
                // Numbers that MongoDB calls equal are one document.
                canonical_id(kind, value, scratch);
                usize::from(slots[(xxh3_64(scratch) >> 48) as usize])
            }
            Owners::Points(points) => {
                gtm::print_id(kind, value, scratch);
                points.owner(scratch)
            }
        }
    }
}

/// The owner of each slot: the worker with the highest weight there (rendezvous hashing). A worker that
/// comes takes slots where its weight is the highest, and no other slot moves; one that goes leaves its
/// own behind, and no other moves either.
fn slots(names: &[String]) -> Box<[u16]> {
    assert!(names.len() <= 1 << 16, "a worker's place has 16 bits");
    let seeds: Vec<u64> = names.iter().map(|name| xxh3_64(name.as_bytes())).collect();
    let weight = |place: usize, slot: usize| {
        let weight = xxh3_64_with_seed(&(slot as u64).to_le_bytes(), seeds[place]);
        // Of equal weights the lesser name's wins, wherever it stands in the list.
        (weight, std::cmp::Reverse(&names[place]))
    };
    let owner = |slot| {
        let places = 0..names.len();
        places.max_by_key(|place| weight(*place, slot)).unwrap_or(0) as u16
    };
    (0..SLOTS).map(owner).collect()
}

#[cfg(test)]
mod tests {
    use oplet_sdk::raw::kind;
    use proptest::prelude::*;

    use super::*;

    fn ring(names: impl IntoIterator<Item = String>) -> Ring {
        Ring::new(
            RingKind::Oplet,
            WorkerList::new(names.into_iter().collect()).unwrap(),
        )
    }

    fn numbered(prefix: &str, count: usize) -> Ring {
        ring((0..count).map(|n| format!("{prefix}{n}")))
    }

    fn owner(ring: &Ring, id: i64) -> &str {
        let id = id.to_le_bytes();
        let place = ring.owner((kind::INT64, &id), &mut Vec::new());
        &ring.list().names()[place]
    }

    /// How the largest and the smallest share differ from an even one, in percent.
    fn deviation(counts: &[usize]) -> f64 {
        let even = counts.iter().sum::<usize>() as f64 / counts.len() as f64;
        let off = |count: &usize| (*count as f64 / even - 1.0).abs() * 100.0;
        counts.iter().map(off).fold(0.0, f64::max)
    }

    #[test]
    fn shares_are_even() {
        for prefix in ["", "orders.example.org:"] {
            for count in [2, 3, 10, 33, 100] {
                let ring = numbered(prefix, count);
                let Owners::Slots(slots) = &ring.owners else {
                    unreachable!()
                };
                let mut of_slots = vec![0; count];
                slots
                    .iter()
                    .for_each(|owner| of_slots[usize::from(*owner)] += 1);
                let deviation = deviation(&of_slots);
                assert!(deviation < 15.0, "{prefix}{count}: {deviation} %");
            }
        }
        // Of documents, too; of ids that count up, and of object ids of one process.
        let ring = numbered("w", 10);
        let mut counts = [[0; 10]; 2];
        for n in 0..100_000_u32 {
            let mut object_id = [7; 12];
            object_id[8..].copy_from_slice(&n.to_be_bytes());
            let mut scratch = Vec::new();
            let number = n.to_le_bytes();
            counts[0][ring.owner((kind::INT32, &number), &mut scratch)] += 1;
            counts[1][ring.owner((kind::OBJECT_ID, &object_id), &mut scratch)] += 1;
        }
        for counts in counts {
            assert!(deviation(&counts) < 10.0, "{counts:?}");
        }
    }

    /// Other processes and later versions must agree, so these may never change.
    #[test]
    fn owners_are_stable() {
        let ring = ring(["Tom", "Dick", "Harry"].map(str::to_owned));
        let owners: Vec<_> = (1..=8).map(|id| owner(&ring, id)).collect();
        assert_eq!(owners, OWNERS);
    }

    const OWNERS: [&str; 8] = ["Dick", "Dick", "Tom", "Tom", "Harry", "Tom", "Dick", "Tom"];

    #[test]
    fn numbers_that_are_one_id_have_one_owner() {
        let ring = numbered("w", 7);
        for n in -500..500_i32 {
            let mut scratch = Vec::new();
            let (int, double) = (n.to_le_bytes(), f64::from(n).to_le_bytes());
            let owner = ring.owner((kind::INT32, &int), &mut scratch);
            assert_eq!(owner, ring.owner((kind::DOUBLE, &double), &mut scratch));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn only_what_must_move_moves(
            names in prop::collection::btree_set("[a-z]{1,8}", 2..12),
            left_out in any::<prop::sample::Index>(),
            ids in prop::collection::vec(any::<i64>(), 200),
        ) {
            let names: Vec<String> = names.into_iter().collect();
            let gone = names[left_out.index(names.len())].clone();
            let all = ring(names.iter().rev().cloned());
            let others = ring(names.iter().filter(|name| **name != gone).cloned());
            for id in ids {
                let before = owner(&all, id);
                let after = owner(&others, id);
                prop_assert!(after != gone);
                prop_assert!(before == after || before == gone);
            }
        }
    }
}
