//! Too much of what is allowed.

use bson::doc;
use oplet_testkit::Signal;

use super::{Contained, DOCUMENTS, Fate, all, check, hostile, on_bad, traps_unless, when_bad};
use crate::{
    DEADLINE,
    modules::{Handwritten, Scene, bytes, data},
};

/// A loop that does something so many times.
fn times(count: i32, body: &str) -> String {
    format!(
        "(global.set $turn (i32.const 0))
        (loop $again {body}
            (global.set $turn (i32.add (global.get $turn) (i32.const 1)))
            (br_if $again (i32.lt_u (global.get $turn) (i32.const {count}))))"
    )
}

const TURN: &str = "(global $turn (mut i32) (i32.const 0))";

#[tokio::test]
async fn outputs_are_limited_in_number_and_bytes() {
    let over = |emit: &str| traps_unless(2, emit);
    let empty = "(call $emit (i32.const 0) (i32.const 4096) (i32.const 5))";
    let large = "(call $emit (i32.const 0) (i32.const 0x80000) (i32.const 0x100000))";
    let rows = [
        // The thousand that it may, of which one is its usual; the host says 2 to the rest.
        hostile(
            "emits_many",
            |module| {
                module
                    .with(TURN)
                    .with(r#"(data (i32.const 4096) "\05\00\00\00\00")"#)
                    .handle(&format!(
                        "(call $emit_one (local.get $op)) {} {} (i32.const 0)",
                        times(999, &traps_unless(0, empty)),
                        times(5_000, &over(empty)),
                    ))
            },
            Fate::Thwarted,
        ),
        // A megabyte of zeros in a binary value, sixteen times; a byte more is too much.
        hostile(
            "emits_much",
            |module| {
                module
                    .memory(r#"(memory (export "memory") 32)"#)
                    .with(TURN)
                    .with(r#"(data (i32.const 0x80000) "\00\00\10\00\05b\00\f3\ff\0f\00\00")"#)
                    .with(r#"(data (i32.const 4096) "\05\00\00\00\00")"#)
                    .handle(&when_bad(&format!(
                        "{} {} {} (return (i32.const 2))",
                        times(16, &traps_unless(0, large)),
                        over(large),
                        over(empty),
                    )))
            },
            Fate::FailsOnce("reject", ""),
        ),
    ];
    let contained = Contained::run("outputs", &rows, &["--on-error", "skip"]).await;
    contained.is_contained();
    contained.meets(&rows[1]);
    assert_eq!(contained.ids("emits_many"), all());
    let empty = contained.ended.stdout.iter().filter(|line| *line == "{}");
    assert_eq!(empty.count(), 999 * DOCUMENTS as usize);
}

/// What the text of a module looks like that wants to be taken for the host's.
const FORGED: &str = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\r\u{2028}\n2026-01-01T00:00:00Z ERROR forged module=\"beside\"\n";

#[tokio::test]
async fn nobody_fills_the_log_or_forges_it() {
    let text = format!(r#"(data (i32.const 4096) "{}")"#, data(FORGED.as_bytes()));
    let vector = format!(
        r#"(data (i32.const 3000) "{}")"#,
        data(&[4096_u32.to_le_bytes(), (FORGED.len() as u32).to_le_bytes()].concat())
    );
    let len = FORGED.len();
    let rows = [
        hostile(
            "logs",
            |module| {
                let log = format!("(call $log (i32.const 1) (i32.const 4096) (i32.const {len}))");
                module
                    .import("log", "(param i32 i32 i32)")
                    .with(TURN)
                    .with(&text)
                    .handle(&when_bad(&times(20_000, &log)))
            },
            Fate::Thwarted,
        ),
        hostile(
            "prints",
            |module| {
                let print = "(drop (call $fd_write (i32.const 2) (i32.const 3000) (i32.const 1) (i32.const 3100)))";
                module
                    .wasi("fd_write", "(param i32 i32 i32 i32) (result i32)")
                    .with(TURN)
                    .with(&text)
                    .with(&vector)
                    .handle(&when_bad(&times(20_000, print)))
            },
            Fate::Thwarted,
        ),
        // A reason is part of the failure record, of which there is one for each op.
        hostile(
            "gives_reasons",
            |module| {
                let fail = format!("(call $fail (i32.const 4096) (i32.const {len})) (unreachable)");
                module
                    .import("fail", "(param i32 i32)")
                    .with(&text)
                    .handle(&when_bad(&fail))
            },
            Fate::FailsOnce("trap", "owned"),
        ),
        // As long as can be, in place of a sentence.
        hostile(
            "gives_long_reasons",
            |module| {
                module.import("fail", "(param i32 i32)").handle(&when_bad(
                    "(call $fail (i32.const 0) (i32.const 0x40000)) (return (i32.const 2))",
                ))
            },
            Fate::FailsOnce("reject", ""),
        ),
        // Its functions have names of its own choice, and a trap shows them.
        hostile(
            "has_names",
            |module| {
                let long = "x".repeat(20_000);
                module
                    .with(&format!(
                        "(func $\"\\1b[2J\\0aforged\" (unreachable)) (func ${long} (call $\"\\1b[2J\\0aforged\"))"
                    ))
                    .handle(&when_bad(&format!("(call ${long})")))
            },
            Fate::FailsOnce("trap", "[2J"),
        ),
        hostile(
            "counts",
            |module| {
                module
                    .import("count", "(param i32 i32 i64)")
                    .with(TURN)
                    .handle(&when_bad(&times(
                        20_000,
                        // Eight bytes of a number, as letters: another name each time.
                        "(i64.store (i32.const 4096) (i64.add (i64.const 0x6161616161616161)
                            (i64.extend_i32_u (i32.and (global.get $turn) (i32.const 0x0F0F0F0F)))))
                        (i32.store8 (i32.const 4098) (i32.add (i32.const 97)
                            (i32.rem_u (i32.shr_u (global.get $turn) (i32.const 4)) (i32.const 26))))
                        (call $count (i32.const 4096) (i32.const 8) (i64.const 0x7FFFFFFFFFFFFFFF))",
                    )))
            },
            Fate::Thwarted,
        ),
    ];
    let contained = check("floods", &rows).await;
    let stderr = &contained.ended.stderr;
    // A line that is not the host's own would begin as the module wrote it.
    let forged: Vec<_> = stderr
        .lines()
        .filter(|line| line.starts_with("2026-01-01"))
        .collect();
    assert_eq!(forged, [""; 0]);
    for forbidden in ['\u{7}', '\u{9b}', '\r', '\u{2028}'] {
        assert!(!stderr.contains(forbidden), "{forbidden:?}");
    }
    // A hundred lines a second and module; what was left out is told.
    let lines = stderr.lines().filter(|line| line.contains("owned")).count();
    assert!(lines < 5_000, "{lines} of 40,000 lines");
    contained
        .ended
        .says(&["log lines of the module were suppressed"]);
    assert_eq!(stderr.matches("a counter is left out").count(), 1);
    let longest = stderr.lines().map(str::len).max().unwrap();
    assert!(longest < 128 << 10, "a line of {longest} bytes");
}

/// Twenty lines of eight kilobytes with every failed op would be a flood past the limit on lines.
#[tokio::test]
async fn failure_records_are_short_whatever_was_printed() {
    let vector = format!(
        r#"(data (i32.const 3000) "{}")"#,
        data(&[0x10000_u32.to_le_bytes(), 0x2000_u32.to_le_bytes()].concat())
    );
    let print =
        "(drop (call $fd_write (i32.const 2) (i32.const 3000) (i32.const 1) (i32.const 3100)))";
    let row = hostile(
        "prints_and_traps",
        |module| {
            module
                .wasi("fd_write", "(param i32 i32 i32 i32) (result i32)")
                .with(TURN)
                .with(&vector)
                .handle(&format!(
                    "(memory.fill (i32.const 0x10000) (i32.const 120) (i32.const 0x2000))
                    (i32.store8 (i32.const 0x11FFF) (i32.const 10))
                    {} (unreachable)",
                    times(40, print)
                ))
        },
        Fate::FailsAlways("trap", "unreachable"),
    );
    let contained = check("records", &[row]).await;
    for failure in contained.ended.failures() {
        assert!(failure.len() < 32 << 10, "{} bytes", failure.len());
    }
}

/// A module may ask for time without end; it then has its own op in hand, and no other.
#[tokio::test]
async fn an_op_that_is_put_off_for_ever_holds_up_nobody() {
    let scene = Scene::new("later").await;
    let later = Handwritten::new("later")
        .import("retry_after", "(param i64)")
        .handle(&when_bad(
            "(call $retry_after (i64.const 0x7FFFFFFFFFFFFFFF)) (return (i32.const 3))",
        ));
    let again = Handwritten::new("again")
        .import("retry_after", "(param i64)")
        .handle(&when_bad(
            "(call $retry_after (i64.const -1)) (return (i32.const 3))",
        ));
    let modules = [
        scene.module("later", &later.text()),
        scene.module("again", &again.text()),
        scene.module("beside", &Handwritten::new("beside").text()),
    ];
    let oplet = scene
        .run(&modules)
        .args(["--workers", "1"])
        .start()
        .unwrap();
    scene
        .insert((0..DOCUMENTS).map(|id| doc! {"_id": id, "n": id}))
        .await;
    let lines = DOCUMENTS as usize * 3 - 2;
    let lines = oplet.wait_for_lines(lines, DEADLINE).await.unwrap();
    let beside = lines.iter().filter(|line| line.contains("beside"));
    assert_eq!(beside.count(), all().len());
    oplet.signal(Signal::Terminate).unwrap();
    assert_eq!(oplet.wait_exit(DEADLINE).await.unwrap(), 0);
}

/// What a sink can never take is its module's failure, not the sink's.
#[tokio::test]
async fn a_document_that_no_server_takes_stops_nobody() {
    let refused = [
        ("array_id", doc! {"_id": [1, 2]}),
        ("dollar_id", doc! {"_id": {"$where": 1}}),
        (
            "regex_id",
            doc! {"_id": bson::Bson::RegularExpression(bson::Regex {
            pattern: "a".try_into().unwrap(), options: "".try_into().unwrap() })},
        ),
    ];
    let rows: Vec<_> = refused
        .iter()
        .map(|(name, document)| {
            let document = bytes(document);
            let place = format!(r#"(data (i32.const 4096) "{}")"#, data(&document));
            // On every op: each is a letter, and no reason to stop.
            let emit = format!(
                "(call $emit (i32.const 0) (i32.const 4096) (i32.const {}))",
                document.len()
            );
            hostile(
                name,
                |module| module.with(&place).handle(&emit),
                Fate::Whatever,
            )
        })
        .chain([on_bad("well", "", Fate::Thwarted)])
        .collect();
    let scene = Scene::new("poison").await;
    scene
        .insert((0..DOCUMENTS).map(|id| doc! {"_id": id, "n": id}))
        .await;
    let modules: Vec<_> = rows
        .iter()
        .map(|row| scene.module(row.name, &row.module.text()))
        .collect();
    let out = format!("copies=mongodb:{}_out.copies#mode=insert", scene.database);
    let letters = format!("mongodb:{}_out.letters", scene.database);
    let flags = [
        "--sink",
        out.as_str(),
        "--dead-letters",
        &letters,
        "--workers",
        "1",
    ];
    let ended = scene.run_over(&modules, flags).await.with_code(0);
    let database = scene.client.database(&format!("{}_out", scene.database));
    let copies = database.collection::<bson::Document>("copies");
    let taken = copies.count_documents(doc! {"by": "well"}).await.unwrap();
    assert_eq!(taken, DOCUMENTS as u64, "{}", ended.stderr);
    let letters = database.collection::<bson::Document>("letters");
    let kept = letters
        .count_documents(doc! {"kind": "sink"})
        .await
        .unwrap();
    let refused = DOCUMENTS as u64 * refused.len() as u64;
    assert_eq!(kept, refused, "{}", ended.stderr);
}
