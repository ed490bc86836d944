//! Collections that end, and changes that are asked for again.

use oplet_sdk::raw::Writer;

use super::{KEYS, NAMESPACE, World, Write, cluster, key, nowhere, time};
use crate::{
    checkpoint::{AckWindow, Progress, WindowOptions},
    control::direct::{
        DirectReads,
        coverage::Step,
        read::{Phase, Read},
        segment::State,
    },
    op::{Batch, BatchBuilder, KeyRange, Operation, Position, Record, SourceKind, Timestamp},
};

/// A command of that name about a collection, as a batch of one.
fn command(name: &str, namespace: &str, to: Option<&str>, at: Timestamp) -> Batch {
    let mut builder = BatchBuilder::new(Vec::new().into());
    let span = builder.make(|extra| extra.extend_from_slice(namespace.as_bytes()));
    let mut record = Record::new(Operation::Command, span, at);
    record.data = Some(builder.make(|extra| {
        let mut writer = Writer::new(extra);
        writer.text(name.as_bytes(), namespace);
        if let Some(to) = to {
            writer.text(b"to", to);
        }
        writer.finish();
    }));
    builder.push(record);
    builder.finish(SourceKind::Oplog, Position::Time(at), false)
}

/// A world whose collection was read to its end, but for one segment.
fn half_read() -> World {
    let history = (0..KEYS).map(Write::Put).collect();
    let mut world = World::new(history, vec![6], true);
    world.take();
    world.coverage.reads[0].seen_at = time(KEYS as u32);
    world.take();
    (0..3).for_each(|_| world.work(0, false));
    assert_eq!(world.map.len(), 6);
    world
}

#[test]
fn the_end_of_a_collection_comes_behind_its_documents_and_ends_the_read() {
    let later = time(KEYS as u32 + 5);
    for (name, namespace, to) in [
        ("drop", NAMESPACE, None),
        ("dropDatabase", "shop", None),
        ("renameCollection", NAMESPACE, Some("shop.old")),
        ("renameCollection", "shop.new", Some(NAMESPACE)),
    ] {
        let mut world = half_read();
        world.take();
        world.work(0, false);
        let mut batch = command(name, namespace, to, later);
        let waits = world.coverage.sift(0, &mut batch, &nowhere());
        assert_eq!(waits.map(|(at, _)| at), Some(later), "{name} waits");
        world.work(0, false);
        let mut batch = command(name, namespace, to, later);
        let waits = world.coverage.sift(0, &mut batch, &nowhere());
        assert!(waits.is_some(), "{name} waits for the documents");
        world.work(0, false);
        let mut batch = command(name, namespace, to, later);
        assert!(world.coverage.sift(0, &mut batch, &nowhere()).is_none());
        assert_eq!(batch.len(), 1, "{name} is given");
        assert!(matches!(world.coverage.reads[0].phase, Phase::Ended(_)));
        assert_eq!(world.coverage.next(0), None);
        assert!(world.coverage.is_given());
    }
}

#[test]
fn other_commands_end_nothing() {
    let later = time(KEYS as u32 + 5);
    for (name, namespace, to) in [
        ("drop", "shop.other", None),
        ("dropDatabase", "sho", None),
        ("create", NAMESPACE, None),
        ("renameCollection", "shop.a", Some("shop.b")),
    ] {
        let mut world = half_read();
        let mut batch = command(name, namespace, to, later);
        assert!(world.coverage.sift(0, &mut batch, &nowhere()).is_none());
        assert_eq!(batch.len(), 1);
        assert_eq!(world.coverage.reads[0].phase, Phase::Reading, "{name}");
    }
    // It ended another collection of that name, before this one was made.
    let mut world = half_read();
    let mut batch = command("drop", NAMESPACE, None, time(3));
    assert!(world.coverage.sift(0, &mut batch, &nowhere()).is_none());
    assert!(batch.is_empty());
    assert_eq!(world.coverage.reads[0].phase, Phase::Reading);
}

#[test]
fn a_seek_lets_what_was_covered_be_seen_again() {
    let mut world = half_read();
    world.save();
    let mut batch = world.batch(0, KEYS as usize);
    assert!(world.coverage.sift(0, &mut batch, &nowhere()).is_none());
    assert!(batch.is_empty(), "all of it is covered");
    world.coverage.put_back();
    world.coverage.forget();
    let mut batch = world.batch(0, KEYS as usize);
    assert!(world.coverage.sift(0, &mut batch, &nowhere()).is_none());
    assert_eq!(batch.len(), KEYS as usize);
}

