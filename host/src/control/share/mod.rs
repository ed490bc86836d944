//! The part of the work that this process has, of several that share it.
//!
//! Batches pass through here before they are admitted: ops of other workers are left out, and count as
//! passed. The list of workers can change while runs work; each op belongs to somebody by the list that
//! held at its cluster time, so that processes that have come differently far agree on it. A list in a
//! document is watched by a change stream, whose events have cluster times themselves; a list in a file
//! says its time.

mod changes;
mod document;
mod file;
mod history;

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use bson::Bson;
use tokio::{sync::watch, task::AbortHandle};
use tracing::info;

pub use document::ListDocument;

use self::{document::DocumentWatch, file::FileWatch};
use super::Stats;
use crate::{
    flow::workers::{FileError, Membership, RingKind},
    mongo::Server,
    op::{Batch, Since, Timestamp},
    source,
};

/// How a process shares the work with others.
#[derive(Debug, Clone)]
pub struct ShareOptions {
    /// The name of this process's worker.
    pub worker: String,
    /// Where the names of all are.
    pub list: ListPlace,
    /// Which way documents are given to workers.
    pub ring: RingKind,
}

/// Where a list of workers is.
#[derive(Debug, Clone, PartialEq)]
pub enum ListPlace {
    /// In a file, in TOML or JSON.
    File(PathBuf),
    /// In a document of the deployment that the run reads.
    Document(ListDocument),
}

/// Why a process does not know its part.
#[derive(Debug, thiserror::Error)]
pub enum ShareError {
    /// It is not in the list.
    #[error("the worker `{worker}` is not in the list of workers in {place}")]
    NotListed {
        /// The name of the worker.
        worker: String,
        /// Who is in the list.
        listed: Vec<String>,
        /// Where the list is.
        place: String,
    },
    /// The file has no list.
    #[error("there is no list of workers in {place}")]
    File {
        /// The file.
        place: String,
        /// What is wrong with it.
        #[source]
        source: FileError,
    },
    /// The document is not there.
    #[error("the document with the list of workers is missing: {place}")]
    Missing {
        /// Collection and `_id`.
        place: String,
    },
    /// The document has no list.
    #[error("there is no list of workers in {place}: {reason}")]
    Document {
        /// Collection and `_id`.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The server does not let the list, or the record of its changes, be read or written.
    #[error("cannot {what}")]
    Server {
        /// What was attempted.
        what: String,
        /// What the server said.
        #[source]
        source: mongodb::error::Error,
    },
    /// The changes of the list cannot be read.
    #[error("cannot watch the list of workers")]
    Watch(#[source] Box<source::Error>),
}

/// What is known of the lists.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) membership: Arc<Membership>,
    /// The ops up to this cluster time are sure to belong so.
    pub(super) until: Timestamp,
}

/// The part of this process.
#[derive(Debug)]
pub(super) struct Share {
    known: watch::Receiver<Known>,
    /// The cluster time of the newest op that was told to belong to somebody. The lock is held to read or
    /// change it.
    told: Arc<Mutex<Timestamp>>,
    stats: Arc<Stats>,
    watching: AbortHandle,
}

impl fmt::Display for ListPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Document(document) => document.fmt(f),
        }
    }
}

impl ShareOptions {
    /// Whether the worker is in any of these lists.
    ///
    /// # Errors
    /// [`ShareError::NotListed`].
    fn check(&self, membership: &Membership) -> Result<(), ShareError> {
        match membership.is_listed() {
            true => Ok(()),
            false => Err(ShareError::NotListed {
                worker: self.worker.clone(),
                listed: membership.newest().list().names().to_vec(),
                place: self.list.to_string(),
            }),
        }
    }

    /// Reads the list of a file, so that what is wrong with it is told before anything is opened. Of a
    /// document nothing can be told then.
    ///
    /// # Errors
    /// [`ShareError`].
    pub fn check_file(&self) -> Result<(), ShareError> {
        match &self.list {
            ListPlace::File(path) => self.check(&file::load(path, self)?.1),
            ListPlace::Document(_) => Ok(()),
        }
    }
}

impl Share {
    /// Reads the list, and watches it from now on.
    ///
    /// # Errors
    /// [`ShareError`].
    pub(super) async fn open(
        server: &Server,
        options: &ShareOptions,
        stats: Arc<Stats>,
    ) -> Result<Self, ShareError> {
        let told = Arc::new(Mutex::new(Timestamp::default()));
        let (known, watching) = match &options.list {
            ListPlace::File(path) => {
                let (watch, known) = FileWatch::open(path, options, told.clone())?;
                options.check(&known.membership)?;
                let (sender, receiver) = watch::channel(known);
                (receiver, tokio::spawn(watch.run(sender)).abort_handle())
            }
            ListPlace::Document(document) => {
                let (watch, known) = DocumentWatch::open(server, document, options).await?;
                options.check(&known.membership)?;
                let (sender, receiver) = watch::channel(known);
                (receiver, tokio::spawn(watch.run(sender)).abort_handle())
            }
        };
        let share = Self {
            known,
            told,
            stats,
            watching,
        };
        share.tell();
        Ok(share)
    }

