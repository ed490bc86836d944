//! Watches one field: of all updates, only those that set or remove `field1` leave the server.
#![forbid(unsafe_code)]

use oplet_sdk::{
    Handler, Namespace, Op, Outcome, Source,
    bson::{Document, RawBsonRef, doc},
    emit,
};
use serde::Serialize;

/// Tells what became of `field1`. It needs no state.
#[derive(Debug, Default)]
pub struct FieldWatch;

#[derive(Serialize)]
struct Seen<'a> {
    _id: &'a str,
    namespace: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<RawBsonRef<'a>>,
    /// Left out when the document has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    field1: Option<RawBsonRef<'a>>,
}

impl Handler for FieldWatch {
    fn pipeline(&self, _: &Namespace, source: Source) -> Option<Vec<Document>> {
        let stage = match source {
            Source::DirectRead => doc! { "field1": { "$exists": true } },
            // Inserts, replacements and deletes have no description of an update: they pass.
            _ => doc! { "$or": [
                { "updateDescription": { "$exists": false } },
                { "updateDescription.updatedFields.field1": { "$exists": true } },
                { "updateDescription.removedFields": "field1" },
            ] },
        };
        Some(vec![doc! { "$match": stage }])
    }

    fn handle(&mut self, op: &Op) -> Outcome {
        let (document, field1) = (op.id(), op.get("data.field1"));
        emit(&Seen {
            _id: op.op_id(),
            namespace: op.namespace().as_str(),
            document,
            field1,
        })?;
        Ok(())
    }
}

oplet_sdk::export!(FieldWatch);
