//! A sink that was away when the run began.

use std::{fmt, sync::Arc};

use futures_util::future::BoxFuture;
use tokio::sync::OnceCell;

use super::{DeliverError, OutputBatch, Rejection, Sink};

/// Opens a sink, or says why that cannot be done.
pub(super) type Open =
    Box<dyn Fn() -> BoxFuture<'static, Result<Arc<dyn Sink>, DeliverError>> + Send + Sync>;

/// A sink that is opened when it can be. Until then its documents wait.
pub(super) struct Late {
    open: Open,
    sink: OnceCell<Arc<dyn Sink>>,
}

impl fmt::Debug for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Late").field(&self.sink.get()).finish()
    }
}

impl Late {
    pub(super) fn new(open: Open) -> Self {
        Self {
            open,
            sink: OnceCell::new(),
        }
    }

    /// Opens it, unless it is. Cancellation safe.
    pub(super) async fn open(&self) -> Result<&Arc<dyn Sink>, DeliverError> {
        self.sink.get_or_try_init(|| (self.open)()).await
    }
}

impl Sink for Late {
    fn deliver<'a>(
        &'a self,
        batch: &'a OutputBatch,
    ) -> BoxFuture<'a, Result<Vec<Rejection>, DeliverError>> {
        Box::pin(async move { self.open().await?.deliver(batch).await })
    }
}
