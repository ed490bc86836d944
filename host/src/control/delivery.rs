//! Where outputs and failed ops go, for the whole life of a run.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use super::{
    Error, Options, SinkStatus,
    outlet::{Letter, Letters, Outlet},
    transaction::Ledger,
};
use crate::{
    dead_letters::{self, DeadLetter},
    mongo::Server,
    op::Ack,
    sink::{self, Chunk, Closed, Encoding, Ended, Rejected, SinkSender, Sinks},
};

/// How many rejected documents may wait for the dead letters.
const REJECTED_MAX: usize = 64;

/// Where outputs and failed ops go.
#[derive(Debug)]
pub(super) struct Delivery {
    sinks: Sinks,
    letters: Arc<dead_letters::Writer>,
    pub(super) ledger: Option<Arc<Ledger>>,
    /// By the number that modules know a sink by.
    pub(super) outlets: Arc<[Arc<dyn Outlet>]>,
    pub(super) post: Arc<dyn Letters>,
}

impl Delivery {
    pub(super) async fn open(server: &Server, options: &Options) -> Result<Self, Error> {
        let store = dead_letters::Store::open(&options.dead_letters, &server.client);
        let letters = Arc::new(dead_letters::Writer::start(store));
        let post: Arc<dyn Letters> = Arc::new(Post {
            name: options.name.clone(),
            writer: letters.clone(),
        });
        let (rejected, mut rejections) = mpsc::channel::<Rejected>(REJECTED_MAX);
        let queued = options.sinks.iter().filter(|spec| !spec.is_transactional());
        let queued: Vec<_> = queued.cloned().collect();
        let sinks = Sinks::open(&queued, &server.client, rejected).await?;
        tokio::spawn({
            let post = post.clone();
            // Ends with the sinks.
            async move {
                while let Some(Rejected {
                    sink,
                    chunk,
                    index,
                    reason,
                    ack,
                }) = rejections.recv().await
                {
                    post.put(Letter::rejected(&sink, &chunk, index, &reason), ack).await;
                }
            }
        });
        let mut senders = sinks.senders().iter().cloned().collect::<Vec<_>>().into_iter();
        let mut ledger = None;
        let mut outlets: Vec<Arc<dyn Outlet>> = Vec::new();
        for spec in &options.sinks {
            if !spec.is_transactional() {
                outlets.extend(senders.next().map(|sender| Arc::new(sender) as Arc<dyn Outlet>));
                continue;
            }
            let opened = Ledger::open(spec, &server.client, post.clone()).await?;
            let opened = Arc::new(opened);
            outlets.push(opened.clone());
            if ledger.replace(opened).is_some() {
                let reason = "there can be one, since a transaction belongs to one deployment".into();
                return Err(Error::Transactional { reason });
            }
        }
        Ok(Self {
            sinks,
            letters,
            ledger,
            outlets: outlets.into(),
            post,
        })
    }

    /// Waits until everything that was handed over is delivered or lies in the dead letters.
    /// Cancellation safe.
    pub(super) async fn flush(&self) {
        self.sinks.flush().await;
        self.letters.flush().await;
    }

    /// Waits until a sink takes no more, for good. Cancellation safe.
    pub(super) async fn ended(&self) -> Ended {
        self.sinks.ended().await
    }

    pub(super) fn letters_written(&self) -> u64 {
        self.letters.written()
    }

    pub(super) fn statuses(&self) -> Vec<SinkStatus> {
        let mut statuses: Vec<_> = self.sinks.statuses().into_iter().map(SinkStatus::from).collect();
        statuses.extend(self.ledger.as_ref().map(|ledger| ledger.status()));
        statuses
    }
}

impl Outlet for SinkSender {
    fn encoding(&self) -> Encoding {
        self.encoding()
    }

    fn workers(&self) -> usize {
        self.workers()
    }

    fn send(&self, worker: usize, chunk: Chunk) -> BoxFuture<'_, Result<(), Closed>> {
        Box::pin(self.send(worker, chunk))
    }
}

/// Puts letters into the store.
#[derive(Debug)]
struct Post {
    name: String,
    writer: Arc<dead_letters::Writer>,
}

impl Letters for Post {
    fn put(&self, letter: Letter, ack: Ack) -> BoxFuture<'_, ()> {
        let letter: DeadLetter = letter.into_record(&self.name);
        Box::pin(self.writer.put(letter, ack))
    }
}
