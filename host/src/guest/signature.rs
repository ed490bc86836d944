//! Signatures of the functions that host and guest give each other, in one notation for checking,
//! linking and telling.

use std::fmt;

use oplet_sdk::abi::{IMPORT_MODULE, export};
use wasmtime::{FuncType, ValType};

use super::{host_calls, wasi};

/// Parameters and results, one letter each: `i` is `i32`, `I` is `i64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Signature {
    pub(super) params: &'static str,
    pub(super) results: &'static str,
}

impl Signature {
    pub(super) const fn new(params: &'static str, results: &'static str) -> Self {
        Self { params, results }
    }

    pub(super) fn func_type(self, engine: &wasmtime::Engine) -> FuncType {
        let types = |letters: &'static str| {
            letters.bytes().map(|letter| match letter {
                b'I' => ValType::I64,
                _ => ValType::I32,
            })
        };
        FuncType::new(engine, types(self.params), types(self.results))
    }
}

/// As in the text format: `(func (param i32 i32) (result i32))`.
impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(func")?;
        for (word, letters) in [("param", self.params), ("result", self.results)] {
            if letters.is_empty() {
                continue;
            }
            write!(f, " ({word}")?;
            for letter in letters.bytes() {
                f.write_str(if letter == b'I' { " i64" } else { " i32" })?;
            }
            f.write_str(")")?;
        }
        f.write_str(")")
    }
}

/// The functions that a module may export to be called, each with its signature.
pub(super) const EXPORTS: [(&str, Signature); 11] = [
    (export::MARKER_V1, Signature::new("", "")),
    (export::ALLOC, Signature::new("i", "i")),
    (export::FILTER, Signature::new("ii", "i")),
    (export::HANDLE, Signature::new("ii", "i")),
    (export::PIPELINE, Signature::new("ii", "I")),
    (export::INITIALIZE, Signature::new("", "")),
    (export::CONFIGURE, Signature::new("ii", "i")),
    (export::FLUSH, Signature::new("", "i")),
    (export::SAVE, Signature::new("", "I")),
    (export::RESTORE, Signature::new("ii", "i")),
    (export::TICK, Signature::new("I", "i")),
];

/// All functions that the host provides, as `(module, name, signature)`.
pub(super) fn imports() -> impl Iterator<Item = (&'static str, &'static str, Signature)> {
    let oplet = host_calls::IMPORTS
        .iter()
        .map(|&(name, signature)| (IMPORT_MODULE, name, signature));
    let env = std::iter::once((
        host_calls::ENV_MODULE,
        host_calls::ABORT,
        host_calls::ABORT_SIGNATURE,
    ));
    let wasi = wasi::IMPORTS
        .iter()
        .map(|&(name, signature)| (wasi::MODULE, name, signature));
    oplet.chain(env).chain(wasi)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_like_the_text_format() {
        for (signature, expected) in [
            (Signature::new("", ""), "(func)"),
            (
                Signature::new("iI", "i"),
                "(func (param i32 i64) (result i32))",
            ),
            (Signature::new("", "I"), "(func (result i64))"),
        ] {
            assert_eq!(signature.to_string(), expected);
        }
    }
}
