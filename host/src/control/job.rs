//! An op on its way through a lane's modules.

use std::sync::Arc;

use super::{outlet::Letter, shared::Shared};
use crate::{
    flow::Work,
    op::{Ack, Batch, BatchTicket, Op},
};

/// An op whose turn it is.
pub(super) struct Job<'a> {
    pub(super) op: Op<'a>,
    pub(super) place: u32,
    pub(super) batch: &'a Arc<Batch>,
    pub(super) ticket: BatchTicket,
    /// Its duty, where it is not done together with the other ops of the segment.
    pub(super) own: Option<Ack>,
    /// What goes into the dead letters when the modules have had their turn.
    pub(super) letters: Vec<(Letter, Ack)>,
}

impl<'a> Job<'a> {
    pub(super) fn new(work: &'a Work, place: u32) -> Self {
        Self {
            op: work.batch.op(place as usize),
            place,
            batch: &work.batch,
            ticket: work.ticket,
            own: None,
            letters: Vec::new(),
        }
    }

    /// A part of the op's own duty.
    pub(super) fn part(&mut self, shared: &Shared) -> Ack {
        let duty = || Ack::new(shared.acks.clone(), self.ticket, vec![self.place]);
        self.own.get_or_insert_with(duty).split()
    }
}
