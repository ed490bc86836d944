//! A sink that was away when the run began.

use std::{fmt, sync::Arc};

use futures_util::future::BoxFuture;
use tokio::sync::{Mutex, OnceCell};

use super::{DeliverError, OutputBatch, Rejection, Sink};
use crate::mongo::Remains;

/// Opens a sink, or says why that cannot be done.
pub(super) type Open =
    Box<dyn Fn() -> BoxFuture<'static, Result<Arc<dyn Sink>, DeliverError>> + Send + Sync>;

/// A sink that is opened when it can be. Until then its documents wait.
pub(super) struct Late {
    open: Open,
    sink: OnceCell<Arc<dyn Sink>>,
    /// What is to be ended before the first delivery.
    remains: Mutex<Remains>,
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
            remains: Mutex::default(),
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
        Box::pin(async move {
            let sink = self.open().await?;
            {
                let mut remains = self.remains.lock().await;
                if !remains.is_empty() {
                    sink.end(&remains).await;
                    *remains = Remains::default();
                }
            }
            sink.deliver(batch).await
        })
    }

    fn end<'a>(&'a self, remains: &'a Remains) -> BoxFuture<'a, ()> {
        Box::pin(async move { *self.remains.lock().await = remains.clone() })
    }
}
