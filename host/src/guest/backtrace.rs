//! The guest's functions on the stack of a trap, as a person can read them: by name, and with file
//! and line where the module carries debug information.

use std::fmt::{self, Write as _};

use wasmtime::{FrameInfo, FrameSymbol, WasmBacktrace};

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

/// Where the standard library of Rust was built, and where its sources are when they are there.
const STD_FILES: [&str; 3] = ["/rustc/", "/library/std/src/", "/library/core/src/"];

/// A function that was under way. One that was inlined counts as one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Frame {
    name: String,
    /// `FILE:LINE:COLUMN`, as far as they are known.
    location: Option<String>,
    is_std: bool,
}

/// What was under way when a call failed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Frames {
    /// The frames, the innermost first.
    pub(super) texts: Vec<String>,
    /// Where the innermost of them stood, where that is known.
    pub(super) location: Option<String>,
}

/// The frames without those of the standard library. A function without a name is told by its number.
/// When nothing but the standard library is on the stack, all of it is kept.
pub(super) fn frames(trace: &WasmBacktrace) -> Frames {
    let mut frames: Vec<Frame> = trace.frames().iter().flat_map(of_function).collect();
    if frames.iter().any(|frame| !frame.is_std) {
        frames.retain(|frame| !frame.is_std);
    }
    let text = |frame: &Frame| match &frame.location {
        Some(location) => format!("{} ({location})", frame.name),
        None => frame.name.clone(),
    };
    Frames {
        texts: frames.iter().map(text).collect(),
        location: frames.into_iter().next().and_then(|frame| frame.location),
    }
}

/// A function of the module, and before it those that were inlined into it.
fn of_function(frame: &FrameInfo) -> Vec<Frame> {
    let name = match frame.func_name() {
        Some(name) => readable(name),
        None => format!("function {}", frame.func_index()),
    };
    let symbols = frame.symbols();
    if symbols.is_empty() {
        let is_std = is_std(&name);
        return vec![Frame {
            name,
            location: None,
            is_std,
        }];
    }
    let of_symbol = |symbol: &FrameSymbol| {
        let name = symbol.name().map_or_else(|| name.clone(), readable);
        let file = symbol.file().unwrap_or_default();
        Frame {
            location: location(symbol),
            is_std: is_std(&name) || STD_FILES.iter().any(|path| file.contains(path)),
            name,
        }
    };
    symbols.iter().map(of_symbol).collect()
}

fn location(symbol: &FrameSymbol) -> Option<String> {
    let mut text = short(symbol.file()?).to_owned();
    for number in [symbol.line(), symbol.column()] {
        match number {
            None | Some(0) => break,
            Some(number) => text.push_str(&format!(":{number}")),
        }
    }
    // What a guest calls its files is the guest's word.
    Some(escape(&text).into_owned())
}

/// A path without what only the machine knows on which it was built: from the folder of the package
/// on.
fn short(path: &str) -> &str {
    let Some(src) = path.rfind("/src/") else {
        return path;
    };
    let package = path[..src].rfind('/').map_or(0, |slash| slash + 1);
    &path[package..]
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
    fn paths_begin_with_the_package() {
        for (path, expected) in [
            ("/home/ann/audit/src/lib.rs", "audit/src/lib.rs"),
            (
                "/home/ann/src/audit/src/rules/tax.rs",
                "audit/src/rules/tax.rs",
            ),
            ("src/lib.rs", "src/lib.rs"),
            ("/src/lib.rs", "/src/lib.rs"),
            ("/tmp/lib.rs", "/tmp/lib.rs"),
            ("assembly/index.ts", "assembly/index.ts"),
        ] {
            assert_eq!(short(path), expected);
        }
    }

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
