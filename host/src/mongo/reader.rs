//! Raw replies of one cursor, fetched ahead.

use std::time::Duration;

use bson::RawDocumentBuf;
use bytes::Bytes;
use futures_util::StreamExt;
use mongodb::{
    Database,
    error::{Error, ErrorKind, Result},
    options::{CursorType, ReadPreference, RunCursorCommandOptions, SelectionCriteria},
    raw_batch_cursor::RawBatch,
};
use oplet_sdk::raw::{EMPTY_DOCUMENT, Malformed, Walk};
use tokio::{sync::mpsc, task::AbortHandle, time::timeout};

use crate::op::Timestamp;

/// How many replies may wait for the consumer. The reader fetches the next one while the last is
/// worked on; more than a few only hold memory.
const REPLIES_AHEAD: usize = 3;

/// How much longer than its await time a reply may take before the connection is taken for dead.
const REPLY_MARGIN: Duration = Duration::from_secs(30);

/// How a cursor is read.
#[derive(Debug, Clone)]
pub struct ReaderOptions {
    /// Documents per reply, at most; `None` leaves it to the server.
    pub batch_size: Option<u32>,
    /// How long the server waits for something new before it answers with an empty reply.
    pub await_time: Option<Duration>,
    /// The cursor stays open at the end of a capped collection.
    pub tailable: bool,
}

/// Fetches the replies of one cursor in a task of its own.
///
/// Dropping it ends the task and kills the cursor.
#[derive(Debug)]
pub struct Reader {
    replies: mpsc::Receiver<Result<Reply>>,
    task: AbortHandle,
}

impl Reader {
    /// Runs a command that answers with a cursor, and goes on with what the cursor yields.
    ///
    /// An error of the command is the first thing that [`next`](Self::next) gives.
    #[must_use]
    pub fn open(database: Database, command: RawDocumentBuf, options: ReaderOptions) -> Self {
        let reply_time_max = options.await_time.unwrap_or_default() + REPLY_MARGIN;
        Self::open_patient(database, command, options, reply_time_max)
    }

    /// The same for a command that may take longer to answer, such as stages that look at every
    /// document before the first comes out of them. `reply_time_max` is how long each reply may take.
    #[must_use]
    pub fn open_patient(
        database: Database,
        command: RawDocumentBuf,
        options: ReaderOptions,
        reply_time_max: Duration,
    ) -> Self {
        let (sender, replies) = mpsc::channel(REPLIES_AHEAD);
        let reading = read(database, command, options, reply_time_max, sender);
        let task = tokio::spawn(reading).abort_handle();
        Self { replies, task }
    }

