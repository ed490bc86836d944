//! Texts that other rooms read: stores and sinks. This is the one place that asks those rooms.

use std::fmt;

use super::{problem::unknown, secret::without_secrets};

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

// === What the rooms say of a text; each arm is to be the parser of its room. ===

/// Where checkpoints are kept.
pub(crate) fn checkpoint(text: &str) -> Result<Deferred, String> {
    match text {
        "none" => Ok(Deferred { text: text.into() }),
        _ => store(text, &["mongodb:db.collection", "file:PATH", "none"]),
    }
}

/// Where dead letters are kept.
pub(crate) fn dead_letters(text: &str) -> Result<Deferred, String> {
    store(text, &["mongodb:db.collection", "file:PATH"])
}

fn store(text: &str, forms: &[&str]) -> Result<Deferred, String> {
    let is_store = match text.split_once(':') {
        Some(("mongodb", namespace)) => {
            let parts = namespace.split_once('.');
            let is_complete = |(database, collection): (&str, &str)| {
                !database.is_empty() && !database.contains('/') && !collection.is_empty()
            };
            parts.is_some_and(is_complete)
        }
        Some(("file", path)) => !path.is_empty(),
        _ => false,
    };
    match is_store {
        true => Ok(Deferred { text: text.into() }),
        false => Err(format!("a store is written {}", forms.join(" or "))),
    }
}

/// The kinds of sinks, as an address begins with them.
const SINKS: [&str; 6] = ["stdout", "null", "file", "mongodb", "http", "https"];

/// Where emitted documents go. What is refused is not shown whole: it may hold a password.
pub(crate) fn sink(text: &str) -> Result<Deferred, String> {
    let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
    let is_whole = match kind {
        "stdout" | "null" => rest.is_empty() && !text.contains(':'),
        "http" | "https" => rest.strip_prefix("//").is_some_and(|host| !host.is_empty()),
        "file" | "mongodb" => !rest.is_empty(),
        "mongodb+srv" => rest.len() > 2,
        _ => return Err(unknown("unknown kind of sink", kind, &SINKS)),
    };
    match is_whole {
        true => Ok(Deferred { text: text.into() }),
        false => Err(
            "a sink is written stdout, null, file:PATH, mongodb:db.collection or https://HOST/PATH"
                .into(),
        ),
    }
}
