//! The envelope of an op document: whether it is whole, and what it lacks.
//!
//! `{"operation": "i", "namespace": "shop.orders", "data": {"_id": 7}}` is all that a person has to
//! write: the n-th op of a recording gets the cluster time `1:n`, its id from that, `_id` from its
//! document, and comes from a change stream.

use oplet_sdk::{
    abi::{field, operation, source},
    raw::{self, Element, Malformed, Walk, Writer, kind},
};

use crate::op::{Cluster, OpId, OpIndex, Timestamp};

/// What is wrong with an op document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpFault {
    /// The bytes are no document.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A field that nothing else tells is missing.
    #[error("the field `{0}` is missing")]
    Missing(&'static str),
    /// A field is not of its type, or not one of its words.
    #[error("the field `{field}` is not {expected}")]
    Wrong {
        /// The field.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// A field that no op has.
    #[error("no op has a field `{0}`; the fields are {known}", known = field::ORDER.join(", "))]
    Unknown(String),
    /// A field stands there twice.
    #[error("the field `{0}` stands there twice")]
    Twice(&'static str),
    /// An op among oplog entries.
    #[error("an op, where the first document is an oplog entry")]
    OpAmongEntries,
    /// An oplog entry among ops.
    #[error("an oplog entry, where the first document is an op")]
    EntryAmongOps,
}

/// What a document turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// An op document as a source writes it; `pending` or not.
    Op { is_pending: bool },
    /// An op document that lacks something, or has its fields in another order.
    Loose,
    /// An oplog entry.
    Entry,
}

/// The fields of an op document, as far as there are any.
type Fields<'a> = [Option<Element<'a>>; field::ORDER.len()];

/// Looks at a document, by one walk over its fields.
pub(super) fn look(document: &[u8]) -> Result<Seen, OpFault> {
    raw::validate(document)?;
    let mut next = 0;
    let mut seen = 0_u32;
    for element in Walk::new(document)? {
        let element = element?;
        // Fields stand in order: the one that is met is among the next.
        let rest = &field::ORDER[next..];
        let Some(ahead) = rest.iter().position(|name| name.as_bytes() == element.key) else {
            return Ok(match is_entry(document)? {
                true => Seen::Entry,
                false => Seen::Loose,
            });
        };
        check(field::ORDER[next + ahead], &element)?;
        seen |= 1 << (next + ahead);
        next += ahead + 1;
    }
    // Operation, namespace, id, timestamp and source.
    Ok(match seen & 0b1_1111 == 0b1_1111 {
        true => Seen::Op {
            is_pending: seen & 0b10_0000 != 0,
        },
        false => Seen::Loose,
    })
}

fn is_entry(document: &[u8]) -> Result<bool, Malformed> {
    let timestamp = Walk::find(document, "ts")?.and_then(|element| element.timestamp());
    let operation = Walk::find(document, "op")?.and_then(|element| element.text());
    Ok(timestamp.is_some() && operation.is_some())
}

fn check(field: &'static str, element: &Element<'_>) -> Result<(), OpFault> {
    let wrong = |expected| OpFault::Wrong { field, expected };
    let (is_right, expected) = match field {
        field::OPERATION => {
            let words = [
                operation::INSERT,
                operation::UPDATE,
                operation::DELETE,
                operation::COMMAND,
            ];
            let word = element.text();
            let is_known = word.is_some_and(|word| words.contains(&word));
            (is_known, "one of `i`, `u`, `d` and `c`")
        }
        field::NAMESPACE | field::OP_ID | field::SOURCE | field::CLUSTER => {
            (element.kind == kind::STRING, "text")
        }
        field::TIMESTAMP => (element.kind == kind::TIMESTAMP, "a timestamp"),
        field::PENDING | field::REPLACE => (element.kind == kind::BOOL, "true or false"),
        field::WALL_TIME => (element.kind == kind::DATE, "a date"),
        field::ID => (true, ""),
        _ => (element.kind == kind::DOCUMENT, "a document"),
    };
    is_right.then_some(()).ok_or_else(|| wrong(expected))
}

