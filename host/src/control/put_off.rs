//! An op that is put off, and how often it was tried.

use std::{sync::Arc, time::Duration};

use crate::{
    backoff::Backoff,
    op::{Ack, Batch, BatchTicket, Op},
};

/// An op that waits for a module, for another try or behind others.
#[derive(Debug)]
pub(super) struct Parked {
    pub(super) batch: Arc<Batch>,
    pub(super) ticket: BatchTicket,
    pub(super) place: u32,
    /// The module's part in the op's duty.
    pub(super) own: Ack,
    pub(super) tries: Tries,
}

/// For how long an op is put off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// As long as the module asked for.
    Asked(Duration),
    /// The next delay of its back-off.
    Backoff,
    /// Until the run goes on.
    Pause,
}

/// How often an op was tried, by one module.
#[derive(Debug, Default)]
pub(super) struct Tries {
    /// Attempts that failed.
    pub(super) attempts: u32,
    /// Whether it was called at all.
    pub(super) was_called: bool,
    /// Whether the breaker has counted the op.
    pub(super) is_counted: bool,
    /// Whether it is for the present version: one that was tried beside it has had the op, and lost it.
    pub(super) is_for_present: bool,
    /// In milliseconds since 1970.
    pub(super) first_failed_ms: Option<i64>,
    pub(super) backoff: Option<Backoff>,
}

impl Parked {
    /// The same, with a part of its own in the duty, to be tried by the present version if need be.
    pub(super) fn part(&self) -> Self {
        Self {
            batch: self.batch.clone(),
            ticket: self.ticket,
            place: self.place,
            own: self.own.split(),
            tries: Tries::for_present(),
        }
    }

    /// The op.
    pub(super) fn op(&self) -> Op<'_> {
        self.batch.op(self.place as usize)
    }

    /// It need not be tried.
    pub(super) fn done(self) {
        self.own.done();
    }
}

impl Tries {
    /// None yet; a version on trial has none to make.
    pub(super) fn for_present() -> Self {
        Self {
            is_for_present: true,
            ..Self::default()
        }
    }
}
