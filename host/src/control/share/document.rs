//! A list of workers in a document, which is watched by a change stream.
//!
//! ```json
//! {_id: "prod", workers: ["Tom", "Dick", "Harry"]}
//! ```
//! Each change of it has a cluster time, the same for every process. It holds from [`NOTICE`] seconds
//! after that on: nobody has to wait for news of the list but who is slower to hear of it than that, and
//! such a one does wait. What was heard is [kept](super::history), so that who starts later, and goes on
//! where an older list held, gives each op to the same worker.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use bson::{Bson, RawDocumentBuf, doc};
use tokio::{sync::watch, time::sleep};
use tracing::{error, info, warn};

use super::{
    Known, ShareError, ShareOptions, chain,
    changes::{self, Field},
    history::{COLLECTION, Entry, History},
    shown,
};
use crate::{
    backoff::Backoff,
    flow::workers::Membership,
    mongo::Server,
    op::{Namespace, OWN_DATABASE, Position, Scope, SourceKind, Timestamp},
    source::{self, Source, Start},
};

/// How long before it holds a change is known, in seconds of cluster time.
const NOTICE: u32 = 10;

/// How often it is noted that the list has not changed. Who starts when the oplog no longer reaches back to
/// that reads the document instead.
const NOTE_EVERY: Duration = Duration::from_secs(10);

/// How long one call may take.
const CALL_TIME: Duration = Duration::from_secs(10);

/// Where the document is.
#[derive(Debug, Clone, PartialEq)]
pub struct ListDocument {
    /// The database.
    pub database: String,
    /// The collection.
    pub collection: String,
    /// The document's `_id`.
    pub id: Bson,
}

impl fmt::Display for ListDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = shown(&self.id);
        write!(f, "{}.{}:{id}", self.database, self.collection)
    }
}

/// Watches a document.
#[derive(Debug)]
pub(super) struct DocumentWatch {
    server: Server,
    document: ListDocument,
    history: History,
    source: Source,
    membership: Arc<Membership>,
    field: Field,
    /// When the list changed last, as far as it is kept.
    changed: Timestamp,
    /// Up to where changes were read.
    read: Timestamp,
    noted: Instant,
}

impl DocumentWatch {
    pub(super) async fn open(
        server: &Server,
        document: &ListDocument,
        options: &ShareOptions,
    ) -> Result<(Self, Known), ShareError> {
        let history = History::new(server, document);
        let mut entries = history.entries().await?;
        if entries.is_empty() {
            // Of several that begin at the same time, one makes the beginning.
            let (field, read) = present(server, document).await?;
            changes::list_of(&field).map_err(|reason| refused(document, reason))?;
            let entry = Entry {
                changed: Timestamp::default(),
                field,
                read,
            };
            history.keep(&entry).await?;
            entries = history.entries().await?;
        }
        let mut membership = None;
        for entry in &entries {
            let Ok(list) = changes::list_of(&entry.field) else {
                // It never held.
                continue;
            };
            match &mut membership {
                None => membership = Some(Membership::new(&options.worker, options.ring, list)),
                Some(membership) => membership.add(holds_since(entry.changed), list),
            }
        }
        let last = entries.pop();
        let (Some(membership), Some(last)) = (membership, last) else {
            let reason = format!("what is kept of it in {OWN_DATABASE}.{COLLECTION} is none");
            return Err(refused(document, reason));
        };
        let mut watch = Self {
            source: source(server, document, last.read),
            server: server.clone(),
            document: document.clone(),
            history,
            membership: Arc::new(membership),
            field: last.field,
            changed: last.changed,
            read: last.read,
            noted: Instant::now(),
        };
        let now = now(server).await?;
        while watch.read < now {
            watch.step().await?;
        }
        watch.note().await?;
        let known = watch.known();
        Ok((watch, known))
    }

    pub(super) async fn run(mut self, known: watch::Sender<Known>) {
        let mut backoff = Backoff::new();
        loop {
            match self.step().await {
                Ok(()) => {
                    backoff.reset();
                    known.send_replace(self.known());
                }
                Err(error) => {
                    let delay = backoff.next_delay();
                    let place = self.document.to_string();
                    let error = chain(&error);
                    error!(place, error, retry_in = ?delay,
                        "the list of workers cannot be watched; the run waits when it needs to know more");
                    sleep(delay).await;
                    self.source = source(&self.server, &self.document, self.read);
                }
            }
        }
    }

    fn known(&self) -> Known {
        Known {
            membership: self.membership.clone(),
            until: holds_since(self.read),
        }
    }

