//! What a guest costs per op, without a server: in this process, on one thread.

use std::{hint::black_box, sync::Arc, time::Instant};

use anyhow::{Context as _, Result, ensure};
use bson::{Binary, RawDocumentBuf, Uuid, oid::ObjectId, rawdoc};
use futures_util::FutureExt as _;
use oplet::{
    checkpoint::{AckWindow, WindowOptions},
    guest::{Engine, Instance, Module, Options, Outcome, Settings, Verdict},
    op::{
        Ack, Batch, BatchBuilder, DocumentState, Frontier, Position, Scope, SourceKind, Timestamp,
    },
    source::oplog::Decoder,
};

/// How often each step is repeated for one time: a few milliseconds, short enough that many of the
/// times are taken without another process on the core.
const REPEATS: u32 = 5_000;

/// Of so many times the least is told.
const TIMES: usize = 200;

/// A module that does nothing: what is left is the boundary.
pub(crate) const EMPTY_MODULE: &str = r#"(module
  (memory (export "memory") 1)
  (func (export "oplet_abi_v1"))
  (func (export "oplet_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "filter") (param i32 i32) (result i32) (i32.const 1))
  (func (export "handle") (param i32 i32) (result i32) (i32.const 0)))"#;

/// Nanoseconds per op of each step.
#[derive(Debug)]
pub(crate) struct Boundary {
    pub(crate) op_bytes: usize,
    /// From an oplog entry to a record.
    pub(crate) decode: f64,
    /// From a record to the op document.
    pub(crate) encode: f64,
    /// Copying the op document in, and two calls that do nothing.
    pub(crate) empty: f64,
    /// The same with the module `guest_count`, which reads a field in both calls.
    pub(crate) count: f64,
    /// Letting a batch into the ack window, and acknowledging its ops from two lanes.
    pub(crate) window: f64,
}

/// Measures each step by itself.
pub(crate) fn measure() -> Result<Boundary> {
    let entry = entry();
    let scope = Scope::new(["bench.inserts".parse()?]);
    let mut decoder = Decoder::new(scope);
    let batch = decode(&mut decoder, &entry)?;
    let mut op = Vec::new();
    batch.op(0).encode(DocumentState::NotAsked, &mut op);

    let engine = Engine::new(&Options::default())?;
    let count = std::fs::read(oplet_testkit::guest("guest_count")?)?;
    let mut count = instance(&engine, &count)?;
    let mut empty = instance(&engine, &oplet_testkit::wat(EMPTY_MODULE)?)?;
    let mut buffer = Vec::new();
    let body = bytes::Bytes::from(entry.as_bytes().repeat(1000));
    Ok(Boundary {
        op_bytes: op.len(),
        decode: least(REPEATS / 1000, || {
            let mut builder = BatchBuilder::new(body.clone());
            for entry in body.chunks_exact(entry.as_bytes().len()) {
                black_box(decoder.entry(entry, &mut builder)).expect("it was decoded before");
            }
            black_box(finish(builder));
        }) / 1000.0,
        encode: least(REPEATS, || {
            buffer.clear();
            black_box(&batch)
                .op(0)
                .encode(DocumentState::NotAsked, &mut buffer);
        }),
        empty: least(REPEATS, || call(&mut empty, &op)),
        count: least(REPEATS, || call(&mut count, &op)),
        window: window(&mut decoder, &body)?,
    })
}

/// What the ack window costs per op: a thousand ops a batch, of which each of two lanes acknowledges
/// every other one.
fn window(decoder: &mut Decoder, body: &bytes::Bytes) -> Result<f64> {
    let mut builder = BatchBuilder::new(body.clone());
    for entry in body.chunks_exact(body.len() / 1000) {
        decoder
            .entry(entry, &mut builder)
            .context("the entry cannot be decoded")?;
    }
    let batch = Arc::new(finish(builder));
    ensure!(batch.len() == 1000, "each entry is one op");
    let start = Frontier::at(Position::Time(Timestamp::new(1, 0)));
    let window = AckWindow::new(vec![start], WindowOptions::default());
    let lanes: [Vec<u32>; 2] = [0, 1].map(|lane| (lane..1000).step_by(2).collect());
    let mut times = f64::INFINITY;
    for _ in 0..TIMES {
        let places = lanes.clone();
        let started = Instant::now();
        // Not by the runtime's count of polls, which would have it yield now and then.
        let admitted = tokio::task::unconstrained(window.admit(0, &batch)).now_or_never();
        let ticket = admitted.context("the window is empty, and yet there is no room")?;
        for places in places {
            Ack::new(window.clone(), ticket, places).done();
        }
        times = times.min(started.elapsed().as_nanos() as f64 / 1000.0);
    }
    Ok(times)
}

/// What a lane does with an op that is encoded.
fn call(instance: &mut Instance, op: &[u8]) {
    instance.write_op(black_box(op)).expect("it fits");
    let verdict = instance.filter(false).expect("it does not fail");
    assert_eq!(verdict, Verdict::Keep);
    let outcome = instance.handle().expect("it does not fail");
    assert_eq!(outcome, Outcome::Done);
}

fn instance(engine: &Engine, wasm: &[u8]) -> Result<Instance> {
    let sinks: Arc<[String]> = Arc::new(["stdout".to_owned()]);
    let module = Module::load(engine, "module", wasm, Settings::default())?;
    Ok(module.instantiate(&sinks, None)?)
}

fn decode(decoder: &mut Decoder, entry: &RawDocumentBuf) -> Result<Batch> {
    let mut builder = BatchBuilder::new(entry.as_bytes().to_vec().into());
    let body = builder.body();
    decoder
        .entry(&body, &mut builder)
        .context("the entry cannot be decoded")?;
    let batch = finish(builder);
    ensure!(batch.len() == 1, "it is one op");
    Ok(batch)
}

fn finish(builder: BatchBuilder) -> Batch {
    let position = Position::Time(Timestamp::new(1, 1));
    builder.finish(SourceKind::Oplog, position, false)
}

/// An entry as a 6.0 server writes it for one of the small documents.
fn entry() -> RawDocumentBuf {
    let id = ObjectId::new();
    let timestamp = bson::Timestamp {
        time: 1_700_000_000,
        increment: 123,
    };
    let document = crate::data::document(id, 123_456, crate::data::SMALL_BYTES);
    rawdoc! {
        "op": "i",
        "ns": "bench.inserts",
        "ui": Binary::from(Uuid::new()),
        "o": document,
        "o2": { "_id": id },
        "ts": timestamp,
        "t": 1_i64,
        "v": 2_i64,
        "wall": bson::DateTime::from_millis(1_700_000_000_000),
    }
}

/// The time of one turn, in nanoseconds, when nothing disturbs it.
fn least(turns: u32, mut turn: impl FnMut()) -> f64 {
    let times = (0..TIMES).map(|_| {
        let started = Instant::now();
        (0..turns).for_each(|_| turn());
        started.elapsed().as_nanos() as f64 / f64::from(turns)
    });
    times.fold(f64::INFINITY, f64::min)
}
