//! Where in its source a guest failed.

use std::fmt::Write as _;

use super::*;

/// A custom section in the text format.
fn section(name: &str, bytes: &[u8]) -> String {
    let mut text = format!("(@custom \"{name}\" \"");
    for byte in bytes {
        write!(text, "\\{byte:02x}").unwrap();
    }
    text + "\")"
}

fn with_length(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_le_bytes()[..], body].concat()
}

/// DWARF 4 that says of all code of a module that it is of that line of a file.
fn dwarf(directory: &str, file: &str, line: u8) -> String {
    let code_bytes = 1000_u32;
    // One kind of entry, a unit without children: name, line table, first address, length.
    let abbreviations = [
        1, 0x11, 0, 0x03, 0x08, 0x10, 0x17, 0x11, 0x01, 0x12, 0x06, 0, 0, 0,
    ];
    let mut unit = vec![4, 0, 0, 0, 0, 0, 4, 1];
    unit.extend([file.as_bytes(), &[0], &0_u32.to_le_bytes()].concat());
    unit.extend(1_u32.to_le_bytes());
    unit.extend(code_bytes.to_le_bytes());
    // Opcodes are as in the standard's example, of which three are used.
    let mut header = vec![1, 1, 1, 0xFB, 14, 13, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1];
    header.extend(
        [
            directory.as_bytes(),
            &[0, 0],
            file.as_bytes(),
            &[0, 1, 0, 0, 0],
        ]
        .concat(),
    );
    let program = [
        // The address, then the line, then the row.
        &[0, 5, 2, 1, 0, 0, 0][..],
        &[3, line - 1, 1],
        // Up to the end of the code.
        &[2, 0xE7, 0x07, 0, 1, 1],
    ]
    .concat();
    let mut lines = vec![4, 0];
    lines.extend(with_length(&header));
    lines.extend(program);
    [
        section(".debug_abbrev", &abbreviations),
        section(".debug_info", &with_length(&unit)),
        section(".debug_line", &with_length(&lines)),
    ]
    .concat()
}

const TRAP: &str = r#"(func $price unreachable)
    (func $handle (export "handle") (param i32 i32) (result i32) (call $price) (i32.const 0))"#;

#[test]
fn a_trap_is_told_with_its_line() {
    let body = format!("{TRAP} {}", dwarf("/home/ann/audit/src", "lib.rs", 42));
    let error = handle(&mut instance("", &body)).unwrap_err();
    assert_eq!(error.location.as_deref(), Some("audit/src/lib.rs:42"));
    assert!(
        error.to_string().ends_with("(at audit/src/lib.rs:42)"),
        "{error}"
    );
    let expected = [
        "price (audit/src/lib.rs:42)",
        "handle (audit/src/lib.rs:42)",
    ];
    assert_eq!(error.backtrace, expected);
}

#[test]
fn names_do_where_there_are_no_lines() {
    let error = handle(&mut instance("", TRAP)).unwrap_err();
    assert_eq!(error.backtrace, ["price", "handle"]);
    assert_eq!(error.location, None);
    assert!(!error.to_string().contains("(at"), "{error}");
}

#[test]
fn damaged_debug_information_is_passed_over() {
    let whole = dwarf("/a\u{1b}[31m/src", "lib.rs", 7);
    let error = handle(&mut instance("", &format!("{TRAP} {whole}"))).unwrap_err();
    assert_eq!(error.location.as_deref(), Some("a\\u{1b}[31m/src/lib.rs:7"));

    for damage in ["\\04", "\\01", "\\0d", "\\00"] {
        let damaged = whole.replace(damage, "\\ff");
        let error = handle(&mut instance("", &format!("{TRAP} {damaged}"))).unwrap_err();
        assert_eq!(error.class, Class::Trap, "{error}");
        assert!(error.backtrace[0].starts_with("price"), "{error:?}");
    }
}
