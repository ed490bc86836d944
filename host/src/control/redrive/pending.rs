//! Updates whose document was not looked up before they failed.

use bson::{Document, RawDocument, RawDocumentBuf, doc};
use mongodb::Client;
use mongodb::options::{CollectionOptions, ReadConcern};
use oplet_sdk::{
    abi::field,
    raw::{Walk, Writer},
};

use super::RedriveError;
use crate::{mongo::answer_in_time, op::split_namespace};

/// Whether an op document is marked so.
pub(super) fn is_pending(op: &[u8]) -> bool {
    let mark = Walk::find(op, field::PENDING).ok().flatten();
    mark.and_then(|mark| mark.bool()).unwrap_or(false)
}

/// The op with its document as it is now, or without any when it is gone.
pub(super) async fn with_document(
    client: &Client,
    namespace: &str,
    op: &[u8],
) -> Result<Vec<u8>, RedriveError> {
    let error = |source| RedriveError::Lookup {
        namespace: namespace.to_owned(),
        source,
    };
    let id = Walk::find(op, field::ID).ok().flatten();
    let Some(id) = id else {
        return Ok(looked_up(op, None));
    };
    let mut filter = Vec::new();
    let mut writer = Writer::new(&mut filter);
    writer.raw(b"_id", id.kind, id.value);
    writer.finish();
    let filter = RawDocument::from_bytes(&filter).and_then(Document::try_from);
    let filter = filter.map_err(|source| error(mongodb::error::Error::from(source)))?;
    let filter = doc! { "_id": { "$eq": filter.get("_id").cloned() } };
    let (database, collection) = split_namespace(namespace);
    let options = CollectionOptions::builder()
        .read_concern(ReadConcern::majority())
        .build();
    let collection = client
        .database(database)
        .collection_with_options::<RawDocumentBuf>(collection, options);
    let found = answer_in_time(collection.find_one(filter))
        .await
        .map_err(error)?;
    Ok(looked_up(
        op,
        found.as_ref().map(|document| document.as_bytes()),
    ))
}

/// The op document without its mark, and with `data` where the order of fields has it.
fn looked_up(op: &[u8], mut document: Option<&[u8]>) -> Vec<u8> {
    let mut out = Vec::with_capacity(op.len() + document.map_or(0, <[u8]>::len) + 8);
    let mut writer = Writer::new(&mut out);
    for element in Walk::new(op).into_iter().flatten().flatten() {
        if element.key == field::PENDING.as_bytes() {
            continue;
        }
        if element.key == field::BEFORE.as_bytes()
            && let Some(document) = document.take()
        {
            writer.document(field::DATA.as_bytes(), document);
        }
        writer.raw(element.key, element.kind, element.value);
    }
    if let Some(document) = document {
        writer.document(field::DATA.as_bytes(), document);
    }
    writer.finish();
    out
}

#[cfg(test)]
mod tests {
    use bson::rawdoc;

    use super::*;

    #[test]
    fn a_document_takes_its_place_in_the_op() {
        let op = rawdoc! { "operation": "u", "pending": true, "_id": 1, "before": { "a": 1 } };
        assert!(is_pending(op.as_bytes()));
        let data = rawdoc! { "a": 2 };
        let expected =
            rawdoc! { "operation": "u", "_id": 1, "data": { "a": 2 }, "before": { "a": 1 } };
        assert_eq!(
            looked_up(op.as_bytes(), Some(data.as_bytes())),
            expected.as_bytes()
        );
        let gone = rawdoc! { "operation": "u", "_id": 1, "before": { "a": 1 } };
        assert_eq!(looked_up(op.as_bytes(), None), gone.as_bytes());
        assert!(!is_pending(gone.as_bytes()));
    }
}
