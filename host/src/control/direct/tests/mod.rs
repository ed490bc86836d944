//! Random histories: whatever happens while a collection is read, a map that is filled with what is
//! given equals the collection, and never goes back to an older version.

mod endings;
mod several;
mod world;

use proptest::prelude::*;

use self::world::{World, cluster, key, nowhere, time};

const NAMESPACE: &str = "shop.orders";

/// Keys are numbers below this.
const KEYS: i32 = 12;

/// What a user does to the collection: each is one entry of the oplog.
#[derive(Debug, Clone, Copy)]
enum Write {
    /// The document of that key has another version.
    Put(i32),
    Delete(i32),
}

/// What the machinery does next.
#[derive(Debug, Clone, Copy)]
enum Turn {
    Write(Write),
    /// A stream reads so many entries.
    Read(usize),
    /// Something is begun.
    Begin,
    /// One of the segments under way is opened, or given, or cut in two.
    Work(usize, bool),
    /// One of the segments under way loses its snapshot, when some of its documents were given, or
    /// none.
    Lose(usize, bool),
    /// What was given is done and saved.
    Save,
    /// The process is killed, and another one goes on.
    Kill,
    /// The process begins anew where everything is done; of what was read, that may not be.
    Session(bool),
}

fn writes() -> impl Strategy<Value = Write> {
    prop_oneof![
        3 => (0..KEYS).prop_map(Write::Put),
        1 => (0..KEYS).prop_map(Write::Delete),
    ]
}

fn turns() -> impl Strategy<Value = Turn> {
    prop_oneof![
        8 => writes().prop_map(Turn::Write),
        6 => (1_usize..4).prop_map(Turn::Read),
        4 => Just(Turn::Begin),
        6 => (0_usize..4, prop::bool::weighted(0.2)).prop_map(|(n, cut)| Turn::Work(n, cut)),
        1 => (0_usize..4, any::<bool>()).prop_map(|(n, some)| Turn::Lose(n, some)),
        2 => Just(Turn::Save),
        1 => Just(Turn::Kill),
        1 => any::<bool>().prop_map(Turn::Session),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_given_leads_to_the_collection(
        before in proptest::collection::vec(writes(), 0..20),
        boundaries in proptest::collection::btree_set(0..KEYS, 0..4),
        turns in proptest::collection::vec(turns(), 0..120),
        is_ordered: bool,
    ) {
        let mut world = World::new(before, boundaries.into_iter().collect(), is_ordered);
        for turn in turns {
            world.turn(turn);
        }
        world.finish();
        let collection = world.at(world.history.len() as u32);
        prop_assert_eq!(&world.map, &collection);
        // What is finished lies side by side, and is one range soon.
        let segments = &world.coverage.reads[0].segments;
        prop_assert_eq!(segments.len(), 1, "{:?}", segments);
    }
}
