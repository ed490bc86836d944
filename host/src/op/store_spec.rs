//! Which store, as a user writes it.

use std::{fmt, path::PathBuf};

use super::{OWN_DATABASE, split_namespace};

/// Where a room keeps what is to outlast the process. Which collection it takes when none is named,
/// the room says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreSpec {
    /// A collection of the deployment that is tailed, written `mongodb:db.coll`.
    Mongodb {
        /// The database.
        database: String,
        /// The collection.
        collection: String,
    },
    /// A file, or files of that path with an ending each, written `file:PATH`.
    File(PathBuf),
}

/// A store that cannot be, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{input}` is not a store: {reason}")]
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

const NEITHER: &str = "it is neither `mongodb:db.coll` nor `file:PATH`";

impl StoreSpec {
    /// That collection of Oplet's own database.
    #[must_use]
    pub fn own(collection: &str) -> Self {
        Self::Mongodb {
            database: OWN_DATABASE.to_owned(),
            collection: collection.to_owned(),
        }
    }

    /// Reads a store; `collection` is the one of the room's own, which `mongodb` alone means.
    ///
    /// # Errors
    /// [`StoreSpecError`].
    pub fn parse(input: &str, collection: &str) -> Result<Self, StoreSpecError> {
        let refuse = |reason: &str, nearest: Option<String>| StoreSpecError {
            input: input.to_owned(),
            reason: reason.to_owned(),
            nearest,
        };
        let own = || Some(Self::own(collection).to_string());
        let Some((scheme, rest)) = input.split_once(':') else {
            return match split_namespace(input) {
                ("mongodb", "") => Ok(Self::own(collection)),
                _ if input.starts_with(['/', '.', '~']) => Err(refuse(
                    "a file is written `file:PATH`",
                    Some(format!("file:{input}")),
                )),
                ("", _) | (_, "") => Err(refuse(NEITHER, own())),
                _ => Err(refuse(
                    "a collection is written `mongodb:db.coll`",
                    Some(format!("mongodb:{input}")),
                )),
            };
        };
        match scheme {
            "file" if rest.is_empty() || rest.ends_with('/') => Err(refuse(
                "the path of a file is missing",
                Some(format!("file:{rest}{collection}")),
            )),
            "file" => Ok(Self::File(rest.into())),
            "mongodb" if rest.starts_with("//") => Err(refuse(
                "it is kept in the deployment that is tailed, and takes no connection string",
                own(),
            )),
            "mongodb" => match split_namespace(rest) {
                ("", _) => Err(refuse("it names no collection", own())),
                (database, "") => Err(refuse(
                    "it names no collection",
                    Some(format!("mongodb:{database}.{collection}")),
                )),
                (database, collection) => check_names(database, collection)
                    .map(|()| Self::Mongodb {
                        database: database.to_owned(),
                        collection: collection.to_owned(),
                    })
                    .map_err(|reason| refuse(reason, own())),
            },
            _ => {
                let near = ["mongodb", "file"]
                    .into_iter()
                    .find(|known| strsim::damerau_levenshtein(known, &scheme.to_lowercase()) <= 2);
                let near = near.map(|known| format!("{known}:{rest}"));
                let near = near.filter(|near| Self::parse(near, collection).is_ok());
                Err(refuse(NEITHER, near.or_else(own)))
            }
        }
    }
}

fn check_names(database: &str, collection: &str) -> Result<(), &'static str> {
    if INTERNAL_DATABASES.contains(&database) {
        return Err("that database is the server's own");
    }
    let is_bad = database.contains(['/', '\\', ' ', '"', '$', '\0'])
        || collection.contains(['$', '\0'])
        || collection.starts_with("system.");
    match is_bad {
        true => Err("the server allows no such name"),
        false => Ok(()),
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

    fn parse(input: &str) -> Result<StoreSpec, StoreSpecError> {
        StoreSpec::parse(input, "checkpoints")
    }

    #[test]
    fn reads_what_it_writes() {
        for input in [
            "mongodb:oplet.checkpoints",
            "mongodb:a.b.c",
            "file:/var/lib/x",
            "file:x",
        ] {
            assert_eq!(parse(input).unwrap().to_string(), input);
        }
        assert_eq!(parse("mongodb"), Ok(StoreSpec::own("checkpoints")));
    }

    #[test]
    fn refuses_with_the_nearest_form() {
        for (input, nearest) in [
            ("mongodb:oplet", Some("mongodb:oplet.checkpoints")),
            ("mongodb:", Some("mongodb:oplet.checkpoints")),
            ("mongodb://h:1/oplet.x", Some("mongodb:oplet.checkpoints")),
            ("mongodb:local.x", Some("mongodb:oplet.checkpoints")),
            ("mongodb:a.$b", Some("mongodb:oplet.checkpoints")),
            ("mongodb:.x", Some("mongodb:oplet.checkpoints")),
            ("mongo:a.b", Some("mongodb:a.b")),
            ("mongo://h/a.b", Some("mongodb:oplet.checkpoints")),
            ("mongdb:a.b", Some("mongodb:a.b")),
            ("File:x", Some("file:x")),
            ("a.b", Some("mongodb:a.b")),
            ("/var/x", Some("file:/var/x")),
            ("file:", Some("file:checkpoints")),
            ("file:dir/", Some("file:dir/checkpoints")),
            ("", Some("mongodb:oplet.checkpoints")),
        ] {
            let error = parse(input).unwrap_err();
            assert_eq!(error.nearest.as_deref(), nearest, "{input}: {error}");
            let nearest = nearest.unwrap_or_default();
            assert!(parse(nearest).is_ok(), "{nearest}");
        }
    }
}
