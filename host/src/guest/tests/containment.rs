//! What guests try, and what it comes to. Each case ends with a fresh instance at work.

use super::*;

const LOOP: &str = "(loop $l (br $l))";

#[test]
fn endless_loops_are_stopped_wherever_they_run() {
    let fine = handler("handle", "(i32.const 0)");
    let looping = |name: &str| handler(name, &format!("{LOOP} (unreachable)"));
    for (export, body) in [
        ("filter", looping("filter")),
        ("handle", looping("handle")),
        (
            "_initialize",
            format!(r#"{fine} (func (export "_initialize") {LOOP})"#),
        ),
        ("start", format!("{fine} (func $s {LOOP}) (start $s)")),
        (
            "oplet_configure",
            format!("{fine} {}", looping("oplet_configure")),
        ),
        (
            "pipeline",
            format!(
                r#"(func (export "pipeline") (param i32 i32) (result i64) {LOOP} (unreachable))"#
            ),
        ),
        (
            "oplet_flush",
            format!(r#"{fine} (func (export "oplet_flush") (result i32) {LOOP} (unreachable))"#),
        ),
    ] {
        assert_contained(
            &load("", &body),
            export,
            Class::Deadline,
            "longer than 50ms",
        );
    }
}

#[test]
fn endless_loops_are_stopped_between_ops_too() {
    let with = |export: &str, signature: &str| {
        let body = format!(
            r#"{} (func (export "{export}") {signature} {LOOP} (unreachable))"#,
            handler("handle", "(i32.const 0)")
        );
        instance("", &body)
    };
    let state = bytes(doc! {"v": 1, "state": 1});
    let failed: [(&str, Instance, GuestError); 3] = {
        let mut saves = with("oplet_save", "(result i64)");
        let mut restores = with("oplet_restore", "(param i32 i32) (result i32)");
        let mut ticks = with("oplet_tick", "(param i64) (result i32)");
        let errors = (
            saves.save().unwrap_err(),
            restores.restore(&state).unwrap_err(),
            ticks.tick(0).unwrap_err(),
        );
        [
            ("oplet_save", saves, errors.0),
            ("oplet_restore", restores, errors.1),
            ("oplet_tick", ticks, errors.2),
        ]
    };
    for (export, instance, error) in failed {
        assert_eq!((error.class, error.export), (Class::Deadline, export));
        assert!(instance.is_dead());
    }
}

/// A module with that allocator.
fn with_alloc(body: &str) -> Module {
    let text = format!(
        r#"(module (memory (export "memory") 1)
            (func (export "oplet_abi_v1"))
            (func (export "oplet_alloc") (param i32) (result i32) {body})
            (func (export "handle") (param i32 i32) (result i32) (i32.const 0)))"#
    );
    Module::load(engine(), "test", &wat::parse_str(text).unwrap(), settings()).unwrap()
}

#[test]
fn allocators_are_not_trusted() {
    for (body, class, message) in [
        (
            "(loop $l (br $l)) (unreachable)",
            Class::Deadline,
            "longer than",
        ),
        ("(i32.const 65000)", Class::BadReturn, "outside its memory"),
        ("(i32.const -8)", Class::BadReturn, "outside its memory"),
        ("(i32.const 12)", Class::BadReturn, "multiple of 8"),
        ("(unreachable)", Class::Trap, "unreachable"),
    ] {
        assert_contained(&with_alloc(body), "oplet_alloc", class, message);
    }
    let mut none = with_alloc("(i32.const 0)")
        .instantiate(&sinks(), None)
        .unwrap();
    assert_eq!(none.write_op(&op()).unwrap_err().class, Class::MemoryLimit);
    assert!(!none.is_dead());
}

#[test]
fn memory_stops_growing_at_the_limit() {
    // Grows by a page until that fails, then gives up as an allocator would.
    let body =
        "(loop $l (br_if $l (i32.ne (i32.const -1) (memory.grow (i32.const 1))))) (unreachable)";
    let module = load("", &handler("handle", body));
    assert_contained(
        &module,
        "handle",
        Class::MemoryLimit,
        "1114112 bytes of memory",
    );

    // 1 GiB at once, and a guest that lives with the answer.
    let body = "(i32.eqz (i32.eq (i32.const -1) (memory.grow (i32.const 16384))))";
    let mut instance = instance("", &handler("handle", body));
    assert_eq!(handle(&mut instance), Ok(Outcome::Done));
}

#[test]
fn tables_stop_growing_at_the_limit() {
    let body = format!(
        "(table $t 1 funcref) {}",
        handler(
            "handle",
            "(i32.eqz (i32.eq (i32.const -1) (table.grow $t (ref.null func) (i32.const 20000))))",
        )
    );
    assert_eq!(handle(&mut instance("", &body)), Ok(Outcome::Done));
}

#[test]
fn deep_recursion_is_a_trap() {
    let body = format!(
        "(func $deep (param i64) (result i64) (i64.add (i64.const 1) (call $deep (local.get 0)))) {}",
        handler("handle", "(i32.wrap_i64 (call $deep (i64.const 1)))")
    );
    assert_contained(
        &load("", &body),
        "handle",
        Class::StackOverflow,
        "bytes of stack",
    );
}

#[test]
fn traps_tell_where() {
    let body = format!(
        "(func $shop::broken (unreachable)) (func $core::panicking::panic (call $shop::broken)) {}",
        handler("handle", "(call $core::panicking::panic) (i32.const 0)")
    );
    let error = assert_contained(&load("", &body), "handle", Class::Trap, "unreachable");
    assert_eq!(error.backtrace.len(), 2, "{error:?}");
    assert_eq!(error.backtrace[0], "shop::broken");
    assert!(
        error
            .to_string()
            .starts_with("module `test` failed in `handle` (trap): ")
    );
}

#[test]
fn a_wild_read_is_a_trap() {
    let body = handler("handle", "(i32.load (i32.const -4))");
    assert_contained(&load("", &body), "handle", Class::Trap, "out of bounds");
}

#[test]
fn returned_documents_are_checked() {
    for (ptr, len, message) in [
        (0xFFFF_FFF0_u32, 0x20_u32, "outside its memory"),
        (8, 0xFFFF_FFFF, "outside its memory"),
        (1024, 11, "not valid BSON"),
        (1024, 13, "not valid BSON"),
        (1, 0, "not valid BSON"),
    ] {
        let packed = oplet_sdk::abi::pack(ptr, len);
        let body = format!(
            r#"(func (export "pipeline") (param i32 i32) (result i64) (i64.const {packed}))"#
        );
        assert_contained(&load("", &body), "pipeline", Class::BadReturn, message);
    }
}

#[test]
fn time_is_given_anew_to_each_call() {
    // Runs for some 20 ms; ten of them are well beyond the limit of one.
    let spin = "(loop $l (br_if $l (i32.lt_u
        (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 2000000))))";
    let mut instance = instance(
        "",
        &handler("handle", &format!("(local $i i32) {spin} (i32.const 0)")),
    );
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(150) {
        assert_eq!(handle(&mut instance), Ok(Outcome::Done));
    }
}

