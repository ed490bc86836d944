//! What a module's own settings change.

use super::*;

fn module(settings: Settings, imports: &str, body: &str) -> Module {
    Module::load(engine(), "test", &wat(imports, body), settings).unwrap()
}

fn instance_of(settings: Settings, imports: &str, body: &str) -> Instance {
    let module = module(settings, imports, body);
    module.instantiate(&sinks(), None).unwrap()
}

/// Emits a document `{n: N}` whose number `$n` says, an i64.
const EMIT: &str = r#"
    (data (i32.const 2000) "\10\00\00\00\12n\00\00\00\00\00\00\00\00\00\00")
    (func $emit (param $n i64)
        (i64.store (i32.const 2007) (local.get $n))
        (drop (call $emit_document (i32.const 0) (i32.const 2000) (i32.const 16))))"#;
const EMIT_IMPORT: &str =
    r#"(import "oplet" "emit" (func $emit_document (param i32 i32 i32) (result i32)))"#;

/// What was emitted by [`EMIT`].
fn numbers(instance: &Instance) -> Vec<i64> {
    let document = |(_, bytes): (u32, Vec<u8>)| Document::from_reader(&bytes[..]).unwrap();
    let number = |output| document(output).get_i64("n").unwrap();
    outputs(instance).into_iter().map(number).collect()
}

#[test]
fn fuel_ends_a_call_at_the_same_place_each_time() {
    let fueled = |fuel| Settings {
        fuel: Some(fuel),
        ..settings()
    };
    // About 8 units a round, as many rounds as the input is long; input and deadline are small.
    let body = handler(
        "handle",
        "(loop $more
            (local.set $len (i32.sub (local.get $len) (i32.const 1)))
            (br_if $more (local.get $len)))
         (i32.const 0)",
    );
    let mut instance = instance_of(fueled(1_000_000), "", &body);
    assert_eq!(handle(&mut instance), Ok(Outcome::Done));
    let used = instance.fuel_used().unwrap();
    assert!((100..10_000).contains(&used), "{used}");
    for _ in 0..3 {
        assert_eq!(handle(&mut instance), Ok(Outcome::Done));
        assert_eq!(instance.fuel_used(), Some(used));
    }

    let enough = module(fueled(used), "", &body);
    let mut instance = enough.instantiate(&sinks(), None).unwrap();
    assert_eq!(handle(&mut instance), Ok(Outcome::Done));
    // Looked at where functions and loops begin, so that a unit less may do.
    let mut short = instance_of(fueled(used / 2), "", &body);
    let error = handle(&mut short).unwrap_err();
    assert_eq!(error.class, Class::OutOfFuel);
    assert_eq!(error.class.as_str(), "out-of-fuel");
    assert!(
        error.message.contains(&format!("{} units", used / 2)),
        "{error}"
    );
    assert!(short.is_dead());

    assert_eq!(instance_of(settings(), "", &body).fuel_used(), None);
}

#[test]
fn fuel_also_bounds_the_start_and_leaves_the_deadline() {
    let settings = Settings {
        fuel: Some(10_000),
        ..settings()
    };
    let start = "(func $start (loop $ever (br $ever))) (start $start)";
    let body = format!("{start} {}", handler("handle", "(i32.const 0)"));
    let error = module(settings.clone(), "", &body)
        .instantiate(&sinks(), None)
        .unwrap_err();
    assert_eq!((error.class, error.export), (Class::OutOfFuel, "start"));

    let plenty = Settings {
        fuel: Some(u64::MAX),
        ..settings
    };
    let endless = module(
        plenty,
        "",
        &handler("handle", "(loop $ever (br $ever)) (i32.const 0)"),
    );
    assert_contained(&endless, "handle", Class::Deadline, "took longer");
}

#[test]
fn a_deterministic_module_finds_time_and_chance_in_the_op() {
    let imports = format!(
        r#"{EMIT_IMPORT}
        (import "wasi_snapshot_preview1" "clock_time_get"
            (func $clock (param i32 i64 i32) (result i32)))
        (import "wasi_snapshot_preview1" "random_get"
            (func $random (param i32 i32) (result i32)))"#
    );
    let body = EMIT.to_owned()
        + &handler(
            "handle",
            "(drop (call $clock (i32.const 0) (i64.const 1) (i32.const 3000)))
             (call $emit (i64.load (i32.const 3000)))
             (drop (call $clock (i32.const 1) (i64.const 1) (i32.const 3000)))
             (call $emit (i64.load (i32.const 3000)))
             (drop (call $random (i32.const 3000) (i32.const 8)))
             (call $emit (i64.load (i32.const 3000)))
             (i32.const 0)",
        );
    let deterministic = Settings {
        deterministic: true,
        ..settings()
    };
    let op = |id: &str, ms| bytes(doc! {"opId": id, "wallTime": bson::DateTime::from_millis(ms)});
    let seen = |instance: &mut Instance, op: &[u8]| {
        instance.write_op(op).unwrap();
        instance.handle().unwrap();
        numbers(instance)
    };
    let module = module(deterministic, &imports, &body);
    let mut first = module.instantiate(&sinks(), None).unwrap();
    let once = seen(&mut first, &op("9:1:0", 1234));
    assert_eq!(once[..2], [1_234_000_000, 1_234_000_000]);
    let other = seen(&mut first, &op("9:1:1", 1234));
    assert_ne!(other[2], once[2]);
    assert_eq!(seen(&mut first, &op("9:1:0", 1234)), once);
    let mut second = module.instantiate(&sinks(), None).unwrap();
    assert_eq!(seen(&mut second, &op("9:1:0", 1234)), once);

    let mut plain = instance_of(settings(), &imports, &body);
    let now = seen(&mut plain, &op("9:1:0", 1234));
    assert!(now[0] > 1_600_000_000_000_000_000, "{now:?}");
    assert_ne!(now[2], seen(&mut plain, &op("9:1:0", 1234))[2]);
}

