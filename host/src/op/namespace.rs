//! What is watched: a collection, a database, or the deployment.

use std::{fmt, str::FromStr};

/// Oplet's own database (checkpoints, gaps, dead letters). It is never delivered.
pub const OWN_DATABASE: &str = "oplet";

/// Databases whose changes MongoDB does not offer to anyone.
const INTERNAL_DATABASES: [&str; 3] = ["admin", "config", "local"];

/// Splits `db.coll` at the first dot; a database alone has an empty collection.
#[must_use]
pub fn split_namespace(namespace: &str) -> (&str, &str) {
    namespace.split_once('.').unwrap_or((namespace, ""))
}

/// One thing to watch.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Namespace {
    /// Every database, written `*`.
    Deployment,
    /// Every collection of a database, written `db` or `db.*`.
    Database(String),
    /// One collection, written `db.coll`.
    Collection {
        /// The database.
        database: String,
        /// The collection; it may contain dots.
        collection: String,
    },
}

/// A namespace that cannot be watched, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{input}` is not a namespace: {reason}")]
pub struct NamespaceError {
    /// What was given.
    pub input: String,
    /// What is wrong with it.
    pub reason: String,
    /// The nearest valid spelling.
    pub nearest: Option<String>,
}

impl Namespace {
    /// The name of a database, or `None` for the whole deployment.
    #[must_use]
    pub fn database(&self) -> Option<&str> {
        match self {
            Self::Deployment => None,
            Self::Database(database) | Self::Collection { database, .. } => Some(database),
        }
    }

    /// Whether everything in `other` is in this one, too.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match self {
            Self::Deployment => true,
            Self::Database(database) => other.database() == Some(database),
            Self::Collection { .. } => self == other,
        }
    }

    /// What a module's `pipeline` is asked with: `db.coll`, `db`, or an empty text for the deployment.
    #[must_use]
    pub fn as_asked(&self) -> String {
        match self {
            Self::Deployment => String::new(),
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deployment => f.write_str("*"),
            Self::Database(database) => f.write_str(database),
            Self::Collection {
                database,
                collection,
            } => write!(f, "{database}.{collection}"),
        }
    }
}

impl FromStr for Namespace {
    type Err = NamespaceError;

    fn from_str(input: &str) -> Result<Self, NamespaceError> {
        let refuse = |reason: &str, nearest: Option<String>| NamespaceError {
            input: input.to_owned(),
            reason: reason.to_owned(),
            nearest,
        };
        if matches!(input, "*" | "*.*") {
            return Ok(Self::Deployment);
        }
        if input.is_empty() {
            return Err(refuse("it is empty", Some("*".into())));
        }
        let (database, collection) = match input.split_once('.') {
            None => (input, None),
            Some((database, "*")) => (database, None),
            Some((database, collection)) => (database, Some(collection)),
        };
        if database.is_empty() {
            return Err(refuse("the database before the dot is missing", None));
        }
        if let Some(bad) = database.chars().find(|c| {
            matches!(
                c,
                '/' | '\\' | ' ' | '"' | '$' | '*' | '<' | '>' | ':' | '|' | '?' | '\0'
            )
        }) {
            let nearest: String = input
                .chars()
                .map(|c| if matches!(c, '/' | ':') { '.' } else { c })
                .collect();
            let nearest =
                (matches!(bad, '/' | ':') && nearest.parse::<Self>().is_ok()).then_some(nearest);
            return Err(refuse(
                &format!("a database's name cannot contain {bad:?}"),
                nearest,
            ));
        }
        if database.len() > 63 {
            return Err(refuse("a database's name has at most 63 bytes", None));
        }
        if INTERNAL_DATABASES.contains(&database) {
            return Err(refuse(
                "MongoDB offers no changes of the databases admin, config and local",
                None,
            ));
        }
        if database == OWN_DATABASE {
            return Err(refuse(
                "the database oplet is Oplet's own and never delivered",
                None,
            ));
        }
        let Some(collection) = collection else {
            return Ok(Self::Database(database.to_owned()));
        };
        if collection.is_empty() {
            return Err(refuse(
                "the collection after the dot is missing",
                Some(database.to_owned()),
            ));
        }
        if collection.contains('*') {
            return Err(refuse(
                "`*` stands for all collections, not for a part of a name",
                Some(format!("{database}.*")),
            ));
        }
        if let Some(bad) = collection.chars().find(|c| matches!(c, '$' | '\0')) {
            return Err(refuse(
                &format!("a collection's name cannot contain {bad:?}"),
                None,
            ));
        }
        if collection.starts_with('.') || collection.ends_with('.') {
            let trimmed = format!("{database}.{}", collection.trim_matches('.'));
            return Err(refuse(
                "a collection's name neither begins nor ends with a dot",
                Some(trimmed),
            ));
        }
        if collection.starts_with("system.") {
            return Err(refuse(
                "MongoDB offers no changes of system collections",
                None,
            ));
        }
        if input.len() > 255 {
            return Err(refuse("a namespace has at most 255 bytes", None));
        }
        Ok(Self::Collection {
            database: database.to_owned(),
            collection: collection.to_owned(),
        })
    }
}