#[test]
fn imports_in_a_loop_are_stopped_too() {
    // An import's own time is not the guest's; a guest that does nothing but import still ends.
    let imports = r#"
        (import "oplet" "log" (func $log (param i32 i32 i32)))
        (import "oplet" "emit" (func $emit (param i32 i32 i32) (result i32)))
        (import "oplet" "count" (func $count (param i32 i32 i64)))
        (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "sched_yield" (func $sched_yield (result i32)))"#;
    for call in [
        "(call $log (i32.const 1) (i32.const 0) (i32.const 131072))",
        "(drop (call $emit (i32.const 0) (i32.const 1024) (i32.const 12)))",
        "(call $count (i32.const 0) (i32.const 8) (i64.const 1))",
        // A thousand buffers, each the whole memory.
        "(drop (call $fd_write (i32.const 2) (i32.const 8192) (i32.const 1000) (i32.const 0)))",
        "(drop (call $random_get (i32.const 0) (i32.const 131072)))",
        "(drop (call $sched_yield))",
    ] {
        let body = format!(
            r#"{} (func $buffers (local $i i32)
                (loop $l
                    (i32.store (i32.add (i32.const 8196) (local.get $i)) (i32.const 131072))
                    (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 8))) (i32.const 8000)))))
            (start $buffers)"#,
            handler("handle", &format!("(loop $l {call} (br $l)) (unreachable)"))
        );
        assert_contained(
            &load(imports, &body),
            "handle",
            Class::Deadline,
            "longer than",
        );
    }
}

#[test]
fn instances_can_move_between_threads() {
    fn assert_send<T: Send>() {}
    fn assert_shared<T: Send + Sync>() {}
    assert_send::<Instance>();
    assert_shared::<Module>();
    assert_shared::<Engine>();
    assert_shared::<GuestError>();
    assert_shared::<Error>();
}
