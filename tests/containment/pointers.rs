//! Pointers that lead outside, and documents that are none.

use bson::{Bson, Document, doc};

use super::{Contained, Fate, Hostile, check, hostile, on_bad, traps_unless, when_bad};
use crate::modules::{Handwritten, bytes, data};

/// What each import is called with: a pointer outside, a length that reaches outside, a sum that is
/// small again, and everything behind the end.
const OUTSIDE: [(&str, &str); 4] = [
    ("(i32.const -1)", "(i32.const 1)"),
    ("(i32.const 256)", "(i32.const 0x7FFFFFFF)"),
    ("(i32.const -16)", "(i32.const 32)"),
    ("(i32.const 0x40000)", "(i32.const 1)"),
];

#[tokio::test]
async fn a_pointer_outside_is_the_end_of_the_call() {
    let imports = |module: Handwritten| {
        module
            .import("sink", "(param i32 i32) (result i32)")
            .import("log", "(param i32 i32 i32)")
            .import("fail", "(param i32 i32)")
            .import("lookup", "(param i32 i32) (result i32)")
            .import("reply", "(param i32 i32) (result i32)")
            .import("count", "(param i32 i32 i64)")
            .wasi("random_get", "(param i32 i32) (result i32)")
    };
    // Names of their own, to be told apart in the log.
    const NAMES: [[&str; 4]; 8] = [
        ["emit_0", "emit_1", "emit_2", "emit_3"],
        ["sink_0", "sink_1", "sink_2", "sink_3"],
        ["log_0", "log_1", "log_2", "log_3"],
        ["fail_0", "fail_1", "fail_2", "fail_3"],
        ["count_0", "count_1", "count_2", "count_3"],
        ["random_0", "random_1", "random_2", "random_3"],
        ["lookup_0", "lookup_1", "lookup_2", "lookup_3"],
        ["reply_0", "reply_1", "reply_2", "reply_3"],
    ];
    let mut rows: Vec<Hostile> = Vec::new();
    for (number, (ptr, len)) in OUTSIDE.into_iter().enumerate() {
        for (names, call) in NAMES.iter().zip([
            format!("(drop (call $emit (i32.const 0) {ptr} {len}))"),
            format!("(drop (call $sink {ptr} {len}))"),
            format!("(call $log (i32.const 1) {ptr} {len})"),
            format!("(call $fail {ptr} {len})"),
            format!("(call $count {ptr} {len} (i64.const 1))"),
            format!("(drop (call $random_get {ptr} {len}))"),
            format!("(drop (call $lookup {ptr} {len}))"),
            format!("(drop (call $reply {ptr} {len}))"),
        ]) {
            rows.push(hostile(
                names[number],
                |module| imports(module).handle(&when_bad(&call)),
                Fate::FailsOnce("trap", "got a pointer outside memory"),
            ));
        }
    }
    check("outside", &rows).await;
}