    /// Reads on.
    async fn step(&mut self) -> Result<(), ShareError> {
        let batch = match self.source.next().await {
            Ok(batch) => batch,
            Err(source::Error::PositionLost { .. }) => return self.begin_anew().await,
            Err(error) => return Err(ShareError::Watch(Box::new(error))),
        };
        for op in batch.ops() {
            if op.timestamp() > self.changed {
                let field = changes::after(&op, self.field.clone());
                self.change(op.timestamp(), field).await?;
            }
        }
        self.read = batch
            .position()
            .timestamp()
            .unwrap_or_default()
            .max(self.read);
        match self.noted.elapsed() > NOTE_EVERY {
            true => self.note().await,
            false => Ok(()),
        }
    }

    /// The oplog does not reach back to where the list was read last: whether it has changed since shows,
    /// but not when.
    async fn begin_anew(&mut self) -> Result<(), ShareError> {
        let (field, read) = present(&self.server, &self.document).await?;
        let place = self.document.to_string();
        warn!(place, since = %self.read, "the changes of the list of workers are lost; it is read again");
        self.change(read, field).await?;
        self.read = read;
        self.source = source(&self.server, &self.document, read);
        self.note().await
    }

    /// The field is that since then.
    async fn change(&mut self, changed: Timestamp, field: Field) -> Result<(), ShareError> {
        if field == self.field {
            return Ok(());
        }
        let read = changed;
        let entry = Entry {
            changed,
            field,
            read,
        };
        // Before anything is noted that lies behind it.
        self.history.keep(&entry).await?;
        self.changed = changed;
        self.field = entry.field;
        let place = self.document.to_string();
        match changes::list_of(&self.field) {
            Ok(list) => {
                let since = holds_since(changed);
                info!(place, %since, workers = ?list.names(), "another list of workers holds");
                let mut membership = Membership::clone(&self.membership);
                membership.add(since, list);
                self.membership = Arc::new(membership);
            }
            Err(reason) => error!(
                place,
                reason,
                "the document has no list of workers any more; the one before goes on to hold"
            ),
        }
        Ok(())
    }

    /// Keeps up to where the changes were read.
    async fn note(&mut self) -> Result<(), ShareError> {
        self.noted = Instant::now();
        self.history.note(self.changed, self.read).await
    }
}

/// From when on a list holds that changed then.
fn holds_since(changed: Timestamp) -> Timestamp {
    Timestamp::new(changed.seconds.saturating_add(NOTICE), changed.increment)
}

fn refused(document: &ListDocument, reason: String) -> ShareError {
    let place = document.to_string();
    ShareError::Document { place, reason }
}

fn source(server: &Server, document: &ListDocument, read: Timestamp) -> Source {
    let id = doc! {"$match": {"documentKey._id": document.id.clone()}};
    let options = source::Options {
        scope: Scope::new([Namespace::Collection {
            database: document.database.clone(),
            collection: document.collection.clone(),
        }]),
        start: Start::After(Position::Time(read)),
        behind: None,
        pipeline: RawDocumentBuf::try_from(&id).into_iter().collect(),
        reading: source::Reading::default(),
        batch_size: source::BATCH_SIZE,
        oplog_namespace: source::default_oplog_namespace(),
    };
    Source::new(SourceKind::ChangeStream, server, options, Arc::default())
}

/// The document's field as it is, and a time at or before which it was read: later changes are read again.
async fn present(
    server: &Server,
    document: &ListDocument,
) -> Result<(Field, Timestamp), ShareError> {
    let read = now(server).await?;
    let find = doc! {
        "find": &document.collection,
        "filter": {"_id": document.id.clone()},
        "limit": 1,
        "singleBatch": true,
        "readConcern": {"level": "majority", "afterClusterTime": bson::Timestamp::from(read)},
    };
    let database = server.client.database(&document.database);
    let reply = in_time("read the list of workers", async {
        database.run_command(find).await
    });
    let reply = reply.await?;
    let batch = reply
        .get_document("cursor")
        .and_then(|cursor| cursor.get_array("firstBatch"));
    let found = batch.ok().and_then(|batch| batch.first()?.as_document());
    match found {
        Some(found) => Ok((changes::field_of(found), read)),
        None => Err(ShareError::Missing {
            place: document.to_string(),
        }),
    }
}

async fn now(server: &Server) -> Result<Timestamp, ShareError> {
    let asked = async { server.refreshed().await };
    Ok(in_time("ask the server for its time", asked)
        .await?
        .operation_time)
}

pub(super) async fn in_time<T>(
    what: &str,
    call: impl Future<Output = Result<T, mongodb::error::Error>>,
) -> Result<T, ShareError> {
    let answer = tokio::time::timeout(CALL_TIME, call).await;
    let answer = answer.unwrap_or_else(|_| Err(mongodb::error::Error::custom("no answer in time")));
    answer.map_err(|source| ShareError::Server {
        what: what.to_owned(),
        source,
    })
}
