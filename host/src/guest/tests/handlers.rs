//! What well-behaved guests are promised.

use super::*;

#[test]
fn filter_answers_are_verdicts() {
    for (answer, pending, expected) in [
        (0, false, Some(Verdict::Drop)),
        (1, false, Some(Verdict::Keep)),
        (2, true, Some(Verdict::AskAgain)),
        (2, false, None),
        (3, true, None),
        (-1, false, None),
    ] {
        let mut instance = instance("", &handler("filter", &format!("(i32.const {answer})")));
        instance.write_op(&op()).unwrap();
        match expected {
            Some(verdict) => assert_eq!(instance.filter(pending), Ok(verdict)),
            None => {
                let error = instance.filter(pending).unwrap_err();
                assert_eq!(error.class, Class::BadReturn);
                assert!(instance.is_dead());
            }
        }
    }
}

#[test]
fn a_filter_sees_the_op_and_is_not_needed() {
    // Keeps ops of a certain length.
    let body = handler(
        "filter",
        "(i32.eq (i32.load (local.get $ptr)) (i32.const 12))",
    );
    let mut filtering = instance("", &body);
    filtering.write_op(&op()).unwrap();
    assert_eq!(filtering.filter(false), Ok(Verdict::Drop));
    filtering.write_op(&bytes(doc! {"a": 1})).unwrap();
    assert_eq!(filtering.filter(false), Ok(Verdict::Keep));

    let mut without = instance("", &handler("handle", "(i32.const 0)"));
    without.write_op(&op()).unwrap();
    assert_eq!(without.filter(false), Ok(Verdict::Keep));
}

const OUTCOME_IMPORTS: &str = r#"
    (import "oplet" "emit" (func $emit (param i32 i32 i32) (result i32)))
    (import "oplet" "fail" (func $fail (param i32 i32)))
    (import "oplet" "retry_after" (func $retry_after (param i64)))"#;

#[test]
fn handle_answers_are_outcomes_and_only_done_keeps_outputs() {
    let reason = String::from("why");
    for (answer, expected) in [
        (0, Some(Outcome::Done)),
        (
            1,
            Some(Outcome::Retry {
                reason: reason.clone(),
            }),
        ),
        (
            2,
            Some(Outcome::Reject {
                reason: reason.clone(),
            }),
        ),
        (
            3,
            Some(Outcome::RetryAfter {
                delay: Duration::from_millis(1500),
                reason,
            }),
        ),
        (4, None),
    ] {
        let body = format!(
            r#"(data (i32.const 2000) "why")
            (drop (call $emit (i32.const 0) (i32.const 1024) (i32.const 12)))
            (call $fail (i32.const 2000) (i32.const 3))
            (call $retry_after (i64.const 1500))
            (i32.const {answer})"#
        );
        let (data, body) = body.split_once('\n').unwrap();
        let body = format!("{data} {}", handler("handle", body));
        let mut instance = instance(OUTCOME_IMPORTS, &body);
        let outcome = handle(&mut instance);
        assert_eq!(instance.outputs().count(), usize::from(answer == 0));
        match expected {
            Some(expected) => assert_eq!(outcome, Ok(expected)),
            None => assert_eq!(outcome.unwrap_err().class, Class::BadReturn),
        }
        assert_eq!(instance.is_dead(), answer == 4);
    }
}

#[test]
fn a_delay_has_to_be_given() {
    let mut instance = instance("", &handler("handle", "(i32.const 3)"));
    let error = handle(&mut instance).unwrap_err();
    assert_eq!(error.class, Class::BadReturn);
    assert!(error.message.contains("retry_after"), "{error}");
}

#[test]
fn without_handle_the_op_is_passed_on_unchanged() {
    // A filter that scribbles over its input.
    let body = handler(
        "filter",
        "(memory.fill (local.get $ptr) (i32.const 0) (local.get $len)) (i32.const 1)",
    );
    let mut instance = instance("", &body);
    for _ in 0..2 {
        instance.write_op(&op()).unwrap();
        assert_eq!(instance.filter(false), Ok(Verdict::Keep));
        assert_eq!(instance.handle(), Ok(Outcome::Done));
        assert_eq!(outputs(&instance), [(0, op())]);
    }
    instance.clear_outputs();
    assert_eq!(instance.outputs().count(), 0);
}

#[test]
fn the_region_is_kept_until_an_op_does_not_fit() {
    // Counts the calls of its allocator, and tells them as outcome.
    let text = r#"(module
        (memory (export "memory") 4)
        (global $calls (mut i32) (i32.const -1))
        (func (export "oplet_abi_v1"))
        (func (export "oplet_alloc") (param i32) (result i32)
            (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
            (i32.const 8))
        (func (export "handle") (param i32 i32) (result i32) (global.get $calls)))"#;
    let module = Module::load(engine(), "m", &wat::parse_str(text).unwrap(), settings()).unwrap();
    let mut instance = module.instantiate(&sinks(), None).unwrap();
    let large = bytes(doc! {"a": "x".repeat(9000)});
    for (op, expected) in [
        (op(), Outcome::Done),
        (bytes(doc! {"a": "x".repeat(2000)}), Outcome::Done),
        (
            large.clone(),
            Outcome::Retry {
                reason: String::new(),
            },
        ),
        // Somewhat larger still: there was slack.
        (
            bytes(doc! {"a": "x".repeat(10_000)}),
            Outcome::Retry {
                reason: String::new(),
            },
        ),
        (
            op(),
            Outcome::Retry {
                reason: String::new(),
            },
        ),
    ] {
        instance.write_op(&op).unwrap();
        assert_eq!(instance.handle(), Ok(expected));
    }
}

