//! Lookups: what may be asked, where, and what becomes of an answer and of none.

use std::sync::Mutex;

use super::*;

/// Answers every query in the same way, and keeps what it was asked.
#[derive(Debug, Default)]
struct Told {
    documents: Vec<Vec<u8>>,
    error: Option<LookupError>,
    asked: Mutex<Vec<String>>,
    takes: Duration,
}

impl Lookups for Told {
    fn find(&self, query: &LookupQuery<'_>, answer: &mut LookupAnswer) -> Result<(), LookupError> {
        std::thread::sleep(self.takes);
        let (database, collection, limit) = (query.database, query.collection, query.limit);
        let after = query.after.map(|after| after.to_string());
        let patient = !query.patience.is_zero();
        self.asked.lock().unwrap().push(format!(
            "{} {database} {collection} {limit} {after:?} {patient}",
            query.module
        ));
        for document in &self.documents {
            answer.push(document)?;
        }
        self.error.clone().map_or(Ok(()), Err)
    }
}

const IMPORTS: &str = r#"
    (import "oplet" "lookup" (func $lookup (param i32 i32) (result i32)))
    (import "oplet" "reply" (func $reply (param i32 i32) (result i32)))
    (import "oplet" "fail" (func $fail (param i32 i32)))
    (import "oplet" "emit" (func $emit (param i32 i32 i32) (result i32)))"#;

/// A module of that body that may look up in `shop.customers` and in `archive`, and has that query at
/// hand: `$ask` looks it up.
fn asking(query: &Document, lookups: Arc<dyn Lookups>, body: &str) -> Module {
    asking_within(limits(), query, lookups, body)
}

fn asking_within(
    limits: Limits,
    query: &Document,
    lookups: Arc<dyn Lookups>,
    body: &str,
) -> Module {
    let query = bytes(query.clone());
    let data: String = query.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let len = query.len();
    let body = format!(
        r#"(data (i32.const 2048) "{data}")
        (func $ask (result i32) (call $lookup (i32.const 2048) (i32.const {len})))
        {body}"#
    );
    let grants = ["shop.customers", "archive.*"].map(str::to_owned);
    let settings = Settings {
        lookup: grants.into(),
        ..Settings::with_limits(limits)
    };
    Module::load(engine(), "test", &wat(IMPORTS, &body), settings)
        .unwrap()
        .with_lookups(lookups)
}

fn customers() -> Document {
    doc! {"namespace": "shop.customers", "filter": {"_id": 1}}
}

fn handle_one(module: &Module) -> (Instance, Result<Outcome, GuestError>) {
    let mut instance = module.instantiate(&sinks(), None).unwrap();
    let op = bytes(doc! {
        "operation": "i", "namespace": "shop.orders", "timestamp": bson::Timestamp { time: 7, increment: 9 },
    });
    instance.write_op(&op).unwrap();
    let handled = instance.handle();
    (instance, handled)
}

/// Emits the answer, which lies behind the op, and answers what `reply` said the second time.
const EMIT: &str = r#"
    (local $answer i32)
    (local.set $answer (call $ask))
    (if (i32.ne (local.get $answer) (call $reply (i32.const 70000) (i32.const 10))) (then (unreachable)))
    (if (i32.ne (local.get $answer) (call $reply (i32.const 70000) (i32.const 200))) (then (unreachable)))
    (if (call $emit (i32.const 0) (i32.const 70000) (local.get $answer)) (then (unreachable)))
    (call $reply (i32.const 70000) (i32.const 200))"#;

