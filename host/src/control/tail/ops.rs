//! The stream of changes, one by one.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_util::Stream;

use super::{Acknowledgement, Batch, Change, Error, Handle, Tail};

/// A stream of changes, one by one, in the server's order; otherwise as [`Tail`].
#[derive(Debug)]
pub struct Ops {
    tail: Tail,
    /// What is being given, and how much of it was.
    batch: Option<(Batch, usize)>,
    /// What was given last, where it is done when more is asked for.
    pub(super) last: Option<Change>,
}

impl Ops {
    pub(super) fn new(tail: Tail) -> Self {
        Self {
            tail,
            batch: None,
            last: None,
        }
    }

    /// The next change; `None` at the end. Cancellation safe.
    pub async fn next(&mut self) -> Option<Result<Change, Error>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// Asks and tells the tail, from any task.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.tail.handle()
    }

    /// Ends the tail, and saves; see [`Handle::stop`].
    ///
    /// # Errors
    /// As [`Handle::stop`].
    pub async fn stop(self) -> Result<(), Error> {
        self.tail.stop().await
    }

    /// The next change of the batch that is being given.
    fn rest(&mut self) -> Option<Change> {
        let generation = self.tail.shared().generation();
        let (batch, given) = self.batch.as_mut()?;
        let change = batch
            .change(*given)
            .filter(|_| batch.part.generation == generation);
        *given += 1;
        if change.is_none() {
            self.batch = None;
        }
        change
    }
}

impl Stream for Ops {
    type Item = Result<Change, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(last) = self.last.take() {
            last.ack();
        }
        loop {
            if !ready!(self.tail.poll_open(cx)) {
                return Poll::Ready(None);
            }
            if let Some(change) = self.rest() {
                if self.tail.shared().options.acknowledgement == Acknowledgement::OnNext {
                    self.last = Some(change.clone());
                }
                return Poll::Ready(Some(Ok(change)));
            }
            match ready!(self.tail.poll_batch(cx)) {
                Some(Ok(batch)) => self.batch = Some((batch, 0)),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}
