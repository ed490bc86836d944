//! What is behind a namespace.

use std::fmt;

use bson::{Bson, Document, RawDocumentBuf, Uuid, doc, spec::BinarySubtype};

use super::error::{Error, ask};
use crate::{
    mongo::{Server, answer_in_time, describe},
    op::Namespace,
};

/// The first version whose snapshots can be read outside of a transaction.
const SNAPSHOTS_SINCE: (u32, u32) = (5, 0);

/// The first version that refuses to read a collection of another UUID than the one that is meant.
const COLLECTION_UUID_SINCE: (u32, u32) = (6, 0);

/// What a namespace stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing: a collection that does not exist holds no documents.
    Absent,
    /// An ordinary collection.
    Collection,
    /// A collection that drops its oldest documents.
    Capped,
    /// What other collections look like through a pipeline.
    View,
    /// A view of buckets of measurements.
    TimeSeries,
}

/// Why a read cannot say which changes it contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inexact {
    /// The server cannot read a snapshot of that kind.
    Kind(Kind),
    /// The server is older than snapshots.
    Server,
}

impl fmt::Display for Inexact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kind(Kind::View) => "it is a view",
            Self::Kind(Kind::TimeSeries) => "it is a time series",
            Self::Kind(Kind::Capped) => "it is a capped collection",
            Self::Kind(Kind::Collection | Kind::Absent) => "it has no snapshots",
            Self::Server => "the server is older than 5.0",
        })
    }
}

/// What is to be read, as it was found.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its name.
    pub namespace: Namespace,
    /// What it is.
    pub kind: Kind,
    /// The collection's own identity; views have none.
    pub uuid: Option<Uuid>,
    /// The collation by which its text is compared, if it is not by bytes.
    pub collation: Option<RawDocumentBuf>,
    /// Its documents are kept in the index of their `_id`s.
    pub is_clustered: bool,
    /// How many documents there are, about, where the server tells.
    pub documents: Option<u64>,
    /// How long a document is on average, where the server tells.
    pub average_bytes: Option<u64>,
    /// Why its reads are not exact.
    inexact: Option<Inexact>,
    /// The server checks the UUID by itself.
    pub(super) checks_uuid: bool,
}

impl Target {
    /// Why a read cannot say which changes it contains; `None` where it can.
    #[must_use]
    pub fn inexact(&self) -> Option<Inexact> {
        self.inexact
    }

    /// Whether its keys can be cut into ranges.
    #[must_use]
    pub fn has_ranges(&self) -> bool {
        self.kind == Kind::Collection
    }

    /// Whether [`compare_keys`](crate::op::compare_keys) tells the order of its keys. With a collation
    /// of its own, only the server can compare keys that hold text.
    #[must_use]
    pub fn orders_by_bytes(&self) -> bool {
        self.collation.is_none()
    }

    pub(super) fn database(&self) -> &str {
        self.namespace.database().unwrap_or_default()
    }

    pub(super) fn collection(&self) -> &str {
        match &self.namespace {
            Namespace::Collection { collection, .. } => collection,
            _ => "",
        }
    }
}

/// Finds out what a namespace stands for. Passing faults are waited out.
///
/// # Errors
/// [`Error::NoCollection`] and [`Error::System`] for what cannot be read; [`Error`] when the server
/// refuses to tell.
pub async fn examine(server: &Server, namespace: &Namespace) -> Result<Target, Error> {
    let refused = namespace.clone();
    let Namespace::Collection { collection, .. } = namespace else {
        return Err(Error::NoCollection { namespace: refused });
    };
    if collection.starts_with("system.") {
        return Err(Error::System { namespace: refused });
    }
    let described = describe_collection(server, namespace).await?;
    let mut target = target(server, namespace, described.as_ref());
    if target.kind == Kind::Absent {
        (target.documents, target.average_bytes) = (Some(0), Some(0));
    } else if target.kind != Kind::View {
        (target.documents, target.average_bytes) = count(server, namespace).await?;
    }
    Ok(target)
}

/// Whether the name still stands for the collection that was found.
pub(super) async fn is_there(server: &Server, target: &Target) -> Result<bool, Error> {
    let described = describe_collection(server, &target.namespace).await?;
    Ok(described.as_ref().and_then(uuid) == target.uuid)
}

/// What `listCollections` says.
async fn describe_collection(
    server: &Server,
    namespace: &Namespace,
) -> Result<Option<Document>, Error> {
    let (database, collection) = names(namespace);
    let database = server.client.database(database);
    let what = format!("find out what {namespace} is");
    let reply = ask(&what, || async {
        let list = doc! { "listCollections": 1, "filter": { "name": collection } };
        answer_in_time(database.run_command(list)).await
    });
    let reply = reply.await?;
    let cursor = reply.get_document("cursor").ok();
    let found = cursor.and_then(|cursor| cursor.get_array("firstBatch").ok());
    let first = found
        .and_then(|found| found.first())
        .and_then(Bson::as_document);
    Ok(first.cloned())
}

