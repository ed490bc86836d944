//! What a module has too much of, and what it says of itself.

use super::{
    loading::{HANDLE, finding, findings},
    *,
};

#[test]
fn names_out_of_a_module_are_shown_escaped_and_cut() {
    let long = "x".repeat(5_000);
    for (name, expected) in [
        (
            r"\1b]0;owned\07",
            r"unknown import `env.\u{1b}]0;owned\u{7}`",
        ),
        (r"a\0aerror: b", r"unknown import `env.a\nerror: b`"),
        (long.as_str(), "xxx…`"),
    ] {
        let found = finding(&wat(&format!(r#"(import "env" "{name}" (func))"#), HANDLE));
        assert!(found.to_string().ends_with(expected), "{found}");
        assert!(found.to_string().len() < 300, "{found}");
    }
    // What is known is compared before it is shown.
    let export = r#"(func (export "\1b[2Jhandle")) (func (export "oplet_abi_v1\n"))"#;
    let wasm = wat("", &format!("{HANDLE} {export}"));
    let inspection = Inspection::new(&wasm, engine().limits());
    assert_eq!(inspection.findings, []);
    assert!(inspection.has_export(r"\u{1b}[2Jhandle"));
    // The validator quotes names as they are.
    let twice = format!(r#"{HANDLE} (func (export "\1b")) (func (export "\1b"))"#);
    let found = finding(&wat("", &twice)).to_string();
    assert!(!found.contains('\u{1b}'), "{found}");
}

/// A module of one section, which says how many entries it has, and repeats one.
fn section(id: u8, count: u32, entry: &[u8]) -> Vec<u8> {
    fn number(mut value: u32, out: &mut Vec<u8>) {
        while value > 0x7F {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    }
    let mut contents = Vec::new();
    number(count, &mut contents);
    contents.extend(entry.repeat(count as usize));
    let mut wasm = b"\0asm\x01\0\0\0".to_vec();
    wasm.push(id);
    number(contents.len() as u32, &mut wasm);
    wasm.extend(contents);
    wasm
}

#[test]
fn what_a_module_has_too_much_of_is_not_read() {
    for (id, what, entry) in [
        (1, "types", &b"\x60\0\0"[..]),
        (2, "imports", b"\0\0\0\0"),
        (4, "tables", b"\x70\0\0"),
        (5, "memories", b"\0\0"),
        (7, "exports", b"\0\0\0"),
    ] {
        let wasm = section(id, 500_000, entry);
        let inspection = Inspection::new(&wasm, &Limits::default());
        match inspection.findings.as_slice() {
            [
                Finding::TooMany {
                    what: found, count, ..
                },
            ] => {
                assert_eq!((*found, *count), (what, 500_000));
            }
            other => panic!("{what}: {other:?}"),
        }
        assert!(inspection.exports.is_empty() && inspection.imports.is_empty());
    }
}

#[test]
fn a_signature_of_many_parameters_is_told_by_their_number() {
    let exports: String = (0..100)
        .map(|n| format!(r#"(export "f{n}" (func $f))"#))
        .collect();
    let parameters = "i32 ".repeat(1_000);
    let wasm = wat(
        "",
        &format!("{HANDLE} {exports} (func $f (param {parameters}))"),
    );
    let inspection = Inspection::new(&wasm, engine().limits());
    assert_eq!(inspection.findings, []);
    let longest = inspection.exports.iter().map(|item| item.signature.len());
    assert!(longest.max() < Some(100));
}

#[test]
fn a_hundred_megabytes_are_refused_by_their_size_alone() {
    // Rubbish behind the header: to read on would be to fail otherwise.
    let mut wasm = b"\0asm\x01\0\0\0".to_vec();
    wasm.resize(100 << 20, 0xEE);
    let finding = finding(&wasm);
    assert!(matches!(finding, Finding::TooLarge { .. }), "{finding}");
}

#[test]
fn what_would_take_long_to_compile_is_refused_before() {
    let nested = |loops: usize, variables: usize| {
        let locals = "(local i32)".repeat(variables);
        let body = format!("{} {}", "(loop".repeat(loops), ")".repeat(loops));
        wat("", &format!("{HANDLE} (func {locals} {body})"))
    };
    assert_eq!(
        finding(&nested(100, 301)),
        Finding::SlowToCompile {
            score: 30_100,
            limit: 30_000
        }
    );
    let bodies = "(func (local i32 i32 i32 i32) (loop))".repeat(2_000);
    Module::load(
        engine(),
        "m",
        &wat("", &format!("{HANDLE} {bodies}")),
        settings(),
    )
    .unwrap();

    let many = wat("", &format!("{HANDLE} {}", "(func)".repeat(100_000)));
    let begun = Instant::now();
    let found = findings(&many);
    assert!(
        found[0].to_string().contains("functions, more than"),
        "{found:?}"
    );
    assert!(begun.elapsed() < Duration::from_secs(10), "it was compiled");
}
