//! The stream of batches.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::Stream;
use tokio::sync::mpsc;

use super::{Acknowledgement, Batch, Error, Handle, Ops, handle::Shared};

/// What the task gives to the stream.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) generation: u64,
    pub(super) content: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    Batch(Batch),
    Failed(Error),
    End,
}

/// A stream of changes, in batches, in the server's order.
///
/// It is a [`Stream`], and has a `next` of its own. It ends when a bound of the options is reached,
/// after an error, or when it is stopped; dropping it stops it, too, but nobody then waits for what is
/// saved last.
#[derive(Debug)]
pub struct Tail {
    items: mpsc::Receiver<Item>,
    handle: Handle,
    /// What was given last, where it is done when more is asked for.
    last: Option<Batch>,
    /// The session that has come to its end.
    ended: Option<u64>,
}

impl Tail {
    pub(super) fn new(items: mpsc::Receiver<Item>, shared: Arc<Shared>) -> Self {
        Self {
            items,
            handle: Handle(shared),
            last: None,
            ended: None,
        }
    }

    /// The next changes; `None` at the end. Cancellation safe.
    pub async fn next(&mut self) -> Option<Result<Batch, Error>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// The same changes, one by one.
    #[must_use]
    pub fn ops(self) -> Ops {
        Ops::new(self)
    }

    /// Asks and tells the tail, from any task.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Ends the tail, and saves; see [`Handle::stop`].
    ///
    /// # Errors
    /// As [`Handle::stop`].
    pub async fn stop(self) -> Result<(), Error> {
        self.handle.stop().await
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.handle.0
    }

    /// Whether changes may be given now; who is told `Pending` is woken when that changes.
    pub(super) fn poll_open(&self, cx: &mut Context<'_>) -> Poll<bool> {
        let shared = self.shared();
        // First listen, then look: what changes in between is heard.
        shared.waker.register(cx.waker());
        match (shared.stop.is_cancelled(), shared.is_paused()) {
            (true, _) => Poll::Ready(false),
            (false, true) => Poll::Pending,
            (false, false) => Poll::Ready(true),
        }
    }

    /// The next batch, of which nothing is done yet.
    pub(super) fn poll_batch(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Batch, Error>>> {
        loop {
            let is_open = ready!(self.poll_open(cx));
            if !is_open || self.ended == Some(self.shared().generation()) {
                return Poll::Ready(None);
            }
            let Some(item) = ready!(self.items.poll_recv(cx)) else {
                return Poll::Ready(None);
            };
            if item.generation != self.shared().generation() {
                continue;
            }
            return Poll::Ready(match item.content {
                Content::Batch(batch) => Some(Ok(batch)),
                Content::Failed(error) => Some(Err(error)),
                Content::End => {
                    self.ended = Some(item.generation);
                    None
                }
            });
        }
    }
}

impl Stream for Tail {
    type Item = Result<Batch, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(last) = self.last.take() {
            last.ack();
        }
        let batch = ready!(self.poll_batch(cx));
        if let Some(Ok(batch)) = &batch
            && self.shared().options.acknowledgement == Acknowledgement::OnNext
        {
            self.last = Some(batch.clone());
        }
        Poll::Ready(batch)
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.shared().stop();
    }
}
