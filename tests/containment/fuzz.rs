//! The host's reading of what a guest hands out, under any bytes: through a real instance, and beside
//! the `bson` crate. `make fuzz` runs it for longer; `fuzz/` has the targets that are led by coverage.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bson::{Document, RawDocument, doc};
use fastrand::Rng;
use oplet::guest::{
    Engine, Inspection, Instance, Limits, Module, Options, PipelineError, Settings,
};
use oplet_testkit::wat;

use crate::modules::{Handwritten, bytes};

/// How long each of these runs, without more being asked for.
const TIME: Duration = Duration::from_secs(1);

/// Runs something again and again, and tells how often; the seed goes with a failure.
fn fuzz(name: &str, mut once: impl FnMut(&mut Rng)) {
    let seconds = std::env::var("OPLET_FUZZ_SECONDS").ok();
    let time = seconds.map_or(TIME, |text| Duration::from_secs(text.parse().unwrap()));
    let begun = Instant::now();
    let mut seeds = match std::env::var("OPLET_FUZZ_SEED") {
        Ok(seed) => Rng::with_seed(seed.parse().unwrap()),
        Err(_unset) => Rng::new(),
    };
    let first = seeds.get_seed();
    let mut executions = 0_u64;
    while begun.elapsed() < time {
        let mut rng = Rng::with_seed(seeds.u64(..));
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| once(&mut rng)));
        assert!(
            ended.is_ok(),
            "{name}: after {executions} with OPLET_FUZZ_SEED={first}"
        );
        executions += 1;
    }
    crate::say(&format!(
        "{name}: {executions} executions in {} s",
        time.as_secs()
    ));
}

/// A document that a handler or `pipeline` could hand out.
fn document(rng: &mut Rng) -> Document {
    let stage = match rng.u8(..6) {
        0 => doc! {"$match": {"operationType": "insert", "n": {"$in": [1, 2.5, "x"]}}},
        1 => doc! {"$project": {"_id": rng.bool(), "fullDocument.secret": 0}},
        2 => doc! {"$unset": ["a", "_id", "b"]},
        3 => doc! {"$set": {"x": {"$function": {}}}},
        4 => doc! {"$redact": {"$cond": [true, "$$KEEP", "$$PRUNE"]}},
        _ => doc! {"$unknown": [{"a": bson::Binary {
        subtype: bson::spec::BinarySubtype::Generic, bytes: vec![1; rng.usize(..40)] }}]},
    };
    match rng.u8(..8) {
        0 => stage,
        1 => doc! {"pipeline": stage},
        _ => {
            doc! {"pipeline": vec![stage; rng.usize(..4)], "s": "naïve", "t": bson::Timestamp { time: 1, increment: 2 }}
        }
    }
}

/// Bytes that are nearly a document, or nothing like one.
fn damaged(rng: &mut Rng, mut bytes: Vec<u8>) -> Vec<u8> {
    for _ in 0..rng.usize(..5) {
        if bytes.is_empty() {
            break;
        }
        let at = rng.usize(..bytes.len());
        match rng.u8(..6) {
            0 => bytes[at] = rng.u8(..),
            1 => bytes[at] ^= 1 << rng.u8(..8),
            2 => bytes.truncate(at),
            3 => bytes.insert(at, rng.choice([0, 1, 3, 4, 0x7F, 0xFF]).unwrap()),
            4 => {
                bytes.remove(at);
            }
            _ => {
                let part = bytes[at..(at + rng.usize(..20)).min(bytes.len())].to_vec();
                bytes.splice(at..at, part);
            }
        }
    }
    bytes
}

fn load(module: &Handwritten) -> Module {
    let engine = Engine::new(&Options::default()).unwrap();
    let text = module.text();
    let module = wat(&text).unwrap_or_else(|error| panic!("{error:#}\n{text}"));
    Module::load(&engine, "fuzzed", &module, Settings::default()).unwrap()
}

fn instance(module: &Module) -> Instance {
    let sinks = Arc::from(["default".to_owned()]);
    module.instantiate(&sinks, None).unwrap()
}

/// Whether it would do more than show itself; a tab stays a tab.
fn is_wild(text: &str) -> bool {
    text.contains(|c: char| c.is_control() && c != '\t')
}

fn decode(bytes: &[u8]) -> Option<Document> {
    Document::try_from(RawDocument::from_bytes(bytes).ok()?).ok()
}

