//! A collection, of the run's own deployment or of another one.

use futures_util::future::BoxFuture;

use super::{DeliverError, OptionError, OutputBatch, Rejection, Sink};

/// Where and how documents are written.
#[derive(Clone, PartialEq, Eq)]
pub struct Options {
    url: String,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").finish_non_exhaustive()
    }
}

impl Options {
    /// Takes the settings of this kind out of the pairs.
    ///
    /// # Errors
    /// [`OptionError`].
    pub fn from_pairs(url: &str, _pairs: &mut Vec<(String, String)>) -> Result<Self, OptionError> {
        Ok(Self {
            url: url.to_owned(),
        })
    }
}

/// Placeholder.
#[derive(Debug)]
pub struct MongodbSink(());

impl MongodbSink {
    /// Placeholder.
    ///
    /// # Errors
    /// Always.
    pub async fn open(options: &Options, _: &::mongodb::Client) -> Result<Self, DeliverError> {
        Err(DeliverError::Ended {
            message: format!("not built: {}", options.url.len()),
            is_closed: false,
        })
    }
}

impl Sink for MongodbSink {
    fn deliver<'a>(
        &'a self,
        _: &'a OutputBatch,
    ) -> BoxFuture<'a, Result<Vec<Rejection>, DeliverError>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}
