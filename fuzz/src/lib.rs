//! What must hold of any bytes, whoever made them up.
//!
//! Two readers of BSON stand beside each other: the SDK's own, which host and handlers use, and the
//! `bson` crate. Neither may panic; what the SDK takes for valid the other must be able to read; and
//! of a valid document both must read the same.

#![forbid(unsafe_code)]

mod op;
mod values;

use std::cell::Cell;

use bson::{Bson, Document, RawDocument};
use oplet_sdk::raw::{self, DEPTH_MAX, Walk};

pub use op::accessors;

/// Runs a check on the bytes as they are, and on them inside the frame of a document: a fuzzer would
/// spend its time on length and end byte.
pub fn both_ways(bytes: &[u8], check: fn(&[u8])) {
    check(bytes);
    let mut framed = Vec::with_capacity(bytes.len() + 5);
    framed.extend_from_slice(&(bytes.len() as u32 + 5).to_le_bytes());
    framed.extend_from_slice(bytes);
    framed.push(0);
    check(&framed);
}

/// `raw::validate` and `raw::Walk`, which stand between a guest's memory and the sinks.
///
/// # Panics
/// When the two readers disagree.
pub fn validate(bytes: &[u8]) {
    let ours = raw::validate(bytes);
    let walked = Walk::new(bytes).map(|walk| walk.collect::<Result<Vec<_>, _>>());
    if ours.is_ok() {
        let decoded = decode(bytes).expect("the `bson` crate reads what is valid");
        assert!(depth(&decoded) <= DEPTH_MAX, "nested too deep");
        let elements = walked
            .expect("it is framed")
            .expect("what is valid can be walked");
        values::are_same(bytes, &elements);
    }
    // What the other library takes, and writes again by its own rules, must be valid here.
    if let Some(decoded) = decode(bytes)
        && depth(&decoded) <= DEPTH_MAX
        && let Ok(written) = decoded.to_vec()
    {
        assert_eq!(raw::validate(&written), Ok(()), "{decoded:?}");
    }
}

/// The document as the `bson` crate reads all of it.
fn decode(bytes: &[u8]) -> Option<Document> {
    Document::try_from(RawDocument::from_bytes(bytes).ok()?).ok()
}

/// How deep documents, arrays and scopes nest; a flat document is 0 deep.
fn depth(document: &Document) -> usize {
    let deepest = Cell::new(0);
    for value in document.values() {
        deepen(value, 0, &deepest);
    }
    deepest.get()
}

fn deepen(value: &Bson, depth: usize, deepest: &Cell<usize>) {
    deepest.set(deepest.get().max(depth));
    match value {
        Bson::Document(inner) => {
            deepest.set(deepest.get().max(depth + 1));
            inner.values().for_each(|value| deepen(value, depth + 1, deepest));
        }
        Bson::Array(inner) => {
            deepest.set(deepest.get().max(depth + 1));
            inner.iter().for_each(|value| deepen(value, depth + 1, deepest));
        }
        Bson::JavaScriptCodeWithScope(code) => {
            deepest.set(deepest.get().max(depth + 1));
            code.scope.values().for_each(|value| deepen(value, depth + 1, deepest));
        }
        _ => {}
    }
}
