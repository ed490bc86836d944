//! A lane at work, with modules written by hand: what is told as done, and when.

use std::{
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use bson::{RawDocumentBuf, doc};
use futures_util::future::BoxFuture;
use oplet_sdk::raw::{Walk, kind};
use tokio::{runtime::Handle, sync::Notify, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{
    FailurePolicy, ModuleSpec, OnError, Stats, WhenOpen,
    instances::States,
    orders::Orders,
    outlet::{Letter, Letters, Outlet},
    reach::Reach,
    shared::{Shared, Standing, StreamShare},
    versions::Versions,
    worker::LaneWorker,
};
use crate::{
    flow::{self, Gate, Lanes, Lookup, OrderingGuarantee, Word},
    guest::{self, Engine, Module},
    op::{
        Ack, Acknowledge, Batch, BatchBuilder, BatchTicket, Operation, Position, Record,
        SourceKind, Timestamp, Value,
    },
    sink::{Cause, Chunk, Closed, Encoding},
};

mod done;
mod failing;
mod versions;

const LONG: Duration = Duration::from_secs(20);

/// A module that counts its calls in `$calls`, from 1, and answers as the expression says; it emits
/// the op each time.
fn module(name: &str, answer: &str, flush: &str) -> Module {
    static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
        let options = guest::Options {
            instances_max: 64,
            ..guest::Options::default()
        };
        Engine::new(&options).unwrap()
    });
    let text = format!(
        r#"(module
            (import "oplet" "emit" (func $emit (param i32 i32 i32) (result i32)))
            (memory (export "memory") 2)
            (data (i32.const 1024) "\0c\00\00\00\10a\00\01\00\00\00\00")
            (global $calls (mut i64) (i64.const 0))
            (func (export "oplet_abi_v1"))
            (func (export "oplet_alloc") (param i32) (result i32) (i32.const 4096))
            (func (export "handle") (param $ptr i32) (param $len i32) (result i32)
                (global.set $calls (i64.add (global.get $calls) (i64.const 1)))
                (drop (call $emit (i32.const 0) (local.get $ptr) (local.get $len)))
                {answer})
            {flush})"#
    );
    let wasm = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}"));
    Module::load(&ENGINE, name, &wasm, guest::Settings::default()).unwrap()
}

/// Emits each op.
fn echo() -> ModuleSpec {
    spec(module("echo", "(i32.const 0)", ""), policy())
}

/// Asks for another try at its first calls.
fn flaky(failures: u32, policy: FailurePolicy) -> ModuleSpec {
    let answer = format!("(i64.le_u (global.get $calls) (i64.const {failures}))");
    spec(module("flaky", &answer, ""), policy)
}

/// Asks for another try at the calls whose bits are set.
fn moody(calls: u64, policy: FailurePolicy) -> ModuleSpec {
    let answer = format!(
        "(i32.wrap_i64 (i64.and (i64.const 1) (i64.shr_u (i64.const {calls}) (global.get $calls))))"
    );
    spec(module("moody", &answer, ""), policy)
}

fn spec(module: Module, policy: FailurePolicy) -> ModuleSpec {
    ModuleSpec {
        module,
        config: None,
        policy,
    }
}

fn policy() -> FailurePolicy {
    FailurePolicy {
        attempts_max: 100,
        backoff_min: Duration::from_millis(1),
        backoff_max: Duration::from_millis(2),
        breaker_failures: 0,
        ..FailurePolicy::default()
    }
}

/// Inserts of documents with these ids.
fn batch(ids: &[i32]) -> Arc<Batch> {
    batch_of("a.b", ids, Operation::Insert)
}

/// Inserts, or updates whose documents are to be looked up.
fn batch_of(namespace: &str, ids: &[i32], operation: Operation) -> Arc<Batch> {
    let mut builder = BatchBuilder::new(Vec::new().into());
    let namespace = builder.make(|extra| extra.extend_from_slice(namespace.as_bytes()));
    for (second, id) in (1..).zip(ids) {
        let mut record = Record::new(operation, namespace, Timestamp::new(second, 1));
        let span = builder.make(|extra| extra.extend_from_slice(&id.to_le_bytes()));
        record.id = Some(Value {
            kind: kind::INT32,
            span,
        });
        record.pending = operation == Operation::Update;
        if !record.pending {
            let document = RawDocumentBuf::try_from(&doc! {"_id": id}).unwrap();
            record.data = Some(builder.make(|extra| extra.extend_from_slice(document.as_bytes())));
        }
        builder.push(record);
    }
    let position = Position::Time(Timestamp::new(1_000, 1));
    Arc::new(builder.finish(SourceKind::Oplog, position, false))
}

/// Everything that leaves a lane, in order.
#[derive(Debug, Default)]
struct Ends {
    done: Mutex<Vec<u32>>,
    chunks: Mutex<Vec<Chunk>>,
    letters: Mutex<Vec<(Letter, Ack)>>,
    has_no_room: AtomicBool,
    /// Somebody waits for room.
    waits: Notify,
}

impl Acknowledge for Ends {
    fn acknowledge(&self, _: BatchTicket, places: &[u32]) {
        self.done.lock().unwrap().extend(places);
    }
}

