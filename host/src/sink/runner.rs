//! The sinks of a run, at work.

use std::{fmt, panic::AssertUnwindSafe, sync::Arc};

use bson::Uuid;
use futures_util::FutureExt as _;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::sleep,
};
use tracing::error;

use super::{
    Chunk, DeliverError, FileSink, Kind, NullSink, Sink, SinkSender, SinkState, Spec, StdoutSink,
    http::HttpSink,
    late::{Late, Open},
    mongodb::MongodbSink,
    pending::Pending,
    state::Counters,
    worker::{Over, Worker},
};
use crate::{backoff::Backoff, mongo::Remains, op::Ack};

/// Gives the value of an environment variable.
pub type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// What sinks may need to be opened.
#[derive(Clone)]
pub struct Context {
    /// The run's own deployment; a client that nobody but sinks writes by
    /// ([`MongodbSink::open`]).
    pub client: ::mongodb::Client,
    /// For secrets: the library itself does not look at the environment.
    pub environment: Environment,
    /// The id that connections to other deployments show, for who takes over
    /// ([`Remains`]); none where nobody does.
    pub writer: Option<String>,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").finish_non_exhaustive()
    }
}

/// A sink can never work as it is set up.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the sink `{sink}` at {target}")]
pub struct OpenError {
    /// Its name.
    pub sink: String,
    /// Where it delivers to, without secrets.
    pub target: String,
    /// What went wrong.
    #[source]
    pub source: DeliverError,
}

/// A document that a sink will never accept, on its way to the dead letters.
#[derive(Debug)]
pub struct Rejected {
    /// The sink's name.
    pub sink: String,
    /// The chunk that the document came in. Its own ack was taken out of it.
    pub chunk: Arc<Chunk>,
    /// The document's number there.
    pub index: usize,
    /// Why, for people.
    pub reason: String,
    /// To be told as done when the document is kept elsewhere.
    pub ack: Ack,
}

/// A sink has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its name.
    pub sink: String,
    /// Why, for people.
    pub message: String,
    /// Nobody reads the output any more, which is a normal end.
    pub is_closed: bool,
}

/// A sink that is open, and how it is to be worked with.
#[derive(Debug)]
pub struct OpenSink {
    /// How it was asked for.
    pub spec: Spec,
    /// The sink.
    pub sink: Arc<dyn Sink>,
}

/// The sinks of a run, by their number: the place in the list of [`Spec`]s. When they are dropped,
/// what is under way is cut off, and not acknowledged.
#[derive(Debug)]
pub struct Sinks {
    /// Each with the number of its workers.
    sinks: Vec<(Arc<dyn Sink>, usize)>,
    senders: Arc<[SinkSender]>,
    counters: Vec<Arc<Counters>>,
    ended: watch::Receiver<Option<Ended>>,
    /// Aborted when dropped.
    workers: JoinSet<()>,
}

impl Sinks {
    /// The names of sinks, by their number. 0 is the default, which a module emits to when it names
    /// none.
    #[must_use]
    pub fn names(specs: &[Spec]) -> Arc<[String]> {
        specs.iter().map(|spec| spec.name.clone()).collect()
    }

    /// Opens sinks, and starts their workers. One that is away is no error: its documents wait until
    /// it is back.
    ///
    /// Documents that a sink will never accept are given to `rejected`; while there is no room, the
    /// worker waits.
    ///
    /// # Errors
    /// [`OpenError`].
    ///
    /// # Panics
    /// Outside of a runtime.
    pub async fn open(
        specs: &[Spec],
        context: &Context,
        rejected: mpsc::Sender<Rejected>,
    ) -> Result<Self, OpenError> {
        let mut sinks = Vec::with_capacity(specs.len());
        let mut away = Vec::new();
        for (number, spec) in specs.iter().enumerate() {
            let open = opener(spec, context);
            let sink = match open().await {
                Ok(sink) => sink,
                Err(DeliverError::Passing { message, .. }) => {
                    let late = Arc::new(Late::new(open));
                    away.push((number, late.clone(), message));
                    late
                }
                Err(source) => {
                    return Err(OpenError {
                        sink: spec.name.clone(),
                        target: spec.target.clone(),
                        source,
                    });
                }
            };
            let spec = spec.clone();
            sinks.push(OpenSink { spec, sink });
        }
        let mut sinks = Self::start(sinks, &rejected);
        for (number, late, message) in away {
            let counters = sinks.counters[number].clone();
            counters.is_away(&message);
            sinks.workers.spawn(wait_for(late, counters));
        }
        Ok(sinks)
    }

