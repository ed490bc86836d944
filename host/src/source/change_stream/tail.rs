//! The reading loop of a change stream.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bson::RawDocumentBuf;
use mongodb::Client;
use oplet_sdk::raw::{Malformed, Walk};
use tracing::{error, info, warn};

use super::{
    command::{self, Resume},
    event::{Decoded, Decoder},
    token::{token_point, token_time},
};
use crate::{
    backoff::Backoff,
    mongo::{Reader, ReaderOptions, Reply, Server, Topology, code, describe, has_code},
    op::{Batch, BatchBuilder, Position, SourceKind},
    source::{Error, Options, Stats, behind::Behind, resume::wait_or_fail},
};

/// How long the server waits for an event before it answers with an empty reply. Also how long a
/// stop takes at most to be noticed by the server.
const AWAIT_TIME: Duration = Duration::from_secs(1);

/// The first version whose updates say `disambiguatedPaths`, with `showExpandedEvents`.
const EXPANDED_EVENTS_SINCE: (u32, u32) = (6, 0);

/// Reads one change stream.
#[derive(Debug)]
pub struct Tail {
    client: Client,
    options: Options,
    expanded: bool,
    sharded: bool,
    stats: Arc<Stats>,
    reader: Option<Reader>,
    /// Whether the open cursor has answered: the first reply only shows that it could be opened.
    answered: bool,
    /// Where the next cursor begins.
    resume: Resume,
    /// Where the last batch ended.
    position: Position,
    /// The position at which the stream was last opened by time, since its token was not found.
    by_time: Option<Position>,
    /// What is read again although it is done.
    behind: Behind,
    backoff: Backoff,
    ready: VecDeque<Batch>,
}

impl Tail {
    /// A reader of that server; nothing is opened before the first [`next`](Self::next).
    #[must_use]
    pub fn new(server: &Server, options: Options, stats: Arc<Stats>) -> Self {
        Self {
            client: server.client.clone(),
            expanded: server.major_minor >= EXPANDED_EVENTS_SINCE,
            sharded: server.topology == Topology::Sharded,
            stats,
            reader: None,
            answered: false,
            resume: Resume::from(&options.start),
            position: options.start.position(),
            by_time: None,
            behind: Behind::new(options.behind),
            backoff: Backoff::new(),
            ready: VecDeque::new(),
            options,
        }
    }

    /// The next batch; see [`Source::next`](crate::source::Source::next).
    ///
    /// # Errors
    /// [`Error`]: the stream is at its end.
    pub async fn next(&mut self) -> Result<Batch, Error> {
        let mut batch = self.next_read().await?;
        self.behind.pass_over(&mut batch);
        self.stats.note_position(batch.position());
        Ok(batch)
    }

