//! Where the documents go that are read, and what is known there of the oplog.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::{
    checkpoint::AckWindow,
    control::{board::Board, board::earliest, tail::Giver, vitals::VitalsWatch},
    flow::{Closed, Dispatcher},
    op::{Batch, BatchTicket, Timestamp},
};

/// Where the documents go that are read.
#[derive(Debug)]
pub(in crate::control) enum Way {
    /// To the lanes of a run.
    Lanes(Dispatcher),
    /// To a program that tails.
    Program(Giver),
}

impl Way {
    /// Gives a batch that was admitted. A program may take as long as it likes: what it was not given
    /// when a stop is asked for, it is not given.
    ///
    /// # Errors
    /// When nobody takes anything any more, who has noted why.
    pub(super) async fn give(
        &mut self,
        batch: &Arc<Batch>,
        ticket: BatchTicket,
        stop: &CancellationToken,
    ) -> Result<(), Closed> {
        match self {
            Self::Lanes(dispatcher) => dispatcher.dispatch(batch, 0..batch.len(), ticket).await,
            Self::Program(giver) => tokio::select! {
                biased;
                () = stop.cancelled() => Ok(()),
                given = giver.give(batch, ticket) => given.map_err(|_| Closed),
            },
        }
    }
}

/// How far the streams are done, and how far back the oplog reaches.
#[derive(Debug)]
pub(in crate::control) enum Horizon {
    /// As a run knows it.
    Run(Board),
    /// As it is known beside a tail.
    Tail(Arc<AckWindow>, VitalsWatch),
}

impl Horizon {
    /// Up to where everything of a deployment is done, and the oldest entry of its oplog; with its name,
    /// where several are read.
    pub(super) fn reach(
        &self,
        deployment: usize,
    ) -> (Option<String>, Option<Timestamp>, Option<Timestamp>) {
        match self {
            Self::Run(board) => board.reach(deployment),
            Self::Tail(window, vitals) => {
                let done = earliest(&window.frontiers());
                (None, done, vitals.latest().oldest)
            }
        }
    }
}
