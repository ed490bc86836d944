//! The room as its callers see it, with guests written in WAT.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use bson::{Document, RawDocumentBuf, doc};

use super::*;

mod bounds;
mod containment;
mod hand_over;
mod handlers;
mod imports;
mod loading;
mod logging;
mod lookups;
mod sdk;
mod settings;
mod sources;

/// Limits that are reached soon.
fn limits() -> Limits {
    Limits {
        memory_bytes: 1 << 20,
        call_time: Duration::from_millis(50),
        outputs_documents: 3,
        outputs_bytes: 200,
        log_lines_per_second: 5,
        ..Limits::default()
    }
}

fn settings() -> Settings {
    Settings::with_limits(limits())
}

fn engine() -> &'static Engine {
    static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
        let options = Options {
            limits: limits(),
            ..Options::default()
        };
        Engine::new(&options).unwrap()
    });
    &ENGINE
}

fn sinks() -> Arc<[String]> {
    Arc::from(["default".to_owned(), "audit".to_owned()])
}

/// A module with memory, marker and an allocator that gives out one region from 4096 on, growing the
/// memory as needed. At 1024 lies the document `{a: 1}`, 12 bytes long.
fn wat(imports: &str, body: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
            {imports}
            (memory (export "memory") 2)
            (data (i32.const 1024) "\0c\00\00\00\10a\00\01\00\00\00\00")
            (func (export "oplet_abi_v1"))
            (func (export "oplet_alloc") (param $len i32) (result i32)
                (local $missing i32)
                (local.set $missing (i32.sub
                    (i32.add (local.get $len) (i32.const 4096))
                    (i32.mul (memory.size) (i32.const 65536))))
                (if (i32.gt_s (local.get $missing) (i32.const 0))
                    (then (if (i32.eq (i32.const -1) (memory.grow
                            (i32.add (i32.const 1) (i32.div_u (local.get $missing) (i32.const 65536)))))
                        (then (return (i32.const 0))))))
                (i32.const 4096))
            {body})"#
    );
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}"))
}

fn load(imports: &str, body: &str) -> Module {
    Module::load(engine(), "test", &wat(imports, body), settings()).unwrap()
}

fn instance(imports: &str, body: &str) -> Instance {
    load(imports, body).instantiate(&sinks(), None).unwrap()
}

/// A function `handle` or `filter` of that body.
fn handler(name: &str, body: &str) -> String {
    format!(r#"(func (export "{name}") (param $ptr i32) (param $len i32) (result i32) {body})"#)
}

fn bytes(document: Document) -> Vec<u8> {
    RawDocumentBuf::try_from(&document).unwrap().into_bytes()
}

fn op() -> Vec<u8> {
    bytes(doc! {"operation": "i", "namespace": "shop.orders", "_id": 7, "data": {"_id": 7}})
}

fn outputs(instance: &Instance) -> Vec<(u32, Vec<u8>)> {
    instance
        .outputs()
        .map(|(sink, document)| (sink, document.to_vec()))
        .collect()
}

/// Writes an op and lets the instance handle it.
fn handle(instance: &mut Instance) -> Result<Outcome, GuestError> {
    instance.write_op(&op())?;
    instance.handle()
}

/// That a call failed so, within a time that shows that it was stopped; that the instance is dead
/// and stays so, and that a well-behaved one works after it.
#[track_caller]
fn assert_contained(module: &Module, export: &str, class: Class, message: &str) -> GuestError {
    let start = Instant::now();
    let error = match module.instantiate(&sinks(), None) {
        Err(error) => error,
        Ok(mut instance) => {
            let run = |instance: &mut Instance| -> Result<(), GuestError> {
                instance.write_op(&op())?;
                instance.filter(false)?;
                instance.handle()?;
                match instance.pipeline("a.b", "changeStream") {
                    Ok(_) => {}
                    Err(PipelineError::Guest(error)) => return Err(error),
                    Err(PipelineError::Refused(refused)) => panic!("{refused}"),
                }
                instance.flush()
            };
            let error = run(&mut instance).expect_err("the guest fails");
            assert!(instance.is_dead(), "{error}");
            assert_eq!(instance.outputs().count(), 0);
            let again = instance.write_op(&op()).unwrap_err();
            assert_eq!(again.class, Class::Ended);
            error
        }
    };
    assert!(start.elapsed() < Duration::from_secs(5), "{error}");
    assert_eq!(error.class, class, "{error}");
    assert_eq!(error.export, export, "{error}");
    assert!(error.message.contains(message), "{error}");
    assert_eq!(&*error.module, "test");
    assert_eq!(&*error.version, module.digest());

    let mut well = instance("", &handler("handle", "(i32.const 0)"));
    assert_eq!(handle(&mut well), Ok(Outcome::Done));
    error
}