/// Appends the op document that is meant, the n-th of its recording, and tells whether it is pending.
pub(super) fn complete(document: &[u8], number: u64, out: &mut Vec<u8>) -> Result<bool, OpFault> {
    let fields = fields(document)?;
    let get = |name: &str| {
        let index = field::ORDER.iter().position(|known| *known == name);
        index.and_then(|index| fields[index])
    };
    let require = |name| get(name).ok_or(OpFault::Missing(name));
    let operation = require(field::OPERATION)?.text().unwrap_or_default();
    require(field::NAMESPACE)?;
    let op_id = get(field::OP_ID).and_then(|element| element.text());
    let given = get(field::TIMESTAMP).and_then(|element| element.timestamp());
    let of_id = || {
        let id: OpId = op_id?.parse().ok()?;
        // The id of a document that was read does not say when.
        (!matches!(id.index, OpIndex::Read(_))).then_some(id.timestamp)
    };
    let by_number = || Timestamp::new(1, u32::try_from(number).unwrap_or(u32::MAX));
    let timestamp = given.map(Timestamp::from).or_else(of_id);
    let timestamp = timestamp.unwrap_or_else(by_number);
    let cluster = get(field::CLUSTER).and_then(|element| element.text());
    let id = OpId {
        timestamp,
        index: OpIndex::Known(0),
        shard_key_hash: None,
        cluster: cluster.map(Cluster::mark_of),
    };
    let is_set = |name| get(name).and_then(|element| element.bool()) == Some(true);
    let mut writer = Writer::new(out);
    for (name, element) in field::ORDER.iter().zip(&fields) {
        let key = name.as_bytes();
        match (*name, element) {
            // These are there, and true, or not at all.
            (field::PENDING | field::REPLACE, Some(_)) if !is_set(name) => {}
            (_, Some(element)) => writer.raw(key, element.kind, element.value),
            (field::OP_ID, None) => writer.text(key, id.text().as_str()),
            (field::TIMESTAMP, None) => {
                writer.timestamp(key, timestamp.seconds, timestamp.increment);
            }
            (field::SOURCE, None) => writer.text(key, source::CHANGE_STREAM),
            (field::ID, None) if operation != operation::COMMAND => {
                let parts = [field::DOCUMENT_KEY, field::DATA, field::BEFORE];
                let part = |name| get(name)?.document();
                let mut ids = parts
                    .into_iter()
                    .filter_map(part)
                    .filter_map(|part| Walk::find(part, "_id").ok().flatten());
                if let Some(id) = ids.next() {
                    writer.raw(key, id.kind, id.value);
                }
            }
            (_, None) => {}
        }
    }
    writer.finish();
    Ok(is_set(field::PENDING))
}

fn fields(document: &[u8]) -> Result<Fields<'_>, OpFault> {
    let mut fields: Fields<'_> = [None; field::ORDER.len()];
    for element in Walk::new(document)? {
        let element = element?;
        let Some(index) = field::ORDER
            .iter()
            .position(|name| name.as_bytes() == element.key)
        else {
            let name = String::from_utf8_lossy(element.key).into_owned();
            return Err(OpFault::Unknown(name));
        };
        let name = field::ORDER[index];
        check(name, &element)?;
        if fields[index].replace(element).is_some() {
            return Err(OpFault::Twice(name));
        }
    }
    Ok(fields)
}

/// Appends a pending op as it is when its document is gone: without the mark, and without a document.
pub(super) fn write_without_pending(op: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut writer = Writer::new(out);
    for element in Walk::new(op)? {
        let element = element?;
        if element.key != field::PENDING.as_bytes() {
            writer.raw(element.key, element.kind, element.value);
        }
    }
    writer.finish();
    Ok(())
}

#[cfg(test)]
mod tests {
    use bson::{Document, RawDocumentBuf, doc};

    use super::*;

    fn raw(document: &Document) -> Vec<u8> {
        RawDocumentBuf::try_from(document).unwrap().into_bytes()
    }

