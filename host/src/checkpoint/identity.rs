//! By what a stream is known again.

use bson::RawDocumentBuf;
use sha2::{Digest as _, Sha256};

use crate::op::{Cluster, Scope, SourceKind};

/// A stream that is to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamIdentity {
    /// Digest of what decides what it contains, by [`digest_of`].
    pub digest: String,
    /// Names of the modules that see it.
    pub modules: Vec<String>,
    /// The deployment that it reads; none for whichever.
    pub cluster: Option<Cluster>,
}

/// The digest of all that decides what a stream contains: a resume token is good for a stream of the
/// same digest only. `options` are names and values of whatever else does.
#[must_use]
pub fn digest_of(
    kind: SourceKind,
    scope: &Scope,
    pipeline: &[RawDocumentBuf],
    (database, collection): &(String, String),
    options: &[(&str, &str)],
) -> String {
    let mut hash = Sha256::new();
    // Each part with its length, so that no two lists of parts look alike.
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    part(kind.as_str().as_bytes());
    part(scope.to_string().as_bytes());
    if kind == SourceKind::Oplog {
        part(database.as_bytes());
        part(collection.as_bytes());
    }
    part(&(pipeline.len() as u64).to_le_bytes());
    for stage in pipeline {
        part(stage.as_bytes());
    }
    for (name, value) in options {
        part(name.as_bytes());
        part(value.as_bytes());
    }
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use bson::rawdoc;

    use super::*;
    use crate::op::Namespace;

    #[test]
    fn whatever_decides_about_a_stream_changes_its_digest() {
        let shop = || Scope::new(["shop".parse::<Namespace>().unwrap()]);
        let all = || Scope::new([]);
        let oplog = ("local".to_owned(), "oplog.rs".to_owned());
        let other = ("stand".to_owned(), "in".to_owned());
        let stage = |n: i32| rawdoc! {"$match": {"n": n}};
        let kind = SourceKind::ChangeStream;
        let digests = [
            digest_of(kind, &all(), &[], &oplog, &[]),
            digest_of(SourceKind::Oplog, &all(), &[], &oplog, &[]),
            digest_of(SourceKind::Oplog, &all(), &[], &other, &[]),
            digest_of(kind, &shop(), &[], &oplog, &[]),
            digest_of(kind, &shop(), &[stage(1)], &oplog, &[]),
            digest_of(kind, &shop(), &[stage(2)], &oplog, &[]),
            digest_of(kind, &shop(), &[stage(1), stage(2)], &oplog, &[]),
            digest_of(kind, &shop(), &[stage(2), stage(1)], &oplog, &[]),
            digest_of(kind, &shop(), &[], &oplog, &[("fullDocument", "x")]),
        ];
        let distinct: std::collections::BTreeSet<_> = digests.iter().collect();
        assert_eq!(distinct.len(), digests.len());
        assert_eq!(digests[3], digest_of(kind, &shop(), &[], &oplog, &[]));
        assert_eq!(digests[0], digest_of(kind, &all(), &[], &other, &[]));
    }
}
