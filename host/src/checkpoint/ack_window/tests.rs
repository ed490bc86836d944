//! The window against a model, and by hand.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

use futures_util::FutureExt as _;
use proptest::prelude::*;
use tokio::{runtime, task};

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

// === by hand ===

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

// === against a model ===

/// What happens.
#[derive(Debug, Clone)]
enum Action {
    /// A stream has a batch of so many ops.
    Offer { stream: usize, len: u32 },
    /// Some ops of some batch that was admitted are done; the numbers pick which.
    Acknowledge { batch: usize, keys: Vec<u32> },
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let offer = (0..3_usize, 0..20_u32).prop_map(|(stream, len)| Action::Offer { stream, len });
    let acknowledge = (any::<usize>(), prop::collection::vec(any::<u32>(), 1..20))
        .prop_map(|(batch, keys)| Action::Acknowledge { batch, keys });
    prop::collection::vec(prop_oneof![1 => offer, 2 => acknowledge], 0..120)
}

/// A batch in the model.
#[derive(Debug)]
struct Modelled {
    stream: usize,
    batch: Arc<Batch>,
    ticket: BatchTicket,
    left: BTreeSet<u32>,
}

/// Does in the plainest way what the window does.
#[derive(Debug, Default)]
struct Model {
    /// In the order of admission, all that there ever were.
    batches: Vec<Modelled>,
    waiting: VecDeque<(usize, Arc<Batch>)>,
    sequences: [u64; 3],
}

impl Model {
    fn of_stream(&self, stream: usize) -> impl Iterator<Item = &Modelled> {
        self.batches
            .iter()
            .filter(move |batch| batch.stream == stream)
    }

    fn above(&self, stream: usize) -> impl Iterator<Item = &Modelled> {
        self.of_stream(stream)
            .skip_while(|batch| batch.left.is_empty())
    }

    fn frontier(&self, stream: usize) -> Frontier {
        let mut frontier = Frontier::at(position(0));
        for Modelled { batch, left, .. } in self.of_stream(stream) {
            for place in 0..batch.len() as u32 {
                if left.contains(&place) {
                    return frontier;
                }
                frontier.done = batch.op(place as usize).point();
            }
            frontier.position = batch.position().clone();
        }
        frontier
    }

    fn ops(&self) -> u64 {
        let above = (0..3).flat_map(|stream| self.above(stream));
        above.map(|batch| batch.batch.len() as u64).sum()
    }

    fn bytes(&self) -> usize {
        let open = self.batches.iter().filter(|batch| !batch.left.is_empty());
        open.map(|batch| batch.batch.bytes()).sum()
    }

    fn take_in(&mut self, stream: usize, batch: Arc<Batch>) {
        let sequence = self.sequences[stream];
        self.sequences[stream] += 1;
        self.batches.push(Modelled {
            stream,
            left: (0..batch.len() as u32).collect(),
            batch,
            ticket: BatchTicket { stream, sequence },
        });
    }

    fn take_in_waiting(&mut self, options: &WindowOptions) {
        while let Some((stream, batch)) = self.waiting.front().cloned() {
            let fits = self.ops() + batch.len() as u64 <= options.ops_max
                && self.bytes() + batch.bytes() <= options.bytes_max;
            if !fits && self.ops() > 0 {
                return;
            }
            self.waiting.pop_front();
            self.take_in(stream, batch);
        }
    }
}

/// Lets every task run until it waits.
async fn settle() {
    for _ in 0..20 {
        task::yield_now().await;
    }
}

async fn check(actions: Vec<Action>, options: WindowOptions) {
    let window = window(3, options);
    let mut model = Model::default();
    let mut seconds = 0;
    let admitted = Arc::new(AtomicUsize::new(0));
    let mut offers = 0;
    for action in actions {
        match action {
            Action::Offer { stream, len } => {
                // A stream offers one batch at a time.
                if model.waiting.iter().any(|(waiting, _)| *waiting == stream) {
                    continue;
                }
                seconds += 1;
                offers += 1;
                let batch = batch(seconds, len);
                match len {
                    0 => model.take_in(stream, batch.clone()),
                    _ => model.waiting.push_back((stream, batch.clone())),
                }
                let (window, admitted) = (window.clone(), admitted.clone());
                task::spawn(async move {
                    window.admit(stream, &batch).await;
                    admitted.fetch_add(1, SeqCst);
                });
            }
            Action::Acknowledge { batch, keys } => {
                let open: Vec<_> = model
                    .batches
                    .iter_mut()
                    .filter(|batch| !batch.left.is_empty())
                    .collect();
                let count = open.len().max(1);
                let Some(chosen) = open.into_iter().nth(batch % count) else {
                    continue;
                };
                let mut places = Vec::new();
                for key in keys {
                    let left = chosen.left.len().max(1);
                    if let Some(&place) = chosen.left.iter().nth(key as usize % left) {
                        chosen.left.remove(&place);
                        places.push(place);
                    }
                }
                window.acknowledge(chosen.ticket, &places);
            }
        }
        model.take_in_waiting(&options);
        settle().await;
        assert_eq!(
            admitted.load(SeqCst),
            offers - model.waiting.len(),
            "no admission is missed or early"
        );
        let frontiers: Vec<_> = (0..3).map(|stream| model.frontier(stream)).collect();
        assert_eq!(window.frontiers(), frontiers);
        let in_flight = window.in_flight();
        assert_eq!(
            (in_flight.ops, in_flight.bytes),
            (model.ops(), model.bytes())
        );
        let largest = 19;
        assert!(in_flight.ops <= options.ops_max.max(largest));
        let progress = window.progress();
        let leading = |stream| {
            let first = model.above(stream).next();
            first.map_or((model.sequences[stream], 0), |first| {
                let leading = first
                    .left
                    .first()
                    .copied()
                    .expect("something of it is not done");
                (first.ticket.sequence, leading)
            })
        };
        assert_eq!(
            progress.reached,
            (0..3).map(leading).collect::<Vec<_>>(),
            "{model:?}"
        );
    }
}

proptest! {
    #[test]
    fn does_what_the_model_does(actions in actions(), ops_max in 1..60_u64, kibibytes in 1..8_usize) {
        let options = WindowOptions { ops_max, bytes_max: kibibytes << 10 };
        let runtime = runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(check(actions, options));
    }
}
