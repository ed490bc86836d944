//! Several deployments: what is known of one says nothing of another.

use std::sync::Arc;

use super::{NAMESPACE, cluster, nowhere, time};
use crate::{
    checkpoint::Progress,
    control::direct::{
        DirectReads,
        coverage::{Coverage, Step},
        read::{Phase, Read},
        segment::State,
    },
    op::{Frontier, KeyRange, Position, Timestamp},
};

/// Two deployments with two streams each, and a read in each that follows the streams.
fn two() -> Coverage {
    let mut coverage = Coverage::default();
    for (deployment, name) in ["eu", "us"].into_iter().enumerate() {
        let mut read = Read::new(cluster(name), NAMESPACE.into(), vec!["m".into()], true);
        read.deployment = deployment;
        read.streams = vec![deployment * 2, deployment * 2 + 1];
        coverage.reads.push(read);
    }
    coverage.by_namespace = [(NAMESPACE.to_owned(), vec![0, 1])].into();
    coverage.begin([&cluster("eu"), &cluster("us")], 2);
    coverage
}

/// Looks at a read, and begins with its one segment.
fn begin(coverage: &mut Coverage, read: usize) -> u64 {
    assert_eq!(coverage.next(read), Some(Step::Plan { read }));
    coverage.cut(read, vec![vec![KeyRange::all()]]);
    match coverage.next(read) {
        Some(Step::Segment { id, .. }) => id,
        other => panic!("{other:?}"),
    }
}

fn at(entry: u32) -> Position {
    Position::Time(time(entry))
}

#[test]
fn what_one_gave_is_no_time_of_another() {
    let mut coverage = two();
    coverage.reached(1, &at(900), true);
    coverage.reached(2, &at(7), true);
    let [eu, us] = [0, 1].map(|read| begin(&mut coverage, read));
    assert_eq!(coverage.open(0, eu), Some(time(900)));
    assert_eq!(coverage.open(1, us), Some(time(7)));
    // Sessions later, and in whichever order.
    coverage.begin([&cluster("us"), &cluster("asia"), &cluster("eu")], 1);
    for (deployment, expected) in [(0, time(7)), (1, Timestamp::default()), (2, time(900))] {
        coverage.reads[0].deployment = deployment;
        assert_eq!(coverage.open(0, eu), Some(expected));
    }
}

#[test]
fn streams_are_beyond_what_was_read_of_their_own() {
    let mut coverage = two();
    let us = begin(&mut coverage, 1);
    coverage.reads[1].segment_mut(us).unwrap().state = State::Finished(time(50));
    assert_eq!(coverage.read_up_to(0), Timestamp::default());
    assert_eq!(coverage.read_up_to(3), time(50));
    for read in &mut coverage.reads {
        read.phase = Phase::Complete;
    }
    coverage.reads[0].segments.clear();
    assert!(coverage.is_over(0) && !coverage.is_over(3));
    coverage.reached(3, &at(51), true);
    assert!(coverage.is_over(3));
    coverage.reads[0].phase = Phase::Reading;
    assert!(!coverage.is_over(3), "the run is not over for any");
}

#[test]
fn where_all_wait_for_one_its_documents_wait_for_none_of_them() {
    let mut coverage = two();
    let eu = begin(&mut coverage, 0);
    coverage.reads[0].segment_mut(eu).unwrap().state = State::Open(time(20));
    coverage.reached(0, &at(30), true);
    // The other stream has more to give, which waits with all the rest.
    coverage.reached(1, &at(10), true);
    assert!(!coverage.are_beyond(0, time(20)));
    coverage.all_reached_before(0, time(31));
    assert!(coverage.are_beyond(0, time(20)));
    assert!(
        !coverage.are_beyond(1, time(20)),
        "not of another deployment"
    );
}

#[test]
fn a_part_that_is_not_done_holds_back_what_is_finished() {
    let reads = Arc::new(DirectReads::default());
    *reads.coverage() = two();
    let stage = reads.stage(0).unwrap();
    let mut coverage = reads.coverage();
    let eu = begin(&mut coverage, 0);
    coverage.reads[0].segment_mut(eu).unwrap().state = State::Given {
        at: time(20),
        behind: (4, 1),
        documents: 1,
    };
    coverage.reads[0].streams = vec![0];
    let progress = |entry| Progress {
        frontiers: [at(entry), nowhere(), nowhere(), nowhere()]
            .map(Frontier::at)
            .into(),
        mark: 0,
        ops: 0,
        reached: vec![(0, 0), (0, 0), (0, 0), (0, 0), (1, 0)],
    };
    // A change at 19 was given, and it waits at 21: its position is still that of 10.
    coverage.reached(0, &at(10), true);
    coverage.reached_before(0, time(21));
    drop(coverage);
    // Then that is given, too, but not all that came with it.
    stage.reached(&at(10), Some(time(21)), (&at(10), false));
    let settle = |entry| {
        let mut coverage = reads.coverage();
        coverage.settle(&progress(entry));
        coverage.reads[0].phase.clone()
    };
    assert_eq!(settle(10), Phase::Reading);
    assert!(reads.are_beyond(0, time(20)), "its documents may be given");
    stage.reached(&at(10), Some(time(22)), (&at(22), true));
    assert_eq!(settle(22), Phase::Complete);
}
