//! The window by hand, and against a model.

mod model;

use futures_util::FutureExt as _;
use tokio::task;

use super::*;
use crate::op::{
    BatchBuilder, OpIndex, OpPoint, Operation, Position, Record, SourceKind, Timestamp,
};

fn point(seconds: u32, index: u32) -> OpPoint {
    OpPoint {
        timestamp: Timestamp::new(seconds, 1),
        index,
    }
}

fn position(seconds: u32) -> Position {
    Position::Time(Timestamp::new(seconds, 1))
}

/// A batch of ops at those points, and the position after it.
fn batch_at(points: impl IntoIterator<Item = OpPoint>, position: Position) -> Arc<Batch> {
    let mut builder = BatchBuilder::new(Vec::new().into());
    let namespace = builder.make(|extra| extra.extend_from_slice(b"a.b"));
    for point in points {
        let mut record = Record::new(Operation::Insert, namespace, point.timestamp);
        record.index = OpIndex::Known(point.index);
        builder.push(record);
    }
    Arc::new(builder.finish(SourceKind::Oplog, position, false))
}

/// So many ops of one second, and the position after it.
fn batch(seconds: u32, len: u32) -> Arc<Batch> {
    batch_at(
        (0..len).map(|index| point(seconds, index)),
        position(seconds),
    )
}

fn window(streams: u32, options: WindowOptions) -> Arc<AckWindow> {
    let starts = (0..streams).map(|_| Frontier::at(position(0)));
    AckWindow::new(starts.collect(), options)
}

fn admit(window: &AckWindow, batch: &Arc<Batch>) -> BatchTicket {
    let admitted = window.admit(0, batch).now_or_never();
    admitted.expect("there is room")
}

fn frontier(window: &AckWindow) -> Frontier {
    window.frontiers().remove(0)
}

#[test]
fn the_frontier_follows_the_leading_ops() {
    let window = window(1, WindowOptions::default());
    let first = admit(&window, &batch(1, 3));
    let second = admit(&window, &batch(2, 2));
    let check = |seconds, done| {
        let expected = Frontier {
            position: position(seconds),
            done,
        };
        assert_eq!(frontier(&window), expected);
    };
    check(0, None);
    window.acknowledge(second, &[1, 0]);
    window.acknowledge(first, &[1]);
    check(0, None);
    assert_eq!(window.progress().reached, [(0, 0)]);
    window.acknowledge(first, &[0]);
    check(0, Some(point(1, 1)));
    assert_eq!(window.progress().reached, [(0, 2)]);
    window.acknowledge(first, &[2]);
    check(2, Some(point(2, 1)));
    assert_eq!(window.progress().reached, [(2, 0)]);
    assert_eq!(window.progress().ops, 5);
}

#[test]
fn a_long_transaction_moves_on_although_its_position_does_not() {
    let window = window(1, WindowOptions::default());
    let parts: Vec<_> = [0..3, 3..6]
        .into_iter()
        .map(|places| {
            admit(
                &window,
                &batch_at(places.map(|index| point(9, index)), position(4)),
            )
        })
        .collect();
    let check = |ticket, places: &[u32], done| {
        window.acknowledge(ticket, places);
        assert_eq!(frontier(&window).position, position(4));
        assert_eq!(frontier(&window).done, Some(done));
    };
    check(parts[0], &[0, 1, 2], point(9, 2));
    check(parts[1], &[0], point(9, 3));
    check(parts[1], &[1, 2], point(9, 5));
}

#[test]
fn a_batch_without_ops_moves_the_position_in_its_turn() {
    let window = window(1, WindowOptions::default());
    admit(&window, &batch(1, 0));
    assert_eq!(frontier(&window), Frontier::at(position(1)));
    let ticket = admit(&window, &batch(2, 1));
    for seconds in 3..1000 {
        admit(&window, &batch(seconds, 0));
    }
    assert_eq!(frontier(&window).position, position(1));
    assert_eq!(window.lock().streams[0].reached(), (1, 0));
    window.acknowledge(ticket, &[0]);
    assert_eq!(frontier(&window).position, position(999));
    assert_eq!(frontier(&window).done, Some(point(2, 0)));
}

