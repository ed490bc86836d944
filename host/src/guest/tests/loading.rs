//! What is refused, what is cached.

use super::*;

#[track_caller]
pub(super) fn findings(wasm: &[u8]) -> Vec<Finding> {
    let error = Module::load(engine(), "test", wasm, settings()).unwrap_err();
    let inspection = Inspection::new(wasm, engine().limits());
    assert_eq!(inspection.findings, error.findings());
    for finding in error.findings() {
        assert!(finding.hint().is_some(), "{finding}");
        assert!(error.to_string().contains(&finding.to_string()), "{error}");
    }
    error.findings().to_vec()
}

/// The one finding of a module that is otherwise right.
#[track_caller]
pub(super) fn finding(wasm: &[u8]) -> Finding {
    let findings = findings(wasm);
    assert_eq!(findings.len(), 1, "{findings:?}");
    findings[0].clone()
}

pub(super) const HANDLE: &str =
    r#"(func (export "handle") (param i32 i32) (result i32) (i32.const 0))"#;

#[test]
fn a_handler_is_loaded_and_told_about() {
    let wasm = wat("", HANDLE);
    let module = Module::load(engine(), "shop", &wasm, settings()).unwrap();
    assert_eq!(module.name(), "shop");
    assert_eq!(module.digest().len(), 64);
    assert!(module.has_handle() && !module.has_filter() && !module.has_pipeline());

    let inspection = Inspection::new(&wasm, engine().limits());
    assert_eq!(inspection.findings, []);
    assert_eq!(inspection.abi_version, Some(1));
    assert_eq!(inspection.sha256, module.digest());
    assert_eq!(inspection.memory_bytes, Some(2 << 16));
    let handle = inspection
        .exports
        .iter()
        .find(|item| item.name == "handle")
        .unwrap();
    assert_eq!(handle.signature, "(func (param i32 i32) (result i32))");
    let json = serde_json::to_value(&inspection).unwrap();
    assert_eq!(json["exports"][0]["signature"], "(memory 2)");
    assert_eq!(json["size"], wasm.len());
}

#[test]
fn what_is_not_wasm_is_named() {
    for (bytes, expected) in [
        (&b""[..], "an empty file"),
        (b"\0asm", "cut off"),
        (b"(module (func))", "(.wat)"),
        (b"  ;; a comment\n(module)", "(.wat)"),
        (b"\x7fELF\x02\x01", "for a machine"),
        (b"fn main() {}", "text"),
        (b"\x1f\x8b\x08\0", "compressed"),
        (b"\xff\xfe\xfd", "binary data"),
    ] {
        let finding = finding(bytes);
        assert!(matches!(finding, Finding::NotWasm { .. }), "{finding}");
        assert!(finding.to_string().contains(expected), "{finding}");
    }
}

#[test]
fn components_and_large_and_broken_modules_are_refused() {
    assert_eq!(finding(b"\0asm\x0d\0\x01\0"), Finding::Component);

    let wasm = wat("", HANDLE);
    let engine = Engine::new(&Options {
        limits: Limits {
            module_bytes: 100,
            ..limits()
        },
        ..Options::default()
    })
    .unwrap();
    let error = Module::load(&engine, "m", &wasm, settings()).unwrap_err();
    let size = wasm.len();
    assert_eq!(error.findings(), [Finding::TooLarge { size, limit: 100 }]);

    let cut = findings(&wasm[..wasm.len() - 3]);
    assert!(matches!(&cut[0], Finding::Invalid { .. }), "{cut:?}");
    let mistyped = finding(&wat("", &format!("{HANDLE} (func (result i32))")));
    assert!(matches!(&mistyped, Finding::Invalid { .. }), "{mistyped}");
    let exotic = finding(&wat("", &format!("{HANDLE} (func (atomic.fence))")));
    assert!(matches!(&exotic, Finding::Invalid { .. }), "{exotic}");
}

#[test]
fn a_forgotten_marker_is_recognised() {
    let wasm = wat::parse_str(format!(
        r#"(module (memory (export "memory") 1)
            (func (export "oplet_alloc") (param i32) (result i32) (i32.const 8))
            (func (export "filter") (param i32 i32) (result i32) (i32.const 1)) {HANDLE})"#
    ))
    .unwrap();
    assert_eq!(
        finding(&wasm).to_string(),
        "exports `filter` but no `oplet_abi_v1`: was `oplet_sdk::export!` forgotten?"
    );
}

