//! The reading loop of the oplog.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bson::{RawDocumentBuf, rawdoc};
use bytes::Bytes;
use mongodb::Client;
use oplet_sdk::raw::Walk;
use tracing::{debug, error};

use super::{Chain, Decoded, Decoder, EntryError, Link};
use crate::{
    backoff::Backoff,
    mongo::{Reader, ReaderOptions, Reply, Server, answer_in_time},
    op::{Batch, BatchBuilder, OpTime, Position, SourceKind, Timestamp},
    source::{Error, Options, Start, Stats, oldest_entry, resume::wait_or_fail},
};

/// How long the server waits for an entry before it answers with an empty reply.
const AWAIT_TIME: Duration = Duration::from_secs(1);

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
    /// Where the last batch ended.
    position: Position,
    backoff: Backoff,
    ready: VecDeque<Ready>,
    /// Why the tail is at its end, once `ready` is given.
    failed: Option<Error>,
}

/// What can be given next.
#[derive(Debug)]
enum Ready {
    Batch(Batch),
    Transaction(Transaction),
}

/// A transaction of several entries that is given entry by entry, so that memory holds one of them.
#[derive(Debug)]
struct Transaction {
    chain: Chain,
    /// Where the earlier parts are that were not given yet, the next one last.
    parts: Vec<OpTime>,
    /// The entry that ends the transaction, if that is a part itself.
    last: Option<Bytes>,
    /// Index of the next op in the transaction.
    index: u32,
    /// Where the tail stands until all is given.
    position: Position,
}

/// What the first entry of a cursor shows. A cursor is opened *at* the position, not behind it: a
/// server whose oplog no longer reaches back to it would else begin at its oldest entry, and say
/// nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    /// It was seen to be right, or anything is.
    Any,
    /// It is this entry, and is behind us.
    Entry(OpTime),
    /// It is at this time, and behind us; or later, and then the oplog must reach back to this time.
    At(Timestamp),
}

