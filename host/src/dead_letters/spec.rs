//! Where dead letters are kept, as a user writes it.

use std::{fmt, path::PathBuf, str::FromStr};

use crate::op::{OWN_DATABASE, split_namespace};

/// The collection that dead letters are kept in unless somebody says otherwise.
const COLLECTION: &str = "dead_letters";

/// Where dead letters are kept.
///
/// Written `mongodb:DB.COLL`, `mongodb` for `oplet.dead_letters`, or `file:PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreSpec {
    /// A collection of the deployment.
    Mongodb {
        /// Its database.
        database: String,
        /// Its name.
        collection: String,
    },
    /// A file of JSON lines.
    File(PathBuf),
}

impl Default for StoreSpec {
    fn default() -> Self {
        Self::Mongodb {
            database: OWN_DATABASE.to_owned(),
            collection: COLLECTION.to_owned(),
        }
    }
}

/// A store that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{input}` is not a store of dead letters: {reason}")]
pub struct SpecError {
    /// What was given.
    pub input: String,
    /// What is wrong with it, and how it is written.
    pub reason: &'static str,
}

impl FromStr for StoreSpec {
    type Err = SpecError;

    fn from_str(input: &str) -> Result<Self, SpecError> {
        let refuse = |reason| SpecError {
            input: input.to_owned(),
            reason,
        };
        if input == "mongodb" {
            return Ok(Self::default());
        }
        match input.split_once(':') {
            Some(("mongodb", rest)) if rest.starts_with("//") => {
                Err(refuse("write `mongodb:DB.COLL`, and the server into --uri"))
            }
            Some(("mongodb", namespace)) => match split_namespace(namespace) {
                ("", _) | (_, "") => Err(refuse(
                    "a collection is written `mongodb:DB.COLL`, as in `mongodb:oplet.dead_letters`",
                )),
                (database, collection) => Ok(Self::Mongodb {
                    database: database.to_owned(),
                    collection: collection.to_owned(),
                }),
            },
            Some(("file", "")) => Err(refuse("a file is written `file:PATH`")),
            Some(("file", path)) => Ok(Self::File(path.into())),
            _ => Err(refuse(
                "stores are written `mongodb:DB.COLL` or `file:PATH`",
            )),
        }
    }
}

impl fmt::Display for StoreSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mongodb {
                database,
                collection,
            } => write!(f, "mongodb:{database}.{collection}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_are_read_and_written_alike() {
        for text in [
            "mongodb:oplet.dead_letters",
            "mongodb:a.b.c",
            "file:/var/lib/x.jsonl",
            "file:x",
        ] {
            let spec: StoreSpec = text.parse().unwrap();
            assert_eq!(spec.to_string(), text);
        }
        assert_eq!("mongodb".parse(), Ok(StoreSpec::default()));
        assert_eq!(
            StoreSpec::default().to_string(),
            "mongodb:oplet.dead_letters"
        );
    }

    #[test]
    fn what_names_no_store_is_refused() {
        for text in [
            "",
            "mongodb:",
            "mongodb:db",
            "mongodb:.c",
            "mongodb:db.",
            "file:",
            "s3:x",
            "mongodb://h/db",
        ] {
            assert!(text.parse::<StoreSpec>().is_err(), "{text}");
        }
    }
}
