use proptest::{collection::vec, prelude::*};

use super::*;
use crate::op::{BatchBuilder, Operation, Record, SourceKind};

fn time(seconds: u32) -> Timestamp {
    Timestamp::new(seconds, 1)
}

/// A batch of an op per second, that ends there.
fn batch(seconds: &[u32], position: u32) -> Batch {
    let mut builder = BatchBuilder::new(Vec::new().into());
    let namespace = builder.make(|extra| extra.extend_from_slice(b"a.b"));
    for &second in seconds {
        builder.push(Record::new(Operation::Insert, namespace, time(second)));
    }
    builder.finish(SourceKind::Oplog, Position::Time(time(position)), true)
}

fn merge(starts: &[u32]) -> Merge {
    Merge::new(starts.iter().map(|&start| Position::Time(time(start))))
}

/// What can be given: stream, seconds of its ops, and the position behind.
fn given(merge: &mut Merge) -> Vec<(usize, Vec<u32>, u32)> {
    let mut given = Vec::new();
    while let Some((stream, batch)) = merge.take() {
        let seconds = batch.ops().map(|op| op.timestamp().seconds).collect();
        let position = batch.position().timestamp().unwrap_or_default();
        given.push((stream, seconds, position.seconds));
    }
    given
}

#[test]
fn an_op_waits_until_no_earlier_one_can_come() {
    let mut merge = merge(&[1, 1]);
    assert!(merge.push(0, batch(&[3, 5, 8], 9)).is_none());
    assert_eq!((given(&mut merge), merge.waits_for()), (vec![], Some(1)));
    assert!((!merge.wants(0)) && merge.wants(1));
    // The other stream moves without an op.
    assert!(merge.push(1, batch(&[], 5)).is_some());
    assert_eq!(given(&mut merge), [(0, vec![3, 5], 1)]);
    assert_eq!(merge.waits_for(), Some(1));
    assert!(merge.push(1, batch(&[6, 7, 9], 10)).is_none());
    assert_eq!(
        given(&mut merge),
        [(1, vec![6, 7], 5), (0, vec![8], 9), (1, vec![9], 10)]
    );
    assert_eq!(merge.waits_for(), None);
}

#[test]
fn a_stream_that_is_over_is_not_waited_for() {
    let mut merge = merge(&[0, 0, 0]);
    assert!(merge.push(2, batch(&[3], 3)).is_none());
    merge.end(0);
    assert_eq!((given(&mut merge), merge.waits_for()), (vec![], Some(1)));
    merge.end(1);
    assert_eq!(given(&mut merge), [(2, vec![3], 3)]);
    assert!(!merge.is_over());
    merge.end(2);
    assert!(merge.is_over());
}

#[test]
fn what_was_given_tells_the_time_where_positions_do_not() {
    let nowhere = || Position::ChangeStream {
        token: bson::rawdoc! {"_data": "?"},
        cluster_time: None,
    };
    let mut merge = Merge::new([nowhere(), Position::Time(time(9))]);
    let mut some = batch(&[4], 4);
    some.hold_at(nowhere());
    assert!(merge.push(0, some).is_none());
    assert_eq!(given(&mut merge).len(), 1);
    assert!(merge.push(1, batch(&[9], 9)).is_none());
    assert_eq!((given(&mut merge), merge.waits_for()), (vec![], Some(0)));
}

/// Batches of one stream: how far each op, and the position behind them, lies behind the one before.
fn stream() -> impl Strategy<Value = Vec<(Vec<u32>, u32)>> {
    vec((vec(0..4_u32, 0..5), 0..4_u32), 0..8)
}

proptest! {
    #[test]
    fn every_op_once_in_the_order_of_time(
        streams in vec(stream(), 1..5),
        turns in vec(any::<prop::sample::Index>(), 200),
    ) {
        let mut merge = Merge::new(streams.iter().map(|_| Position::Time(time(0))));
        let mut left: Vec<_> = streams.iter().map(|batches| batches.iter()).collect();
        let mut stands = vec![0; streams.len()];
        let mut began = stands.clone();
        let mut expected: Vec<Vec<u32>> = vec![Vec::new(); streams.len()];
        let mut merged: Vec<Vec<u32>> = expected.clone();
        let mut last = 0;
        let mut turns = turns.iter();
        loop {
            let given = given(&mut merge);
            for (at, (stream, seconds, position)) in given.iter().enumerate() {
                for &second in seconds {
                    prop_assert!(second >= last, "{second} after {last}");
                    last = second;
                    merged[*stream].push(second);
                }
                // A part that is not the last of its batch ends where the batch began.
                let is_followed = given[at + 1..].iter().any(|(other, ..)| other == stream);
                let ends_the_batch = !is_followed && merge.wants(*stream);
                let end = if ends_the_batch { &stands } else { &began };
                prop_assert_eq!(*position, end[*stream]);
            }
            let wanted: Vec<_> = (0..streams.len()).filter(|&stream| merge.wants(stream)).collect();
            let waits = merge.waits_for();
            prop_assert!(waits.is_none_or(|stream| wanted.contains(&stream)));
            if wanted.is_empty() {
                break;
            }
            // In whichever order batches come.
            let stream = turns.next().map_or(wanted[0], |turn| *turn.get(&wanted));
            let Some((steps, behind)) = left[stream].next() else {
                merge.end(stream);
                continue;
            };
            began[stream] = stands[stream];
            let mut seconds = Vec::new();
            for step in steps {
                stands[stream] += step;
                seconds.push(stands[stream]);
            }
            stands[stream] += behind;
            expected[stream].extend(&seconds);
            let is_empty = seconds.is_empty();
            prop_assert_eq!(merge.push(stream, batch(&seconds, stands[stream])).is_some(), is_empty);
        }
        prop_assert!(merge.is_over());
        prop_assert_eq!(merged, expected);
    }
}
