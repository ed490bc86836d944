//! Files.
//!
//! Enters: documents as lines of Extended JSON, or as BSON. Leaves: the same, appended. Promised: what
//! was acknowledged is on the disk; a file holds whole documents in order, also after a crash; nobody
//! else writes to it meanwhile (it is locked).
//!
//! A file that has become large or old is put aside as `NAME.TIME`, such as
//! `orders.jsonl.20260131T235959.123Z`, and a new one is begun. A file that was moved away or cut by
//! somebody else is opened anew.
//!
//! Whatever the system refuses (no space, no permission) may be mended, and is tried again; only a
//! file that cannot be meant is refused at the start.

mod log;
mod repair;

use std::{io, path::PathBuf};

use futures_util::future::BoxFuture;

use self::log::Log;
use super::{
    DeliverError, FileOptions, OutputBatch, Rejection, Sink,
    writer::{Write, Writer},
};

/// Why a file cannot be written.
#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error("`{}` is not a regular file", .0.display())]
    NotRegular(PathBuf),
    #[error("`{}` holds something else than {what}, at byte {at}", .path.display())]
    Foreign {
        path: PathBuf,
        what: &'static str,
        at: u64,
    },
    #[error("another process writes to `{}`", .0.display())]
    Locked(PathBuf),
    #[error("cannot {doing} `{}`: {source}", .path.display())]
    Io {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

impl FileError {
    /// Whether it is to be told at once, since somebody has probably mistyped a path.
    fn is_a_mistake(&self) -> bool {
        match self {
            Self::NotRegular(_) | Self::Foreign { .. } => true,
            Self::Locked(_) => false,
            Self::Io { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::NotFound
                    | io::ErrorKind::NotADirectory
                    | io::ErrorKind::IsADirectory
                    | io::ErrorKind::PermissionDenied
                    | io::ErrorKind::ReadOnlyFilesystem
                    | io::ErrorKind::InvalidFilename
            ),
        }
    }
}

/// A file as a sink. An ack means that the documents are on the disk; all that have gathered while the
/// disk was busy are made safe at once.
#[derive(Debug)]
pub struct FileSink(Writer);

impl FileSink {
    /// Opens the file, cuts off what a crash has left half written, and starts the thread that writes.
    ///
    /// # Errors
    /// [`DeliverError::Passing`] when the file cannot be opened now, [`DeliverError::Ended`] when it
    /// cannot be meant.
    pub async fn open(options: &FileOptions) -> Result<Self, DeliverError> {
        let mut log = Log::new(options.clone());
        let opened = tokio::task::spawn_blocking(move || log.open().map(|()| log)).await;
        let log = match opened {
            Ok(Ok(log)) => log,
            Ok(Err(error)) if error.is_a_mistake() => return Err(ended(error.to_string())),
            Ok(Err(error)) => return Err(passing(&error)),
            Err(panicked) => return Err(ended(panicked.to_string())),
        };
        Writer::start("file", log).map(Self)
    }
}

impl Write for Log {
    fn write(&mut self, documents: &[u8]) -> Result<(), DeliverError> {
        self.append(documents).map_err(|error| passing(&error))
    }
}

impl Sink for FileSink {
    fn deliver<'a>(
        &'a self,
        batch: &'a OutputBatch,
    ) -> BoxFuture<'a, Result<Vec<Rejection>, DeliverError>> {
        Box::pin(async move { self.0.write(batch).await.map(|()| Vec::new()) })
    }
}

fn passing(error: &FileError) -> DeliverError {
    DeliverError::Passing {
        message: error.to_string(),
        retry_after: None,
    }
}

fn ended(message: String) -> DeliverError {
    DeliverError::Ended {
        message,
        is_closed: false,
    }
}
