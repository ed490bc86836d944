//! A handler's memory stays as it is, however many ops come.

use std::time::Instant;

use bson::doc;
use oplet::guest::{Class, Limits, Outcome};
use oplet_sdk::testing;

use super::{Stage, bytes};

/// Ops of the run, or as many as `OPLET_ASSEMBLYSCRIPT_OPS` says: `make flat` asks for ten million.
const OPS: u64 = 100_000;

/// Four pages: one that the compiler gives, one for the ops, and what the collector needs to breathe.
const MEMORY_BYTES: usize = 4 << 16;

fn limits() -> Limits {
    Limits {
        memory_bytes: MEMORY_BYTES,
        ..Limits::default()
    }
}

#[test]
fn memory_stays_flat() {
    let ops: u64 = std::env::var("OPLET_ASSEMBLYSCRIPT_OPS")
        .map_or(OPS, |ops| ops.parse().expect("it is a whole number"));
    let mut stage = Stage::with("probe_assemblyscript", limits(), None).unwrap();
    // Text in and out, nested documents and arrays; of different lengths, so that holes do not fit.
    let inputs: Vec<Vec<u8>> = (0..64)
        .map(|number| {
            let name = "Zoë 🦀 ".repeat(1 + number % 17);
            let data =
                doc! {"_id": number as i32, "name": name, "total": 1.5, "list": vec!["x"; number]};
            testing::insert("probe.things", data).to_bytes()
        })
        .collect();
    let start = Instant::now();
    for (number, op) in (0..ops).zip(inputs.iter().cycle()) {
        stage.instance.write_op(op).unwrap();
        stage.instance.filter(false).unwrap();
        // A memory that had grown beyond the limit would end the instance here.
        let outcome = stage.instance.handle();
        assert_eq!(outcome, Ok(Outcome::Done), "op {number}");
    }
    let took = start.elapsed();
    crate::say(&format!(
        "{ops} ops through an AssemblyScript handler in {took:.1?} ({:.0} ns each), within {MEMORY_BYTES} bytes",
        took.as_nanos() as f64 / ops as f64
    ));
}

#[test]
fn an_op_that_is_too_large_fails_alone() {
    let mut stage = Stage::with("probe_assemblyscript", limits(), None).unwrap();
    let sized = |bytes: usize| {
        testing::insert("probe.things", doc! {"large": "x".repeat(bytes)}).to_bytes()
    };
    for _ in 0..3 {
        let failed = stage.op(&sized(1 << 20), false).unwrap_err();
        assert_eq!(failed.class, Class::MemoryLimit);
        assert!(!stage.instance.is_dead());
        let answer = stage.op(&sized(1000), false).unwrap();
        assert_eq!(answer.outcome, Some(Outcome::Done));
    }
}

#[test]
fn a_large_op_fits_when_there_is_room() {
    let mut stage = Stage::new("probe_assemblyscript");
    for size in [10, 70_000, 5 << 20, 15 << 20, 100, 15 << 20] {
        let text = "ü".repeat(size / 2);
        let op = testing::insert("probe.things", doc! {"name": 1, "large": &text}).to_bytes();
        let answer = stage.op(&op, false).unwrap();
        assert_eq!(answer.outcome, Some(Outcome::Done), "{size}");
    }
}

#[test]
fn what_is_copied_is_kept() {
    let mut stage = Stage::new("probe_assemblyscript");
    let mut expected = doc! {};
    for number in 0..20 {
        let document = doc! {"number": number, "text": "ü".repeat(number as usize)};
        expected.insert(number.to_string(), document.clone());
        let op = testing::insert("probe.things", doc! {"do": "keep", "document": document});
        let answer = stage.op(&op.to_bytes(), false).unwrap();
        assert_eq!(answer.documents(), [expected.clone()]);
        // What comes in between lies where the document lay.
        let other = testing::insert("probe.things", doc! {"name": "x".repeat(300)});
        stage.op(&other.to_bytes(), false).unwrap();
    }
}

#[test]
fn state_is_handed_over() {
    let mut old = Stage::new("probe_assemblyscript");
    assert_eq!(old.instance.save(), Ok(None));
    for _ in 0..3 {
        let op = testing::insert("probe.things", doc! {}).to_bytes();
        old.op(&op, false).unwrap();
    }
    let state = old.instance.save().unwrap().unwrap();
    let seen = |seen: i64| bytes(&doc! {"v": 2, "state": {"seen": seen, "ticked": 0_i64}});
    assert_eq!(state, seen(3));

    let mut new = Stage::new("probe_assemblyscript");
    new.instance.restore(&state).unwrap();
    let op = testing::insert("probe.things", doc! {}).to_bytes();
    new.op(&op, false).unwrap();
    assert_eq!(new.instance.save(), Ok(Some(seen(4))));
    let failed = new.instance.restore(&bytes(&doc! {"v": 3, "state": {}}));
    let failed = failed.unwrap_err();
    assert_eq!(failed.class, Class::Refused);
    assert!(
        failed
            .message
            .contains("state of version 3 is unknown here"),
        "{failed}"
    );
    assert!(!new.instance.is_dead());
}
