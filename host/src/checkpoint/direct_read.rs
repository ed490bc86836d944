//! What is read of a collection, as it stands in a checkpoint.
//!
//! ```json
//! {cluster: "eu", clusterId: "65a1...", namespace: "shop.orders", modules: ["orders"], uuid: UUID("..."), begun: ISODate("..."),
//!  seen: Timestamp(1700000001, 7), documents: 61203,
//!  ranges: [{to: ObjectId("..."), at: Timestamp(1700000009, 1)}], complete: ISODate("...")}
//! ```
//! A range without `from` begins with the first key, one without `to` ends with the last. `complete` is
//! there when nothing is left to read; `ended` says why, where the collection is no more there. The first
//! programs that read directly read one deployment, and did not note which.

use bson::{Bson, Document, RawDocumentBuf, Uuid, doc};

use super::{
    fields::{cluster_fields, documents, read_cluster, text, wrong},
    holder::whole,
};
use crate::op::{Cluster, KeyRange, Timestamp};

/// How far a collection was read for some modules.
#[derive(Debug, Clone, PartialEq)]
pub struct DirectRead {
    /// The deployment that it is in; none where that was not noted.
    pub cluster: Option<Cluster>,
    /// The collection or view.
    pub namespace: String,
    /// Names of the modules that its documents went to.
    pub modules: Vec<String>,
    /// The collection's UUID; views have none.
    pub uuid: Option<Uuid>,
    /// When it was begun, in milliseconds since 1970.
    pub begun_ms: i64,
    /// A cluster time at which the collection was there.
    pub seen: Timestamp,
    /// How many documents all ranges have together.
    pub documents: u64,
    /// What is done: ranges of keys, in order, each with the cluster time of its documents.
    pub ranges: Vec<(KeyRange, Timestamp)>,
    /// When all of it was done, in milliseconds since 1970.
    pub complete_ms: Option<i64>,
    /// Why it came to its end before it was complete.
    pub ended: Option<String>,
}

impl DirectRead {
    pub(super) fn to_document(&self) -> Document {
        let ranges = self.ranges.iter().map(|(range, at)| {
            // Keys came in valid documents.
            let range = Document::try_from(range.to_document()).unwrap_or_default();
            let mut document = doc! { "at": bson::Timestamp::from(*at) };
            document.extend(range);
            Bson::Document(document)
        });
        let mut document = self
            .cluster
            .as_ref()
            .map(cluster_fields)
            .unwrap_or_default();
        document.extend(doc! {
            "namespace": &self.namespace,
            "modules": &self.modules,
            "begun": bson::DateTime::from_millis(self.begun_ms),
            "seen": bson::Timestamp::from(self.seen),
            "documents": self.documents as i64,
            "ranges": ranges.collect::<Vec<_>>(),
        });
        if let Some(uuid) = self.uuid {
            document.insert("uuid", uuid);
        }
        if let Some(complete) = self.complete_ms {
            document.insert("complete", bson::DateTime::from_millis(complete));
        }
        if let Some(ended) = &self.ended {
            document.insert("ended", ended);
        }
        document
    }

    pub(super) fn from_document(document: &Document) -> Result<Self, String> {
        let names = document
            .get_array("modules")
            .map_err(|_| wrong("modules"))?;
        let names = names.iter().map(|name| name.as_str().map(str::to_owned));
        let time = |field| match document.get(field) {
            None => Ok(None),
            Some(Bson::DateTime(time)) => Ok(Some(time.timestamp_millis())),
            Some(_) => Err(wrong(field)),
        };
        let uuid = match document.get("uuid") {
            None => None,
            Some(Bson::Binary(uuid)) => Some(uuid.to_uuid().map_err(|_| wrong("uuid"))?),
            Some(_) => return Err(wrong("uuid")),
        };
        let seen = document.get_timestamp("seen").map_err(|_| wrong("seen"))?;
        let documents_read = whole(document, "documents").and_then(|count| count.try_into().ok());
        Ok(Self {
            cluster: read_cluster(document)?,
            namespace: text(document, "namespace")?,
            modules: names
                .collect::<Option<_>>()
                .ok_or_else(|| wrong("modules"))?,
            uuid,
            begun_ms: time("begun")?.ok_or_else(|| wrong("begun"))?,
            seen: seen.into(),
            documents: documents_read.ok_or_else(|| wrong("documents"))?,
            ranges: documents(document, "ranges")?
                .into_iter()
                .map(read_range)
                .collect::<Result<_, _>>()?,
            complete_ms: time("complete")?,
            ended: match document.contains_key("ended") {
                true => Some(text(document, "ended")?),
                false => None,
            },
        })
    }
}

fn read_range(document: &Document) -> Result<(KeyRange, Timestamp), String> {
    let at = document.get_timestamp("at").map_err(|_| wrong("at"))?;
    let raw = RawDocumentBuf::try_from(document).map_err(|_| wrong("ranges"))?;
    Ok((KeyRange::from_document(&raw), at.into()))
}

#[cfg(test)]
pub(super) mod tests {
    use bson::{Decimal128, oid::ObjectId};

    use super::*;
    use crate::op::Key;

    /// A read that is half done.
    pub(in crate::checkpoint) fn half_done() -> DirectRead {
        let key = |id: Bson| {
            let document = RawDocumentBuf::try_from(&doc! { "_id": id }).unwrap();
            Key::of_document(document.as_bytes())
        };
        let decimal: Decimal128 = "1.50".parse().unwrap();
        DirectRead {
            cluster: Some(Cluster::new("eu", Some("65a1"))),
            namespace: "shop.orders".into(),
            modules: vec!["a".into()],
            uuid: Some(Uuid::from_bytes([7; 16])),
            begun_ms: 1_700_000_000_123,
            seen: Timestamp::new(1_700_000_001, 7),
            documents: 61_203,
            ranges: vec![
                (
                    KeyRange {
                        from: None,
                        to: key(Bson::Decimal128(decimal)),
                    },
                    Timestamp::new(1_700_000_009, 1),
                ),
                (
                    KeyRange {
                        from: key(Bson::ObjectId(ObjectId::from_bytes([1; 12]))),
                        to: None,
                    },
                    Timestamp::new(1_700_000_008, 1),
                ),
            ],
            complete_ms: None,
            ended: None,
        }
    }

    #[test]
    fn reads_what_it_writes() {
        let half_done = half_done();
        let view = DirectRead {
            cluster: None,
            uuid: None,
            ranges: vec![],
            complete_ms: Some(1_700_000_000_456),
            ended: Some("the collection was dropped".into()),
            ..half_done.clone()
        };
        for read in [half_done, view] {
            let document = read.to_document();
            assert_eq!(DirectRead::from_document(&document).unwrap(), read);
        }
    }

    #[test]
    fn what_is_missing_or_wrong_is_told() {
        let whole = half_done().to_document();
        for field in whole.keys() {
            let mut other = whole.clone();
            other.insert(field, true);
            let error = DirectRead::from_document(&other).unwrap_err();
            assert!(error.contains(field.as_str()), "{field}: {error}");
            let mut less = whole.clone();
            less.remove(field);
            let is_optional = ["uuid", "cluster", "clusterId"].contains(&field.as_str());
            assert_eq!(
                DirectRead::from_document(&less).is_ok(),
                is_optional,
                "{field}"
            );
        }
    }
}
