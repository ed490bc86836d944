//! The sink that keeps nothing.

use futures_util::future::BoxFuture;

use super::{DeliverError, OutputBatch, Rejection, Sink};

/// Accepts everything and keeps nothing: for measuring what the rest of a run costs, and for modules
/// that are run for what they log.
#[derive(Debug, Clone, Copy, Default)]
pub struct NullSink;

impl Sink for NullSink {
    fn deliver<'a>(
        &'a self,
        _: &'a OutputBatch,
    ) -> BoxFuture<'a, Result<Vec<Rejection>, DeliverError>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
}
