//! Write commands, and what their replies say.

use bson::{Bson, Document, RawDocumentBuf};
use oplet_sdk::raw::{Writer, kind};

use super::{
    stages::Group,
    statement::{Statement, Verb, Within},
};
use crate::{mongo::Fault, op::split_namespace};

/// How many bytes the statements of a command have at most. A command is one document to the server,
/// which takes 16 KiB more than a document of a user may have, for the command around it.
pub(super) const COMMAND_BYTES_MAX: usize = (16 << 20) + (12 << 10);

/// How many statements a command has at most (the server's `maxWriteBatchSize`).
const STATEMENTS_MAX: usize = 100_000;

/// How long a write waits for a majority until it is called failed, and tried again.
const MAJORITY_WAIT_MS: i32 = 10_000;

/// What each element of a command's array costs beside its own bytes: its kind and its number.
const ELEMENT_BYTES: usize = 8;

/// Whether the server ends a command with the first statement that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sequence {
    Ordered,
    Unordered,
}

/// How many of the statements, from the first on, one command takes; 0 when not even one.
pub(super) fn fitting(statements: &[Statement]) -> usize {
    let mut bytes = 0;
    statements
        .iter()
        .take(STATEMENTS_MAX)
        .take_while(|statement| {
            bytes += statement.bytes.len() + ELEMENT_BYTES;
            bytes <= COMMAND_BYTES_MAX
        })
        .count()
}

/// What a server knows a command again by.
///
/// Source: <https://github.com/mongodb/specifications/blob/master/source/retryable-writes/retryable-writes.md>,
/// and `stmtId` of `write_ops.idl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number {
    /// That of the command in its session.
    pub(super) txn_number: i64,
    /// That of its first statement. More than 0 where those before it are done with.
    pub(super) first: usize,
}

impl Number {
    /// That of a whole command.
    pub(super) fn of(txn_number: i64) -> Self {
        Self {
            txn_number,
            first: 0,
        }
    }
}

/// `{insert: COLL, documents: [..], ordered: .., writeConcern: {..}, txnNumber: .., stmtId: ..}`, and
/// its likes.
pub(super) fn assemble(
    group: &Group,
    statements: &[Statement],
    sequence: Sequence,
    within: Within,
    number: Option<Number>,
) -> RawDocumentBuf {
    let (name, array) = match group.verb {
        Verb::Insert => ("insert", "documents"),
        Verb::Update => ("update", "updates"),
        Verb::Delete => ("delete", "deletes"),
    };
    let (_, collection) = split_namespace(&group.namespace);
    let bytes: usize = statements.iter().map(|s| s.bytes.len() + 8).sum();
    let mut command = Vec::with_capacity(bytes + 256);
    let mut writer = Writer::new(&mut command);
    writer.text(name.as_bytes(), collection);
    writer.bool(b"ordered", sequence == Sequence::Ordered);
    if within == Within::Command {
        writer.begin(b"writeConcern", kind::DOCUMENT);
        writer.text(b"w", "majority");
        writer.int32(b"wtimeout", MAJORITY_WAIT_MS);
        writer.end();
    }
    if let Some(Number { txn_number, first }) = number {
        writer.int64(b"txnNumber", txn_number);
        if first > 0 {
            // There are no more of them than `STATEMENTS_MAX`.
            writer.int32(b"stmtId", first as i32);
        }
    }
    writer.begin(array.as_bytes(), kind::ARRAY);
    for (index, statement) in statements.iter().enumerate() {
        writer.document(index.to_string().as_bytes(), &statement.bytes);
    }
    writer.end();
    writer.finish();
    RawDocumentBuf::from_bytes(command).expect("the writer frames what it writes")
}

/// What the options leave to the documents, and so can be their fault.
#[derive(Debug, Clone, Copy)]
pub(super) struct Choice {
    /// The `_id` tells which document is meant.
    pub(super) of_key_by_id: bool,
    /// The document names its collection.
    pub(super) of_namespace_by_document: bool,
}

/// Codes that say that nothing can be written to this collection, whatever it is: documents that did
/// not choose it wait until somebody mends that.
const UNFIT: [i32; 2] = [
    73,  // InvalidNamespace
    166, // CommandNotSupportedOnView
];

/// What became of a statement that the server named in its reply.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The document is there already.
    Delivered,
    /// No attempt will do better.
    Rejected(String),
    /// It may go through later.
    Passing(String),
}

/// The statements that failed, by their place in the command, in order.
pub(super) fn failed_statements(
    reply: &Document,
    verb: Verb,
    choice: Choice,
) -> Vec<(usize, Verdict)> {
    let errors = reply
        .get_array("writeErrors")
        .map_or(&[][..], Vec::as_slice);
    let errors = errors.iter().filter_map(Bson::as_document);
    let mut failed: Vec<_> = errors
        .map(|error| {
            let place = number(error, "index").and_then(|at| usize::try_from(at).ok());
            let verdict = verdict(error, verb, choice);
            (place.unwrap_or(0), verdict)
        })
        .collect();
    failed.sort_by_key(|(place, _)| *place);
    failed
}

