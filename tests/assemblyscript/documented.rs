//! The table of both languages in `docs/assemblyscript.md` says what the two test guests do.

const DOCS: &str = include_str!("../../docs/assemblyscript.md");
const RUST: &str = include_str!("../guests/parity/src/lib.rs");
const ASSEMBLYSCRIPT: &str = include_str!("../guests/parity-assemblyscript/assembly/index.ts");
const INDEX: &str = include_str!("../../guest-sdk/assemblyscript/assembly/index.ts");

/// The code in the cells of the table: Rust, AssemblyScript.
fn rows() -> Vec<[&'static str; 2]> {
    let table = DOCS
        .split("| | Rust | AssemblyScript |")
        .nth(1)
        .expect("the table is there");
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    rows.map(|line| {
        let code: Vec<&str> = line.split('`').skip(1).step_by(2).collect();
        code.try_into()
            .unwrap_or_else(|_| panic!("two pieces of code: {line}"))
    })
    .collect()
}

#[test]
fn both_guests_use_what_the_table_names() {
    let rows = rows();
    assert!(rows.len() > 40, "{}", rows.len());
    // Both are formatted, so what is broken over lines is put together again.
    let joined = |text: &str| {
        text.split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .replace(" .", ".")
    };
    let sources = [joined(RUST), joined(ASSEMBLYSCRIPT)];
    for row in rows {
        for (code, source) in row.iter().zip(&sources) {
            assert!(
                source.contains(code),
                "`{code}` of {row:?} stands in no guest"
            );
        }
    }
}

#[test]
fn every_name_that_the_package_exports_is_documented() {
    let names = INDEX
        .split(['{', '}'])
        .skip(1)
        .step_by(2)
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty());
    // Made by the others, never named by an author.
    let inner = [
        "BsonArray",
        "Fields",
        "Kind",
        "Lookup",
        "Operation",
        "TruncatedArray",
        "Txn",
        "UpdateDescription",
    ];
    for name in names.filter(|name| !inner.contains(name)) {
        assert!(
            DOCS.contains(name),
            "`{name}` is not in docs/assemblyscript.md"
        );
    }
}