#[test]
fn every_other_mismatch_has_its_finding() {
    let import = |text: &str| finding(&wat(text, HANDLE)).to_string();
    let body = |text: &str| finding(&wat("", text)).to_string();
    for (found, expected) in [
        (
            import(r#"(import "oplet" "emitt" (func))"#),
            "unknown import `oplet.emitt`",
        ),
        (
            import(r#"(import "oplet" "emit" (func (param i32)))"#),
            "import `oplet.emit` is (func (param i32)), expected (func (param i32 i32 i32) (result i32))",
        ),
        (
            import(r#"(import "wasi_snapshot_preview1" "sched_yield" (global i32))"#),
            "import `wasi_snapshot_preview1.sched_yield` is (global i32), expected (func (result i32))",
        ),
        (
            body(r#"(func (export "filter") (param i32) (result i32) (i32.const 1))"#),
            "export `filter` is (func (param i32) (result i32)), expected (func (param i32 i32) (result i32))",
        ),
        (
            body(r#"(global (export "handle") i32 (i32.const 0))"#),
            "export `handle` is (global), expected (func (param i32 i32) (result i32))",
        ),
        (
            body(&format!(r#"{HANDLE} (func (export "oplet_abi_v2"))"#)),
            "speaks several ABI versions: `oplet_abi_v1`, `oplet_abi_v2`",
        ),
        (
            body(&format!(r#"{HANDLE} (func (export "_start"))"#)),
            "exports `_start`: a program, no handler",
        ),
        (body(""), "exports none of `filter`, `handle`, `pipeline`"),
        (body(&format!("{HANDLE} (memory 1)")), "it has 2 memories"),
        (
            body(&format!("{HANDLE} (table 30000 funcref)")),
            "a table starts at 30000 elements, more than the limit of 20000",
        ),
    ] {
        assert_eq!(found, expected);
    }
}

#[test]
fn all_findings_come_at_once() {
    let wasm = wat::parse_str(
        r#"(module
            (import "oplet" "nothing" (func))
            (import "env" "memory" (memory 40 50 shared))
            (func (export "oplet_abi_v9"))
            (func (export "handle")))"#,
    )
    .unwrap();
    let findings = findings(&wasm);
    let has = |wanted: fn(&Finding) -> bool| {
        assert!(findings.iter().any(wanted), "{findings:?}");
    };
    has(|f| matches!(f, Finding::UnknownVersion { marker } if marker == "oplet_abi_v9"));
    has(|f| matches!(f, Finding::MissingExport { name: "memory" }));
    has(|f| {
        matches!(
            f,
            Finding::MissingExport {
                name: "oplet_alloc"
            }
        )
    });
    has(|f| matches!(f, Finding::WrongExport { name, .. } if name == "handle"));
    has(|f| matches!(f, Finding::UnknownImport { name, .. } if name == "nothing"));
    has(|f| matches!(f, Finding::UnknownImport { name, .. } if name == "memory"));
    has(|f| matches!(f, Finding::SharedMemory));
    has(|f| {
        matches!(
            f,
            Finding::InitialMemory {
                bytes: 2_621_440,
                ..
            }
        )
    });
}

#[test]
fn hints_name_the_nearest_import_or_toolchain() {
    for (module, name, expected) in [
        ("oplet", "emitt", "did you mean `oplet.emit`?"),
        ("oplet", "schedule", "newer host"),
        ("wbg", "__wbindgen_throw", "wasm-bindgen"),
        ("wasi_unstable", "fd_write", "another WASI"),
        ("env", "sqlite3_open", "never linked in"),
        (
            "wasi_snapshot_preview1",
            "fd_wrote",
            "did you mean `wasi_snapshot_preview1.fd_write`?",
        ),
    ] {
        let hint = Finding::UnknownImport {
            module: module.into(),
            name: name.into(),
        }
        .hint()
        .unwrap();
        assert!(hint.contains(expected), "{hint}");
    }
}

/// The kinds of what a module with these items is warned about.
fn warned(body: &str) -> Vec<&'static str> {
    let inspection = Inspection::new(&wat("", body), engine().limits());
    inspection.warnings.iter().map(Warning::kind).collect()
}

#[test]
fn wrappers_and_missing_names_are_warned_about() {
    let wrapped = warned(&format!("{HANDLE} (func $filter.command_export)"));
    assert_eq!(wrapped, ["constructor-wrapper", "unbounded-memory"]);
    // The allocator's parameter has a name, but no function has.
    assert_eq!(warned(HANDLE), ["unbounded-memory", "no-names"]);
}

#[test]
fn exports_that_nobody_calls_are_warned_about() {
    let named = |exports: &str| warned(&format!("{HANDLE} (func $named) {exports}"));
    let misspelt =
        r#"(func (export "fliter")) (func (export "oplet_flsh")) (func (export "oplet_v2"))"#;
    assert_eq!(
        named(misspelt),
        [
            "unbounded-memory",
            "unknown-export",
            "unknown-export",
            "unknown-export"
        ]
    );
    assert_eq!(
        named(r#"(func (export "malloc")) (func (export "__new"))"#),
        ["unbounded-memory"]
    );
    let hint = |name: &str| Warning::UnknownExport { name: name.into() }.hint();
    assert_eq!(hint("fliter"), "did you mean `filter`?");
    assert_eq!(hint("oplet_flsh"), "did you mean `oplet_flush`?");
    assert!(hint("oplet_v2").contains("newer host"));
}

#[test]
fn size_is_warned_about_without_debugging_information() {
    let mut wasm = wat("", &format!("{HANDLE} (func $named)"));
    let with = |wasm: &[u8]| Inspection::new(wasm, engine().limits()).warnings;
    let section = |name: &str, bytes: usize| {
        let leb = |mut n: usize| {
            let mut out = Vec::new();
            while n > 0x7f {
                out.push(n as u8 | 0x80);
                n >>= 7;
            }
            out.push(n as u8);
            out
        };
        let mut content = leb(name.len());
        content.extend_from_slice(name.as_bytes());
        content.resize(content.len() + bytes, 0);
        [vec![0], leb(content.len()), content].concat()
    };
    wasm.extend(section(".debug_info", 1_500_000));
    wasm.extend(section(".debug_str", 500_000));
    let kinds = |warnings: &[Warning]| warnings.iter().map(Warning::kind).collect::<Vec<_>>();
    assert_eq!(
        kinds(&with(&wasm)),
        ["unbounded-memory", "debug-information"]
    );
    assert!(with(&wasm).contains(&Warning::DebugInformation { bytes: 2_000_000 }));
    wasm.extend(section("other", 1_500_000));
    assert_eq!(
        kinds(&with(&wasm)),
        ["unbounded-memory", "debug-information", "large"]
    );
}

#[test]
fn every_known_import_links() {
    let imports: String = signature::imports()
        .map(|(module, name, signature)| {
            let signature = signature.to_string();
            format!(r#"(import "{module}" "{name}" {signature})"#)
        })
        .collect();
    load(&imports, HANDLE).instantiate(&sinks(), None).unwrap();
}

#[test]
fn a_warm_start_does_not_compile() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options {
        cache_directory: Some(directory.path().join("modules")),
        ..Options::default()
    };
    let wasm = wat("", HANDLE);
    let counts = |engine: &Engine| (engine.cache_hits(), engine.cache_misses());

    let cold = Engine::new(&options).unwrap();
    Module::load(&cold, "m", &wasm, settings()).unwrap();
    assert_eq!(counts(&cold), (0, 1));

    let warm = Engine::new(&options).unwrap();
    let module = Module::load(&warm, "m", &wasm, settings()).unwrap();
    assert_eq!(counts(&warm), (1, 0));
    let mut instance = module.instantiate(&sinks(), None).unwrap();
    assert_eq!(handle(&mut instance), Ok(Outcome::Done));
}

#[test]
fn a_pool_that_cannot_be_reserved_is_done_without() {
    let options = Options {
        // 4 GiB of address space each: beyond what a process can have.
        instances_max: 1 << 20,
        ..Options::default()
    };
    let engine = Engine::new(&options).unwrap();
    assert!(!engine.is_pooled());
    let module = Module::load(&engine, "m", &wat("", HANDLE), settings()).unwrap();
    let mut instance = module.instantiate(&sinks(), None).unwrap();
    assert_eq!(handle(&mut instance), Ok(Outcome::Done));
}

#[test]
fn a_used_up_pool_is_told_as_such() {
    let options = Options {
        instances_max: 1,
        ..Options::default()
    };
    let engine = Engine::new(&options).unwrap();
    if !engine.is_pooled() {
        return;
    }
    let module = Module::load(&engine, "m", &wat("", HANDLE), settings()).unwrap();
    let first = module.instantiate(&sinks(), None).unwrap();
    let error = module.instantiate(&sinks(), None).unwrap_err();
    assert_eq!(error.class, Class::Instantiation);
    drop(first);
    module.instantiate(&sinks(), None).unwrap();
}
