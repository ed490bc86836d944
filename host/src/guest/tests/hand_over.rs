//! State from one version of a module to the next.

use super::*;

/// Exports `oplet_save`, which answers the document at 1024, and `oplet_restore`, which copies its
/// input there.
const KEEPER: &str = r#"
    (func (export "oplet_save") (result i64)
        (i64.or (i64.shl (i64.const 1024) (i64.const 32))
            (i64.extend_i32_u (i32.load (i32.const 1024)))))
    (func (export "oplet_restore") (param $ptr i32) (param $len i32) (result i32)
        (memory.copy (i32.const 1024) (local.get $ptr) (local.get $len))
        (i32.const 0))
    (func (export "handle") (param i32 i32) (result i32) (i32.const 0))"#;

fn save_of(answer: &str) -> Instance {
    let save = format!(r#"(func (export "oplet_save") (result i64) {answer})"#);
    instance("", &(save + &handler("handle", "(i32.const 0)")))
}

#[test]
fn a_state_goes_from_one_version_to_the_next() {
    let module = load("", KEEPER);
    assert!(module.has_save() && module.has_restore() && !module.has_tick());
    let state = bytes(doc! {"v": 3, "state": {"open": ["ä", "b"], "seen": 17_i64}});
    let mut old = module.instantiate(&sinks(), None).unwrap();
    old.restore(&state).unwrap();
    let saved = old.save().unwrap().unwrap();
    assert_eq!(saved, state);

    let next = module
        .load_version(&wat("", &format!("{KEEPER} (func)")))
        .unwrap();
    assert_ne!(next.digest(), module.digest());
    assert_eq!(next.name(), module.name());
    assert_eq!(next.settings(), module.settings());
    let mut new = next.instantiate(&sinks(), None).unwrap();
    new.restore(&saved).unwrap();
    assert_eq!(new.save().unwrap().unwrap(), state);
    assert_eq!(handle(&mut new), Ok(Outcome::Done));
    // Giving the state away did not take it.
    assert_eq!(old.save().unwrap().unwrap(), state);
}

#[test]
fn without_the_exports_there_is_nothing_to_hand_over() {
    let module = load("", &handler("handle", "(i32.const 0)"));
    assert!(!module.has_save() && !module.has_restore());
    let mut instance = module.instantiate(&sinks(), None).unwrap();
    assert_eq!(instance.save(), Ok(None));
    assert_eq!(instance.restore(&bytes(doc! {"v": 1, "state": 1})), Ok(()));
    assert_eq!(save_of("(i64.const 0)").save(), Ok(None));
}

#[test]
fn a_refused_state_leaves_the_instance_as_it_was() {
    let restore = r#"
        (func (export "oplet_restore") (param i32 i32) (result i32)
            (call $fail (i32.const 2000) (i32.const 9))
            (i32.const 1))
        (data (i32.const 2000) "too old: ")"#;
    let imports = r#"(import "oplet" "fail" (func $fail (param i32 i32)))"#;
    let mut instance = instance(
        imports,
        &(restore.to_owned() + &handler("handle", "(i32.const 0)")),
    );
    let error = instance
        .restore(&bytes(doc! {"v": 9, "state": 1}))
        .unwrap_err();
    assert_eq!(error.class, Class::Refused);
    assert_eq!(error.export, "oplet_restore");
    assert_eq!(error.message, "too old: ");
    assert!(!instance.is_dead());
    assert_eq!(handle(&mut instance), Ok(Outcome::Done));
}

#[test]
fn what_is_no_state_is_a_bad_return() {
    let page = 64 << 10;
    for (answer, expected, is_dead) in [
        // `{a: 1}`: a document, but no state.
        ((1024_u64 << 32) | 12, "without `v`", false),
        ((1024 << 32) | 11, "11 bytes", true),
        ((4096 << 32) | 12, "12 bytes", true),
        (((2 * page) << 32) | 5, "outside its memory", true),
        ((u64::from(u32::MAX) << 32) | 5, "outside its memory", true),
        ((1024 << 32) | (17 << 20), "larger than the limit", false),
        ((1024 << 32) | (16 << 20), "outside its memory", true),
    ] {
        let mut instance = save_of(&format!("(i64.const {answer})"));
        let error = instance.save().unwrap_err();
        assert_eq!(error.class, Class::BadReturn, "{error}");
        assert_eq!(error.export, "oplet_save");
        assert!(error.message.contains(expected), "{error}");
        assert_eq!(instance.is_dead(), is_dead, "{error}");
    }
    let mut trapping = save_of("(unreachable)");
    assert_eq!(trapping.save().unwrap_err().class, Class::Trap);
    assert!(trapping.is_dead());
}

#[test]
fn a_state_too_large_for_the_memory_fails_and_leaves_the_instance() {
    let mut instance = instance("", KEEPER);
    let padding = "x".repeat(2 << 20);
    let state = bytes(doc! {"v": 1, "state": padding});
    let error = instance.restore(&state).unwrap_err();
    assert_eq!(error.class, Class::MemoryLimit);
    assert!(!instance.is_dead());
}

#[test]
fn saving_and_restoring_may_not_emit() {
    let imports = r#"(import "oplet" "emit" (func $emit (param i32 i32 i32) (result i32)))"#;
    let emit = "(drop (call $emit (i32.const 0) (i32.const 1024) (i32.const 12)))";
    let body = format!(
        r#"(func (export "oplet_save") (result i64) {emit} (i64.const 0))
        (func (export "oplet_restore") (param i32 i32) (result i32) {emit} (i32.const 0))"#
    ) + &handler("handle", "(i32.const 0)");
    let module = load(imports, &body);
    let state = bytes(doc! {"v": 1, "state": 1});
    let saved = module
        .instantiate(&sinks(), None)
        .unwrap()
        .save()
        .map(|_| ());
    let restored = module.instantiate(&sinks(), None).unwrap().restore(&state);
    for answer in [saved, restored] {
        let error = answer.unwrap_err();
        assert!(error.message.contains("may not emit"), "{error}");
    }
}

#[test]
fn instances_move_between_threads() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let mut moved = is_send(instance("", KEEPER));
    let handled = std::thread::spawn(move || handle(&mut moved))
        .join()
        .unwrap();
    assert_eq!(handled, Ok(Outcome::Done));
}

#[test]
fn versions_share_one_budget_of_log_lines() {
    let imports = r#"(import "oplet" "log" (func $log (param i32 i32 i32)))"#;
    let body = handler(
        "handle",
        "(call $log (i32.const 1) (i32.const 1024) (i32.const 1))
         (call $log (i32.const 1) (i32.const 1024) (i32.const 1))
         (call $log (i32.const 1) (i32.const 1024) (i32.const 1)) (i32.const 0)",
    );
    let module = load(imports, &body);
    let next = module
        .load_version(&wat(imports, &format!("{body} (func)")))
        .unwrap();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(std::io::sink)
        .finish();
    tracing::subscriber::with_default(subscriber, || {
        let mut instance = next.instantiate(&sinks(), None).unwrap();
        for _ in 0..10 {
            handle(&mut instance).unwrap();
        }
    });
    // 30 lines against 5 a second, and only the next version has spoken.
    assert!(module.log_lines_suppressed() > 0);
}