/// A guest emits what it is given, whatever it is: what the host takes is a document to everybody.
#[test]
fn what_the_host_takes_is_bson() {
    // The answer of `emit` is the outcome: 0 done, and 3 for what is not BSON asks for time.
    let module = Handwritten::new("m")
        .import("retry_after", "(param i64)")
        .handle(
            "(call $retry_after (i64.const 1))
            (call $emit (i32.const 0) (local.get $op) (local.get $len))",
        );
    let mut instance = instance(&load(&module));
    fuzz("emitted documents", |rng| {
        let document = document(rng);
        let bytes = damaged(rng, bytes(&document));
        instance.write_op(&bytes).unwrap();
        instance.handle().unwrap();
        let outputs: Vec<_> = instance.outputs().collect();
        match decode(&bytes) {
            // The other library takes some things that the host does not, never the other way round.
            Some(_) => assert!(outputs.is_empty() || outputs == [(0, bytes.as_slice())]),
            None => assert!(outputs.is_empty(), "{bytes:02x?}"),
        }
        if bytes == self::bytes(&document) {
            assert_eq!(outputs.len(), 1, "{document:?}");
        }
    });
}

/// A guest answers `pipeline` with what it is given.
#[test]
fn what_the_host_takes_for_stages_is_stages() {
    // The op is kept aside, since the question is written to its place.
    let module = Handwritten::new("m")
        .with("(global $kept (mut i64) (i64.const 0))")
        .handle(
            "(memory.copy (i32.const 0x8000) (local.get $op) (local.get $len))
            (global.set $kept (i64.or (i64.const 0x800000000000) (i64.extend_i32_u (local.get $len))))
            (i32.const 0)",
        )
        .with(r#"(func (export "pipeline") (param i32 i32) (result i64) (global.get $kept))"#);
    let module = load(&module);
    let mut instance = self::instance(&module);
    fuzz("pipeline answers", |rng| {
        let document = document(rng);
        let bytes = damaged(rng, bytes(&document));
        instance.write_op(&bytes).unwrap();
        instance.handle().unwrap();
        match instance.pipeline("shop.orders", "changeStream") {
            Ok(None) => panic!("there is an answer"),
            Ok(Some(stages)) => {
                let answer = decode(&bytes).expect("the answer is a document");
                assert!(answer.contains_key("pipeline"));
                for stage in stages {
                    let stage = Document::try_from(stage).unwrap();
                    assert_eq!(stage.len(), 1);
                    assert!(stage.keys().all(|operator| operator.starts_with('$')));
                    for code in ["$where", "$function", "$accumulator"] {
                        assert!(
                            !format!("{stage:?}").contains(&format!("\"{code}\":")),
                            "{stage}"
                        );
                    }
                }
            }
            Err(PipelineError::Refused(refused)) => {
                let text = refused.to_string();
                assert!(!is_wild(&text), "{text:?}");
                assert!(text.len() < 1_000, "{text}");
            }
            Err(PipelineError::Guest(error)) => {
                assert!(error.message.contains("not valid BSON"), "{error}");
                instance = self::instance(&module);
            }
        }
    });
}

/// Whatever is given as a module is looked at, and what is told of it can be shown to a person.
#[test]
fn any_bytes_can_be_looked_at_as_a_module() {
    let modules = [
        Handwritten::new("m").text(),
        Handwritten::new("m")
            .import("log", "(param i32 i32 i32)")
            .with("(table 3 funcref) (global $g f64 (f64.const 1))")
            .text(),
    ];
    let modules = modules.map(|text| wat(&text).unwrap());
    fuzz("modules", |rng| {
        let module = rng.choice(&modules).unwrap();
        let bytes = damaged(rng, module.clone());
        let inspection = Inspection::new(&bytes, &Limits::default());
        let told = inspection
            .findings
            .iter()
            .flat_map(|finding| [Some(finding.to_string()), finding.hint()]);
        for text in told
            .flatten()
            .chain(inspection.warnings.iter().map(ToString::to_string))
        {
            assert!(!is_wild(&text), "{text:?}");
        }
        let items = inspection.exports.iter().chain(&inspection.imports);
        for item in items {
            assert!(!is_wild(&item.name), "{:?}", item.name);
        }
    });
}
