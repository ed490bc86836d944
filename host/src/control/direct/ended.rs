//! Which collections come to their end.

use crate::op::{Op, split_namespace};

/// Collections that a command ends.
#[derive(Debug)]
pub(super) struct Ended<'a> {
    namespaces: Vec<Touched<'a>>,
    /// In which way, for people.
    pub(super) how: &'static str,
}

#[derive(Debug)]
enum Touched<'a> {
    Collection(&'a str),
    Database(&'a str),
}

impl Touched<'_> {
    fn is(&self, namespace: &str) -> bool {
        match self {
            Self::Collection(collection) => *collection == namespace,
            Self::Database(database) => namespace
                .strip_prefix(database)
                .is_some_and(|rest| rest.starts_with('.')),
        }
    }
}

impl<'a> Ended<'a> {
    /// None for a command that ends none.
    pub(super) fn by(op: &Op<'a>) -> Option<Self> {
        let command = bson::RawDocument::from_bytes(op.data()?).ok()?;
        let (name, _) = command.iter().next()?.ok()?;
        let name: &str = name.as_ref();
        match name {
            "drop" => Some(Self {
                namespaces: vec![Touched::Collection(op.namespace())],
                how: "the collection was dropped",
            }),
            "dropDatabase" => {
                let (database, _) = split_namespace(op.namespace());
                Some(Self {
                    namespaces: vec![Touched::Database(database)],
                    how: "the database was dropped",
                })
            }
            "renameCollection" => {
                let mut namespaces = vec![Touched::Collection(op.namespace())];
                namespaces.extend(command.get_str("to").ok().map(Touched::Collection));
                Some(Self {
                    namespaces,
                    how: "the collection was renamed, or another one to its name",
                })
            }
            _ => None,
        }
    }

    pub(super) fn includes(&self, namespace: &str) -> bool {
        self.namespaces.iter().any(|of| of.is(namespace))
    }
}
