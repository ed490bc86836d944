//! A list of workers in a file.
//!
//! ```toml
//! workers = ["Tom", "Dick", "Harry"]
//! # When the list has changed: from which cluster time on it holds, and which one held before.
//! since = "1700000001:0"
//! before = ["Tom", "Dick"]
//! ```
//! The same in JSON is `{"workers": [...], ...}`. Keys are taken in upper or lower case, as gtm does.

use std::path::Path;

use serde_json::{Map, Value};

use super::{ListError, WorkerList};
use crate::op::{Since, Timestamp};

/// A list of workers as a file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileList {
    /// Who shares the work.
    pub workers: WorkerList,
    /// Who did before, and until which cluster time.
    pub before: Option<(WorkerList, Timestamp)>,
}

/// Why a file has no list of workers.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read it")]
    Read(#[source] std::io::Error),
    /// It is neither TOML nor JSON.
    #[error("it is not {format}: {reason}")]
    Malformed {
        /// What it was taken for.
        format: &'static str,
        /// What the parser says.
        reason: String,
    },
    /// It has no list under its key.
    #[error("it has no `{0}`")]
    Missing(&'static str),
    /// What is there is something else.
    #[error("`{key}` is not {expected}")]
    WrongType {
        /// The key.
        key: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// A key that has no meaning, or is there twice.
    #[error("`{0}` is not a key of a list of workers, or is there twice")]
    Unknown(String),
    /// The names are no list.
    #[error("`{key}`: {error}")]
    List {
        /// The key.
        key: &'static str,
        /// What is wrong with them.
        error: ListError,
    },
}

const NAMES: &str = "a list of texts";

impl FileList {
    /// Reads a file.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn load(path: &Path) -> Result<Self, FileError> {
        std::fs::read_to_string(path)
            .map_err(FileError::Read)?
            .parse()
    }
}

impl std::str::FromStr for FileList {
    type Err = FileError;

    /// A text that begins with a brace is JSON, any other TOML.
    fn from_str(text: &str) -> Result<Self, FileError> {
        let is_json = text.trim_start().starts_with(['{', '[']);
        let table: Value = match is_json {
            true => serde_json::from_str(text).map_err(|error| FileError::Malformed {
                format: "JSON",
                reason: error.to_string(),
            })?,
            false => toml::from_str(text).map_err(|error| FileError::Malformed {
                format: "TOML",
                reason: error.message().to_owned(),
            })?,
        };
        let Value::Object(mut table) = table else {
            return Err(FileError::Missing("workers"));
        };
        let workers = take(&mut table, "workers").ok_or(FileError::Missing("workers"))?;
        let workers = names("workers", workers)?;
        let since = take(&mut table, "since").map(time).transpose()?;
        let before = take(&mut table, "before");
        let before = before.map(|before| names("before", before)).transpose()?;
        if let Some((key, _)) = table.into_iter().next() {
            return Err(FileError::Unknown(key));
        }
        let before = match (before, since) {
            (Some(before), Some(since)) => Some((before, since)),
            (None, None) => None,
            (Some(_), None) => return Err(FileError::Missing("since")),
            (None, Some(_)) => return Err(FileError::Missing("before")),
        };
        Ok(Self { workers, before })
    }
}

/// Takes a value by its key, in whatever case.
fn take(table: &mut Map<String, Value>, key: &str) -> Option<Value> {
    let found = table.keys().find(|other| other.eq_ignore_ascii_case(key));
    table.shift_remove(&found?.clone())
}

fn names(key: &'static str, value: Value) -> Result<WorkerList, FileError> {
    let expected = NAMES;
    let wrong = || FileError::WrongType { key, expected };
    let Value::Array(values) = value else {
        return Err(wrong());
    };
    let names = values.into_iter().map(|value| match value {
        Value::String(name) => Ok(name),
        _ => Err(wrong()),
    });
    let names = names.collect::<Result<_, _>>()?;
    WorkerList::new(names).map_err(|error| FileError::List { key, error })
}

fn time(value: Value) -> Result<Timestamp, FileError> {
    let since = value.as_str().and_then(|text| text.parse().ok());
    match since {
        Some(Since::After(time)) => Ok(time),
        _ => Err(FileError::WrongType {
            key: "since",
            expected: "a cluster time as \"1700000001:7\", or a time as \"2026-01-02T10:00:00Z\"",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The workers, and those before with the time of the change; or a part of the error.
    type Expected<'a> = Result<(&'a [&'a str], Option<(&'a [&'a str], Timestamp)>), &'a str>;

    fn check(text: &str, expected: Expected<'_>) {
        let names = |list: &WorkerList| list.names().to_vec();
        let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let found = text
            .parse::<FileList>()
            .map_err(|error| error.to_string())
            .map(|list| {
                let before = list.before.map(|(before, since)| (names(&before), since));
                (names(&list.workers), before)
            });
        match expected {
            Ok((workers, before)) => {
                let before = before.map(|(before, since)| (owned(before), since));
                assert_eq!(found, Ok((owned(workers), before)), "{text}");
            }
            Err(expected) => {
                let error = found.unwrap_err();
                assert!(error.contains(expected), "{text}: {error}");
            }
        }
    }

    #[test]
    fn toml_and_json_say_the_same() {
        let three = &["Tom", "Dick", "Harry"][..];
        check("workers = ['Tom', 'Dick', 'Harry']", Ok((three, None)));
        check(
            "# gtm's\nWorkers = [\"Tom\", \"Dick\", \"Harry\"]",
            Ok((three, None)),
        );
        check(
            r#" {"WORKERS": ["Tom", "Dick", "Harry"]}"#,
            Ok((three, None)),
        );
        let changed = Ok((
            three,
            Some((&["Tom"][..], Timestamp::new(1_700_000_001, 7))),
        ));
        check(
            "workers = ['Tom', 'Dick', 'Harry']\nsince = '1700000001:7'\nbefore = ['Tom']",
            changed,
        );
        check(
            r#"{"workers": ["Tom", "Dick", "Harry"], "since": "1700000001:7", "before": ["Tom"]}"#,
            changed,
        );
    }

    #[test]
    fn each_fault_is_told() {
        for (text, expected) in [
            ("", "no `workers`"),
            ("['Tom']", "not JSON"),
            ("[\"Tom\"]", "no `workers`"),
            ("workers = [", "not TOML"),
            ("{\"workers\": [}", "not JSON"),
            ("workers = 'Tom'", "`workers` is not a list of texts"),
            ("workers = [1]", "`workers` is not a list of texts"),
            ("workers = []", "`workers`: the list of workers is empty"),
            ("workers = ['a', 'b', 'a']", "`a` is listed twice"),
            ("workers = ['']", "`` is no name of a worker: it is empty"),
            ("workers = ['a']\nworker = 1", "`worker` is not a key"),
            ("workers = ['a']\nWorkers = ['b']", "orkers` is not a key"),
            ("workers = ['a']\nsince = '5:1'", "no `before`"),
            ("workers = ['a']\nbefore = ['b']", "no `since`"),
            (
                "workers = ['a']\nbefore = ['b']\nsince = 'now'",
                "`since` is not a cluster time",
            ),
        ] {
            check(text, Err(expected));
        }
    }
}