/// A reader of a collection that has ended meanwhile fails, or the session is over.
#[test]
fn nothing_is_left_to_be_read_of_a_collection_that_has_ended() {
    for is_over in [false, true] {
        let mut world = half_read();
        world.take();
        world.work(0, false);
        assert!(world.coverage.reads[0].end("the collection was dropped"));
        assert!(!world.coverage.is_given(), "a reader is at it");
        match is_over {
            true => world.coverage.put_back(),
            false => world.lose(0, false),
        }
        assert!(world.coverage.is_given(), "{is_over}");
    }
}

/// What there is was perhaps looked at before a change, which is then contained in nothing.
#[test]
fn a_change_waits_until_it_is_known_what_there_is() {
    let history = (0..KEYS).map(Write::Put).collect();
    for ranges in [
        vec![],
        vec![KeyRange {
            from: None,
            to: Some(key(6)),
        }],
    ] {
        let mut world = World::new(Vec::clone(&history), vec![], true);
        world.position = 0;
        assert_eq!(world.coverage.next(0), Some(Step::Plan { read: 0 }));
        world.read(KEYS as usize);
        assert!(world.rest.is_some() && world.map.is_empty());
        let is_absent = ranges.is_empty();
        world.coverage.cut(0, vec![ranges]);
        world.read(0);
        assert!(world.rest.is_none());
        let given: Vec<_> = world.map.keys().copied().collect();
        let expected = if is_absent { 0 } else { 6 };
        assert_eq!(given, (expected..KEYS).collect::<Vec<_>>());
    }
}

/// A save that is about the session before comes late.
#[test]
fn what_is_done_in_the_window_before_finishes_nothing() {
    let reads = DirectReads::default();
    let mut read = Read::new(cluster("rs0"), NAMESPACE.into(), vec!["m".into()], false);
    let given = State::Given {
        at: time(1),
        behind: (0, 1),
        documents: 1,
    };
    read.segments[0].state = given;
    reads.coverage().reads.push(read);
    let window = || AckWindow::with_reads(vec![], 1, WindowOptions::default());
    let (before, present) = (window(), window());
    reads.follow(&present);
    let progress = |batches| Progress {
        frontiers: vec![],
        mark: 0,
        ops: 0,
        reached: vec![(batches, 0)],
    };
    reads.settle(&before, &progress(5));
    reads.settle(&present, &progress(0));
    assert_eq!(reads.coverage().reads[0].segments[0].state, given);
    let saved = reads.settle(&present, &progress(1));
    assert_eq!(saved[0].ranges, [(KeyRange::all(), time(1))]);
}

/// What stands in the checkpoint is not read again: so its documents are done, and where it follows a stream,
/// all changes before it.
#[test]
fn a_segment_is_finished_when_it_is_done_and_the_stream_beyond_it() {
    let settled = |stream: u32, sequence: u64, follows: bool| {
        let history = (0..KEYS).map(Write::Put).collect();
        let mut world = World::new(history, vec![6], true);
        world.take();
        let (states, segments) = ([(4, 1), (7, 2)], &mut world.coverage.reads[0].segments);
        for ((at, batches), segment) in states.into_iter().zip(segments) {
            segment.follows = follows;
            segment.state = State::Given {
                at: time(at),
                behind: (1, batches),
                documents: 1,
            };
        }
        world.position = stream as usize;
        world.coverage.settle(&world.progress(sequence));
        let segments = world.coverage.reads[0].segments.iter();
        let finished = segments.filter(|segment| segment.is_finished());
        finished
            .map(|segment| segment.range.clone())
            .collect::<Vec<_>>()
    };
    let all = KeyRange::all().cut([key(6)]);
    let none: Vec<KeyRange> = Vec::new();
    assert_eq!(settled(9, 0, false), none);
    assert_eq!(settled(9, 1, false), all[..1]);
    assert_eq!(settled(4, 2, true), none, "it may have more of that time");
    assert_eq!(settled(5, 2, true), all[..1]);
    assert_eq!(settled(0, 2, false), all, "each covers changes of its own");
    assert_eq!(settled(7, 2, false), all);
    assert_eq!(settled(8, 2, false), [KeyRange::all()]);
    assert_eq!(settled(8, 2, true), [KeyRange::all()]);
}

/// Several changes may have one cluster time.
#[test]
fn a_stream_is_at_a_time_when_it_has_all_of_it() {
    let mut world = World::new(vec![], vec![], true);
    let position = Position::Time(time(5));
    world.coverage.reached(0, &position, false);
    assert!(world.coverage.are_beyond(0, time(4)) && !world.coverage.are_beyond(0, time(5)));
    world.coverage.reached(0, &position, true);
    assert!(world.coverage.are_beyond(0, time(5)));
    world.coverage.reached_before(0, time(9));
    assert!(!world.coverage.are_beyond(0, time(9)));
}
