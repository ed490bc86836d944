//! The reading loop of the oplog.

mod first;
mod images;
mod transaction;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bson::{Document, RawDocumentBuf, cstr, rawdoc};
use bytes::Bytes;
use mongodb::{
    Client,
    options::{FindOneOptions, ReadConcern},
};
use oplet_sdk::raw::Walk;
use tracing::error;

use self::{
    first::{First, Seen},
    images::Incomplete,
    transaction::Transaction,
};
use super::{Chain, Decoded, Decoder, EntryError, Link};
use crate::{
    backoff::Backoff,
    mongo::{Reader, ReaderOptions, Reply, Server, answer_in_time},
    op::{Batch, BatchBuilder, Position, SourceKind},
    source::{
        Error, Options, Start, Stats, Undecodable, aside::Shelf, behind::Behind,
        resume::wait_or_fail,
    },
};

/// How long to wait before a cursor is opened again that the server closed without an error, as it
/// does with one on an empty capped collection.
const EMPTY_DELAY: Duration = Duration::from_millis(200);

/// Reads the oplog of a replica set, or a collection of the same form.
#[derive(Debug)]
pub struct Tail {
    client: Client,
    options: Options,
    stats: Arc<Stats>,
    decoder: Decoder,
    reader: Option<Reader>,
    /// Whether the open cursor has answered: the first reply only shows that it could be opened.
    answered: bool,
    /// What the first entry of the open cursor has to show.
    first: First,
    /// Where what was taken of the oplog ends.
    position: Position,
    /// Where the last batch ended that is to be given.
    pushed: Position,
    backoff: Backoff,
    /// Whether it was told that the server has yet to come to the position.
    waits: bool,
    /// What is read again although it is done.
    behind: Behind,
    /// What could not be decoded.
    pub(crate) shelf: Shelf,
    ready: VecDeque<Ready>,
    /// Why the tail is at its end, once `ready` is given.
    failed: Option<Error>,
}

/// What can be given next.
#[derive(Debug)]
enum Ready {
    Batch(Batch),
    /// A batch whose documents before the changes are to be read.
    Incomplete(Incomplete),
    Transaction(Transaction),
}

impl Tail {
    /// A reader of that server; nothing is opened before the first [`next`](Self::next).
    #[must_use]
    pub fn new(server: &Server, options: Options, stats: Arc<Stats>) -> Self {
        // The oldest entry, where that is the start, is not behind it.
        let position = options.start.behind();
        Self {
            client: server.client.clone(),
            stats,
            decoder: Decoder::with_reading(options.scope.clone(), &options.reading),
            reader: None,
            answered: false,
            first: First::Any,
            pushed: position.clone(),
            position,
            backoff: Backoff::new(),
            waits: false,
            behind: Behind::new(options.behind),
            shelf: Shelf::default(),
            ready: VecDeque::new(),
            failed: None,
            options,
        }
    }

