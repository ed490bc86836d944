//! Events that are larger than a server can send.
//!
//! An event holds up to three documents: the one before the change, the one after it, and what
//! changed. Together they may be more than 16 MB, and then a server that cannot split the event
//! (before 6.0.9 and 7.0) breaks the stream off with code 10334, again and again at the same place.
//! So the stream is opened once more with stages that leave out as little as makes such an event fit,
//! and say so in a field of their own; all other events come whole. Behind that event the stream goes
//! on without these stages, which cost the server time for each event.
//!
//! What is left out first is the document of an update, which can be looked up; then the document
//! before the change; then the rest.

use bson::{Bson, RawDocumentBuf, doc};
use oplet_sdk::raw::{Malformed, Walk};

/// The field in which the stages name what they have left out.
pub(super) const LEFT_OUT: &[u8] = b"opletLeftOut";

/// The parts that can be left out.
const PARTS: [&str; 3] = [
    "fullDocument",
    "fullDocumentBeforeChange",
    "updateDescription",
];

/// What the parts may have together, in bytes. A server sends up to 16 KiB more than that
/// (`BSONObjMaxInternalSize`), which is for all that is small in an event.
const BYTES_MAX: i64 = 16 << 20;

/// How much of an event is made of its document key: the key itself, and its hexadecimal form in the
/// resume token.
const KEYS_IN_EVENT: i32 = 3;

/// The stages, to stand behind all others.
pub(super) fn stages() -> Vec<RawDocumentBuf> {
    let bytes_of = |part: &str| {
        let path = format!("${part}");
        let is_document = doc! { "$eq": [{ "$type": &path }, "object"] };
        doc! { "$cond": [is_document, { "$bsonSize": &path }, 0] }
    };
    let key = doc! { "$multiply": [KEYS_IN_EVENT, bytes_of("documentKey")] };
    let vars = doc! {
        "after": bytes_of(PARTS[0]),
        "before": bytes_of(PARTS[1]),
        "rest": { "$add": [bytes_of(PARTS[2]), key] },
    };
    let fits = |parts: &[&str]| doc! { "$lte": [{ "$add": parts }, BYTES_MAX] };
    let is_update = doc! { "$eq": ["$operationType", "update"] };
    let branch = |case: bson::Document, then: Bson| doc! { "case": case, "then": then };
    let choice = doc! { "$switch": {
        "branches": [
            branch(fits(&["$$after", "$$before", "$$rest"]), "$$REMOVE".into()),
            branch(doc! { "$and": [is_update, fits(&["$$before", "$$rest"])] }, literal(&PARTS[..1])),
            branch(fits(&["$$after", "$$rest"]), literal(&PARTS[1..2])),
            branch(fits(&["$$rest"]), literal(&PARTS[..2])),
        ],
        "default": literal(&PARTS),
    } };
    let left_out = std::str::from_utf8(LEFT_OUT).expect("it is text");
    let choose = doc! { "$set": { left_out: { "$let": { "vars": vars, "in": choice } } } };
    let names = doc! { "$ifNull": [format!("${left_out}"), []] };
    let mut kept = bson::Document::new();
    for part in PARTS {
        let is_left_out = doc! { "$in": [part, &names] };
        let keep = doc! { "$cond": [is_left_out, "$$REMOVE", format!("${part}")] };
        kept.insert(part, keep);
    }
    [choose, doc! { "$set": kept }]
        .iter()
        .map(|stage| RawDocumentBuf::try_from(stage).expect("its keys hold no zero bytes"))
        .collect()
}

fn literal(parts: &[&str]) -> Bson {
    doc! { "$literal": parts }.into()
}

/// The names of what the stages have left out of an event, for a message.
pub(super) fn left_out(event: &[u8]) -> String {
    let name = std::str::from_utf8(LEFT_OUT).expect("it is text");
    let names = Walk::find(event, name).ok().flatten();
    let names = names.and_then(|names| Walk::new(names.array()?).ok());
    let names = names.into_iter().flatten().flatten();
    names
        .filter_map(|name| name.text())
        .collect::<Vec<_>>()
        .join(", ")
}

/// Whether the stages have left out that part.
pub(super) fn is_left_out(left_out: Option<&[u8]>, part: &str) -> Result<bool, Malformed> {
    let Some(left_out) = left_out else {
        return Ok(false);
    };
    for name in Walk::new(left_out)? {
        if name?.text() == Some(part) {
            return Ok(true);
        }
    }
    Ok(false)
}