impl Outlet for Ends {
    fn encoding(&self) -> Encoding {
        Encoding::Bson
    }

    fn workers(&self) -> usize {
        2
    }

    fn send(&self, _: usize, chunk: Chunk) -> BoxFuture<'_, Result<(), Closed>> {
        Box::pin(async {
            if self.has_no_room.load(SeqCst) {
                self.waits.notify_one();
                std::future::pending::<()>().await;
            }
            self.chunks.lock().unwrap().push(chunk);
            Ok(())
        })
    }
}

impl Letters for Ends {
    fn put(&self, letter: Letter, ack: Ack) -> BoxFuture<'_, ()> {
        self.letters.lock().unwrap().push((letter, ack));
        Box::pin(std::future::ready(()))
    }
}

impl Ends {
    /// The places that were told as done, each once.
    #[track_caller]
    fn done(&self) -> Vec<u32> {
        let mut done = self.done.lock().unwrap().clone();
        done.sort_unstable();
        assert!(done.windows(2).all(|pair| pair[0] < pair[1]), "{done:?}");
        done
    }

    /// Accepts all outputs, and gives for each the module, the place and what made it be emitted.
    fn accept(&self) -> Vec<(String, u32, Cause)> {
        let chunks = std::mem::take(&mut *self.chunks.lock().unwrap());
        let mut outputs = Vec::new();
        for chunk in chunks {
            for (index, output) in chunk.outputs.iter().enumerate() {
                if output.cause == Cause::Op {
                    let id = Walk::find(chunk.document(index), "_id").unwrap().unwrap();
                    let (_, expected) = chunk.op(index).document_id().unwrap();
                    assert_eq!(id.value, expected, "the document is that of its op");
                }
                let module = chunk.modules[output.module as usize].clone();
                outputs.push((module, output.place, output.cause));
            }
            chunk.ack.done();
        }
        outputs
    }

    /// Stores all letters, and gives their places (one less than their second), kinds and attempts.
    fn store(&self) -> Vec<(u32, &'static str, u32)> {
        let letters = std::mem::take(&mut *self.letters.lock().unwrap());
        let store = |(letter, ack): (Letter, Ack)| {
            ack.done();
            (letter.timestamp.seconds - 1, letter.class, letter.attempts)
        };
        letters.into_iter().map(store).collect()
    }
}

/// One lane, and its ends.
struct Scene {
    shared: Arc<Shared>,
    ends: Arc<Ends>,
    lanes: Lanes,
}

impl Scene {
    async fn new(ordering: OrderingGuarantee, modules: Vec<ModuleSpec>) -> Self {
        let modules: Vec<_> = modules.into_iter().map(Arc::new).collect();
        let set = oplet_testkit::ReplicaSet::shared().await.unwrap();
        let ends = Arc::new(Ends::default());
        let shared = Arc::new(Shared {
            names: modules
                .iter()
                .map(|spec| spec.module.name().to_owned())
                .collect(),
            standings: modules
                .iter()
                .map(|spec| {
                    let versions = Versions::begin(spec.clone(), 1);
                    Arc::new(Standing::new(&spec.policy, versions))
                })
                .collect(),
            orders: Orders::new(1),
            handover: Mutex::new(None),
            streams: vec![StreamShare {
                modules: (0..modules.len()).collect(),
                documents: Reach::patient(Lookup::new(set.client().await.unwrap(), true)),
            }],
            modules,
            ordering,
            sinks: Arc::from(["default".to_owned()]),
            outlets: vec![ends.clone() as Arc<dyn Outlet>].into(),
            saved_ops: None,
            letters: ends.clone(),
            acks: ends.clone(),
            stats: Arc::new(Stats::default()),
            gate: Gate::default(),
            runtime: Handle::current(),
            failure: Mutex::default(),
            failed: CancellationToken::new(),
            breaker_opened: Notify::new(),
        });
        let options = flow::Options {
            ordering,
            stack_bytes: 4 << 20,
        };
        let worker = LaneWorker::new(shared.clone(), 0, &States::new()).unwrap();
        let lanes = Lanes::start(&options, vec![worker], &shared.gate).unwrap();
        Self {
            shared,
            ends,
            lanes,
        }
    }

    async fn dispatch(&self, ids: &[i32]) {
        self.dispatch_batch(batch(ids)).await;
    }

    async fn dispatch_batch(&self, batch: Arc<Batch>) {
        let ticket = BatchTicket {
            stream: 0,
            sequence: 0,
        };
        let mut dispatcher = self.lanes.dispatcher();
        let all = 0..batch.len();
        dispatcher.dispatch(&batch, all, ticket).await.unwrap();
    }

    async fn drain(&mut self) {
        timeout(LONG, self.lanes.drain()).await.unwrap().unwrap();
    }

    /// Lets the lane work on one batch to its end.
    async fn over(ordering: OrderingGuarantee, modules: Vec<ModuleSpec>, ids: &[i32]) -> Self {
        let mut scene = Self::new(ordering, modules).await;
        scene.dispatch(ids).await;
        scene.drain().await;
        scene
    }
}