    /// Starts the workers of sinks that are open.
    ///
    /// # Panics
    /// Outside of a runtime.
    #[must_use]
    pub fn start(sinks: Vec<OpenSink>, rejected: &mpsc::Sender<Rejected>) -> Self {
        let (tell, ended) = watch::channel(None);
        let mut workers = JoinSet::new();
        let mut senders = Vec::new();
        let mut counters = Vec::new();
        let workers_of = |open: &OpenSink| (open.sink.clone(), open.spec.workers);
        let all = sinks.iter().map(workers_of).collect();
        for OpenSink { spec, sink } in sinks {
            let own = Arc::new(Counters::new(&spec.name, spec.kind.as_str(), &spec.target));
            let (to_workers, of_workers): (Vec<_>, Vec<_>) = (0..spec.workers.max(1))
                .map(|_| mpsc::unbounded_channel())
                .unzip();
            let sender =
                SinkSender::new(spec.encoding(), spec.queue_bytes, to_workers, own.clone());
            for messages in of_workers {
                let worker = Worker {
                    sink: sink.clone(),
                    batching: spec.batching.clone(),
                    retry: spec.retry.clone(),
                    time_limit: spec.time_limit,
                    messages,
                    rejected: rejected.clone(),
                    counters: own.clone(),
                    pending: Pending::default(),
                    flushes: Vec::new(),
                };
                workers.spawn(work(worker, own.clone(), sender.clone(), tell.clone()));
            }
            senders.push(sender);
            counters.push(own);
        }
        Self {
            sinks: all,
            senders: senders.into(),
            counters,
            ended,
            workers,
        }
    }

    /// The server sessions that the sinks write by; see [`Sink::sessions`].
    pub async fn sessions(&self) -> Vec<Uuid> {
        let sessions = self
            .sinks
            .iter()
            .map(|(sink, workers)| sink.sessions(*workers));
        futures_util::future::join_all(sessions).await.concat()
    }

    /// Ends what a process before has left behind; see [`Sink::end`].
    pub async fn end(&self, remains: &Remains) {
        let ended = self.sinks.iter().map(|(sink, _)| sink.end(remains));
        futures_util::future::join_all(ended).await;
    }

    /// The ways into the sinks, by their number.
    #[must_use]
    pub fn senders(&self) -> Arc<[SinkSender]> {
        self.senders.clone()
    }

    /// Waits until a sink has ended for good; the first one is told. Cancellation safe.
    pub async fn ended(&self) -> Ended {
        let mut ended = self.ended.clone();
        // `None` again only when every worker ended by itself, which takes a `close`.
        match ended
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|ended| ended.clone())
        {
            Some(ended) => ended,
            None => std::future::pending().await,
        }
    }

    /// Waits until everything that was handed over before is delivered or rejected. A sink that is
    /// away is waited for; one that has ended is not. Cancellation safe.
    pub async fn flush(&self) {
        futures_util::future::join_all(self.senders.iter().map(SinkSender::flush)).await;
    }

    /// Takes no more, delivers what was handed over, and ends the workers. Dropped before it is
    /// through, it cuts off what is left.
    pub async fn close(mut self) {
        self.senders.iter().for_each(SinkSender::close);
        self.flush().await;
        self.workers.shutdown().await;
    }

    /// How the sinks stand, by their number.
    #[must_use]
    pub fn statuses(&self) -> Vec<SinkState> {
        self.counters
            .iter()
            .map(|counters| counters.state())
            .collect()
    }
}

impl Drop for Sinks {
    fn drop(&mut self) {
        self.senders.iter().for_each(SinkSender::close);
    }
}

/// How a sink is opened.
fn opener(spec: &Spec, context: &Context) -> Open {
    let (kind, context) = (spec.kind.clone(), context.clone());
    Box::new(move || {
        let (kind, context) = (kind.clone(), context.clone());
        Box::pin(async move {
            Ok(match &kind {
                Kind::Stdout(_) => Arc::new(StdoutSink::open()?) as Arc<dyn Sink>,
                Kind::File(options) => Arc::new(FileSink::open(options).await?),
                Kind::Mongodb(options) => Arc::new(MongodbSink::open(options, &context).await?),
                Kind::Http(options) => Arc::new(HttpSink::open(options, &*context.environment)?),
                Kind::Null => Arc::new(NullSink),
            })
        })
    })
}

/// Opens a sink that is away, so that it is known to be back also while there is nothing to deliver.
/// What goes wrong meanwhile is told when something is delivered.
async fn wait_for(late: Arc<Late>, counters: Arc<Counters>) {
    let mut backoff = Backoff::new();
    while let Err(fault) = late.open().await {
        if let DeliverError::Ended { .. } = fault {
            return;
        }
        sleep(backoff.next_delay()).await;
    }
    counters.works(false);
}

/// Runs a worker, and tells when it ends.
async fn work(
    worker: Worker,
    counters: Arc<Counters>,
    sender: SinkSender,
    tell: watch::Sender<Option<Ended>>,
) {
    // A sink is code of many hands: that it panics must not look as if it were slow.
    let over = match AssertUnwindSafe(worker.run()).catch_unwind().await {
        Ok(Ok(())) => return,
        Ok(Err(over)) => over,
        Err(_) => Over {
            message: "the sink panicked".to_owned(),
            is_closed: false,
        },
    };
    sender.close();
    counters.ended(&over.message);
    if !over.is_closed {
        error!(
            sink = counters.name(),
            error = over.message,
            "the sink has ended"
        );
    }
    tell.send_if_modified(|ended| {
        let is_first = ended.is_none();
        if is_first {
            *ended = Some(Ended {
                sink: counters.name().to_owned(),
                message: over.message,
                is_closed: over.is_closed,
            });
        }
        is_first
    });
}
