//! Which store, as a user writes it.

use std::{fmt, path::PathBuf, str::FromStr};

use crate::op::split_namespace;

/// Where positions are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreSpec {
    /// A collection of the deployment that is tailed, written `mongodb:db.coll`.
    Mongodb {
        /// The database.
        database: String,
        /// The collection.
        collection: String,
    },
    /// Files of that path with an ending each, written `file:PATH`. They hold one name's checkpoint.
    File(PathBuf),
}

/// A store that cannot be, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{input}` is not a place for checkpoints: {reason}")]
pub struct StoreSpecError {
    /// What was given.
    pub input: String,
    /// What is wrong with it.
    pub reason: String,
    /// The nearest valid spelling.
    pub nearest: Option<String>,
}

/// Databases that hold the server's own.
const INTERNAL_DATABASES: [&str; 3] = ["admin", "config", "local"];

impl Default for StoreSpec {
    fn default() -> Self {
        Self::Mongodb {
            database: "oplet".to_owned(),
            collection: "checkpoints".to_owned(),
        }
    }
}

impl FromStr for StoreSpec {
    type Err = StoreSpecError;

    fn from_str(input: &str) -> Result<Self, StoreSpecError> {
        let refuse = |reason: &str, nearest: Option<String>| StoreSpecError {
            input: input.to_owned(),
            reason: reason.to_owned(),
            nearest,
        };
        let default = || Some(Self::default().to_string());
        let Some((scheme, rest)) = input.split_once(':') else {
            let is_path = input.starts_with(['/', '.', '~']);
            return Err(match (is_path, split_namespace(input)) {
                (true, _) => refuse(
                    "a file is written `file:PATH`",
                    Some(format!("file:{input}")),
                ),
                (false, (database, collection))
                    if !database.is_empty() && !collection.is_empty() =>
                {
                    refuse(
                        "a collection is written `mongodb:db.coll`",
                        Some(format!("mongodb:{input}")),
                    )
                }
                _ => refuse("it is neither `mongodb:db.coll` nor `file:PATH`", default()),
            });
        };
        match scheme {
            "file" if rest.is_empty() || rest.ends_with('/') => Err(refuse(
                "the path of a file is missing",
                Some(format!("file:{rest}checkpoint")),
            )),
            "file" => Ok(Self::File(rest.into())),
            "mongodb" if rest.starts_with("//") => Err(refuse(
                "checkpoints are kept in the deployment that is tailed, so it takes no connection string",
                default(),
            )),
            "mongodb" => {
                let (database, collection) = split_namespace(rest);
                if database.is_empty() || collection.is_empty() {
                    let nearest = match database {
                        "" => default(),
                        database => Some(format!("mongodb:{database}.checkpoints")),
                    };
                    return Err(refuse("it names no collection", nearest));
                }
                if INTERNAL_DATABASES.contains(&database) {
                    return Err(refuse("that database is the server's own", default()));
                }
                let is_bad = database.contains(['/', '\\', ' ', '"', '$', '\0']);
                if is_bad || collection.contains(['$', '\0']) || collection.starts_with("system.") {
                    return Err(refuse("the server allows no such name", default()));
                }
                Ok(Self::Mongodb {
                    database: database.to_owned(),
                    collection: collection.to_owned(),
                })
            }
            _ => {
                let near = ["mongodb", "file"]
                    .into_iter()
                    .find(|known| strsim::damerau_levenshtein(known, &scheme.to_lowercase()) <= 2);
                Err(refuse(
                    "it is neither `mongodb:db.coll` nor `file:PATH`",
                    near.map(|known| format!("{known}:{rest}"))
                        .filter(|near| near.parse::<Self>().is_ok())
                        .or_else(default),
                ))
            }
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
    fn reads_what_it_writes() {
        for input in [
            "mongodb:oplet.checkpoints",
            "mongodb:a.b.c",
            "file:/var/lib/x",
            "file:x",
        ] {
            assert_eq!(input.parse::<StoreSpec>().unwrap().to_string(), input);
        }
    }

    #[test]
    fn refuses_with_the_nearest_form() {
        for (input, nearest) in [
            ("mongodb:oplet", Some("mongodb:oplet.checkpoints")),
            ("mongodb:", Some("mongodb:oplet.checkpoints")),
            ("mongodb://h:1/oplet.x", Some("mongodb:oplet.checkpoints")),
            ("mongodb:local.x", Some("mongodb:oplet.checkpoints")),
            ("mongodb:a.$b", Some("mongodb:oplet.checkpoints")),
            ("mongo:a.b", Some("mongodb:a.b")),
            ("mongo://h/a.b", Some("mongodb:oplet.checkpoints")),
            ("mongdb:a.b", Some("mongodb:a.b")),
            ("File:x", Some("file:x")),
            ("a.b", Some("mongodb:a.b")),
            ("/var/x", Some("file:/var/x")),
            ("file:", Some("file:checkpoint")),
            ("file:dir/", Some("file:dir/checkpoint")),
            ("", Some("mongodb:oplet.checkpoints")),
        ] {
            let error = input.parse::<StoreSpec>().unwrap_err();
            assert_eq!(error.nearest.as_deref(), nearest, "{input}: {error}");
            let nearest = nearest.unwrap_or_default();
            assert!(nearest.parse::<StoreSpec>().is_ok(), "{nearest}");
        }
    }
}