    /// The next batch, also with ops that are done.
    async fn next_read(&mut self) -> Result<Batch, Error> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Ok(batch);
            }
            let reader = match &mut self.reader {
                Some(reader) => reader,
                None => {
                    self.answered = false;
                    let options = &self.options;
                    let opened = open(&self.client, options, self.expanded, &self.resume);
                    self.reader.insert(opened)
                }
            };
            match reader.next().await {
                Some(Ok(reply)) => {
                    let is_first = !std::mem::replace(&mut self.answered, true);
                    // Else a cursor that always breaks would be opened again without a pause.
                    if !is_first {
                        self.backoff.reset();
                    }
                    self.take(&reply, is_first)?;
                }
                Some(Err(error)) => {
                    self.reader = None;
                    self.stats.count_reopened();
                    if !self.opens_by_time(&error) {
                        self.reopen_after(error).await?;
                    }
                }
                None => self.reopen_behind_invalidation().await,
            }
        }
    }

    async fn reopen_after(&mut self, error: mongodb::error::Error) -> Result<(), Error> {
        let what = format!("read the change stream on {}", self.options.scope);
        let kind = SourceKind::ChangeStream;
        let (position, stats) = (Some(&self.position), Some(&*self.stats));
        match wait_or_fail(error, &what, kind, position, &mut self.backoff, stats).await {
            Ok(()) => Ok(()),
            Err(error) => {
                let namespace = &self.options.oplog_namespace;
                Err(error.with_oldest(&self.client, namespace).await)
            }
        }
    }

    /// Decides about a token that the server does not find in this stream, once per position: it is
    /// of a stream with other options, whose events are not those of this one. The time in it is as
    /// good, since what it and all before it stand for is passed over.
    ///
    /// Not so a token that cannot be read at all (codes 260 and 50811): whatever spoilt it may have
    /// spoilt the time in it, too.
    fn opens_by_time(&mut self, error: &mongodb::error::Error) -> bool {
        let Position::ChangeStream {
            token,
            cluster_time: Some(time),
        } = &self.position
        else {
            return false;
        };
        let is_new = self.by_time.as_ref() != Some(&self.position);
        if !has_code(error, &[code::CHANGE_STREAM_FATAL_ERROR]) || !is_new {
            return false;
        }
        warn!(position = %self.position, scope = %self.options.scope, error = describe(error),
            "the server does not find the resume token; the stream is opened by the time in it");
        // Also the ops of that very time: they are passed over as far as they are done.
        self.resume = Resume::AtTime(*time);
        // Two shards may write at one time, so there a token tells nothing of the others' events.
        let at = (!self.sharded).then(|| token_point(token.as_bytes()));
        self.behind.read_again(at.flatten());
        self.by_time = Some(self.position.clone());
        true
    }

    /// The server closed the cursor without an error: after an invalidation whose event a stage took
    /// out. The last token is the invalidation's, and the stream begins behind it.
    async fn reopen_behind_invalidation(&mut self) {
        self.reader = None;
        let delay = self.backoff.next_delay();
        info!(position = %self.position, scope = %self.options.scope, retry_in = ?delay,
            "the server closed the stream; it is opened again behind that");
        tokio::time::sleep(delay).await;
    }

    /// Turns a reply into a batch, and notes where the stream goes on.
    fn take(&mut self, reply: &Reply, is_first: bool) -> Result<(), Error> {
        self.stats.count_reply(reply.bytes().len());
        let mut builder = BatchBuilder::new(reply.bytes().clone());
        let mut invalidated = None;
        let decoded = self.decode_all(reply, &mut builder, &mut invalidated);
        let last_token = decoded.map_err(Error::broken_reply)?;
        if is_first && last_token.is_none() {
            // The server has not looked at the oplog yet: its token stands for the time at which the
            // stream begins, and what happened at that very time is still to come.
            let batch = builder.finish(SourceKind::ChangeStream, self.position.clone(), false);
            self.ready.push_back(batch);
            return Ok(());
        }
        let after = reply
            .post_batch_resume_token()
            .map_err(Error::broken_reply)?
            .or(last_token);
        if let Some(token) = after.and_then(|token| RawDocumentBuf::from_bytes(token.to_vec()).ok())
        {
            let cluster_time = token_time(token.as_bytes());
            self.position = Position::ChangeStream {
                token: token.clone(),
                cluster_time,
            };
            self.resume = Resume::After(token);
        }
        if let Some(token) = invalidated {
            info!(position = %self.position, scope = %self.options.scope,
                "what is watched was dropped or renamed; the stream is opened again behind that");
            self.resume = Resume::After(token);
            self.reader = None;
        }
        let caught_up = last_token.is_none();
        self.ready.push_back(builder.finish(
            SourceKind::ChangeStream,
            self.position.clone(),
            caught_up,
        ));
        Ok(())
    }

    /// Decodes the events of a reply and returns the token of the last one.
    fn decode_all<'a>(
        &self,
        reply: &'a Reply,
        builder: &mut BatchBuilder,
        invalidated: &mut Option<RawDocumentBuf>,
    ) -> Result<Option<&'a [u8]>, Malformed> {
        let mut decoder = Decoder::default();
        let mut last_token = None;
        for element in Walk::new(reply.documents()?)? {
            let event = element?.value;
            let token = Walk::find(event, "_id")
                .ok()
                .flatten()
                .and_then(|token| token.document());
            last_token = token.or(last_token);
            match decoder.decode(event, &self.options.scope, self.sharded, builder) {
                Ok(Decoded::Op | Decoded::Skipped) => {}
                Ok(Decoded::Invalidate) => {
                    *invalidated =
                        token.and_then(|token| RawDocumentBuf::from_bytes(token.to_vec()).ok());
                }
                Err(error) => {
                    self.stats.count_undecodable();
                    let at = token.and_then(token_time).unwrap_or_default();
                    error!(timestamp = %at, %error, "an event could not be decoded and is passed over");
                }
            }
        }
        Ok(last_token)
    }
}

fn open(client: &Client, options: &Options, expanded: bool, resume: &Resume) -> Reader {
    let (database, command) =
        command::aggregate(&options.scope, resume, expanded, &options.pipeline);
    let reader = ReaderOptions {
        batch_size: Some(options.batch_size),
        await_time: Some(AWAIT_TIME),
        tailable: false,
    };
    Reader::open(client.database(&database), command, reader)
}
