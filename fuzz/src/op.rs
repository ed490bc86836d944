//! The op document, through everything that a handler can ask of it.

use bson::{Bson, Document, RawDocument};
use oplet_sdk::{Op, raw, raw::DEPTH_MAX};

/// Paths that a handler might ask for, also into arrays and past what there is.
const PATHS: [&str; 14] = [
    "_id", "data", "data._id", "data.a", "data.a.b", "data.a.0", "data.a.0.b", "data.0", "data..", ".", "",
    "updateDescription.updatedFields", "before.a", "documentKey._id",
];

/// `Op::from_bytes` and all its accessors.
///
/// # Panics
/// When they disagree with the `bson` crate on a valid document.
pub fn accessors(bytes: &[u8]) {
    let Ok(op) = Op::from_bytes(bytes) else {
        return;
    };
    ask_everything(&op);
    // In any order: what was found on the way to one field is kept for the next.
    let backwards = Op::from_bytes(bytes).expect("it was one before");
    for path in PATHS.iter().rev() {
        let before = backwards.get(path).and_then(|value| Bson::try_from(value).ok());
        let after = op.get(path).and_then(|value| Bson::try_from(value).ok());
        assert!(same(&before, &after), "{path}: {before:?}, {after:?}");
    }
    let Ok(len) = raw::document_len(bytes) else {
        return;
    };
    if raw::validate(&bytes[..len]).is_ok() {
        agrees(&op, &bytes[..len]);
    }
}

fn ask_everything(op: &Op<'_>) {
    let _ = (op.operation(), op.is_insert(), op.is_update(), op.is_delete(), op.is_command());
    let _ = (op.is_replace(), op.is_pending(), op.timestamp(), op.source(), op.wall_time(), op.cluster());
    let namespace = op.namespace();
    let _ = (namespace.database().len(), namespace.collection().map(str::len), op.op_id().len());
    if let Some(txn) = op.txn() {
        let _ = (txn.lsid().map(RawDocument::as_bytes), txn.number(), txn.index());
    }
    let _ = (op.id(), op.document_key(), op.data(), op.before(), op.as_raw().as_bytes().len());
    let _ = (op.data_as::<Document>().is_ok(), op.before_as::<Document>().is_ok());
    for path in PATHS {
        let _ = (op.get_str(path), op.get_i64(path), op.get_f64(path), op.get_bool(path));
        let _ = (op.get_date(path), op.get_object_id(path), op.get_document(path));
    }
    if let Some(update) = op.update_description() {
        let _ = (update.updated_fields().as_bytes(), update.disambiguated_paths().as_bytes());
        let _ = (update.removed_fields().count(), update.truncated_arrays().count());
        for path in ["a", "a.b", "", "a.0"] {
            let _ = (update.updated(path), update.touches(path));
        }
    }
}

/// That typed reads give what the other library decodes, for fields that stand where the ABI has them.
fn agrees(op: &Op<'_>, bytes: &[u8]) {
    let Some(document) = RawDocument::from_bytes(bytes).ok().and_then(|raw| Document::try_from(raw).ok()) else {
        panic!("the `bson` crate reads what is valid up to {DEPTH_MAX} levels");
    };
    let data = RawDocument::from_bytes(bytes).ok().and_then(|raw| raw.get_document("data").ok());
    // A field is looked for where the ABI has it, so that one out of place may be missed, but never
    // mistaken; and of several the first counts, as there.
    if let (Some(ours), Some(theirs)) = (op.data(), data) {
        assert_eq!(ours.as_bytes(), theirs.as_bytes());
        let decoded: Option<Document> = op.data_as().expect("valid");
        let theirs = Document::try_from(theirs).expect("valid");
        assert!(same(&decoded.map(Bson::Document), &Some(Bson::Document(theirs.clone()))));
        if let Some(text) = op.get_str("data.a") {
            assert!(theirs.values().any(|value| value.as_str() == Some(text)));
        }
        if let Some(number) = op.get_i64("data.a") {
            assert!(theirs.values().any(|value| is_integer(value, number)));
        }
    }
    let operation = document.get_str("operation").expect("it begins with one");
    assert_eq!(operation.len(), 1);
}

fn is_integer(value: &Bson, number: i64) -> bool {
    match value {
        Bson::Int32(other) => i64::from(*other) == number,
        Bson::Int64(other) => *other == number,
        Bson::Double(other) => *other == number as f64,
        _ => false,
    }
}

/// Equal, where a NaN is equal to itself.
fn same(a: &Option<Bson>, b: &Option<Bson>) -> bool {
    a == b || format!("{a:?}") == format!("{b:?}")
}
