//! Writes a copy of every document beside it, for a sink that takes namespace and mode from the
//! fields `_ns` and `_mode`; and a record of what it saw, by document and by op.
#![forbid(unsafe_code)]

use oplet_sdk::{
    Handler, Op, Outcome,
    bson::{Bson, Document, doc},
    emit,
};

#[derive(Default)]
struct Mirror;

impl Handler for Mirror {
    fn filter(&self, op: &Op) -> bool {
        !op.is_command()
    }

    fn handle(&mut self, op: &Op) -> Outcome {
        let namespace = op.namespace().as_str();
        let (database, collection) = namespace.split_once('.').unwrap_or((namespace, ""));
        let Some(id) = op.id() else { return Ok(()) };
        let id: Bson = id.try_into()?;
        let copy = format!("{database}_copy.{collection}");
        // Of what happened, not of the document: one that was looked up may be newer than its op.
        let sequence = match op.is_update() && !op.is_replace() {
            true => op.get("updateDescription.updatedFields.sequence"),
            false => op.get("data.sequence"),
        };
        if op.is_delete() {
            emit(&doc! { "_id": id.clone(), "_ns": &copy, "_mode": "delete" })?;
        } else if let Some(data) = op.data() {
            let mut document = Document::try_from(data)?;
            document.insert("_ns", &copy);
            document.insert("_mode", "replace");
            emit(&document)?;
        }
        if let Some(sequence) = sequence {
            let sequence: Bson = sequence.try_into()?;
            emit(&doc! {
                "_id": format!("{collection}/{id}"),
                "_ns": format!("{database}_audit.history"),
                "_mode": "update",
                "$push": { "sequences": sequence },
            })?;
        }
        emit(&doc! {
            "_id": op.op_id(),
            "_ns": format!("{database}_audit.ops"),
            "_mode": "update",
            "$inc": { "times": 1 },
        })?;
        Ok(())
    }
}

oplet_sdk::export!(Mirror);