    fn tell(&self) {
        let known = self.known.borrow();
        let (worker, list) = (known.membership.worker(), known.membership.newest());
        let since = list.since;
        info!(worker, workers = ?list.list().names(), %since, "one of several workers");
    }

    /// Where a run without a checkpoint is to begin, at that time of the server, so that it has all of
    /// its part: where its worker came into the list. None where it always was in it.
    pub(super) fn joined(&self, now: Timestamp) -> Option<Since> {
        let joined = self.known.borrow().membership.joined()?;
        (joined > Timestamp::default() && joined < now).then_some(Since::After(joined))
    }

    /// Leaves only this worker's ops in a batch; waits until it is sure which these are. Tells whether the
    /// worker has no part in what follows, since it was taken out of the list. Cancellation safe: nothing
    /// is left out before.
    pub(super) async fn keep_own(&self, batch: &mut Batch) -> bool {
        let newest = batch.ops().map(|op| op.timestamp()).max();
        let newest = newest.unwrap_or_default();
        let mut known = self.known.clone();
        // Nobody tells any more when the run is at its end.
        let sure = known.wait_for(|known| newest <= known.until).await;
        let Some(membership) = sure.ok().map(|known| known.membership.clone()) else {
            return std::future::pending().await;
        };
        {
            let mut told = self.told.lock().expect("no holder of this lock panics");
            *told = newest.max(*told);
        }
        let others = membership.retain_own(batch, &mut Vec::new());
        Stats::add(&self.stats.of_others, others as u64);
        let position = batch.position();
        let is_over = position
            .timestamp()
            .is_some_and(|at| membership.is_over_at(at));
        if is_over {
            info!(%position, "the worker is not in the list any more: it ends when it has done its part");
        }
        is_over
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

/// An error and what caused it, as one text.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

/// The text of an `_id`, for people and as a key.
fn shown(id: &Bson) -> String {
    match id {
        Bson::String(text) => text.clone(),
        other => other.clone().into_relaxed_extjson().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::{
        flow::workers::WorkerList,
        op::{BatchBuilder, Operation, Position, Record, SourceKind},
    };

    /// Commands, one a second.
    fn batch(seconds: std::ops::Range<u32>) -> Batch {
        let position = Position::Time(Timestamp::new(seconds.end, 0));
        let mut builder = BatchBuilder::new(Vec::new().into());
        let namespace = builder.make(|extra| extra.extend_from_slice(b"a.b"));
        for second in seconds {
            let time = Timestamp::new(second, 1);
            builder.push(Record::new(Operation::Command, namespace, time));
        }
        builder.finish(SourceKind::Oplog, position, true)
    }

    #[tokio::test]
    async fn ops_wait_until_it_is_sure_whose_they_are() {
        let list = |name: &str| WorkerList::new(vec![name.to_owned()]).unwrap();
        let mut membership = Membership::new("a", RingKind::Oplet, list("a"));
        let until = |seconds| Timestamp::new(seconds, 0);
        let known = |membership: &Membership, until| Known {
            membership: Arc::new(membership.clone()),
            until,
        };
        let (sender, receiver) = watch::channel(known(&membership, until(10)));
        let share = Share {
            known: receiver,
            told: Arc::default(),
            stats: Arc::default(),
            watching: tokio::spawn(std::future::ready(())).abort_handle(),
        };
        assert!(!share.keep_own(&mut batch(5..10)).await);
        let mut later = batch(10..20);
        let mut keeping = Box::pin(share.keep_own(&mut later));
        let early = timeout(Duration::from_millis(20), &mut keeping).await;
        assert!(early.is_err(), "{early:?}");
        membership.add(until(15), list("b"));
        sender.send_replace(known(&membership, until(19)));
        let early = timeout(Duration::from_millis(20), &mut keeping).await;
        assert!(early.is_err(), "one of them is later: {early:?}");
        sender.send_replace(known(&membership, until(20)));
        assert!(keeping.await);
        assert_eq!(
            share
                .stats
                .of_others
                .load(std::sync::atomic::Ordering::Relaxed),
            5
        );
        assert_eq!(later.len(), 5);
        assert_eq!(*share.told.lock().unwrap(), Timestamp::new(19, 1));
    }
}
