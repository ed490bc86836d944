//! Where outputs and failed ops go, for the whole life of a run.

use std::sync::Arc;

use bson::Uuid;
use futures_util::future::BoxFuture;
use mongodb::Client;
use tokio::sync::mpsc;

use super::{
    Error, Options, SinkStatus,
    outlet::Outlet,
    post::{Post, REFUSED_MAX, pass_on},
    transaction::Ledger,
};
use crate::{
    dead_letters,
    mongo::{Remains, Server},
    sink::{
        Chunk, Closed, Context, DeliverError, Encoding, Ended, Kind, OpenError, SinkSender,
        SinkState, Sinks, Spec, mongodb::Deployment,
    },
};

/// Where outputs and failed ops go.
#[derive(Debug)]
pub(super) struct Delivery {
    sinks: Sinks,
    counts: Arc<dead_letters::Counts>,
    pub(super) post: Arc<Post>,
    pub(super) ledger: Option<Arc<Ledger>>,
    /// By the number that modules know a sink by.
    pub(super) outlets: Arc<[Arc<dyn Outlet>]>,
}

impl Delivery {
    /// Opens sinks and dead letters. For `writer` see [`Context`].
    ///
    /// # Errors
    /// When a sink can never work.
    pub(super) async fn open(
        server: &Server,
        options: &Options,
        writer: &str,
    ) -> Result<Self, Error> {
        let store = dead_letters::Store::open(&options.dead_letters, &server.client);
        let letters = dead_letters::Writer::start(store);
        let counts = letters.counts().clone();
        let post = Arc::new(Post::new(&options.name, letters));
        let (rejected, refused) = mpsc::channel(REFUSED_MAX);
        let queued = options.sinks.iter().filter(|spec| !spec.is_transactional());
        let queued: Vec<Spec> = queued.cloned().collect();
        let context = |client| Context {
            client,
            environment: Arc::new(options.environment),
            writer: Some(writer.to_owned()),
        };
        let encoding = |spec: &Spec| (spec.name.clone(), spec.encoding());
        let encodings = queued.iter().map(encoding).collect();
        let client = client_for(&queued, server, writer)?;
        let sinks = Sinks::open(&queued, &context(client), rejected).await?;
        // Ends with the sinks.
        tokio::spawn(pass_on(post.clone(), encodings, refused));
        let senders = sinks.senders();
        let mut senders = senders.iter();
        let mut ledger = None;
        let mut outlets: Vec<Arc<dyn Outlet>> = Vec::new();
        for spec in &options.sinks {
            if !spec.is_transactional() {
                let sender = senders.next().map(|sender| Arc::new(sender.clone()));
                outlets.extend(sender.map(|sender| sender as Arc<dyn Outlet>));
                continue;
            }
            let context = context(server.client.clone());
            let opened = Arc::new(Ledger::open(spec, &context, post.clone()).await?);
            outlets.push(opened.clone());
            if ledger.replace(opened).is_some() {
                let reason = "there can be one, since a transaction belongs to one deployment";
                return Err(Error::Transactional {
                    reason: reason.into(),
                });
            }
        }
        Ok(Self {
            sinks,
            counts,
            post,
            ledger,
            outlets: outlets.into(),
        })
    }

    /// The server sessions that are written by.
    pub(super) async fn sessions(&self) -> Vec<Uuid> {
        let mut sessions = self.sinks.sessions().await;
        sessions.extend(self.ledger.as_ref().and_then(|ledger| ledger.session_id()));
        sessions
    }

    /// Ends what a process before has left behind.
    pub(super) async fn end(&self, remains: &Remains) {
        self.sinks.end(remains).await;
    }

    /// Waits until everything that was handed over is delivered or lies in the dead letters.
    /// Cancellation safe.
    pub(super) async fn flush(&self) {
        self.sinks.flush().await;
        self.post.flush().await;
    }

    /// Waits until a sink takes no more, for good. Cancellation safe.
    pub(super) async fn ended(&self) -> Ended {
        self.sinks.ended().await
    }

    /// What became of dead letters.
    pub(super) fn letters(&self) -> &dead_letters::Counts {
        &self.counts
    }

    /// How the sinks stand.
    pub(super) fn sinks(&self) -> Vec<SinkState> {
        let mut sinks = self.sinks.statuses();
        sinks.extend(self.ledger.as_ref().map(|ledger| ledger.state()));
        sinks
    }
}

/// What is shown of how a sink stands.
pub(super) fn sink_status(state: SinkState) -> SinkStatus {
    SinkStatus {
        name: state.name,
        kind: state.kind,
        ready: state.ready,
        delivered: state.delivered,
        rejected: state.rejected,
        failures: state.failures,
        queued: state.queued,
        queued_bytes: state.queued_bytes,
        last_error: state.last_error.filter(|_| !state.ready),
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

/// The client of the run's own deployment for sinks: one that nobody else uses, where one of them
/// writes by it.
fn client_for(specs: &[Spec], server: &Server, id: &str) -> Result<Client, Error> {
    let is_writer = |spec: &&Spec| match &spec.kind {
        Kind::Mongodb(options) => options.deployment == Deployment::Own,
        _ => false,
    };
    let Some(writer) = specs.iter().find(is_writer) else {
        return Ok(server.client.clone());
    };
    server.another_client(id).map_err(|error| {
        Error::SinkOpen(OpenError {
            sink: writer.name.clone(),
            target: writer.target.clone(),
            source: DeliverError::Ended {
                message: error.to_string(),
                is_closed: false,
            },
        })
    })
}
