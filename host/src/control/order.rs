//! What stays in order, as a number.

use crate::{
    flow::OrderingGuarantee,
    op::{Op, key_hash},
};

/// Finds the order keys of ops: those with the same key stay in order. Stable over processes.
#[derive(Debug)]
pub(super) struct OrderKeys {
    ordering: OrderingGuarantee,
    scratch: Vec<u8>,
    /// Where nothing stays in order, each op that has to wait gets a key of its own.
    next: u64,
}

impl OrderKeys {
    pub(super) fn new(ordering: OrderingGuarantee) -> Self {
        Self {
            ordering,
            scratch: Vec::new(),
            next: 0,
        }
    }

    /// By which an op's outputs are given to one of a sink's workers. Also where nothing stays in
    /// order, the outputs for one document do: a sink that writes documents is glad of it.
    pub(super) fn of(&mut self, op: &Op<'_>) -> u64 {
        let key = match self.ordering {
            OrderingGuarantee::Oplog => return 0,
            OrderingGuarantee::Namespace => key_hash(op.namespace(), None, &mut self.scratch),
            OrderingGuarantee::Document | OrderingGuarantee::AnyOrder => {
                key_hash(op.namespace(), op.document_id(), &mut self.scratch)
            }
        };
        // What is called the same in two deployments is not the same.
        key ^ op.cluster().map_or(0, |cluster| u64::from(cluster.mark()))
    }

    /// By which an op that failed holds back those behind it.
    pub(super) fn of_parked(&mut self, op: &Op<'_>) -> u64 {
        if self.ordering == OrderingGuarantee::AnyOrder {
            self.next += 1;
            return self.next;
        }
        self.of(op)
    }
}
