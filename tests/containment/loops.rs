//! What never ends by itself.

use super::{Fate, Hostile, check, hostile, on_bad, when_bad};

const SLOW: Fate = Fate::FailsOnce("deadline", "took longer than 1s");

#[tokio::test]
async fn what_never_ends_is_ended() {
    let log = |module: crate::modules::Handwritten| module.import("log", "(param i32 i32 i32)");
    let rows = [
        on_bad("loops", "(loop $l (br $l))", SLOW),
        // Without an instruction that jumps back.
        hostile(
            "calls_its_tail",
            |module| {
                module
                    .with("(func $one (return_call $two)) (func $two (return_call $one))")
                    .handle(&when_bad("(call $one)"))
            },
            SLOW,
        ),
        hostile(
            "calls_twice",
            |module| {
                module
                    .with(
                        "(func $deep (param i32)
                            (if (local.get 0) (then
                                (call $deep (i32.sub (local.get 0) (i32.const 1)))
                                (call $deep (i32.sub (local.get 0) (i32.const 1))))))",
                    )
                    .handle(&when_bad("(call $deep (i32.const 64))"))
            },
            SLOW,
        ),
        // One instruction of this kind is a loop of the machine's.
        on_bad(
            "fills_memory",
            "(loop $l (memory.fill (i32.const 0x30000) (i32.const 1) (i32.const 0x10000)) (br $l))",
            SLOW,
        ),
        // Imports take time of the host's, which must not add up.
        hostile(
            "logs_for_ever",
            |module| {
                log(module).handle(&when_bad(
                    "(loop $l (call $log (i32.const 1) (i32.const 0) (i32.const 0x40000)) (br $l))",
                ))
            },
            SLOW,
        ),
        on_bad(
            "emits_for_ever",
            "(loop $l (drop (call $emit (i32.const 0) (i32.const 256) (i32.const 0x30000))) (br $l))",
            SLOW,
        ),
    ];
    check("loops", &rows).await;
}

/// Loops wherever it is called but in `handle`.
#[tokio::test]
async fn it_is_ended_in_every_export() {
    let looping = |name: &str, signature: &str| {
        format!(r#"(func (export "{name}") {signature} (loop $l (br $l)) (unreachable))"#)
    };
    let rows: [Hostile; 3] = [
        hostile(
            "in_filter",
            |module| {
                module.filter(
                    "(if (i32.eq (call $int (local.get $op) (i32.const 16)) (i32.const 3))
                        (then (loop $l (br $l))))
                    (i32.const 1)",
                )
            },
            SLOW,
        ),
        hostile(
            "in_alloc",
            |module| module.alloc("(loop $l (br $l)) (unreachable)"),
            Fate::FailsAlways("deadline", "took longer than 1s"),
        ),
        // What it handled before is delivered all the same; that it failed then stands in the log.
        hostile(
            "in_flush",
            |module| module.with(&looping("oplet_flush", "(result i32)")),
            Fate::Thwarted,
        ),
    ];
    let contained = check("loops_elsewhere", &rows).await;
    contained.ended.says(&[
        "module `in_flush` failed in `oplet_flush` (deadline)",
        "a module failed at a batch border",
    ]);
}

/// Sleeping is not for ever, but longer than a call may take.
#[tokio::test]
async fn nobody_sleeps() {
    let subscription = r#"
        ;; One subscription: to the clock, for an hour.
        (i64.store (i32.const 4096) (i64.const 7))
        (i32.store8 (i32.const 4104) (i32.const 0))
        (i64.store (i32.const 4120) (i64.const 3600000000000))
        (drop (call $poll_oneoff (i32.const 4096) (i32.const 4200) (i32.const 1) (i32.const 4300)))"#;
    let poll = |module: crate::modules::Handwritten| {
        module.wasi("poll_oneoff", "(param i32 i32 i32 i32) (result i32)")
    };
    let rows = [
        hostile(
            "sleeps",
            |module| poll(module).handle(&when_bad(subscription)),
            Fate::Thwarted,
        ),
        hostile(
            "sleeps_for_ever",
            |module| poll(module).handle(&when_bad(&format!("(loop $l {subscription} (br $l))"))),
            SLOW,
        ),
        hostile(
            "yields_for_ever",
            |module| {
                module
                    .wasi("sched_yield", "(result i32)")
                    .handle(&when_bad("(loop $l (drop (call $sched_yield)) (br $l))"))
            },
            SLOW,
        ),
    ];
    check("sleeps", &rows).await;
}
