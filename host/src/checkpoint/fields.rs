//! Values as fields of stored documents, and back.

use bson::{Bson, Document, RawDocumentBuf, doc};

use super::holder::whole;
use crate::op::{Cluster, OpPoint, OpTime, Position};

/// A position as fields that people can read.
pub(super) fn position_fields(position: &Position) -> Document {
    let mut document = Document::new();
    if let Some(timestamp) = position.timestamp() {
        document.insert("clusterTime", bson::Timestamp::from(timestamp));
    }
    match position {
        Position::Time(_) => {}
        Position::Oplog(op_time) => {
            document.insert("term", op_time.term);
        }
        Position::ChangeStream { token, .. } => {
            // A token came as a valid document; should it not be one, it is kept as bytes and told
            // as garbage when it is read.
            let token = Document::try_from(token.clone())
                .map_or_else(|_| Bson::Binary(binary(token.as_bytes())), Bson::Document);
            document.insert("resumeToken", token);
        }
    }
    document
}

fn binary(bytes: &[u8]) -> bson::Binary {
    bson::Binary {
        subtype: bson::spec::BinarySubtype::Generic,
        bytes: bytes.to_vec(),
    }
}

pub(super) fn wrong(field: &str) -> String {
    format!("`{field}` is missing or of the wrong type")
}

/// What a deployment is known by.
pub(super) fn cluster_fields(cluster: &Cluster) -> Document {
    let mut document = doc! { "cluster": cluster.name() };
    if let Some(id) = cluster.id() {
        document.insert("clusterId", id);
    }
    document
}

pub(super) fn read_cluster(document: &Document) -> Result<Option<Cluster>, String> {
    let text = |field: &str| match document.get(field) {
        None => Ok(None),
        Some(Bson::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(wrong(field)),
    };
    let id = text("clusterId")?;
    Ok(text("cluster")?.map(|name| Cluster::new(name, id)))
}

pub(super) fn read_position(document: &Document) -> Result<Position, String> {
    let time = match document.get("clusterTime") {
        None => None,
        Some(Bson::Timestamp(timestamp)) => Some((*timestamp).into()),
        Some(_) => return Err(wrong("clusterTime")),
    };
    if let Some(token) = document.get("resumeToken") {
        let token = token.as_document().ok_or_else(|| wrong("resumeToken"))?;
        return Ok(Position::ChangeStream {
            token: RawDocumentBuf::try_from(token).map_err(|_| wrong("resumeToken"))?,
            cluster_time: time,
        });
    }
    let timestamp = time.ok_or_else(|| wrong("clusterTime"))?;
    if !document.contains_key("term") {
        return Ok(Position::Time(timestamp));
    }
    let term = whole(document, "term").ok_or_else(|| wrong("term"))?;
    Ok(Position::Oplog(OpTime { timestamp, term }))
}

pub(super) fn read_done(document: &Document) -> Result<Option<OpPoint>, String> {
    let done = match document.get("done") {
        None => return Ok(None),
        Some(done) => done.as_document().ok_or_else(|| wrong("done"))?,
    };
    let timestamp = done.get_timestamp("clusterTime");
    let index = whole(done, "index").and_then(|index| index.try_into().ok());
    Ok(Some(OpPoint {
        timestamp: timestamp.map_err(|_| wrong("done.clusterTime"))?.into(),
        index: index.ok_or_else(|| wrong("done.index"))?,
    }))
}

pub(super) fn text(document: &Document, field: &str) -> Result<String, String> {
    let text = document.get_str(field);
    text.map(str::to_owned).map_err(|_| wrong(field))
}

pub(super) fn documents<'a>(
    document: &'a Document,
    field: &str,
) -> Result<Vec<&'a Document>, String> {
    let array = document.get_array(field).map_err(|_| wrong(field))?;
    let documents = array.iter().map(Bson::as_document);
    documents.collect::<Option<_>>().ok_or_else(|| wrong(field))
}
