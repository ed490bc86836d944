//! `oplet replay` of recorded ops, without a server: what a handler takes, and all around it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use bson::oid::ObjectId;
use oplet::{
    op::{BatchBuilder, DocumentState, Position, Record, SourceKind, Timestamp, Value},
    replay::{Encoding, Writer},
};
use oplet_sdk::raw::Walk;

use crate::{boundary::EMPTY_MODULE, data};

/// The handlers, in both languages: what they are called, and their module.
const MODULES: [(&str, &str); 4] = [
    ("raw accessors, Rust", "guest_count"),
    ("serde, Rust", "guest_bench_serde"),
    ("raw accessors, AssemblyScript", "count_assemblyscript"),
    (
        "a class from each document, AssemblyScript",
        "documents_assemblyscript",
    ),
];

/// What came of one module.
#[derive(Debug)]
pub(crate) struct Replayed {
    pub(crate) title: String,
    /// Ops a second, start and end of the process not counted, by round.
    pub(crate) rates: Vec<f64>,
    /// Of the best round: median and 99th percentile of the time of an op, as the verb tells them.
    pub(crate) median: String,
    pub(crate) p99: String,
}

/// Replays so many ops to each module.
pub(crate) fn measure(ops: u64, rounds: usize, more: &[PathBuf]) -> Result<Vec<Replayed>> {
    let folder = tempfile::tempdir()?;
    let recording = folder.path().join("ops.bson");
    write(&recording, ops)?;
    let empty = folder.path().join("empty.wasm");
    std::fs::write(&empty, oplet_testkit::wat(EMPTY_MODULE)?)?;
    let mut modules = vec![("nothing: the boundary alone".to_owned(), empty)];
    for (title, name) in MODULES {
        modules.push((title.to_owned(), oplet_testkit::guest(name)?));
    }
    let named = |path: &PathBuf| (path.display().to_string(), path.clone());
    modules.extend(more.iter().map(named));
    let mut found: Vec<Replayed> = Vec::new();
    for (title, _) in &modules {
        found.push(Replayed {
            title: title.clone(),
            rates: Vec::new(),
            median: String::new(),
            p99: String::new(),
        });
    }
    // In turn, so that noise hits all alike.
    for _ in 0..rounds {
        for ((_, module), found) in modules.iter().zip(&mut found) {
            let round = replay(module, &recording, folder.path(), ops)?;
            eprintln!("{}: {:.0} ops/s", found.title, round.rate);
            if found.rates.iter().all(|rate| *rate < round.rate) {
                (found.median, found.p99) = (round.median, round.p99);
            }
            found.rates.push(round.rate);
        }
    }
    Ok(found)
}

struct Round {
    rate: f64,
    median: String,
    p99: String,
}

fn replay(module: &Path, recording: &Path, folder: &Path, ops: u64) -> Result<Round> {
    let output = Command::new(env!("CARGO_BIN_EXE_oplet"))
        .arg("replay")
        .args([module, recording])
        .arg("--module-cache")
        .arg(folder.join("cache"))
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    ensure!(
        said.contains(&format!("ops: {ops} read, {ops} kept")),
        "{said}"
    );
    // `time: 412 ns median, 1.05 us p99, 213 us longest an op; all in 1.20 s, 833333 ops/s`
    let line = said.lines().find_map(|line| line.strip_prefix("time: "));
    let line = line.context("the verb tells times")?;
    let part = |end: &str| {
        let part = line.split(", ").find_map(|part| part.strip_suffix(end));
        part.with_context(|| format!("no `{end}` in `{line}`"))
    };
    Ok(Round {
        rate: part(" ops/s")?.parse()?,
        median: part(" median")?.to_owned(),
        p99: part(" p99")?.to_owned(),
    })
}

/// Inserts of small documents, as the oplog gives them.
fn write(path: &Path, ops: u64) -> Result<()> {
    let mut writer = Writer::create(path, Encoding::Bson, false)?;
    let mut op = Vec::new();
    for number in 0..ops {
        let id = ObjectId::new();
        let document = data::document(id, number as i64, data::SMALL_BYTES);
        let mut builder = BatchBuilder::new(document.into_bytes().into());
        let body = builder.body();
        let id = Walk::find(&body, "_id")?.context("each document has an `_id`")?;
        let timestamp = Timestamp::new(1_700_000_000, number as u32 + 1);
        let namespace = builder.make(|out| out.extend_from_slice(b"bench.inserts"));
        let record = Record {
            id: Some(Value {
                kind: id.kind,
                span: builder.span_of(id.value),
            }),
            data: Some(builder.span_of(&body)),
            wall_time_ms: Some(1_700_000_000_000),
            ..Record::new(oplet::op::Operation::Insert, namespace, timestamp)
        };
        builder.push(record);
        let batch = builder.finish(SourceKind::Oplog, Position::Time(timestamp), false);
        op.clear();
        batch.op(0).encode(DocumentState::NotAsked, &mut op);
        writer.write(&op)?;
    }
    writer.finish()?;
    Ok(())
}
