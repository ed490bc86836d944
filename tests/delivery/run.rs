//! A run in this process, with the mirror module and a MongoDB sink, and its handle.

use std::time::Duration;

use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::{Client, Collection};
use oplet::{
    control::{self, Error, FailurePolicy, Handle, ModuleSpec, Options, RunState, Summary},
    guest::{self, Engine, Limits, Module},
    mongo::{self, Server},
    op::{Scope, SourceKind, StoreSpec},
    sink::Sinks,
    telemetry::Metrics,
};
use oplet_testkit::{ReplicaSet, database_name, eventually, guest};
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::DEADLINE;

/// Between two looks at a copy that grows.
const PAUSE: Duration = Duration::from_millis(10);

/// A database on the shared replica set, whose changes are mirrored.
pub(crate) struct Mirrored {
    pub(crate) client: Client,
    pub(crate) database: String,
    uri: String,
    engine: Engine,
    module: Module,
    limits: Limits,
}

/// A run at work.
pub(crate) struct Running {
    pub(crate) handle: Handle,
    shutdown: CancellationToken,
    task: JoinHandle<(Summary, Result<(), Error>)>,
}

impl Mirrored {
    pub(crate) async fn new(hint: &str) -> Self {
        Self::on(ReplicaSet::shared().await.unwrap(), hint).await
    }

    pub(crate) async fn on(set: &ReplicaSet, hint: &str) -> Self {
        let limits = Limits::default();
        let engine = Engine::new(&guest::Options {
            cache_directory: Some(concat!(env!("CARGO_TARGET_TMPDIR"), "/modules").into()),
            limits: limits.clone(),
            instances_max: 64,
        })
        .unwrap();
        let wasm = std::fs::read(guest("guest_mirror").unwrap()).unwrap();
        Self {
            client: set.client().await.unwrap(),
            database: database_name(hint),
            uri: set.uri(),
            module: Module::load(&engine, "mirror", &wasm, guest::Settings::default()).unwrap(),
            engine,
            limits,
        }
    }

    pub(crate) fn things(&self) -> Collection<Document> {
        self.client.database(&self.database).collection("things")
    }

    /// Options of a run that keeps its checkpoint beside the database.
    pub(crate) fn options(&self, source: SourceKind) -> Options {
        let Self { database, .. } = self;
        let sink = format!("mongodb:{database}_copy.things#namespace-field=_ns&mode-field=_mode");
        Options {
            name: database.clone(),
            source,
            checkpoint: Some(StoreSpec::own("checkpoints")),
            sinks: vec![sink.parse().unwrap()],
            workers: 2,
            ..Options::default()
        }
    }

    /// Starts a run, and waits until it streams.
    pub(crate) async fn start(&self, options: Options) -> Running {
        let running = self.launch(options, vec![self.mirror()]).await;
        running.wait_for(RunState::Streaming).await;
        running
    }

    /// The mirror.
    pub(crate) fn mirror(&self) -> ModuleSpec {
        ModuleSpec {
            module: self.module.clone(),
            config: None,
            policy: FailurePolicy::default(),
        }
    }

    /// Another module.
    pub(crate) fn module(&self, name: &str, wasm: &[u8], policy: FailurePolicy) -> ModuleSpec {
        ModuleSpec {
            module: Module::load(&self.engine, name, wasm, guest::Settings::default()).unwrap(),
            config: None,
            policy,
        }
    }

    /// Starts a run of these modules.
    pub(crate) async fn launch(&self, options: Options, specs: Vec<ModuleSpec>) -> Running {
        let uri = mongo::parse_uri(&self.uri).unwrap();
        let server = Server::connect(&uri, &mongo::Options::default())
            .await
            .unwrap();
        let scope = Scope::new([self.database.parse().unwrap()]);
        let kind = options.source;
        let plan = control::prepare(
            specs,
            &Sinks::names(&options.sinks),
            &scope,
            kind,
            options.ordering,
            false,
        )
        .unwrap();
        let (handle, inbox) = Handle::new();
        let shutdown = CancellationToken::new();
        let limits = self.limits.clone();
        let metrics = Metrics::new();
        let task = tokio::spawn({
            let shutdown = shutdown.clone();
            async move {
                let run = control::run(
                    &server,
                    plan,
                    &options,
                    &limits,
                    inbox,
                    &metrics,
                    &shutdown,
                    |_| {},
                );
                let ended = Box::pin(run).await;
                server.shutdown().await;
                ended
            }
        });
        Running {
            handle,
            shutdown,
            task,
        }
    }

    /// How often each op was delivered, by its id.
    pub(crate) async fn times(&self) -> Vec<(String, i32)> {
        let ops = self.client.database(&format!("{}_audit", self.database));
        let ops = ops
            .collection::<Document>("ops")
            .find(doc! {})
            .await
            .unwrap();
        let ops: Vec<Document> = ops.try_collect().await.unwrap();
        let times = |op: &Document| {
            (
                op.get_str("_id").unwrap().to_owned(),
                op.get_i32("times").unwrap(),
            )
        };
        ops.iter().map(times).collect()
    }

    /// Inserts documents with these ids.
    pub(crate) async fn insert(&self, ids: std::ops::Range<i32>) {
        let documents = ids.map(|id| doc! { "_id": id, "sequence": 1 });
        self.things().insert_many(documents).await.unwrap();
    }

    /// How many documents the copy has.
    pub(crate) async fn copied(&self) -> u64 {
        let copy = self.client.database(&format!("{}_copy", self.database));
        copy.collection::<Document>("things")
            .count_documents(doc! {})
            .await
            .unwrap()
    }

    /// Waits until the copy has so many documents, for as long as it gets more of them.
    pub(crate) async fn wait_for_copies(&self, count: u64) {
        let mut copied = 0;
        while copied < count {
            let before = copied;
            let more = eventually(DEADLINE, async || {
                copied = self.copied().await;
                copied > before
            });
            if more.await.is_err() {
                panic!("{before} of {count} documents were copied");
            }
            sleep(PAUSE).await;
        }
    }
}

impl Running {
    /// Waits until the run is in that state, or has ended.
    pub(crate) async fn wait_for(&self, state: RunState) {
        let is_there = async || match self.handle.status().await {
            Ok(status) => status.state == state,
            Err(_) => self.task.is_finished(),
        };
        eventually(DEADLINE, is_there).await.unwrap();
    }

    /// Asks for the end, and waits for it.
    pub(crate) async fn end(self) -> (Summary, Result<(), Error>) {
        self.shutdown.cancel();
        self.task.await.unwrap()
    }

    /// Waits for the end.
    pub(crate) async fn ended(self) -> (Summary, Result<(), Error>) {
        self.task.await.unwrap()
    }
}
