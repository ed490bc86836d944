//! One deployment among several.

use std::{fmt, sync::Arc};

use xxhash_rust::xxh3::xxh3_64;

/// A replica set or a sharded cluster, as ops and checkpoints name it. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    name: Arc<str>,
    id: Option<Arc<str>>,
    mark: u32,
}

impl Cluster {
    /// A cluster of that name, with the id that it was given when it was made, where that is known.
    #[must_use]
    pub fn new(name: &str, id: Option<&str>) -> Self {
        Self {
            name: name.into(),
            id: id.map(Into::into),
            mark: Self::mark_of(name),
        }
    }

    /// What ops carry in the field `cluster`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id that it was given when it was made, where that is known.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// What tells its ops' ids from those of others.
    #[must_use]
    pub fn mark(&self) -> u32 {
        self.mark
    }

    /// The mark of a cluster of that name; the same in every process and version.
    #[must_use]
    pub fn mark_of(name: &str) -> u32 {
        xxh3_64(name.as_bytes()) as u32
    }

    /// Whether both are the same deployment: by their ids, or where one is not known, by their names.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (&self.id, &other.id) {
            (Some(id), Some(other)) => id == other,
            _ => self.name == other.name,
        }
    }

    /// The same, with its id in its name: for one whose name another has, too.
    #[must_use]
    pub fn with_id_in_name(&self) -> Self {
        match &self.id {
            Some(id) => Self::new(&format!("{}.{id}", self.name), Some(id)),
            None => self.clone(),
        }
    }
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_goes_before_the_name() {
        let cluster = Cluster::new;
        for (one, other, expected) in [
            (cluster("rs0", Some("1")), cluster("rs1", Some("1")), true),
            (cluster("rs0", Some("1")), cluster("rs0", Some("2")), false),
            (cluster("rs0", Some("1")), cluster("rs0", None), true),
            (cluster("rs0", None), cluster("rs1", Some("1")), false),
        ] {
            assert_eq!(one.is_same(&other), expected, "{one:?} {other:?}");
            assert_eq!(other.is_same(&one), expected, "{one:?} {other:?}");
        }
    }

    #[test]
    fn two_of_a_name_are_told_apart_by_their_ids() {
        let clusters = ["1", "2"].map(|id| Cluster::new("rs0", Some(id)).with_id_in_name());
        assert_eq!(clusters[0].name(), "rs0.1");
        assert_ne!(clusters[0].mark(), clusters[1].mark());
    }

    #[test]
    fn the_mark_never_changes() {
        // Sinks have kept it as part of their keys.
        assert_eq!(Cluster::new("rs0", None).mark(), Cluster::mark_of("rs0"));
        assert_eq!(Cluster::mark_of("rs0"), 0xdb5c0b94);
    }
}