impl Tail {
    /// A reader of that server; nothing is opened before the first [`next`](Self::next).
    #[must_use]
    pub fn new(server: &Server, options: Options, stats: Arc<Stats>) -> Self {
        Self {
            client: server.client.clone(),
            stats,
            decoder: Decoder::new(options.scope.clone()),
            reader: None,
            answered: false,
            first: First::Any,
            position: options.start.position(),
            backoff: Backoff::new(),
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
        loop {
            match self.ready.pop_front() {
                Some(Ready::Batch(batch)) => return Ok(batch),
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
        let command = rawdoc! {
            "find": collection.as_str(),
            // A bound on `ts` alone lets the server seek to it: the oplog has no other index.
            "filter": { "ts": { "$gte": bson::Timestamp::from(from) } },
            "tailable": true,
            "awaitData": true,
            "batchSize": i64::from(self.options.batch_size),
            "readConcern": { "level": "majority" },
        };
        let reader = ReaderOptions {
            batch_size: Some(self.options.batch_size),
            await_time: Some(AWAIT_TIME),
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
            &self.position,
            &mut self.backoff,
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
            if self.first != First::Any && self.is_behind(entry).await? {
                last = Some(entry);
                continue;
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
                Err(error) => self.undecodable_entry(&error),
            }
            last = Some(entry);
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
        self.ready.push_back(Ready::Batch(batch));
    }

    /// Looks at the first entry of a cursor: `true` when it is the one that is behind us already.
    async fn is_behind(&mut self, entry: &[u8]) -> Result<bool, Error> {
        let found = match Link::read(entry) {
            Ok(link) => link.op_time,
            // It cannot be decoded later either, and is counted then.
            Err(_) => return Ok(false),
        };
        let (expected, exact) = match std::mem::replace(&mut self.first, First::Any) {
            First::Any => return Ok(false),
            First::Entry(op_time) if op_time == found => return Ok(true),
            First::At(timestamp) if timestamp == found.timestamp => return Ok(true),
            First::Entry(op_time) => (op_time.timestamp, true),
            First::At(timestamp) => (timestamp, false),
        };
        let oldest = oldest_entry(&self.client, &self.options.oplog_namespace).await?;
        let lost = |reason: &str| Error::PositionLost {
            position: self.position.clone(),
            oldest: oldest.map(|oldest| oldest.timestamp),
            reason: reason.to_owned(),
        };
        match oldest {
            Some(oldest) if oldest.timestamp > expected && (exact || !oldest.is_beginning) => {
                Err(lost("the oplog no longer reaches back to it"))
            }
            _ if exact => Err(lost("the entry there is another one: it was rolled back")),
            _ => Ok(false),
        }
    }

    /// Finds the parts of a transaction of several entries, to be given one after another. The
    /// position stays before the transaction until its last part is given.
    async fn take_chain(&mut self, chain: &Chain, last: Bytes) -> Result<(), Error> {
        let mut parts = Vec::new();
        let mut next = Some(chain.prev_op_time);
        while let Some(op_time) = next {
            let entry = self.fetch(op_time).await?;
            next = match Link::read(entry.as_bytes()) {
                Ok(link) => link.prev_op_time,
                Err(error) => {
                    self.give_up_chain(chain, &error);
                    return Ok(());
                }
            };
            parts.push(op_time);
        }
        debug!(timestamp = %chain.timestamp, parts = parts.len(), "a transaction of several entries");
        self.ready.push_back(Ready::Transaction(Transaction {
            chain: *chain,
            parts,
            last: (!chain.commit).then_some(last),
            index: 0,
            position: self.position.clone(),
        }));
        Ok(())
    }

    /// The ops of the next part of a transaction; `None` when there is no more.
    async fn next_part(&mut self, mut transaction: Transaction) -> Result<Option<Batch>, Error> {
        let entry = match (transaction.parts.pop(), transaction.last.take()) {
            (Some(op_time), last) => {
                transaction.last = last;
                Bytes::from(self.fetch(op_time).await?.into_bytes())
            }
            (None, Some(last)) => last,
            (None, None) => return Ok(None),
        };
        let mut builder = BatchBuilder::new(entry);
        let entry = builder.body();
        let Transaction { chain, index, .. } = &transaction;
        match self.decoder.part(&entry, chain, *index, &mut builder) {
            Ok(index) => {
                let batch = builder.finish(SourceKind::Oplog, transaction.position.clone(), false);
                transaction.index = index;
                self.ready.push_front(Ready::Transaction(transaction));
                Ok(Some(batch))
            }
            Err(error) => {
                self.give_up_chain(chain, &error);
                Ok(None)
            }
        }
    }

    /// A transaction with a part that cannot be decoded is passed over as far as it was not given.
    fn give_up_chain(&self, chain: &Chain, error: &EntryError) {
        error!(timestamp = %chain.timestamp, "a transaction is passed over from its undecodable part on");
        self.undecodable_entry(error);
    }

    /// Reads one entry by its time; passing faults are waited out.
    async fn fetch(&mut self, op_time: OpTime) -> Result<RawDocumentBuf, Error> {
        let (database, collection) = self.options.oplog_namespace.clone();
        let oplog = self
            .client
            .database(&database)
            .collection::<RawDocumentBuf>(&collection);
        let timestamp = bson::Timestamp::from(op_time.timestamp);
        loop {
            let found = oplog
                .find_one(bson::doc! { "ts": timestamp })
                .read_concern(mongodb::options::ReadConcern::majority());
            match answer_in_time(found).await {
                Ok(Some(entry)) => return Ok(entry),
                Ok(None) => {
                    let oldest = oldest_entry(&self.client, &self.options.oplog_namespace).await?;
                    return Err(Error::PositionLost {
                        position: self.position.clone(),
                        oldest: oldest.map(|oldest| oldest.timestamp),
                        reason: format!(
                            "a transaction that follows has its beginning at {}, which is no longer there",
                            op_time.timestamp
                        ),
                    });
                }
                Err(error) => {
                    let what = format!("read {database}.{collection}");
                    wait_or_fail(
                        error,
                        &what,
                        SourceKind::Oplog,
                        &self.position,
                        &mut self.backoff,
                    )
                    .await?;
                }
            }
        }
    }

    fn undecodable_entry(&self, error: &EntryError) {
        self.stats.count_undecodable();
        let timestamp = error.timestamp.map(|timestamp| timestamp.to_string());
        error!(timestamp, error = %error.fault, "an entry could not be decoded and is passed over");
    }
}