    /// The next reply; `None` when the cursor is exhausted. After an error the reader is at its end.
    ///
    /// Cancellation safe: a reply that was not received stays in the channel.
    pub async fn next(&mut self) -> Option<Result<Reply>> {
        self.replies.recv().await
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read(
    database: Database,
    command: RawDocumentBuf,
    options: ReaderOptions,
    reply_time_max: Duration,
    replies: mpsc::Sender<Result<Reply>>,
) {
    let mut cursor_options = RunCursorCommandOptions::builder()
        .cursor_type(options.tailable.then_some(CursorType::TailableAwait))
        .build();
    cursor_options.batch_size = options.batch_size;
    cursor_options.max_time = options.await_time;
    cursor_options.selection_criteria = database.client().selection_criteria().cloned();
    let opened = database
        .run_raw_cursor_command(command)
        .with_options(cursor_options)
        .batch();
    let mut cursor = match timeout(reply_time_max, opened).await {
        Ok(Ok(cursor)) => cursor,
        Ok(Err(error)) => return drop(replies.send(Err(error)).await),
        Err(_) => return drop(replies.send(Err(too_late(reply_time_max))).await),
    };
    loop {
        let reply = match timeout(reply_time_max, cursor.next()).await {
            Ok(None) => return,
            Ok(Some(Ok(batch))) => Ok(Reply {
                bytes: Bytes::from_owner(ReplyOwner(batch)),
            }),
            Ok(Some(Err(error))) => Err(error),
            Err(_) => Err(too_late(reply_time_max)),
        };
        let failed = reply.is_err();
        if replies.send(reply).await.is_err() || failed {
            return;
        }
    }
}

/// Waits for the answer to a single command, but not for ever: the driver itself has no time-out for
/// a server that holds the connection open and says nothing.
///
/// # Errors
/// What the command answers, or an input-output error, which is a passing fault.
pub async fn answer_in_time<T>(command: impl IntoFuture<Output = Result<T>>) -> Result<T> {
    match timeout(REPLY_MARGIN, command.into_future()).await {
        Ok(answer) => answer,
        Err(_) => Err(too_late(REPLY_MARGIN)),
    }
}

/// Runs a command whose answer is one reply, as with `singleBatch`, on the primary.
///
/// # Errors
/// What the command answers, or an input-output error, which is a passing fault, when it does not
/// answer in time.
pub async fn only_reply(
    database: &Database,
    command: RawDocumentBuf,
    time: Duration,
) -> Result<Reply> {
    let mut options = RunCursorCommandOptions::default();
    let primary = SelectionCriteria::ReadPreference(ReadPreference::Primary);
    options.selection_criteria = Some(primary);
    let command = database.run_raw_cursor_command(command);
    let first = async {
        let mut cursor = command.with_options(options).batch().await?;
        cursor.next().await.transpose()
    };
    match timeout(time, first).await {
        Ok(Ok(Some(batch))) => Ok(Reply {
            bytes: Bytes::from_owner(ReplyOwner(batch)),
        }),
        Ok(Ok(None)) => Err(Error::custom("the command was answered without a reply")),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(too_late(time)),
    }
}

fn too_late(waited: Duration) -> Error {
    let waited = humantime::format_duration(waited);
    let text = format!("no reply within {waited}");
    let error = std::io::Error::new(std::io::ErrorKind::TimedOut, text);
    Error::from(ErrorKind::Io(std::sync::Arc::new(error)))
}

/// Lets the bytes of a reply be shared without a copy.
struct ReplyOwner(RawBatch);

impl AsRef<[u8]> for ReplyOwner {
    fn as_ref(&self) -> &[u8] {
        self.0.as_raw_document().as_bytes()
    }
}

/// One reply of the server to a cursor command or a `getMore`.
#[derive(Debug, Clone)]
pub struct Reply {
    bytes: Bytes,
}

impl Reply {
    /// A reply that no server gave.
    #[cfg(test)]
    pub(crate) fn crafted(reply: &bson::Document) -> Self {
        let reply = RawDocumentBuf::try_from(reply).expect("a test makes documents");
        Self {
            bytes: reply.into_bytes().into(),
        }
    }

    /// The whole reply.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The array of documents that the reply carries, as BSON.
    ///
    /// # Errors
    /// [`Malformed`] when the reply has no cursor.
    pub fn documents(&self) -> std::result::Result<&[u8], Malformed> {
        for element in Walk::new(self.cursor()?)? {
            let element = element?;
            if matches!(element.key, b"nextBatch" | b"firstBatch") {
                return element.array().ok_or(Malformed { at: element.at });
            }
        }
        Ok(&EMPTY_DOCUMENT)
    }

    /// The resume token of a change stream as it stands after this reply.
    ///
    /// # Errors
    /// [`Malformed`] when the reply has no cursor.
    pub fn post_batch_resume_token(&self) -> std::result::Result<Option<&[u8]>, Malformed> {
        let token = Walk::find(self.cursor()?, "postBatchResumeToken")?;
        Ok(token.and_then(|element| element.document()))
    }

    /// Whether the cursor has no more to give after this.
    ///
    /// # Errors
    /// [`Malformed`] when the reply has no cursor.
    pub fn is_last(&self) -> std::result::Result<bool, Malformed> {
        let id = Walk::find(self.cursor()?, "id")?;
        Ok(id.and_then(|element| element.int64()) == Some(0))
    }

    /// The cluster time at which a snapshot is read; only the first reply of a cursor tells it surely.
    ///
    /// # Errors
    /// [`Malformed`] when the reply has no cursor.
    pub fn at_cluster_time(&self) -> std::result::Result<Option<Timestamp>, Malformed> {
        let time = Walk::find(self.cursor()?, "atClusterTime")?;
        Ok(time.and_then(|time| time.timestamp()).map(Timestamp::from))
    }

    /// The newest cluster time that the server knew when it answered.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn operation_time(&self) -> std::result::Result<Option<Timestamp>, Malformed> {
        let time = Walk::find(&self.bytes, "operationTime")?;
        Ok(time.and_then(|time| time.timestamp()).map(Timestamp::from))
    }

    fn cursor(&self) -> std::result::Result<&[u8], Malformed> {
        let cursor = Walk::find(&self.bytes, "cursor")?;
        cursor
            .and_then(|element| element.document())
            .ok_or(Malformed { at: 0 })
    }
}
