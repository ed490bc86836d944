//! Fixtures: entries of every shape, and the ops that come out.
//!
//! Plain writes, `$v: 2` updates, drops, renames and transactions of one or more entries are as a 6.0.5
//! server writes them; `tests/parity` and `tests/gtm` read these from a real one. No server was seen to
//! write the rest: what names another version, is sharded, prepared, retryable with `multiOpType`, migrated
//! or nested is made from the server's source (db/repl/oplog_entry.idl, db/repl/oplog.cpp,
//! db/transaction) and its specification of change streams. `commands` says it of each.

mod commands;
mod faults;
mod transactions;
mod writes;

use bson::{Bson, Document, RawDocumentBuf, doc};

use super::{Decoder, EntryError};
use crate::{
    op::{Batch, BatchBuilder, DocumentState, Position, Scope, SourceKind, Timestamp},
    source::{Commands, Reading, Updates},
};

pub(super) fn raw(document: &Document) -> Vec<u8> {
    RawDocumentBuf::try_from(document).unwrap().into_bytes()
}

fn timestamp(increment: u32) -> Bson {
    Bson::Timestamp(bson::Timestamp { time: 9, increment })
}

/// A whole entry: what every entry has, and these fields.
pub(super) fn entry(fields: Document) -> Document {
    let mut entry = doc! {"op": "n", "ns": "shop.orders", "o": {}};
    entry.extend(fields);
    entry.extend(
        doc! {"ts": timestamp(3), "t": 1_i64, "v": 2, "wall": bson::DateTime::from_millis(5)},
    );
    entry
}

/// The fields of a transaction that has that previous part.
pub(super) fn session(prev: Option<u32>) -> Document {
    let prev = match prev {
        Some(increment) => doc! {"ts": timestamp(increment), "t": 1_i64},
        None => doc! {"ts": bson::Timestamp { time: 0, increment: 0 }, "t": -1_i64},
    };
    doc! {"lsid": {"id": "s"}, "txnNumber": 4_i64, "prevOpTime": prev}
}

pub(super) fn command(o: Document, more: Document) -> Document {
    let mut fields = doc! {"op": "c", "ns": "admin.$cmd", "o": o};
    fields.extend(more);
    entry(fields)
}

pub(super) fn insert(ns: &str, id: i32) -> Document {
    doc! {"op": "i", "ns": ns, "o": {"_id": id}, "o2": {"_id": id}}
}

pub(super) fn scope(list: &str) -> Scope {
    Scope::new(list.split(' ').map(|text| text.parse().unwrap()))
}

/// The ops of a batch as documents, without what is the same in all of them.
fn ops(builder: BatchBuilder) -> Vec<Document> {
    let batch: Batch = builder.finish(
        SourceKind::Oplog,
        Position::Time(Timestamp::default()),
        true,
    );
    let ops = batch.ops().map(|op| {
        let mut bytes = Vec::new();
        op.encode(DocumentState::NotAsked, &mut bytes);
        let mut document: Document = RawDocumentBuf::from_bytes(bytes)
            .unwrap()
            .try_into()
            .unwrap();
        for same in ["source", "wallTime", "timestamp"] {
            assert!(document.remove(same).is_some(), "{same}");
        }
        document
    });
    ops.collect()
}

/// The ids of ops, with those of their documents.
pub(super) fn ids(batch: &Batch) -> Vec<String> {
    let id = |op: crate::op::Op<'_>| {
        let (_, id) = op.document_id().unwrap();
        let id = i32::from_le_bytes(id.try_into().unwrap());
        format!("{} {id}", op.id())
    };
    batch.ops().map(id).collect()
}

/// Decodes one entry that lies in the middle of a reply.
fn decode(watched: &str, entry: &Document) -> (Result<String, EntryError>, Vec<Document>) {
    decode_as(&Reading::default(), watched, entry)
}

fn decode_as(
    reading: &Reading,
    watched: &str,
    entry: &Document,
) -> (Result<String, EntryError>, Vec<Document>) {
    let entry = raw(entry);
    let mut body = b"before".to_vec();
    body.extend_from_slice(&entry);
    body.extend_from_slice(b"after");
    let mut builder = BatchBuilder::new(body.into());
    let body = builder.body();
    let bytes = &body[6..6 + entry.len()];
    let mut decoder = Decoder::with_reading(scope(watched), reading);
    let decoded = decoder.entry(bytes, &mut builder);
    (decoded.map(|decoded| format!("{decoded:?}")), ops(builder))
}

fn description(updated: Document, removed: &[&str]) -> Document {
    doc! {"updatedFields": updated, "removedFields": removed.to_vec(), "truncatedArrays": [], "disambiguatedPaths": {}}
}