#[test]
fn a_batch_is_freed_when_it_is_done_and_not_before() {
    let window = window(1, WindowOptions::default());
    let (first, second) = (batch(1, 2), batch(2, 200));
    let first_ticket = admit(&window, &first);
    let second_ticket = admit(&window, &second);
    let bytes = first.bytes() + second.bytes();
    assert_eq!(window.in_flight().bytes, bytes);
    let places: Vec<_> = (0..200).collect();
    window.acknowledge(second_ticket, &places);
    assert_eq!(Arc::strong_count(&second), 1);
    window.acknowledge(first_ticket, &[1]);
    assert_eq!(Arc::strong_count(&first), 2);
    assert_eq!(window.in_flight().bytes, first.bytes());
    // What comes again after a crash is bounded, too: the ops count until the frontier has passed.
    assert_eq!(window.in_flight().ops, 202);
    assert!(window.in_flight().oldest.is_some());
    window.acknowledge(first_ticket, &[0]);
    assert_eq!(Arc::strong_count(&first), 1);
    let nothing = InFlight {
        ops: 0,
        bytes: 0,
        oldest: None,
    };
    assert_eq!(window.in_flight(), nothing);
}

#[test]
fn ops_without_a_point_have_no_place_in_the_frontier() {
    let mut builder = BatchBuilder::new(Vec::new().into());
    let namespace = builder.make(|extra| extra.extend_from_slice(b"a.b"));
    let mut record = Record::new(Operation::Insert, namespace, Timestamp::new(1, 1));
    record.sharded = true;
    builder.push(record);
    let batch = Arc::new(builder.finish(SourceKind::ChangeStream, position(1), true));
    let window = window(1, WindowOptions::default());
    let ticket = admit(&window, &batch);
    window.acknowledge(ticket, &[0]);
    assert_eq!(frontier(&window), Frontier::at(position(1)));
}

#[test]
#[should_panic(expected = "acknowledged twice")]
fn no_op_may_be_acknowledged_twice() {
    let window = window(1, WindowOptions::default());
    let ticket = admit(&window, &batch(1, 2));
    window.acknowledge(ticket, &[0]);
    window.acknowledge(ticket, &[0]);
}

#[test]
fn a_store_that_is_away_bounds_what_was_admitted_since() {
    let options = WindowOptions {
        ops_max: 10,
        ..WindowOptions::default()
    };
    let window = window(1, options);
    let run = |seconds: u32| {
        let ticket = admit(&window, &batch(seconds, 5));
        window.acknowledge(ticket, &[0, 1, 2, 3, 4]);
    };
    (1..=4).for_each(run);
    window.hold_unsaved(true);
    let next = batch(5, 5);
    assert!(window.admit(0, &next).now_or_never().is_none());
    // Positions still move.
    let before = window.progress();
    admit(&window, &batch(5, 0));
    let after = window.progress();
    assert_eq!((before.ops, after.ops), (20, 20));
    assert!(after.mark > before.mark);
    window.saved(after.mark);
    (6..=7).for_each(run);
    assert!(window.admit(0, &next).now_or_never().is_none());
    window.hold_unsaved(false);
    run(8);
}

#[tokio::test]
async fn moves_and_idleness_are_told() {
    let window = window(1, WindowOptions::default());
    window.idle().await;
    assert!(window.moved().now_or_never().is_none());
    let ticket = admit(&window, &batch(1, 2));
    assert!(window.idle().now_or_never().is_none());
    window.acknowledge(ticket, &[1]);
    assert!(window.moved().now_or_never().is_none());
    let idle = task::spawn({
        let window = window.clone();
        async move { window.idle().await }
    });
    task::yield_now().await;
    window.acknowledge(ticket, &[0]);
    idle.await.unwrap();
    window.moved().await;
    assert!(window.moved().now_or_never().is_none());
}

#[tokio::test]
async fn some_ops_can_be_waited_for() {
    let window = window(1, WindowOptions::default());
    let first = admit(&window, &batch(1, 70));
    let second = admit(&window, &batch(2, 70));
    let index = |op: &Op<'_>| op.point().unwrap().index;
    let wait = |places, of: u32| window.done_up_to(second, places, move |op| index(op) == of);
    let check = |places, of, expected| {
        let is_done = wait(places, of).now_or_never().is_some();
        assert_eq!(is_done, expected, "{of} up to {places}");
    };
    check(0, 70, true);
    check(0, 66, false);
    window.acknowledge(first, &[66]);
    check(0, 66, true);
    check(66, 66, true);
    check(67, 66, false);
    let waiter = tokio::spawn({
        let window = window.clone();
        async move {
            window
                .done_up_to(second, 70, |op| op.point().unwrap().index == 66)
                .await
        }
    });
    task::yield_now().await;
    window.acknowledge(second, &(0..66).collect::<Vec<_>>());
    task::yield_now().await;
    assert!(!waiter.is_finished());
    window.acknowledge(second, &[66]);
    waiter.await.unwrap();
    // Batches that are done are not looked at.
    let rest: Vec<u32> = (0..66).chain(67..70).collect();
    window.acknowledge(first, &rest);
    check(70, 3, true);
    check(70, 68, false);
}
