//! The guest's functions on the stack of a trap, as names that a person can read.

use std::fmt::{self, Write as _};

use wasmtime::WasmBacktrace;

use super::log::escape;

/// Characters of a name that are shown. The names are the module's own, and may be as long as it is,
/// or unfold to any length when they are demangled.
const NAME_CHARACTERS_MAX: usize = 200;

/// What the standard libraries of the guest languages call their functions: on the way from a
/// handler's mistake to the trap they say nothing.
const STD: [&str; 10] = [
    "std::",
    "core::",
    "alloc::",
    "__rust",
    "rust_panic",
    "rust_begin_unwind",
    "__rustc",
    "~lib/",
    "runtime.",
    "panic_abort::",
];

/// Names of the frames, the innermost first. A function without a name is told by its number. When
/// nothing but the standard library is on the stack, all of it is kept.
pub(super) fn frames(trace: &WasmBacktrace) -> Vec<String> {
    let names: Vec<String> = trace
        .frames()
        .iter()
        .map(|frame| match frame.func_name() {
            Some(name) => readable(name),
            None => format!("function {}", frame.func_index()),
        })
        .collect();
    let own: Vec<String> = names.iter().filter(|name| !is_std(name)).cloned().collect();
    if own.is_empty() { names } else { own }
}

/// Undoes Rust's mangling, cuts the hash off, and what is too long.
fn readable(name: &str) -> String {
    let mut text = Cut {
        text: String::new(),
        room: NAME_CHARACTERS_MAX,
    };
    let is_whole = write!(text, "{:#}", rustc_demangle::demangle(name)).is_ok();
    let name = escape(&text.text);
    if !is_whole {
        return format!("{name}…");
    }
    // The linker may have demangled already, and then the hash is part of the text.
    match name.rsplit_once("::h") {
        Some((path, hash)) if hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()) => {
            path.to_owned()
        }
        _ => name.into_owned(),
    }
}

/// Takes so many characters, and then says no: what writes them stops there.
struct Cut {
    text: String,
    room: usize,
}

impl fmt::Write for Cut {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            self.room = self.room.checked_sub(1).ok_or(fmt::Error)?;
            self.text.push(c);
        }
        Ok(())
    }
}

/// `<alloc::vec::Vec<T> as ...>::index` counts as std, `<my::Type as core::fmt::Display>::fmt` not.
fn is_std(name: &str) -> bool {
    let name = name.trim_start_matches(['<', '&', '*']);
    name == "abort" || STD.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_readable() {
        for (raw, expected) in [
            ("handle", "handle"),
            (
                "_ZN4core9panicking9panic_fmt17h0123456789abcdefE",
                "core::panicking::panic_fmt",
            ),
            (
                "core::panicking::panic_fmt::h0123456789abcdef",
                "core::panicking::panic_fmt",
            ),
            ("shop::hello", "shop::hello"),
            ("\u{1b}[2Jgone", "\\u{1b}[2Jgone"),
        ] {
            assert_eq!(readable(raw), expected);
        }
    }

    #[test]
    fn names_are_cut_before_they_are_long() {
        let long = "x".repeat(1 << 20);
        assert_eq!(
            readable(&long),
            format!("{}…", "x".repeat(NAME_CHARACTERS_MAX))
        );
        // A tuple of tuples by back-references: each level doubles what it unfolds to.
        let unfolding = format!("_RMC0{}hE", "TT".repeat(40));
        assert!(readable(&unfolding).chars().count() <= NAME_CHARACTERS_MAX + 1);
    }

    #[test]
    fn std_is_told_from_the_handlers_own() {
        for name in [
            "core::panicking::panic",
            "<alloc::vec::Vec<u8> as core::ops::Index>::index",
            "rust_begin_unwind",
        ] {
            assert!(is_std(name), "{name}");
        }
        for name in ["<shop::Order as core::fmt::Display>::fmt", "stdout_of_mine"] {
            assert!(!is_std(name), "{name}");
        }
    }
}