/// What kept a majority from having the writes, if anything did.
pub(super) fn concern_failure(reply: &Document) -> Option<String> {
    let error = reply.get_document("writeConcernError").ok()?;
    let message = error.get_str("errmsg").unwrap_or("no reason is given");
    Some(format!("the writes did not reach a majority: {message}"))
}

const DUPLICATE_KEY: i64 = 11_000;

fn verdict(error: &Document, verb: Verb, choice: Choice) -> Verdict {
    let code = number(error, "code").unwrap_or(0);
    let message = error.get_str("errmsg").unwrap_or("no reason is given");
    let name = error.get_str("codeName").unwrap_or_default();
    let text = match name {
        "" => format!("{message} (code {code})"),
        name => format!("{message} ({name}, code {code})"),
    };
    if code == DUPLICATE_KEY && is_about_id(error, message) {
        match verb {
            Verb::Insert => return Verdict::Delivered,
            // Somebody else inserted the document between the server's look and its insert.
            _ if choice.of_key_by_id => return Verdict::Passing(text),
            _ => {}
        }
    }
    let code = i32::try_from(code).unwrap_or(0);
    let is_misdirected = !choice.of_namespace_by_document && UNFIT.contains(&code);
    match is_misdirected || Fault::is_passing_for_writes(code) {
        true => Verdict::Passing(text),
        false => Verdict::Rejected(text),
    }
}

/// Whether a duplicate is one of `_id`; servers before 4.2 say so in their words only.
fn is_about_id(error: &Document, message: &str) -> bool {
    match error.get_document("keyPattern") {
        Ok(pattern) => pattern.len() == 1 && pattern.contains_key("_id"),
        Err(_) => message.contains("index: _id_ "),
    }
}

fn number(document: &Document, key: &str) -> Option<i64> {
    match document.get(key)? {
        Bson::Int32(number) => Some(i64::from(*number)),
        Bson::Int64(number) => Some(*number),
        Bson::Double(number) => Some(*number as i64),
        _ => None,
    }
}

/// Codes of a refused command that are a document's fault: the server could not even read it.
const UNREADABLE: [i32; 7] = [
    2,     // BadValue
    9,     // FailedToParse
    14,    // TypeMismatch
    15,    // Overflow
    22,    // InvalidBSON
    10334, // BSONObjectTooLarge
    17280, // KeyTooLong
];

/// What the refusal of a whole command says of the statements in it, when it is the fault of one of
/// them.
pub(super) fn unreadable(error: &mongodb::error::Error, choice: Choice) -> Option<String> {
    let mongodb::error::ErrorKind::Command(command) = &*error.kind else {
        return None;
    };
    let is_misdirected = choice.of_namespace_by_document && UNFIT.contains(&command.code);
    (is_misdirected || UNREADABLE.contains(&command.code)).then(|| crate::mongo::describe(error))
}

/// Why a command was not carried out, for people.
pub(super) fn refusal(namespace: &str, error: &mongodb::error::Error) -> String {
    let cause = crate::mongo::describe(error);
    match Fault::of(error) {
        Fault::Unauthorized => format!("the user may not write to {namespace}: {cause}"),
        Fault::Authentication => format!("the server refused the credentials: {cause}"),
        _ => format!("cannot write to {namespace}: {cause}"),
    }
}

#[cfg(test)]
mod tests {
    use bson::doc;

    use super::*;

    #[test]
    fn errors_of_statements_are_told_apart() {
        let id = doc! { "_id": 1 };
        let email = doc! { "email": 1 };
        for (verb, by_id, error, expected) in [
            (
                Verb::Insert,
                true,
                doc! { "code": 11000, "keyPattern": &id },
                "delivered",
            ),
            (
                Verb::Insert,
                false,
                doc! { "code": 11000, "keyPattern": &id },
                "delivered",
            ),
            (
                Verb::Insert,
                true,
                doc! { "code": 11000, "keyPattern": &email },
                "rejected",
            ),
            (
                Verb::Insert,
                true,
                doc! { "code": 11000, "errmsg": "E11000 .. index: _id_ dup" },
                "delivered",
            ),
            (
                Verb::Update,
                true,
                doc! { "code": 11000, "keyPattern": &id },
                "passing",
            ),
            (
                Verb::Update,
                false,
                doc! { "code": 11000, "keyPattern": &id },
                "rejected",
            ),
            (Verb::Update, true, doc! { "code": 121 }, "rejected"),
            (Verb::Update, true, doc! { "code": 112 }, "passing"),
            (Verb::Update, true, doc! { "code": 365 }, "passing"),
            (Verb::Delete, true, doc! { "code": 10107 }, "passing"),
            (Verb::Delete, true, doc! { "code": 13 }, "passing"),
        ] {
            let mut error = error;
            error.insert("index", 3);
            let shown = error.clone();
            let choice = Choice {
                of_key_by_id: by_id,
                of_namespace_by_document: false,
            };
            let failed = failed_statements(&doc! { "writeErrors": [error] }, verb, choice);
            let [(3, verdict)] = &failed[..] else {
                panic!("{failed:?}")
            };
            let word = match verdict {
                Verdict::Delivered => "delivered",
                Verdict::Rejected(_) => "rejected",
                Verdict::Passing(_) => "passing",
            };
            assert_eq!(word, expected, "{shown}");
        }
    }
}