#[test]
fn an_op_too_large_for_the_memory_fails_alone() {
    let mut instance = instance("", &handler("handle", "(i32.const 0)"));
    for size in [2 << 20, (1 << 20) - 100] {
        let error = instance
            .write_op(&bytes(doc! {"a": "x".repeat(size)}))
            .unwrap_err();
        assert_eq!(error.class, Class::MemoryLimit, "{error}");
        assert!(!instance.is_dead());
        assert_eq!(handle(&mut instance), Ok(Outcome::Done));
    }
    // Fits only without slack.
    instance
        .write_op(&bytes(doc! {"a": "x".repeat(900_000)}))
        .unwrap();
    assert_eq!(instance.handle(), Ok(Outcome::Done));
}

const CONFIGURE: &str = r#"
    (global $configured (mut i32) (i32.const 0))
    (func (export "_initialize") (global.set $configured (i32.const 100)))
    (func (export "oplet_configure") (param i32 i32) (result i32)
        (global.set $configured (i32.add (global.get $configured) (local.get 1)))
        (call $fail (i32.const 1024) (i32.const 0))
        (i32.ge_u (local.get 1) (i32.const 50)))
    (func (export "filter") (param i32 i32) (result i32)
        (i32.eq (global.get $configured) (i32.const 105)))"#;

#[test]
fn initialize_runs_once_then_configure() {
    let module = load(
        r#"(import "oplet" "fail" (func $fail (param i32 i32)))"#,
        CONFIGURE,
    );
    // Nothing configured is an empty document, five bytes long.
    let mut instance = module.instantiate(&sinks(), None).unwrap();
    instance.write_op(&op()).unwrap();
    assert_eq!(instance.filter(false), Ok(Verdict::Keep));

    let long = bytes(doc! {"key": "x".repeat(50)});
    let error = module.instantiate(&sinks(), Some(&long)).unwrap_err();
    assert_eq!(
        (error.class, error.export),
        (Class::Refused, "oplet_configure")
    );
}

#[test]
fn a_configuration_that_nobody_takes_is_refused() {
    let module = load("", &handler("handle", "(i32.const 0)"));
    let config = bytes(doc! {"limit": 3});
    let error = module.instantiate(&sinks(), Some(&config)).unwrap_err();
    assert_eq!(error.class, Class::Refused);
    assert!(error.message.contains("oplet_configure"), "{error}");
    module.instantiate(&sinks(), Some(&bytes(doc! {}))).unwrap();
}

/// A module whose `pipeline` answers with that document.
fn with_pipeline(answer: Document) -> Instance {
    let answer = bytes(answer);
    let escaped: String = answer.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let packed = oplet_sdk::abi::pack(2048, answer.len() as u32);
    instance(
        "",
        &format!(
            r#"(data (i32.const 2048) "{escaped}")
            (func (export "pipeline") (param i32 i32) (result i64) (i64.const {packed}))"#
        ),
    )
}

#[test]
fn pipeline_answers_stages_or_none() {
    let stage = doc! {"$match": {"operationType": "insert"}};
    let mut some = with_pipeline(doc! {"pipeline": [stage.clone()]});
    let stages = some
        .pipeline("shop.orders", "changeStream")
        .unwrap()
        .unwrap();
    assert_eq!(stages.len(), 1);
    assert_eq!(Document::try_from(stages[0].clone()).unwrap(), stage);

    let none = r#"(func (export "pipeline") (param i32 i32) (result i64) (i64.const 0))"#;
    assert!(
        instance("", none)
            .pipeline("a.b", "directRead")
            .unwrap()
            .is_none()
    );
    let mut without = instance("", &handler("handle", "(i32.const 0)"));
    assert!(without.pipeline("a.b", "changeStream").unwrap().is_none());
}

#[test]
fn a_refused_pipeline_leaves_the_instance_alive() {
    let mut instance = with_pipeline(doc! {"pipeline": [{"$match": {}}, {"$out": "x"}]});
    let error = instance.pipeline("a.b", "changeStream").unwrap_err();
    let PipelineError::Refused(refused) = error else {
        panic!("{error}");
    };
    assert_eq!(refused.stage, Some(1));
    assert_eq!(refused.operator.as_deref(), Some("$out"));
    assert!(!instance.is_dead());
}

#[test]
fn flush_may_emit_and_may_fail() {
    let body = r#"(global $answer (mut i32) (i32.const 0))
        (func (export "handle") (param i32 i32) (result i32)
            (global.set $answer (i32.const 9)) (i32.const 0))
        (func (export "oplet_flush") (result i32)
            (drop (call $emit (i32.const 1) (i32.const 1024) (i32.const 12)))
            (global.get $answer))"#;
    let mut instance = instance(OUTCOME_IMPORTS, body);
    instance.flush().unwrap();
    assert_eq!(outputs(&instance), [(1, bytes(doc! {"a": 1}))]);
    assert_eq!(handle(&mut instance), Ok(Outcome::Done));
    assert_eq!(instance.outputs().count(), 0);
    let error = instance.flush().unwrap_err();
    assert_eq!(error.class, Class::GuestReported);
    assert_eq!(instance.outputs().count(), 0);
    assert!(!instance.is_dead());
}