/// A module that emits these bytes on the bad op, and traps unless it is answered so.
fn emits(name: &'static str, emitted: &[u8], answer: i32) -> Hostile {
    let place = format!(r#"(data (i32.const 4096) "{}")"#, data(emitted));
    let call = format!(
        "(call $emit (i32.const 0) (i32.const 4096) (i32.const {}))",
        emitted.len()
    );
    hostile(
        name,
        |module| {
            module
                .with(&place)
                .handle(&when_bad(&traps_unless(answer, &call)))
        },
        Fate::Thwarted,
    )
}

/// `{d: {d: {d: ...}}}`, so deep; in bytes, since what encodes documents calls itself for each level.
fn nested(depth: usize) -> Vec<u8> {
    let (around, innermost) = (4 + b"\x03d\0".len() + 1, 5);
    let mut nested = Vec::new();
    for level in (1..=depth).rev() {
        nested.extend_from_slice(&((level * around + innermost) as u32).to_le_bytes());
        nested.extend_from_slice(b"\x03d\0");
    }
    nested.extend_from_slice(&[5, 0, 0, 0, 0]);
    nested.resize(nested.len() + depth, 0);
    nested
}

#[tokio::test]
async fn documents_that_lie_are_not_taken() {
    const NOT_BSON: i32 = 3;
    let document = bytes(&doc! {"s": "text", "d": {"a": 1}, "b": true});
    let changed = |at: usize, with: &[u8]| {
        let mut changed = document.clone();
        changed[at..at + with.len()].copy_from_slice(with);
        changed
    };
    let string_at = 7;
    let inner_at = string_at + 4 + 5 + 3;
    let rows = [
        emits(
            "longer_than_it_is",
            &changed(0, &(1_000_u32).to_le_bytes()),
            NOT_BSON,
        ),
        emits(
            "shorter_than_it_is",
            &changed(0, &(8_u32).to_le_bytes()),
            NOT_BSON,
        ),
        emits("of_a_negative_length", &changed(0, &[0xFF; 4]), NOT_BSON),
        emits("cut_off", &document[..document.len() - 1], NOT_BSON),
        emits(
            "without_an_end",
            &changed(document.len() - 1, &[1]),
            NOT_BSON,
        ),
        emits(
            "with_a_long_string",
            &changed(string_at, &(900_u32).to_le_bytes()),
            NOT_BSON,
        ),
        emits(
            "with_an_endless_string",
            &changed(string_at, &[0xFF; 4]),
            NOT_BSON,
        ),
        emits("with_no_string", &changed(string_at, &[0; 4]), NOT_BSON),
        emits(
            "with_a_long_inside",
            &changed(inner_at, &(90_u32).to_le_bytes()),
            NOT_BSON,
        ),
        emits("of_an_unknown_type", &changed(4, &[0x42]), NOT_BSON),
        emits("of_bad_text", &changed(string_at + 4, &[0xFF]), NOT_BSON),
        emits("of_nothing", &[], NOT_BSON),
        emits("too_deep", &nested(101), NOT_BSON),
        emits("far_too_deep", &nested(20_000), NOT_BSON),
    ];
    let contained = check("lies", &rows).await;
    let lines = of_all(&rows);
    assert_eq!(contained.ended.stdout.len(), lines, "nothing else came out");
}

/// What all rows and the well-behaved module emit when nothing of theirs fails.
fn of_all(rows: &[Hostile]) -> usize {
    super::DOCUMENTS as usize * (rows.len() + 1)
}

/// The strangest documents that are valid come out as they are.
#[tokio::test]
async fn what_is_valid_is_delivered_however_strange() {
    const TAKEN: i32 = 0;
    let marked = |mut document: Document| {
        document.insert("strange", true);
        bytes(&document)
    };
    let quiet = f64::from_bits(0x7FF8_0000_DEAD_BEEF);
    let signalling = f64::from_bits(0xFFF0_0000_0000_0001);
    let names =
        doc! {"": 1, "$set": 1, "a.b": 1, "\u{1b}[2J": "\u{1b}[31m\u{202e}", "__proto__": 1};
    let rows = [
        emits(
            "nan",
            &marked(doc! {"n": quiet, "m": signalling, "o": -0.0}),
            TAKEN,
        ),
        emits("deep", &nested(100), TAKEN),
        emits("names", &marked(names), TAKEN),
        emits(
            "ends",
            &marked(doc! {"min": Bson::MinKey, "max": Bson::MaxKey, "u": Bson::Undefined}),
            TAKEN,
        ),
    ];
    let contained = Contained::run("strange", &rows, &["--on-error", "skip"]).await;
    contained.is_contained();
    let documents = contained.ended.documents();
    let strange: Vec<_> = documents
        .iter()
        .filter(|document| document["strange"] == true)
        .collect();
    assert_eq!(strange.len(), rows.len() - 1);
    let deepest = contained
        .ended
        .stdout
        .iter()
        .map(|line| line.matches("\"d\"").count());
    assert_eq!(deepest.max(), Some(100));
    // The library writes the sign of a NaN, too.
    let is_nan = |value: &serde_json::Value| {
        let number = value["$numberDouble"].as_str();
        matches!(number, Some("NaN" | "-NaN"))
    };
    let mut numbers = strange.iter().filter(|document| is_nan(&document["n"]));
    assert!(
        numbers.any(|document| is_nan(&document["m"])),
        "{strange:#?}"
    );
    assert!(
        contained
            .ended
            .stdout
            .iter()
            .all(|line| !line.contains('\u{1b}'))
    );
}

/// Regions of the host's that a guest might hope to read lie at no address of its own.
#[tokio::test]
async fn reading_outside_is_a_trap() {
    let rows = [
        on_bad(
            "loads",
            "(drop (i64.load (i32.const -8)))",
            Fate::FailsOnce("trap", "out of bounds"),
        ),
        on_bad(
            "stores",
            "(i64.store offset=0xFFFFFFFF (i32.const -1) (i64.const 0))",
            Fate::FailsOnce("trap", "out of bounds"),
        ),
        on_bad(
            "copies",
            "(memory.copy (i32.const 0) (i32.const 0x3FFFF) (i32.const 2))",
            Fate::FailsOnce("trap", "out of bounds"),
        ),
        hostile(
            "calls_nothing",
            |module| {
                module
                    .with("(type $f (func)) (table $t 2 funcref)")
                    .handle(&when_bad("(call_indirect $t (type $f) (i32.const 1))"))
            },
            Fate::FailsOnce("trap", "uninitialized"),
        ),
    ];
    check("wild", &rows).await;
}