    /// The next batch; see [`Source::next`](crate::source::Source::next).
    ///
    /// # Errors
    /// [`Error`]: the oplog cannot be read on.
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
            match self.ready.pop_front() {
                Some(Ready::Batch(batch)) => return Ok(batch),
                Some(Ready::Incomplete(incomplete)) => return self.complete(incomplete).await,
                Some(Ready::Transaction(transaction)) => match self.next_part(transaction).await? {
                    Some(batch) => return Ok(batch),
                    None => continue,
                },
                None => {}
            }
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            if self.reader.is_none() {
                self.open();
            }
            let reader = self.reader.as_mut().expect("it was just opened");
            match reader.next().await {
                Some(Ok(reply)) => {
                    // Else a cursor that always breaks would be opened again without a pause.
                    if std::mem::replace(&mut self.answered, true) {
                        self.backoff.reset();
                    }
                    self.failed = self.take(&reply).await.err();
                }
                Some(Err(error)) => self.reopen_after(error).await?,
                None => {
                    self.reader = None;
                    self.wait_for_first();
                    // Let the caller see that nothing is there.
                    self.push(BatchBuilder::new(Bytes::new()), true);
                    tokio::time::sleep(EMPTY_DELAY).await;
                }
            }
        }
    }

    fn open(&mut self) {
        let (from, first) = match (&self.position, &self.options.start) {
            (Position::Oplog(op_time), _) => (op_time.timestamp, First::Entry(*op_time)),
            (_, Start::Oldest(timestamp)) => (*timestamp, First::Any),
            (position, _) => {
                let timestamp = position.timestamp().unwrap_or_default();
                (timestamp, First::At(timestamp))
            }
        };
        self.first = first;
        self.answered = false;
        let (database, collection) = &self.options.oplog_namespace;
        let mut command = rawdoc! {
            "find": collection.as_str(),
            // A bound on `ts` alone lets the server seek to it: the oplog has no other index.
            "filter": { "ts": { "$gte": bson::Timestamp::from(from) } },
            "tailable": true,
            "awaitData": true,
            "batchSize": i64::from(self.options.batch_size),
            "readConcern": { "level": "majority" },
        };
        if let Some(comment) = &self.options.reading.comment {
            command.append(cstr!("comment"), comment.as_str());
        }
        let reader = ReaderOptions {
            batch_size: Some(self.options.batch_size),
            await_time: Some(self.options.reading.await_time),
            tailable: true,
        };
        self.reader = Some(Reader::open(
            self.client.database(database),
            command,
            reader,
        ));
    }

    async fn reopen_after(&mut self, error: mongodb::error::Error) -> Result<(), Error> {
        self.reader = None;
        self.stats.count_reopened();
        let (database, collection) = &self.options.oplog_namespace;
        let what = format!("read {database}.{collection}");
        match wait_or_fail(
            error,
            &what,
            SourceKind::Oplog,
            Some(&self.position),
            &mut self.backoff,
            Some(&self.stats),
        )
        .await
        {
            Ok(()) => Ok(()),
            Err(error) => {
                let namespace = &self.options.oplog_namespace;
                Err(error.with_oldest(&self.client, namespace).await)
            }
        }
    }

    /// Turns a reply into batches: one, or more where it has transactions of several entries.
    async fn take(&mut self, reply: &Reply) -> Result<(), Error> {
        self.stats.count_reply(reply.bytes().len());
        let mut builder = BatchBuilder::new(reply.bytes().clone());
        let documents = match reply.documents().and_then(Walk::new) {
            Ok(documents) => documents,
            Err(malformed) => return Err(Error::broken_reply(malformed)),
        };
        let mut last: Option<&[u8]> = None;
        for element in documents {
            let entry = match element {
                Ok(element) => element.value,
                Err(malformed) => return Err(Error::broken_reply(malformed)),
            };
            if self.first != First::Any {
                match self.look_at_first(entry).await? {
                    Seen::New => {}
                    Seen::Behind => {
                        last = Some(entry);
                        continue;
                    }
                    Seen::Diverged => {
                        self.reader = None;
                        return Ok(());
                    }
                }
            }
            match self.decoder.entry(entry, &mut builder) {
                Ok(Decoded::Ops(_) | Decoded::NoOp) => {}
                Ok(Decoded::Skipped(reason)) => {
                    tracing::trace!(?reason, "an entry is not delivered")
                }
                Ok(Decoded::Chain(chain)) => {
                    self.move_to(last);
                    let body = builder.body();
                    let before = std::mem::replace(&mut builder, BatchBuilder::new(body));
                    self.push(before, false);
                    self.take_chain(&chain, reply.bytes().slice_ref(entry))
                        .await?;
                }
                Err(error) => {
                    self.undecodable_entry(&error, reply.bytes().slice_ref(entry));
                }
            }
            last = Some(entry);
        }
        if last.is_none() {
            self.wait_for_first();
        }
        self.move_to(last);
        self.push(builder, last.is_none());
        Ok(())
    }

    /// Moves the position behind an entry.
    fn move_to(&mut self, entry: Option<&[u8]>) {
        if let Some(Ok(link)) = entry.map(Link::read) {
            self.position = Position::Oplog(link.op_time);
        }
    }

    fn push(&mut self, builder: BatchBuilder, caught_up: bool) {
        let batch = builder.finish(SourceKind::Oplog, self.position.clone(), caught_up);
        let before = std::mem::replace(&mut self.pushed, self.position.clone());
        let ready = self.ready_of(batch, before);
        self.ready.push_back(ready);
    }

    /// A batch of what was decoded last, which can be given when the documents are there that are
    /// wanted for it; `before` is where the batch before it ended.
    fn ready_of(&mut self, batch: Batch, before: Position) -> Ready {
        let wanted = self.decoder.take_wanted();
        match wanted.is_empty() {
            true => Ready::Batch(batch),
            false => Ready::Incomplete(Incomplete {
                batch,
                wanted,
                before,
            }),
        }
    }

    /// Reads the first entry of those that are looked for, in the order of `sort` if there is one;
    /// passing faults are waited out.
    async fn find_entry(
        &mut self,
        filter: Document,
        sort: Option<Document>,
    ) -> Result<Option<RawDocumentBuf>, Error> {
        let (database, collection) = self.options.oplog_namespace.clone();
        let oplog = self
            .client
            .database(&database)
            .collection::<RawDocumentBuf>(&collection);
        loop {
            let found = oplog.find_one(filter.clone());
            let found = found.with_options(
                FindOneOptions::builder()
                    .sort(sort.clone())
                    .read_concern(ReadConcern::majority())
                    .build(),
            );
            let error = match answer_in_time(found).await {
                Ok(entry) => return Ok(entry),
                Err(error) => error,
            };
            let what = format!("read {database}.{collection}");
            let (position, backoff) = (Some(&self.position), &mut self.backoff);
            let stats = Some(&*self.stats);
            wait_or_fail(error, &what, SourceKind::Oplog, position, backoff, stats).await?;
        }
    }

    fn undecodable_entry(&mut self, error: &EntryError, entry: Bytes) {
        self.stats.count_undecodable();
        let timestamp = error.timestamp.map(|timestamp| timestamp.to_string());
        error!(timestamp, error = %error.fault, "an entry could not be decoded and is passed over");
        self.shelf.put([Undecodable {
            kind: SourceKind::Oplog,
            timestamp: error.timestamp,
            reason: error.fault.to_string(),
            bytes: entry,
        }]);
    }
}
