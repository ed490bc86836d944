//! The reading loop of a change stream.

use std::{collections::VecDeque, sync::Arc};

use bson::RawDocumentBuf;
use mongodb::Client;
use tracing::{info, warn};

use super::{
    command::{Asking, Resume},
    gather::Gatherer,
    token::{token_point, token_time},
};
use crate::{
    backoff::Backoff,
    mongo::{
        Capabilities, Reader, ReaderOptions, Reply, Server, Topology, code, describe, has_code,
    },
    op::{Batch, Position, SourceKind},
    source::{
        Before, Error, FullDocument, Options, Stats, aside::Shelf, behind::Behind,
        resume::wait_or_fail,
    },
};

/// Reads one change stream.
#[derive(Debug)]
pub struct Tail {
    client: Client,
    options: Options,
    capabilities: Capabilities,
    sharded: bool,
    stats: Arc<Stats>,
    gatherer: Gatherer,
    /// What could not be decoded.
    pub(crate) shelf: Shelf,
    /// Whether events that are too large come without some of their parts: behind one that the server
    /// would not send, until it has.
    is_lean: bool,
    /// Whether events come one at a time: behind one that has to have a document and has none, so that
    /// those before it are given.
    is_single: bool,
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
        let capabilities = server.capabilities();
        let sharded = server.topology == Topology::Sharded;
        Self {
            client: server.client.clone(),
            shelf: Shelf::default(),
            gatherer: Gatherer::new(
                options.scope.clone(),
                options.reading.commands,
                sharded,
                capabilities,
            ),
            capabilities,
            sharded,
            stats,
            is_lean: false,
            is_single: false,
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
        self.shelf.hand_over().await;
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
                    self.gatherer.begin_again();
                    let opened = self.open()?;
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
                    let goes_on = self.opens_by_time(&error)
                        || self.becomes_lean(&error)
                        || self.becomes_single(&error);
                    if !goes_on {
                        self.reopen_after(error).await?;
                    }
                }
                None => self.reopen_behind_invalidation().await,
            }
        }
    }

    async fn reopen_after(&mut self, error: mongodb::error::Error) -> Result<(), Error> {
        let scope = &self.options.scope;
        if has_code(&error, &[code::BSON_OBJECT_TOO_LARGE]) {
            return Err(Error::EventTooLarge {
                scope: scope.clone(),
                position: Box::new(self.position.clone()),
                source: error,
            });
        }
        if self.is_without_image(&error) {
            return Err(Error::NoImage {
                scope: scope.clone(),
                position: Box::new(self.position.clone()),
                source: Some(error),
            });
        }
        let what = format!("read the change stream on {scope}");
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

    /// Decides about an event that the server would not send: it is asked for with as much of it as
    /// fits. If that is too large, too, there is nothing more to leave out.
    fn becomes_lean(&mut self, error: &mongodb::error::Error) -> bool {
        let is_too_large = has_code(error, &[code::BSON_OBJECT_TOO_LARGE]);
        if !is_too_large || self.is_lean || !self.capabilities.measures_documents {
            return false;
        }
        info!(position = %self.position, scope = %self.options.scope, error = describe(error),
            "an event is too large for the server to send; it is asked for without some of its parts");
        self.is_lean = true;
        true
    }

    /// Decides about an event without a document that is required: a server that meets one in a reply
    /// sends nothing of the reply.
    fn becomes_single(&mut self, error: &mongodb::error::Error) -> bool {
        let becomes = self.is_without_image(error) && !self.is_single;
        self.is_single |= becomes;
        becomes
    }

    fn is_without_image(&self, error: &mongodb::error::Error) -> bool {
        let reading = &self.options.reading;
        let required =
            reading.full_document == FullDocument::Required || reading.before == Before::Required;
        required && has_code(error, &[code::NO_MATCHING_DOCUMENT])
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

    /// Turns a reply into batches, and notes where the stream goes on.
    fn take(&mut self, reply: &Reply, is_first: bool) -> Result<(), Error> {
        self.stats.count_reply(reply.bytes().len());
        let gathered = self.gatherer.take(reply, &self.stats);
        let gathered = gathered.map_err(Error::broken_reply)?;
        self.shelf.put(gathered.undecodable);
        let caught_up = !gathered.has_events;
        // The first reply tells nothing when it is empty: the server has not looked at the oplog yet.
        let is_idle = caught_up && !is_first;
        for (ops, after) in gathered.parts {
            if let Some(token) = after
                && (!caught_up || is_idle && self.is_beyond_start(&token))
            {
                self.stand_behind(token);
            }
            let position = self.position.clone();
            let batch = ops.finish(SourceKind::ChangeStream, position, is_idle);
            self.ready.push_back(batch);
        }
        if let Some(token) = gathered.invalidated {
            info!(position = %self.position, scope = %self.options.scope,
                "what is watched was dropped or renamed; the stream is opened again behind that");
            self.resume = Resume::After(token);
            self.reader = None;
        }
        if self.is_lean && (gathered.is_lean || is_idle) {
            self.is_lean = false;
            self.reader = None;
        }
        if self.is_single && is_idle {
            self.is_single = false;
            self.reader = None;
        }
        Ok(())
    }

    /// Whether a reply without events tells that the server has come further than where the stream begins.
    /// For as long as nothing was written since, its token stands for that time itself, which is yet to
    /// come: what happens then is not behind the stream, and nobody can ask a server for it.
    fn is_beyond_start(&self, token: &RawDocumentBuf) -> bool {
        match self.resume {
            Resume::AtTime(start) => token_time(token.as_bytes()).is_none_or(|time| time > start),
            Resume::After(_) => true,
        }
    }

    fn stand_behind(&mut self, token: RawDocumentBuf) {
        self.position = Position::ChangeStream {
            cluster_time: token_time(token.as_bytes()),
            token: token.clone(),
        };
        self.resume = Resume::After(token);
    }

    /// Opens a cursor.
    ///
    /// # Errors
    /// [`Error::NoImages`] from a server that does not know what is asked for.
    fn open(&self) -> Result<Reader, Error> {
        let Options {
            scope,
            reading,
            pipeline,
            ..
        } = &self.options;
        let wants_images = reading.full_document.is_recorded() || reading.before != Before::Off;
        if wants_images && !self.capabilities.images {
            return Err(Error::NoImages);
        }
        let asking = Asking {
            scope,
            reading,
            pipeline,
            capabilities: self.capabilities,
            is_lean: self.is_lean,
        };
        let (database, command) = asking.aggregate(&self.resume);
        let options = ReaderOptions {
            batch_size: Some(match self.is_single {
                true => 1,
                false => self.options.batch_size,
            }),
            await_time: Some(reading.await_time),
            tailable: false,
        };
        Ok(Reader::open(
            self.client.database(&database),
            command,
            options,
        ))
    }
}
