//! Changes with their documents decoded.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_util::Stream;
use serde::de::DeserializeOwned;
use tracing::warn;

use super::{Change, DecodeError, Error, Handle, Ops};

/// What becomes of a change that cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnUndecodable {
    /// The stream ends with [`Error::Decode`]. The change is not done: it comes again.
    Fail,
    /// It is logged and counted, and done.
    Skip,
    /// It is logged and counted, and given without a value, as gtm does.
    Give,
}

/// Decodes by serde; see [`Ops::typed`].
pub type Deserialize<T> = fn(&Change) -> Result<Option<T>, bson::error::Error>;

/// A change, and what was made of it.
#[derive(Debug, Clone)]
pub struct DecodedChange<T> {
    /// The change.
    pub change: Change,
    /// What was made of it; none where it could not be decoded.
    pub value: Option<T>,
}

/// A stream of changes that are decoded on the way.
#[derive(Debug)]
pub struct Decoded<F> {
    ops: Ops,
    decode: F,
    policy: OnUndecodable,
    undecodable: u64,
    is_over: bool,
}

impl Ops {
    /// Decodes each change by `decode`, which sees its namespace, and its document as the server sent it.
    #[must_use]
    pub fn decoded<T, E, F>(self, policy: OnUndecodable, decode: F) -> Decoded<F>
    where
        F: FnMut(&Change) -> Result<T, E> + Unpin,
        E: Into<DecodeError>,
    {
        Decoded {
            ops: self,
            decode,
            policy,
            undecodable: 0,
            is_over: false,
        }
    }

    /// Decodes the document of each change; `value` is `Some(None)` where a change has none.
    #[must_use]
    pub fn typed<T: DeserializeOwned>(self, policy: OnUndecodable) -> Decoded<Deserialize<T>> {
        self.decoded(policy, Change::data_as::<T>)
    }
}

impl<F> Decoded<F> {
    /// The next change; `None` at the end. Cancellation safe.
    pub async fn next<T, E>(&mut self) -> Option<Result<DecodedChange<T>, Error>>
    where
        F: FnMut(&Change) -> Result<T, E> + Unpin,
        E: Into<DecodeError>,
    {
        poll_fn(|cx| self.poll_decoded(cx)).await
    }

    /// How many changes could not be decoded.
    #[must_use]
    pub fn undecodable(&self) -> u64 {
        self.undecodable
    }

    /// Asks and tells the tail, from any task.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.ops.handle()
    }

    fn poll_decoded<T, E>(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<DecodedChange<T>, Error>>>
    where
        F: FnMut(&Change) -> Result<T, E>,
        E: Into<DecodeError>,
    {
        loop {
            if self.is_over {
                return Poll::Ready(None);
            }
            let change = match ready!(Pin::new(&mut self.ops).poll_next(cx)) {
                Some(Ok(change)) => change,
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            };
            let error = match (self.decode)(&change) {
                Ok(value) => {
                    let value = Some(value);
                    return Poll::Ready(Some(Ok(DecodedChange { change, value })));
                }
                Err(error) => error.into(),
            };
            self.undecodable += 1;
            let (op_id, namespace) = (change.op_id(), change.namespace().to_owned());
            if self.policy == OnUndecodable::Fail {
                // It is not to be done by asking for what comes after it.
                self.ops.last = None;
                self.is_over = true;
                return Poll::Ready(Some(Err(Error::Decode {
                    op_id,
                    namespace,
                    source: error,
                })));
            }
            warn!(%op_id, namespace, error, "a change could not be decoded");
            match self.policy {
                OnUndecodable::Skip => change.ack(),
                _ => {
                    let value = None;
                    return Poll::Ready(Some(Ok(DecodedChange { change, value })));
                }
            }
        }
    }
}

impl<F, T, E> Stream for Decoded<F>
where
    F: FnMut(&Change) -> Result<T, E> + Unpin,
    E: Into<DecodeError>,
{
    type Item = Result<DecodedChange<T>, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_decoded(cx)
    }
}
