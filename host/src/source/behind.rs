//! What lies behind a source although it reads it again.

use crate::op::{Batch, OpPoint};

/// Passes over ops that are done, and remembers how far ops were given.
///
/// A position lies between batches, and before a whole transaction; an op inside is named by its
/// point. Ops without a point (behind a mongos, or with tokens of an unknown format) are always given.
#[derive(Debug, Default)]
pub(super) struct Behind {
    /// Ops up to here are passed over; none once an op beyond it came, as ops come in this order.
    done: Option<OpPoint>,
    /// The last op that was given.
    given: Option<OpPoint>,
}

impl Behind {
    /// Ops at or before `done` are done.
    pub(super) fn new(done: Option<OpPoint>) -> Self {
        Self { done, given: None }
    }

    /// Leaves out of a batch what is done.
    pub(super) fn pass_over(&mut self, batch: &mut Batch) {
        if let Some(done) = self.done {
            let is_open = |point: Option<OpPoint>| point.is_none_or(|point| point > done);
            let first = batch.ops().position(|op| is_open(op.point()));
            batch.skip(first.unwrap_or(batch.len()));
            if first.is_some() {
                self.done = None;
            }
        }
        if let Some(last) = batch.len().checked_sub(1) {
            self.given = batch.op(last).point();
        }
    }

    /// The source begins again somewhat earlier: what was given, and all up to `at`, is done.
    pub(super) fn read_again(&mut self, at: Option<OpPoint>) {
        self.done = self.done.max(self.given).max(at);
    }

    /// What follows has another history: nothing of it is done.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{BatchBuilder, OpIndex, Operation, Position, Record, SourceKind, Timestamp};

    /// Cluster time and index of each op; no index for an op without a point.
    type Ops = [(u32, Option<u32>)];

    fn batch(ops: &Ops) -> Batch {
        let mut builder = BatchBuilder::new(Vec::new().into());
        let namespace = builder.make(|extra| extra.extend_from_slice(b"a.b"));
        for &(seconds, index) in ops {
            let time = Timestamp::new(seconds, 1);
            let mut record = Record::new(Operation::Insert, namespace, time);
            record.index = index.map_or(OpIndex::TokenHash(1), OpIndex::Known);
            builder.push(record);
        }
        let position = Position::Time(Timestamp::new(9, 1));
        builder.finish(SourceKind::ChangeStream, position, true)
    }

    fn point(seconds: u32, index: u32) -> Option<OpPoint> {
        Some(OpPoint {
            timestamp: Timestamp::new(seconds, 1),
            index,
        })
    }

    /// How many ops of each batch are left.
    fn check(behind: &mut Behind, batches: &[(&Ops, usize)]) {
        for (ops, left) in batches {
            let mut batch = batch(ops);
            behind.pass_over(&mut batch);
            assert_eq!(batch.len(), *left, "{ops:?} with {behind:?}");
        }
    }

    #[test]
    fn ops_up_to_the_point_are_passed_over() {
        let transaction: &[_] = &[(2, Some(0)), (2, Some(1)), (2, Some(2))];
        let mut behind = Behind::new(point(2, 1));
        check(&mut behind, &[(&[(1, Some(0))], 0), (&[], 0)]);
        check(&mut behind, &[(transaction, 1), (&[(3, Some(0))], 1)]);
        check(&mut Behind::new(None), &[(transaction, 3)]);
    }

    #[test]
    fn ops_without_a_point_are_always_given() {
        let mut behind = Behind::new(point(5, 0));
        check(&mut behind, &[(&[(1, None), (2, None)], 2)]);
        behind.read_again(None);
        check(&mut behind, &[(&[(1, None), (2, None)], 2)]);
    }

    #[test]
    fn what_was_given_is_passed_over_when_it_is_read_again() {
        let mut behind = Behind::new(point(1, 0));
        let transaction: &[_] = &[(2, Some(0)), (2, Some(1))];
        check(&mut behind, &[(&transaction[..1], 1)]);
        behind.read_again(None);
        check(&mut behind, &[(&[(1, Some(0))], 0), (transaction, 1)]);
        behind.read_again(point(3, 0));
        check(&mut behind, &[(transaction, 0), (&[(3, Some(0))], 0)]);
        // A start that was not yet passed stays.
        let mut behind = Behind::new(point(2, 0));
        behind.read_again(None);
        check(&mut behind, &[(transaction, 1)]);
    }

    #[test]
    fn another_history_is_given_whole() {
        let mut behind = Behind::new(point(5, 0));
        behind.forget();
        check(&mut behind, &[(&[(2, Some(0))], 1)]);
    }
}