    fn whole() -> Document {
        doc! {
            "operation": "u", "namespace": "shop.orders", "opId": "9:2:3",
            "timestamp": bson::Timestamp { time: 9, increment: 2 }, "source": "oplog",
            "pending": true, "_id": 7, "updateDescription": {},
        }
    }

    fn completed(document: &Document) -> Result<Document, OpFault> {
        let mut out = Vec::new();
        complete(&raw(document), 4, &mut out)?;
        raw::validate(&out).unwrap();
        Ok(RawDocumentBuf::from_bytes(out).unwrap().try_into().unwrap())
    }

    #[test]
    fn a_whole_op_is_taken_as_it_is() {
        let seen = |document: &Document| look(&raw(document)).unwrap();
        assert_eq!(seen(&whole()), Seen::Op { is_pending: true });
        let mut known = whole();
        known.remove("pending");
        assert_eq!(seen(&known), Seen::Op { is_pending: false });
        // Neither what lacks a field nor what has them in another order.
        known.remove("source");
        assert_eq!(seen(&known), Seen::Loose);
        known.insert("source", "oplog");
        assert_eq!(seen(&known), Seen::Loose);
        assert_eq!(seen(&doc! {}), Seen::Loose);
        let mut moved = whole();
        moved.remove("pending");
        assert_eq!(completed(&known).unwrap(), moved);
    }

    #[test]
    fn what_is_left_out_is_filled_in() {
        let least = doc! {"namespace": "shop.orders", "operation": "i", "data": {"n": 1, "_id": 7}};
        let expected = doc! {
            "operation": "i", "namespace": "shop.orders", "opId": "1:4:0",
            "timestamp": bson::Timestamp { time: 1, increment: 4 }, "source": "changeStream",
            "_id": 7, "data": {"n": 1, "_id": 7},
        };
        assert_eq!(completed(&least).unwrap(), expected);
        let mut named = least.clone();
        named.insert("opId", "9:2:3");
        named.insert("pending", false);
        let named = completed(&named).unwrap();
        assert_eq!(named.get_timestamp("timestamp").unwrap().time, 9);
        assert!(!named.contains_key("pending"));
        let command = doc! {"operation": "c", "namespace": "shop", "data": {"_id": 7}};
        assert!(!completed(&command).unwrap().contains_key("_id"));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let op = |fields: Document| {
            let mut op = doc! {"operation": "i", "namespace": "shop.orders"};
            op.extend(fields);
            completed(&op).map(|_| ())
        };
        assert_eq!(op(doc! {}), Ok(()));
        assert_eq!(
            op(doc! {"document": {}}),
            Err(OpFault::Unknown("document".into()))
        );
        let wrong = |fields, field| {
            assert!(matches!(op(fields), Err(OpFault::Wrong { field: f, .. }) if f == field));
        };
        wrong(doc! {"operation": "insert"}, field::OPERATION);
        wrong(doc! {"timestamp": 5}, field::TIMESTAMP);
        wrong(doc! {"data": [1]}, field::DATA);
        wrong(doc! {"pending": 1}, field::PENDING);
        wrong(doc! {"wallTime": "noon"}, field::WALL_TIME);
        let none = doc! {"operation": "i"};
        assert_eq!(completed(&none), Err(OpFault::Missing(field::NAMESPACE)));
    }

    #[test]
    fn oplog_entries_are_told_from_ops() {
        let timestamp = bson::Timestamp {
            time: 9,
            increment: 2,
        };
        let entry = doc! {"op": "i", "ns": "shop.orders", "o": {"_id": 7}, "ts": timestamp};
        assert_eq!(look(&raw(&entry)), Ok(Seen::Entry));
        assert_eq!(look(&raw(&doc! {"op": "i"})), Ok(Seen::Loose));
        assert!(look(&raw(&entry)[..20]).is_err());
    }

    #[test]
    fn a_gone_document_is_not_pending_any_more() {
        let mut out = Vec::new();
        write_without_pending(&raw(&whole()), &mut out).unwrap();
        let mut expected = whole();
        expected.remove("pending");
        assert_eq!(out, raw(&expected));
    }
}
