//! The standard output.

use std::io::Write as _;

use futures_util::future::BoxFuture;

use super::{
    DeliverError, OutputBatch, Rejection, Sink,
    writer::{Write, Writer},
};

/// The standard output takes no more.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to the standard output")]
pub struct Broken(#[source] pub std::io::Error);

impl Broken {
    /// Whether nobody reads it any more, which is a normal end; else something is amiss, such as a
    /// full disk.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.kind() == std::io::ErrorKind::BrokenPipe
    }
}

/// Writes lines to the standard output. Any number of lanes may share it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stdout;

impl Stdout {
    /// Writes whole lines, and passes them on at once: who pipes the output sees each op's documents
    /// when it was handled.
    ///
    /// # Errors
    /// [`Broken`], whatever the reason: a standard output that failed once does not come back.
    pub fn write(&self, lines: &str) -> Result<(), Broken> {
        self.write_bytes(lines.as_bytes())
    }

    /// Writes whole documents, and passes them on at once.
    ///
    /// # Errors
    /// [`Broken`], as [`write`](Self::write).
    pub fn write_bytes(&self, documents: &[u8]) -> Result<(), Broken> {
        let mut stdout = std::io::stdout().lock();
        stdout
            .write_all(documents)
            .and_then(|()| stdout.flush())
            .map_err(Broken)
    }
}

/// The standard output as a sink. An ack means that the system has taken the lines: what a pipe
/// holds is lost with its reader.
///
/// It has no passing faults. What failed may have written half a line, and giving that line once more
/// behind its half would make both unreadable.
#[derive(Debug)]
pub struct StdoutSink(Writer);

impl StdoutSink {
    /// Starts the thread that writes.
    ///
    /// # Errors
    /// [`DeliverError::Passing`] when the system has no thread left.
    pub fn open() -> Result<Self, DeliverError> {
        Writer::start("stdout", Stdout).map(Self)
    }
}

impl Write for Stdout {
    fn write(&mut self, documents: &[u8]) -> Result<(), DeliverError> {
        self.write_bytes(documents)
            .map_err(|broken| DeliverError::Ended {
                message: format!("{broken}: {}", broken.0),
                is_closed: broken.is_closed(),
            })
    }
}

impl Sink for StdoutSink {
    fn deliver<'a>(
        &'a self,
        batch: &'a OutputBatch,
    ) -> BoxFuture<'a, Result<Vec<Rejection>, DeliverError>> {
        Box::pin(async move { self.0.write(batch).await.map(|()| Vec::new()) })
    }
}