#[test]
fn an_answer_is_copied_once_to_where_there_is_room() {
    let found = [doc! {"_id": 1, "name": "Ann"}, doc! {"_id": 2}];
    let told = Arc::new(Told {
        documents: found.iter().map(|found| bytes(found.clone())).collect(),
        ..Told::default()
    });
    let query = doc! {"namespace": "shop.customers", "limit": 2};
    let module = asking(&query, told.clone(), &handler("handle", EMIT));
    let (instance, handled) = handle_one(&module);
    assert_eq!(handled, Ok(Outcome::Done));
    let answer = bytes(doc! {"documents": found.to_vec()});
    assert_eq!(outputs(&instance), [(0, answer)]);
    let asked = told.asked.lock().unwrap();
    assert_eq!(*asked, [r#"test shop customers 2 Some("7:9") false"#]);
}

#[test]
fn an_answer_is_gone_with_the_call() {
    let body = "(global $asked (mut i32) (i32.const 0))";
    let twice = r#"
        (if (global.get $asked) (then (return (call $reply (i32.const 70000) (i32.const 200)))))
        (global.set $asked (call $ask)) (i32.const 0)"#;
    let body = format!("{body} {}", handler("handle", twice));
    let module = asking(&customers(), Arc::new(Told::default()), &body);
    let (mut instance, handled) = handle_one(&module);
    assert_eq!(handled, Ok(Outcome::Done));
    assert_eq!(handle(&mut instance), Ok(Outcome::Done), "`reply` says 0");
}

#[test]
fn nobody_asks_without_a_grant_or_from_elsewhere() {
    let drop = "(drop (call $ask)) (i32.const 0)";
    let told = || Arc::new(Told::default());
    let orders = doc! {"namespace": "shop.orders"};
    let module = asking(&orders, told(), &handler("handle", drop));
    let message = "the module `test` may not look up in shop.orders: grant it by `lookup = [\"shop.orders\"]`";
    assert_contained(&module, "handle", Class::Trap, message);

    let code = doc! {"namespace": "shop.customers", "filter": {"$or": [{"$where": "true"}]}};
    let module = asking(&code, told(), &handler("handle", drop));
    assert_contained(&module, "handle", Class::Trap, "has `$where`");

    let module = asking(
        &customers(),
        told(),
        &format!(
            "{} {}",
            handler("handle", "(i32.const 0)"),
            handler("filter", drop)
        ),
    );
    assert_contained(&module, "filter", Class::Trap, "`filter` may not look up");

    let pipeline = r#"(func (export "pipeline") (param i32 i32) (result i64) (drop (call $ask)) (i64.const 0))"#;
    let module = asking(&customers(), told(), pipeline);
    assert_contained(
        &module,
        "pipeline",
        Class::Trap,
        "`pipeline` may not look up",
    );

    let configure = format!(
        "{} {}",
        handler("oplet_configure", drop),
        handler("handle", "(i32.const 0)")
    );
    let module = asking(&customers(), told(), &configure);
    assert_contained(&module, "oplet_configure", Class::Trap, "may not look up");

    for import in ["$lookup", "$reply"] {
        let wild =
            format!("(drop (call {import} (i32.const 131000) (i32.const 100))) (i32.const 0)");
        let module = asking(&customers(), told(), &handler("handle", &wild));
        assert_contained(&module, "handle", Class::Trap, "pointer outside memory");
    }
}

#[test]
fn what_is_found_has_limits() {
    for (count, query, expected) in [
        (1_000, customers(), None),
        (1_001, customers(), Some("more than 1000 documents")),
        (
            1_001,
            doc! {"namespace": "archive.a"},
            Some("more than 1000"),
        ),
    ] {
        let told = Arc::new(Told {
            documents: vec![bytes(doc! {}); count],
            ..Told::default()
        });
        let module = asking(
            &query,
            told,
            &handler("handle", "(i32.lt_s (call $ask) (i32.const 0))"),
        );
        check(&module, expected);
    }
    let document = bytes(doc! {"text": "x".repeat(2_000)});
    for (count, expected) in [(500, None), (600, Some("larger than 1048576 bytes"))] {
        let told = Arc::new(Told {
            documents: vec![document.clone(); count],
            ..Told::default()
        });
        let module = asking(
            &customers(),
            told,
            &handler("handle", "(i32.lt_s (call $ask) (i32.const 0))"),
        );
        check(&module, expected);
    }

    #[track_caller]
    fn check(module: &Module, expected: Option<&str>) {
        match (handle_one(module).1, expected) {
            (Ok(Outcome::Done), None) => {}
            (Err(error), Some(expected)) => {
                assert_eq!(error.class, Class::Lookup);
                assert!(error.message.starts_with("cannot look up in "), "{error}");
                assert!(error.message.contains(expected), "{error}");
            }
            (other, _) => panic!("{other:?}"),
        }
    }
}

/// A server that cannot be asked, or refuses.
fn without_answer(error: fn(String) -> LookupError) -> Arc<Told> {
    Arc::new(Told {
        error: Some(error("so it is".into())),
        ..Told::default()
    })
}

#[test]
fn a_call_that_fails_without_an_answer_failed_for_that() {
    const SENTENCE: &str = "cannot look up in shop.customers: so it is";
    for (error, code, class) in [
        (
            LookupError::Unavailable as fn(_) -> _,
            -1,
            Class::LookupUnavailable,
        ),
        (LookupError::Failed, -2, Class::Lookup),
    ] {
        for (then, is_dead, also) in [
            ("(i32.const 1)", false, ""),
            ("(i32.const 2)", false, ""),
            (
                "(call $fail (i32.const 3000) (i32.const 3)) (i32.const 3)",
                false,
                "; then: bad",
            ),
            (
                "(unreachable)",
                true,
                "; then: wasm trap: wasm `unreachable`",
            ),
            ("(i32.const 17)", true, "; then: `handle` answered 17"),
            ("(loop (br 0)) (unreachable)", true, "; then: took longer"),
        ] {
            let asks = format!(
                r#"(if (call $emit (i32.const 0) (i32.const 1024) (i32.const 12)) (then (unreachable)))
                (if (i32.ne (call $ask) (i32.const {code})) (then (return (i32.const 0))))
                (if (call $reply (i32.const 70000) (i32.const 100)) (then (unreachable)))
                {then}"#
            );
            let body = format!(
                r#"(data (i32.const 3000) "bad") {}"#,
                handler("handle", &asks)
            );
            let module = asking(&customers(), without_answer(error), &body);
            let (instance, handled) = handle_one(&module);
            let error = handled.unwrap_err();
            assert_eq!(error.class, class, "{then}: {error}");
            assert_eq!(instance.is_dead(), is_dead, "{then}: {error}");
            assert_eq!(outputs(&instance), []);
            match also {
                "" => assert_eq!(error.message, SENTENCE, "{then}"),
                also => assert!(
                    error.message.starts_with(&format!("{SENTENCE}{also}")),
                    "{error}"
                ),
            }
        }
    }
}

#[test]
fn a_guest_can_do_without_an_answer() {
    for error in [LookupError::Unavailable as fn(_) -> _, LookupError::Failed] {
        let body = r#"(if (i32.ge_s (call $ask) (i32.const 0)) (then (unreachable)))
            (call $emit (i32.const 0) (i32.const 1024) (i32.const 12))"#;
        let module = asking(
            &customers(),
            without_answer(error),
            &handler("handle", body),
        );
        let (instance, handled) = handle_one(&module);
        assert_eq!(handled, Ok(Outcome::Done));
        assert_eq!(outputs(&instance).len(), 1);
    }
}

#[test]
fn a_flush_waits_for_the_server() {
    let flush =
        r#"(func (export "oplet_flush") (result i32) (i32.lt_s (call $ask) (i32.const 0)))"#;
    let body = format!("{} {flush}", handler("handle", "(i32.const 0)"));
    let told = without_answer(LookupError::Unavailable);
    let module = asking(&customers(), told.clone(), &body);
    let (mut instance, handled) = handle_one(&module);
    assert_eq!(handled, Ok(Outcome::Done));
    let error = instance.flush().unwrap_err();
    assert_eq!(error.class, Class::LookupUnavailable, "{error}");
    assert_eq!(error.message, "cannot look up in shop.customers: so it is");
    assert!(!instance.is_dead());
    assert!(told.asked.lock().unwrap()[0].ends_with("true"), "patience");
}

#[test]
fn the_lookups_of_a_call_end() {
    let told = Arc::new(Told {
        takes: Duration::from_millis(10),
        ..Told::default()
    });
    let limits = Limits {
        lookup_time: Duration::from_millis(5),
        ..limits()
    };
    // Until there is no answer: longer than a call may take, since the time is the server's.
    let body = "(loop (br_if 0 (i32.gt_s (call $ask) (i32.const 0)))) (unreachable)";
    let body = handler("handle", body);
    let module = asking_within(limits, &customers(), told.clone(), &body);
    let error = handle_one(&module).1.unwrap_err();
    assert_eq!(error.class, Class::Lookup, "{error}");
    assert!(error.message.contains("longer than 50ms"), "{error}");
    assert_eq!(told.asked.lock().unwrap().len(), 10);
}

#[test]
fn without_a_server_there_is_a_sentence() {
    let module = asking(
        &customers(),
        Arc::new(NoLookups),
        &handler("handle", "(drop (call $ask)) (unreachable)"),
    );
    let error = handle_one(&module).1.unwrap_err();
    assert_eq!(error.class, Class::Lookup, "{error}");
    assert!(error.message.contains("no server here"), "{error}");
}
