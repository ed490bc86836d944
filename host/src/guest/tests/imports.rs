//! What the host does for a guest, and what it does not.

use super::*;

const IMPORTS: &str = r#"
    (import "oplet" "sink" (func $sink (param i32 i32) (result i32)))
    (import "oplet" "emit" (func $emit (param i32 i32 i32) (result i32)))
    (import "oplet" "log" (func $log (param i32 i32 i32)))
    (import "oplet" "fail" (func $fail (param i32 i32)))
    (import "oplet" "count" (func $count (param i32 i32 i64)))
    (import "env" "abort" (func $abort (param i32 i32 i32 i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_fdstat_get" (func $fd_fdstat_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_prestat_get" (func $fd_prestat_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "sock_shutdown" (func $sock_shutdown (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "clock_time_get" (func $clock_time_get (param i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "clock_res_get" (func $clock_res_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))"#;

/// A handler of that body.
fn handling(body: &str) -> Module {
    load(IMPORTS, &handler("handle", body))
}

/// What `handle` answered, as a number of the guest's own: it is written to a counter.
fn answer(expression: &str) -> i64 {
    let body = format!(
        r#"(call $count (i32.const 3000) (i32.const 1) (i64.extend_i32_s {expression})) (i32.const 0)"#
    );
    let body = format!(
        r#"(data (i32.const 3000) "n") (data (i32.const 3100) "audit") {}"#,
        handler("handle", &body)
    );
    let mut instance = instance(IMPORTS, &body);
    assert_eq!(handle(&mut instance), Ok(Outcome::Done));
    instance.take_counts().map(|(_, count)| count).sum()
}

#[test]
fn pointers_outside_memory_trap_in_every_import() {
    for (import, call) in [
        ("sink", "(drop (call $sink (i32.const -1) (i32.const 4)))"),
        (
            "emit",
            "(drop (call $emit (i32.const 0) (i32.const 131000) (i32.const 100)))",
        ),
        (
            "emit",
            "(drop (call $emit (i32.const 0) (i32.const 8) (i32.const -1)))",
        ),
        (
            "log",
            "(call $log (i32.const 3) (i32.const 131072) (i32.const 1))",
        ),
        ("fail", "(call $fail (i32.const -1) (i32.const -1))"),
        (
            "count",
            "(call $count (i32.const 0) (i32.const 131073) (i64.const 1))",
        ),
        (
            "abort",
            "(call $abort (i32.const -2) (i32.const 0) (i32.const 0) (i32.const 0))",
        ),
        (
            "fd_write",
            "(drop (call $fd_write (i32.const 1) (i32.const 131071) (i32.const 1) (i32.const 0)))",
        ),
        (
            "fd_write",
            "(i64.store (i32.const 0) (i64.const -1)) (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))",
        ),
        (
            "fd_write",
            "(i64.store (i32.const 0) (i64.const 0)) (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const -1)))",
        ),
        (
            "fd_fdstat_get",
            "(drop (call $fd_fdstat_get (i32.const 1) (i32.const 131060)))",
        ),
        (
            "args_sizes_get",
            "(drop (call $args_sizes_get (i32.const 0) (i32.const 131070)))",
        ),
        (
            "environ_sizes_get",
            "(drop (call $environ_sizes_get (i32.const -1) (i32.const 0)))",
        ),
        (
            "random_get",
            "(drop (call $random_get (i32.const 131000) (i32.const 100)))",
        ),
        (
            "clock_time_get",
            "(drop (call $clock_time_get (i32.const 0) (i64.const 0) (i32.const -4)))",
        ),
        (
            "clock_res_get",
            "(drop (call $clock_res_get (i32.const 1) (i32.const -4)))",
        ),
        (
            "poll_oneoff",
            "(drop (call $poll_oneoff (i32.const 131060) (i32.const 0) (i32.const 1) (i32.const 0)))",
        ),
        (
            "poll_oneoff",
            "(drop (call $poll_oneoff (i32.const 0) (i32.const 131060) (i32.const 1) (i32.const 0)))",
        ),
    ] {
        let module = handling(&format!("{call} (i32.const 0)"));
        let message = format!("`{import}` got a pointer outside memory");
        assert_contained(&module, "handle", Class::Trap, &message);
    }
}

#[test]
fn emit_answers_what_became_of_the_document() {
    let emit = |sink: i32, len: i32| {
        answer(&format!(
            "(call $emit (i32.const {sink}) (i32.const 1024) (i32.const {len}))"
        ))
    };
    assert_eq!(emit(0, 12), 0);
    assert_eq!(emit(1, 12), 0);
    assert_eq!(emit(2, 12), 1);
    assert_eq!(emit(-1, 12), 1);
    assert_eq!(emit(0, 201), 2);
    assert_eq!(emit(0, 11), 3);
    assert_eq!(emit(0, 0), 3);
}

#[test]
fn outputs_are_limited_in_number_and_bytes() {
    let one = "(call $emit (i32.const 0) (i32.const 1024) (i32.const 12))";
    let body = format!("(drop {one}) (drop {one}) (drop {one}) (i32.sub {one} (i32.const 2))");
    let mut instance = load(IMPORTS, &handler("handle", &body))
        .instantiate(&sinks(), None)
        .unwrap();
    for _ in 0..2 {
        assert_eq!(handle(&mut instance), Ok(Outcome::Done));
        assert_eq!(outputs(&instance), vec![(0, bytes(doc! {"a": 1})); 3]);
    }
}

#[test]
fn only_handle_and_flush_emit() {
    let emit = "(drop (call $emit (i32.const 0) (i32.const 1024) (i32.const 12)))";
    let module = load(
        IMPORTS,
        &handler("filter", &format!("{emit} (i32.const 1)")),
    );
    assert_contained(&module, "filter", Class::Trap, "`filter` may not emit");
    let body =
        format!(r#"(func (export "pipeline") (param i32 i32) (result i64) {emit} (i64.const 0))"#);
    assert_contained(
        &load(IMPORTS, &body),
        "pipeline",
        Class::Trap,
        "may not emit",
    );
    let body = format!(
        r#"{} (func $s {emit}) (start $s)"#,
        handler("handle", "(i32.const 0)")
    );
    assert_contained(&load(IMPORTS, &body), "start", Class::Trap, "may not emit");
}

#[test]
fn sinks_have_numbers() {
    assert_eq!(answer("(call $sink (i32.const 3100) (i32.const 5))"), 1);
    assert_eq!(answer("(call $sink (i32.const 3100) (i32.const 4))"), -1);
}

#[test]
fn counts_add_up_and_start_over() {
    let body = format!(
        r#"(data (i32.const 3000) "first") (data (i32.const 3010) "BAD") {}"#,
        handler(
            "handle",
            "(call $count (i32.const 3000) (i32.const 5) (i64.const 2))
             (call $count (i32.const 3000) (i32.const 5) (i64.const 3))
             (call $count (i32.const 3010) (i32.const 3) (i64.const 1)) (i32.const 0)",
        )
    );
    let mut instance = instance(IMPORTS, &body);
    for _ in 0..2 {
        handle(&mut instance).unwrap();
        let counts: Vec<(String, i64)> = instance
            .take_counts()
            .map(|(name, count)| (name.to_owned(), count))
            .collect();
        assert_eq!(counts, [("first".to_owned(), 5)]);
    }
    assert_eq!(instance.take_counts().count(), 0);
}

#[test]
fn a_reason_given_before_a_trap_is_the_message() {
    let body = format!(
        r#"(data (i32.const 3000) "no stock\1b[0m") {}"#,
        handler(
            "handle",
            "(call $fail (i32.const 3000) (i32.const 12)) (unreachable)"
        )
    );
    let error = assert_contained(&load(IMPORTS, &body), "handle", Class::Trap, "no stock");
    assert_eq!(error.message, "no stock\\u{1b}[0m");
}

#[test]
fn assemblyscript_abort_is_a_trap_with_its_text() {
    let body = format!(
        r#"(data (i32.const 3000) "\04\00\00\00n\00o\00") (data (i32.const 3100) "\02\00\00\00f\00") {}"#,
        handler(
            "handle",
            "(call $abort (i32.const 3004) (i32.const 3104) (i32.const 7) (i32.const 9)) (i32.const 0)",
        )
    );
    let error = assert_contained(&load(IMPORTS, &body), "handle", Class::Trap, "no at f:7:9");
    assert_eq!(error.message, "no at f:7:9");
}

#[test]
fn proc_exit_ends_the_instance_with_its_code() {
    let module = handling("(call $proc_exit (i32.const 7)) (i32.const 0)");
    assert_contained(&module, "handle", Class::Exit(7), "code 7");
}

#[test]
fn a_panic_text_arrives_with_the_trap() {
    let body = format!(
        r#"(data (i32.const 3000) "\0c\0c\00\00\1a\00\00\00") (data (i32.const 3084) "panicked at lib.rs:1\nboom 1") {}"#,
        handler(
            "handle",
            "(drop (call $fd_write (i32.const 2) (i32.const 3000) (i32.const 1) (i32.const 3200))) (unreachable)",
        )
    );
    let error = assert_contained(&load(IMPORTS, &body), "handle", Class::Trap, "unreachable");
    assert_eq!(error.stderr, ["panicked at lib.rs:1", "boom "]);
}

#[test]
fn sleeping_takes_no_time() {
    // One subscription at 3000: userdata 5, clock, an hour.
    let body = format!(
        r#"(data (i32.const 3000) "\05") {}"#,
        handler(
            "handle",
            "(i64.store (i32.const 3024) (i64.const 3600000000000))
             (drop (call $poll_oneoff (i32.const 3000) (i32.const 3100) (i32.const 1) (i32.const 3200)))
             (i32.or (i32.ne (i32.load (i32.const 3100)) (i32.const 5))
                (i32.ne (i32.load (i32.const 3200)) (i32.const 1)))",
        )
    );
    let mut instance = instance(IMPORTS, &body);
    let start = Instant::now();
    for _ in 0..100 {
        assert_eq!(handle(&mut instance), Ok(Outcome::Done));
    }
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn wasi_has_clock_and_random_and_nothing_else() {
    for (expression, expected) in [
        (
            "(call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 3200))",
            0,
        ),
        (
            "(call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 3200))",
            0,
        ),
        (
            "(call $clock_time_get (i32.const 9) (i64.const 0) (i32.const 3200))",
            28,
        ),
        ("(call $random_get (i32.const 3200) (i32.const 16))", 0),
        (
            "(call $args_sizes_get (i32.const 3200) (i32.const 3204))",
            0,
        ),
        (
            "(call $environ_sizes_get (i32.const 3200) (i32.const 3204))",
            0,
        ),
        (
            "(call $fd_read (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))",
            8,
        ),
        (
            "(call $fd_write (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 0))",
            8,
        ),
        ("(call $fd_prestat_get (i32.const 3) (i32.const 0))", 8),
        ("(call $fd_fdstat_get (i32.const 1) (i32.const 3200))", 0),
        ("(call $sock_shutdown (i32.const 3) (i32.const 0))", 52),
        (
            "(call $poll_oneoff (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))",
            28,
        ),
    ] {
        assert_eq!(answer(expression), expected, "{expression}");
    }
}