#[test]
fn a_deterministic_module_sees_one_nan() {
    // A NaN with bits of its own goes through an addition.
    let body = EMIT.to_owned()
        + &handler(
            "handle",
            "(call $emit (i64.reinterpret_f64
                (f64.add (f64.reinterpret_i64 (i64.const 0x7ff8000000000abc)) (f64.const 1))))
             (i32.const 0)",
        );
    let nan = |deterministic| {
        let settings = Settings {
            deterministic,
            ..settings()
        };
        let mut instance = instance_of(settings, EMIT_IMPORT, &body);
        handle(&mut instance).unwrap();
        numbers(&instance)[0]
    };
    assert_eq!(nan(true), 0x7ff8_0000_0000_0000);
}

/// Emits how many ops it has seen, counts them, and adds 100 with its flush.
fn counting() -> (String, String) {
    let imports =
        format!(r#"{EMIT_IMPORT} (import "oplet" "count" (func $count (param i32 i32 i64)))"#);
    let body = format!(
        r#"{EMIT} (data (i32.const 2500) "ops") (global $seen (mut i64) (i64.const 0))
        (func (export "oplet_flush") (result i32)
            (call $emit (i64.add (i64.const 100) (global.get $seen))) (i32.const 0))
        (func (export "handle") (param i32 i32) (result i32)
            (global.set $seen (i64.add (i64.const 1) (global.get $seen)))
            (call $count (i32.const 2500) (i32.const 3) (i64.const 1))
            (call $emit (global.get $seen))
            (i32.const 0))"#
    );
    (imports, body)
}

#[test]
fn nothing_gets_from_one_op_to_the_next_where_instances_live_for_one() {
    let (imports, body) = counting();
    let isolated = Settings {
        isolation: Isolation::Op,
        ..settings()
    };
    let mut fresh = instance_of(isolated, &imports, &body);
    let mut kept = instance_of(settings(), &imports, &body);
    for seen in 1..=5 {
        handle(&mut fresh).unwrap();
        assert_eq!(numbers(&fresh), [1, 101]);
        handle(&mut kept).unwrap();
        assert_eq!(numbers(&kept), [seen]);
    }
    // It was flushed behind each op, and its counts are not lost with the instances.
    fresh.flush().unwrap();
    assert_eq!(numbers(&fresh), [0_i64; 0]);
    let counts: Vec<_> = fresh
        .take_counts()
        .map(|(name, n)| (name.to_owned(), n))
        .collect();
    assert_eq!(counts, [("ops".to_owned(), 5)]);
    kept.flush().unwrap();
    assert_eq!(numbers(&kept), [105]);
}

#[test]
fn a_failed_instance_for_one_op_is_dead_as_any_other() {
    let isolated = Settings {
        isolation: Isolation::Op,
        ..settings()
    };
    let trapping = module(isolated.clone(), "", &handler("handle", "unreachable"));
    assert_contained(&trapping, "handle", Class::Trap, "unreachable");
    let flush = r#"(func (export "oplet_flush") (result i32) (i32.const 7))"#;
    let body = flush.to_owned() + &handler("handle", "(i32.const 0)");
    let mut refusing = instance_of(isolated, "", &body);
    let error = handle(&mut refusing).unwrap_err();
    assert_eq!(
        (error.class, error.export),
        (Class::GuestReported, "oplet_flush")
    );
    assert_eq!(
        handle(&mut refusing).unwrap_err().class,
        Class::GuestReported
    );
}

#[test]
fn granted_variables_are_all_there_is() {
    let imports = format!(
        r#"{EMIT_IMPORT}
        (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "environ_get" (func $get (param i32 i32) (result i32)))"#
    );
    let body = EMIT.to_owned()
        + &handler(
            "handle",
            r#"(drop (call $sizes (i32.const 3000) (i32.const 3004)))
             (call $emit (i64.load (i32.const 3000)))
             (drop (call $get (i32.const 3008) (i32.const 3024)))
             (call $emit (i64.load (i32.const 3008)))
             (call $emit (i64.load (i32.const 3024)))
             (i32.const 0)"#,
        );
    let granted = Settings {
        variables: vec![("A".into(), "x".into()), ("BC".into(), "".into())],
        ..settings()
    };
    let mut instance = instance_of(granted, &imports, &body);
    handle(&mut instance).unwrap();
    let pair = |low: i64, high: i64| high << 32 | low;
    let text = i64::from_le_bytes(*b"A=x\0BC=\0");
    assert_eq!(numbers(&instance), [pair(2, 8), pair(3024, 3028), text]);

    let mut without = instance_of(settings(), &imports, &body);
    handle(&mut without).unwrap();
    assert_eq!(numbers(&without), [0, 0, 0]);
}

#[test]
fn variables_written_outside_memory_trap() {
    let imports = r#"(import "wasi_snapshot_preview1" "environ_get" (func $get (param i32 i32) (result i32)))"#;
    let granted = Settings {
        variables: vec![("A".into(), "x".into())],
        ..settings()
    };
    for (pointers, bytes) in [(-1, 3000), (3000, -1), (3000, 131_070), (131_070, 3000)] {
        let get = format!("(call $get (i32.const {pointers}) (i32.const {bytes}))");
        let mut instance = instance_of(granted.clone(), imports, &handler("handle", &get));
        let error = handle(&mut instance).unwrap_err();
        assert_eq!(error.class, Class::Trap);
        assert!(error.message.contains("outside memory"), "{error}");
    }
}

#[test]
fn a_tick_tells_the_time_and_may_emit_and_fail() {
    let body = format!(
        r#"{EMIT}
        (func (export "oplet_tick") (param $now i64) (result i32)
            (call $emit (local.get $now))
            (i32.wrap_i64 (i64.rem_s (local.get $now) (i64.const 10))))
        (func (export "handle") (param i32 i32) (result i32) (i32.const 0))"#
    );
    let ticking = load(EMIT_IMPORT, &body);
    assert!(ticking.has_tick());
    let mut instance = ticking.instantiate(&sinks(), None).unwrap();
    instance.tick(1_700_000_000_000).unwrap();
    assert_eq!(numbers(&instance), [1_700_000_000_000]);
    let error = instance.tick(1_700_000_000_003).unwrap_err();
    assert_eq!(
        (error.class, error.export),
        (Class::GuestReported, "oplet_tick")
    );
    assert!(error.message.contains("answered 3"), "{error}");
    assert_eq!(numbers(&instance), [0_i64; 0]);
    assert_eq!(handle(&mut instance), Ok(Outcome::Done));

    let mut without = load("", &handler("handle", "(i32.const 0)"))
        .instantiate(&sinks(), None)
        .unwrap();
    assert_eq!(without.tick(1), Ok(()));
}

#[test]
fn a_modules_limits_are_its_own_within_those_of_the_engine() {
    let small = Limits {
        memory_bytes: 192 << 10,
        outputs_documents: 1,
        ..limits()
    };
    let large = Limits {
        memory_bytes: 1 << 30,
        stack_bytes: 1 << 30,
        ..limits()
    };
    let grow = handler(
        "handle",
        "(i32.eq (i32.const -1) (memory.grow (i32.const 2)))",
    );
    let mut instance = instance_of(Settings::with_limits(small), "", &grow);
    assert_eq!(
        handle(&mut instance),
        Ok(Outcome::Retry {
            reason: String::new()
        })
    );
    let module = module(Settings::with_limits(large), "", &grow);
    assert_eq!(module.settings().limits, limits());
    let mut instance = module.instantiate(&sinks(), None).unwrap();
    assert_eq!(handle(&mut instance), Ok(Outcome::Done));
}

#[test]
fn a_profile_says_where_the_time_goes_and_keeps_the_deadline() {
    let rounds = |number| {
        format!(
            "(local $n i32) (local.set $n (i32.const {number}))
             (loop $more (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                 (br_if $more (local.get $n)))"
        )
    };
    let body = format!(
        "(func $slow {}) {}",
        rounds(10_000_000),
        handler("handle", "(call $slow) (i32.const 0)")
    );
    let patient = Limits {
        call_time: Duration::from_secs(30),
        ..limits()
    };
    let mut instance = instance_of(Settings::with_limits(patient), "", &body);
    assert!(instance.finish_profile().is_none());
    instance.start_profile();
    assert!(instance.is_profiled());
    let begun = Instant::now();
    while begun.elapsed() < 10 * SAMPLE_INTERVAL {
        handle(&mut instance).unwrap();
    }
    let profile = instance.finish_profile().unwrap();
    assert!(!instance.is_profiled());
    assert!(profile.samples > 0);
    let json: serde_json::Value = serde_json::from_slice(&profile.json).unwrap();
    assert_eq!(json["meta"]["product"], "test");
    assert!(String::from_utf8(profile.json).unwrap().contains("slow"));
    handle(&mut instance).unwrap();

    // Samples do not put the deadline off.
    let endless = load(
        "",
        &handler("handle", "(loop $ever (br $ever)) (i32.const 0)"),
    );
    let mut endless = endless.instantiate(&sinks(), None).unwrap();
    endless.start_profile();
    assert_eq!(handle(&mut endless).unwrap_err().class, Class::Deadline);
}