/// Everything that one stream watches: no entry lies within another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    namespaces: Vec<Namespace>,
}

impl Scope {
    /// The union of the given namespaces, in sorted order; of none, the deployment.
    #[must_use]
    pub fn new(namespaces: impl IntoIterator<Item = Namespace>) -> Self {
        let mut kept: Vec<Namespace> = Vec::new();
        for namespace in namespaces {
            if kept.iter().any(|other| other.covers(&namespace)) {
                continue;
            }
            kept.retain(|other| !namespace.covers(other));
            kept.push(namespace);
        }
        if kept.is_empty() {
            kept.push(Namespace::Deployment);
        }
        kept.sort();
        Self { namespaces: kept }
    }

    /// The namespaces, none of which lies within another.
    #[must_use]
    pub fn namespaces(&self) -> &[Namespace] {
        &self.namespaces
    }

    /// Whether a change in `namespace` (`db.coll`, or `db` for a command on a database) is watched.
    ///
    /// System collections, MongoDB's internal databases and Oplet's own never are, as in a change
    /// stream.
    #[must_use]
    pub fn contains(&self, namespace: &str) -> bool {
        let (database, collection) = split_namespace(namespace);
        if INTERNAL_DATABASES.contains(&database)
            || database == OWN_DATABASE
            || collection.starts_with("system.")
            || collection.starts_with('$')
        {
            return false;
        }
        self.namespaces.iter().any(|watched| match watched {
            Namespace::Deployment => true,
            Namespace::Database(name) => name == database,
            Namespace::Collection {
                database: db,
                collection: coll,
            } => db == database && coll == collection,
        })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, namespace) in self.namespaces.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{namespace}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(list: &[&str]) -> Scope {
        Scope::new(list.iter().map(|text| text.parse().unwrap()))
    }

    #[test]
    fn reads_the_three_kinds() {
        for (input, written) in [
            ("*", "*"),
            ("shop", "shop"),
            ("shop.*", "shop"),
            ("shop.a.b", "shop.a.b"),
        ] {
            assert_eq!(input.parse::<Namespace>().unwrap().to_string(), written);
        }
    }

    #[test]
    fn refuses_with_the_nearest_spelling() {
        for (input, nearest) in [
            ("", Some("*")),
            ("shop.", Some("shop")),
            (".orders", None),
            ("shop.ord*", Some("shop.*")),
            ("shop/orders", Some("shop.orders")),
            ("sh op", None),
            ("shop..orders", Some("shop.orders")),
            ("local.oplog.rs", None),
            ("oplet.gaps", None),
            ("shop.system.views", None),
            ("shop.a$b", None),
        ] {
            let error = input.parse::<Namespace>().unwrap_err();
            assert_eq!(error.nearest.as_deref(), nearest, "{input}: {error}");
        }
    }

    #[test]
    fn a_scope_holds_no_entry_twice() {
        assert_eq!(
            scope(&["shop.a", "shop", "shop.b", "crm.x", "crm.x"]).to_string(),
            "shop, crm.x"
        );
        assert_eq!(scope(&["shop.a", "*"]).to_string(), "*");
        assert_eq!(scope(&[]).to_string(), "*");
    }

    #[test]
    fn contains_what_is_watched_and_nothing_internal() {
        let watched = scope(&["shop", "crm.x"]);
        for (namespace, expected) in [
            ("shop.a", true),
            ("shop", true),
            ("shop.system.views", false),
            ("shop.$cmd", false),
            ("crm.x", true),
            ("crm.xy", false),
            ("crm", false),
            ("oplet.checkpoints", false),
        ] {
            assert_eq!(watched.contains(namespace), expected, "{namespace}");
        }
        for internal in [
            "admin.x",
            "config.transactions",
            "local.oplog.rs",
            "oplet.gaps",
            "a.system.js",
        ] {
            assert!(!scope(&["*"]).contains(internal), "{internal}");
        }
    }
}
