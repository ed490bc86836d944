//! Ends of the data flow for as long as there are no others.

use std::sync::Mutex;

use futures_util::future::BoxFuture;

use super::outlet::{Closed, Letter, Letters, Outlet};
use crate::{
    op::{Ack, Acknowledge, BatchTicket, Format},
    sink::{Broken, Chunk, Encoding, Stdout},
};

/// Writes chunks to the standard output.
#[derive(Debug)]
pub(super) struct StdoutOutlet {
    pub(super) format: Format,
    pub(super) broken: Mutex<Option<Broken>>,
}

impl StdoutOutlet {
    pub(super) fn take_broken(&self) -> Option<Broken> {
        let mut broken = self.broken.lock().expect("no holder of this lock panics");
        broken.take()
    }
}

impl Outlet for StdoutOutlet {
    fn encoding(&self) -> Encoding {
        Encoding::JsonLines(self.format)
    }

    fn workers(&self) -> usize {
        1
    }

    fn send(&self, _worker: usize, chunk: Chunk) -> BoxFuture<'_, Result<(), Closed>> {
        let lines = std::str::from_utf8(&chunk.bytes).unwrap_or_default();
        let written = Stdout.write(lines);
        let sent = match written {
            Ok(()) => {
                chunk.ack.done();
                Ok(())
            }
            Err(broken) => {
                let mut first = self.broken.lock().expect("no holder of this lock panics");
                first.get_or_insert(broken);
                Err(Closed)
            }
        };
        Box::pin(std::future::ready(sent))
    }
}

/// There are no dead letters yet: an op that would be one is logged.
#[derive(Debug)]
pub(super) struct LoggedLetters;

impl Letters for LoggedLetters {
    fn put(&self, letter: Letter, ack: Ack) -> BoxFuture<'_, ()> {
        tracing::error!(?letter, "an op is given up");
        ack.done();
        Box::pin(std::future::ready(()))
    }
}

/// There are no checkpoints yet: nobody wants to know what is done.
#[derive(Debug)]
pub(super) struct Unheard;

impl Acknowledge for Unheard {
    fn acknowledge(&self, _: BatchTicket, _: &[u32]) {}
}
