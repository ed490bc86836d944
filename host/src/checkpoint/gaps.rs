//! Records of what was lost.

use bson::{Bson, Document, doc};

use super::fields::{cluster_fields, position_fields};
use crate::op::{Cluster, Position, SourceKind, Timestamp};

/// A stretch of changes that was not delivered, since the server no longer had it.
#[derive(Debug, Clone, PartialEq)]
pub struct Gap {
    /// The name whose position was lost.
    pub name: String,
    /// The deployment, where several are read.
    pub cluster: Option<Cluster>,
    /// The lost position: what follows it is missing.
    pub from: Position,
    /// With the first op at or after this cluster time things went on; none when they did not.
    pub to: Option<Timestamp>,
    /// What was watched.
    pub namespaces: Vec<String>,
    /// How the loss showed.
    pub reason: String,
    /// What was done about it: `fail`, `skip`, `resnapshot`.
    pub policy: String,
    /// When it was found, in milliseconds since 1970, by the clock of who found it.
    pub at_ms: i64,
    /// Which reader the position was of.
    pub source: SourceKind,
}

impl Gap {
    /// What makes it the same gap when it is found again: whose it is, and where it begins.
    pub(super) fn id(&self) -> Document {
        let mut id = doc! {
            "name": &self.name,
            "from": position_fields(&self.from),
            "namespaces": &self.namespaces,
        };
        if let Some(cluster) = &self.cluster {
            id.insert("cluster", cluster.name());
        }
        id
    }

    /// As it is stored.
    #[must_use]
    pub fn to_document(&self) -> Document {
        let mut document = doc! {
            "_id": self.id(),
            "name": &self.name,
            "from": position_fields(&self.from),
            "to": self.to.map(bson::Timestamp::from).map_or(Bson::Null, Bson::Timestamp),
            "namespaces": &self.namespaces,
            "reason": &self.reason,
            "policy": &self.policy,
            "at": bson::DateTime::from_millis(self.at_ms),
            "source": self.source.as_str(),
        };
        if let Some(cluster) = &self.cluster {
            document.extend(cluster_fields(cluster));
        }
        document
    }
}
