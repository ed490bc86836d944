//! An HTTP server.

use futures_util::future::BoxFuture;

use super::{DeliverError, OptionError, OutputBatch, Rejection, Sink};

/// Where and how documents are posted.
#[derive(Clone, PartialEq, Eq)]
pub struct Options {
    url: String,
    /// What one request carries.
    pub body: Body,
}

/// What one request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// One document.
    Document,
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
            body: Body::Document,
        })
    }
}

/// Placeholder.
#[derive(Debug)]
pub struct HttpSink(());

impl HttpSink {
    /// Placeholder.
    ///
    /// # Errors
    /// Always.
    pub fn open(
        options: &Options,
        _: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, DeliverError> {
        Err(DeliverError::Ended {
            message: format!("not built: {}", options.url.len()),
            is_closed: false,
        })
    }
}

impl Sink for HttpSink {
    fn deliver<'a>(
        &'a self,
        _: &'a OutputBatch,
    ) -> BoxFuture<'a, Result<Vec<Rejection>, DeliverError>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}