fn names(namespace: &Namespace) -> (&str, &str) {
    match namespace {
        Namespace::Collection {
            database,
            collection,
        } => (database, collection),
        _ => ("", ""),
    }
}

fn target(server: &Server, namespace: &Namespace, described: Option<&Document>) -> Target {
    let options = described.and_then(|described| described.get_document("options").ok());
    let get = |name: &str| options.and_then(|options| options.get(name));
    let of_type = described.and_then(|described| described.get_str("type").ok());
    let kind = match of_type {
        _ if described.is_none() => Kind::Absent,
        Some("view") => Kind::View,
        Some("timeseries") => Kind::TimeSeries,
        _ if get("viewOn").is_some() => Kind::View,
        _ if get("capped").and_then(Bson::as_bool) == Some(true) => Kind::Capped,
        _ => Kind::Collection,
    };
    let inexact = match kind {
        Kind::View | Kind::TimeSeries | Kind::Capped => Some(Inexact::Kind(kind)),
        _ if server.major_minor < SNAPSHOTS_SINCE => Some(Inexact::Server),
        Kind::Collection | Kind::Absent => None,
    };
    let collation = get("collation").and_then(Bson::as_document);
    let is_simple = |collation: &&Document| {
        collation
            .get_str("locale")
            .is_ok_and(|locale| locale == "simple")
    };
    Target {
        namespace: namespace.clone(),
        kind,
        uuid: described.and_then(uuid),
        collation: collation
            .filter(|collation| !is_simple(collation))
            .and_then(|collation| RawDocumentBuf::try_from(collation).ok()),
        is_clustered: get("clusteredIndex").is_some(),
        documents: None,
        average_bytes: None,
        inexact,
        checks_uuid: server.major_minor >= COLLECTION_UUID_SINCE,
    }
}

fn uuid(described: &Document) -> Option<Uuid> {
    match described.get_document("info").ok()?.get("uuid")? {
        Bson::Binary(binary) if binary.subtype == BinarySubtype::Uuid => {
            Some(Uuid::from_bytes(binary.bytes.as_slice().try_into().ok()?))
        }
        _ => None,
    }
}

/// How many documents there are, and how long they are on average. Who may not have the statistics
/// may have the count; who has neither reads without them.
async fn count(
    server: &Server,
    namespace: &Namespace,
) -> Result<(Option<u64>, Option<u64>), Error> {
    let (database, collection) = names(namespace);
    let database = server.client.database(database);
    let run =
        async |name: &str| answer_in_time(database.run_command(doc! { name: collection })).await;
    let what = format!("count the documents of {namespace}");
    match ask(&what, || run("collStats")).await {
        Ok(stats) => return Ok(sizes(&stats)),
        Err(error) => note(&error),
    }
    match ask(&what, || run("count")).await {
        Ok(reply) => Ok((reply.get("n").and_then(whole), None)),
        Err(error) => {
            note(&error);
            Ok((None, None))
        }
    }
}

fn note(error: &Error) {
    if let Error::Refused { what, source } | Error::Unauthorized { what, source } = error {
        tracing::debug!(what, error = describe(source), "the server does not tell");
    }
}

fn sizes(stats: &Document) -> (Option<u64>, Option<u64>) {
    let get = |name: &str| stats.get(name).and_then(whole);
    let documents = get("count").or_else(|| {
        let series = stats.get_document("timeseries").ok()?;
        series.get("bucketCount").and_then(whole)
    });
    let average = get("avgObjSize").or_else(|| get("size")?.checked_div(documents?));
    (documents, average)
}

/// A count, as any numeric type: a mongos adds up doubles, and three billion are too many for 32 bits.
fn whole(value: &Bson) -> Option<u64> {
    match value {
        Bson::Int32(n) => u64::try_from(*n).ok(),
        Bson::Int64(n) => u64::try_from(*n).ok(),
        Bson::Double(n) if *n >= 0.0 => Some(*n as u64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_any_number() {
        for (count, average, expected) in [
            (Bson::Int32(7), Bson::Int32(250), (Some(7), Some(250))),
            (
                Bson::Int64(3_000_000_000),
                Bson::Double(250.6),
                (Some(3_000_000_000), Some(250)),
            ),
            (
                Bson::Double(3e9),
                Bson::Null,
                (Some(3_000_000_000), Some(4)),
            ),
            (Bson::Int32(0), Bson::Null, (Some(0), None)),
            (Bson::Int32(-5), Bson::Null, (None, None)),
        ] {
            let stats = doc! { "count": count, "size": 12_000_000_000_i64, "avgObjSize": average };
            assert_eq!(sizes(&stats), expected, "{stats}");
        }
    }
}
