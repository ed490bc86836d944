//! Texts that other rooms read: stores and sinks. This is the one place that asks those rooms.

use std::fmt;

use oplet::{checkpoint, dead_letters, op::StoreSpec, sink::SpecError};

use super::{secret::without_secrets, values::with_nearest};

/// A text for another room, which has been seen to be one that the room can read.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Deferred {
    pub(crate) text: String,
}

impl fmt::Display for Deferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_secrets(&self.text))
    }
}

impl fmt::Debug for Deferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Deferred({self})")
    }
}

// === What the rooms say of a text. ===

/// Where checkpoints are kept.
pub(crate) fn checkpoint(text: &str) -> Result<Deferred, String> {
    if text == "none" {
        return Ok(Deferred { text: text.into() });
    }
    if strsim::damerau_levenshtein(text, "none") <= 2 {
        return Err(with_nearest("it is no store", Some("none")));
    }
    store(text, checkpoint::COLLECTION)
}

/// Where dead letters are kept.
pub(crate) fn dead_letters(text: &str) -> Result<Deferred, String> {
    store(text, dead_letters::COLLECTION)
}

fn store(text: &str, collection: &str) -> Result<Deferred, String> {
    match StoreSpec::parse(text, collection) {
        Ok(_) => Ok(Deferred { text: text.into() }),
        Err(error) => Err(with_nearest(&error.reason, error.nearest.as_deref())),
    }
}

/// What is wrong with a sink. It never shows a secret.
pub(super) fn sink_fault(error: &SpecError) -> String {
    let reason = match &error.key {
        Some(key) => format!("`{key}`: {}", error.reason),
        None => error.reason.clone(),
    };
    with_nearest(&reason, error.nearest.as_deref())
}
