//! Which lane an op goes to.

use std::ops::Range;

use super::OrderingGuarantee;
use crate::op::{Batch, Op, PARTITIONS, partition_of};

/// Spreads the ops of batches over lanes. Keys map to partitions, and lanes own partitions, so that
/// the number of lanes can differ between processes that share the work.
#[derive(Debug)]
pub(super) struct Partitioner {
    ordering: OrderingGuarantee,
    lanes: usize,
    /// The lane of the next batch, where nothing stays in order.
    next: usize,
    scratch: Vec<u8>,
    /// Places of ops, per lane.
    places: Vec<Vec<u32>>,
}

impl Partitioner {
    pub(super) fn new(ordering: OrderingGuarantee, lanes: usize) -> Self {
        Self {
            ordering,
            lanes,
            next: 0,
            scratch: Vec::new(),
            places: vec![Vec::new(); lanes],
        }
    }

    /// Which of these places in the batch each lane gets, in order.
    pub(super) fn assign(&mut self, batch: &Batch, places: Range<usize>) -> &mut [Vec<u32>] {
        let all = places.start as u32..places.end as u32;
        match self.ordering {
            OrderingGuarantee::Oplog => self.places[0].extend(all),
            _ if self.lanes == 1 => self.places[0].extend(all),
            OrderingGuarantee::AnyOrder => {
                self.places[self.next].extend(all);
                self.next = (self.next + 1) % self.lanes;
            }
            OrderingGuarantee::Namespace => self.spread(batch, places, |op, scratch| {
                partition_of(op.namespace(), None, scratch)
            }),
            OrderingGuarantee::Document => {
                self.spread(batch, places, |op, scratch| {
                    partition_of(op.namespace(), op.document_id(), scratch)
                });
            }
        }
        &mut self.places
    }

    fn spread(
        &mut self,
        batch: &Batch,
        places: Range<usize>,
        partition: impl Fn(&Op<'_>, &mut Vec<u8>) -> u8,
    ) {
        for place in places {
            let partition = usize::from(partition(&batch.op(place), &mut self.scratch));
            // Consecutive partitions belong to one lane, as even as whole numbers allow.
            let lane = partition * self.lanes / PARTITIONS as usize;
            self.places[lane].push(place as u32);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use oplet_sdk::raw::kind;

    use super::*;
    use crate::op::{BatchBuilder, Operation, Position, Record, SourceKind, Timestamp, Value};

    /// A batch of ops on the given documents.
    fn batch(documents: &[(&str, i32)]) -> Batch {
        let mut builder = BatchBuilder::new(Vec::new().into());
        for (namespace, id) in documents {
            let namespace = builder.make(|extra| extra.extend_from_slice(namespace.as_bytes()));
            let span = builder.make(|extra| extra.extend_from_slice(&id.to_le_bytes()));
            let mut record = Record::new(Operation::Insert, namespace, Timestamp::new(1, 1));
            record.id = Some(Value {
                kind: kind::INT32,
                span,
            });
            builder.push(record);
        }
        builder.finish(
            SourceKind::Oplog,
            Position::Time(Timestamp::new(1, 1)),
            true,
        )
    }

    /// The lane of each op.
    fn lanes(ordering: OrderingGuarantee, lanes: usize, batch: &Batch) -> Vec<usize> {
        let mut partitioner = Partitioner::new(ordering, lanes);
        let mut assigned = vec![usize::MAX; batch.len()];
        for (lane, places) in partitioner.assign(batch, 0..batch.len()).iter().enumerate() {
            assert!(places.is_sorted());
            for &place in places {
                assigned[place as usize] = lane;
            }
        }
        assert!(!assigned.contains(&usize::MAX), "every op has a lane");
        assigned
    }

    #[test]
    fn what_stays_in_order_shares_a_lane() {
        let documents: Vec<_> = (0..4000)
            .map(|i| (["a.x", "a.y", "b.z"][i % 3], (i % 500) as i32))
            .collect();
        let batch = batch(&documents);
        assert!(
            lanes(OrderingGuarantee::Oplog, 4, &batch)
                .iter()
                .all(|&lane| lane == 0)
        );
        let mut of_namespace = HashMap::new();
        for (document, lane) in documents
            .iter()
            .zip(lanes(OrderingGuarantee::Namespace, 4, &batch))
        {
            assert_eq!(*of_namespace.entry(document.0).or_insert(lane), lane);
        }
        let mut of_document = HashMap::new();
        let mut share = [0; 4];
        for (document, lane) in documents
            .iter()
            .zip(lanes(OrderingGuarantee::Document, 4, &batch))
        {
            assert_eq!(*of_document.entry(document).or_insert(lane), lane);
            share[lane] += 1;
        }
        for share in share {
            assert!(
                (800..1200).contains(&share),
                "the lanes' shares are even: {share}"
            );
        }
    }

    #[test]
    fn without_order_batches_take_turns() {
        let batch = batch(&[("a.x", 1), ("a.x", 2)]);
        let mut partitioner = Partitioner::new(OrderingGuarantee::AnyOrder, 2);
        for expected in [0, 1, 0] {
            let places = partitioner.assign(&batch, 0..batch.len());
            assert_eq!(places[expected], [0, 1]);
            places.iter_mut().for_each(Vec::clear);
        }
    }
}
