//! One dead letter.

use bson::RawDocumentBuf;
use oplet_sdk::{
    abi::field,
    raw::{Walk, Writer},
};

use super::fields::op_field;
use crate::op::Timestamp;

/// How many bytes of op and output a letter holds; with all the rest it stays below the 16 MiB that
/// the server takes.
const DOCUMENT_BYTES_MAX: usize = 15 << 20;

/// How many bytes of a text, or of all lines of a list, a letter holds.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// Classes of failure beside those of a guest's call.
pub mod kind {
    /// The handler answered that another attempt may succeed, and none did.
    pub const RETRY: &str = "retry";
    /// The handler answered that the op can never be handled.
    pub const REJECT: &str = "reject";
    /// What the handler emitted cannot be written.
    pub const OUTPUT: &str = "output";
    /// A sink refused a document.
    pub const SINK: &str = "sink";
    /// The module's breaker was open: the op was not tried.
    pub const BREAKER: &str = "breaker";
    /// What was read is not an op: no module has seen it.
    pub const UNDECODABLE: &str = "undecodable";
}

/// A document that a sink refused.
#[derive(Debug, Clone, PartialEq)]
pub struct RejectedOutput {
    /// The sink.
    pub sink: String,
    /// Which of the documents that the module emitted for the op, from 0.
    pub number: u32,
    /// It was emitted at a batch border, out of what the module had gathered from several ops.
    pub is_flush: bool,
    /// The document; none when it was too large to be kept.
    pub document: Option<RawDocumentBuf>,
}

/// Where a letter stands among others: in the order of their ops.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Cluster time of the op.
    pub cluster_time: Timestamp,
    /// Which op of that cluster time, as far as that can be told.
    pub index: i64,
    /// The letter's id.
    pub id: String,
}

/// An op that a module failed on, or whose output a sink refused, and what is known about it.
///
/// Stored as a document; in relaxed Extended JSON:
///
/// ```json
/// {"_id":"audit/audit/1700000001:7:0","name":"audit","module":"audit","digest":"9f…","opId":"1700000001:7:0",
///  "namespace":"shop.orders","clusterTime":{"$timestamp":{"t":1700000001,"i":7}},"index":0,"kind":"trap",
///  "export":"handle","message":"…","stderr":["…"],"backtrace":["…"],"attempts":5,
///  "firstFailed":{"$date":"…"},"lastFailed":{"$date":"…"},"op":{"operation":"i","namespace":"shop.orders"}}
/// ```
///
/// `rejected` holds `{sink, number, flush, document}` when a sink refused an output. Where `op` or
/// `document` cannot be kept as a document, they are binary values with the same bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// `NAME/MODULE/OPID`, and the output's number where a sink refused one: the same whenever the
    /// same is stored again.
    pub id: String,
    /// Name of the run.
    pub name: String,
    /// Name of the module.
    pub module: String,
    /// Version of the module: the SHA-256 digest of its bytes, in hex.
    pub digest: String,
    /// The op document as the module saw it.
    pub op: RawDocumentBuf,
    /// The op's stable id.
    pub op_id: String,
    /// Where the op happened.
    pub namespace: String,
    /// When the op happened, in cluster time.
    pub cluster_time: Timestamp,
    /// Which op of that cluster time; 0 where the source does not tell.
    pub index: i64,
    /// Class of the failure: one of [`kind`], or that of the guest's call.
    pub kind: String,
    /// The export that failed.
    pub export: String,
    /// What happened.
    pub message: String,
    /// The last lines that the call wrote.
    pub stderr: Vec<String>,
    /// The guest's functions, the innermost first.
    pub backtrace: Vec<String>,
    /// How often the op was tried.
    pub attempts: u32,
    /// What a sink refused, if that was the failure.
    pub rejected: Option<RejectedOutput>,
    /// The op was too large, and parts of it were left out.
    pub truncated: bool,
    /// When it failed first, in milliseconds since 1970.
    pub first_failed_ms: i64,
    /// When it failed last, in milliseconds since 1970.
    pub last_failed_ms: i64,
}

impl DeadLetter {
    /// A letter about an op document, for a run and a module; it says nothing yet of the failure, and
    /// counts one attempt, now. Parts of an op that is too large are left out.
    #[must_use]
    pub fn new(name: &str, module: &str, digest: &str, op: &[u8]) -> Self {
        let text =
            |field| op_field(op, field).and_then(|element| element.text().map(str::to_owned));
        let op_id = text(field::OP_ID).unwrap_or_default();
        let cluster_time = op_field(op, field::TIMESTAMP).and_then(|element| element.timestamp());
        let now = bson::DateTime::now().timestamp_millis();
        let mut room = DOCUMENT_BYTES_MAX;
        let (op, truncated) = fitting(op, &mut room);
        Self {
            id: format!("{name}/{module}/{op_id}"),
            name: name.to_owned(),
            module: module.to_owned(),
            digest: digest.to_owned(),
            namespace: text_of(&op, field::NAMESPACE),
            cluster_time: cluster_time.map_or_else(Timestamp::default, Timestamp::from),
            index: index_of(&op_id),
            op,
            op_id,
            kind: String::new(),
            export: String::new(),
            message: String::new(),
            stderr: Vec::new(),
            backtrace: Vec::new(),
            attempts: 1,
            rejected: None,
            truncated,
            first_failed_ms: now,
            last_failed_ms: now,
        }
    }

    /// Says how it failed.
    #[must_use]
    pub fn failed(mut self, kind: &str, export: &str, message: &str) -> Self {
        self.kind = kind.to_owned();
        self.export = export.to_owned();
        self.message = cut(message, TEXT_BYTES_MAX).to_owned();
        self
    }

    /// Says what the failed call left behind.
    #[must_use]
    pub fn with_traces(mut self, stderr: &[String], backtrace: &[String]) -> Self {
        self.stderr = lines(stderr);
        self.backtrace = lines(backtrace);
        self
    }

    /// Says which output a sink refused.
    #[must_use]
    pub fn rejected(
        mut self,
        sink: &str,
        reason: &str,
        number: u32,
        is_flush: bool,
        document: Option<&[u8]>,
    ) -> Self {
        let flush = if is_flush { "flush#" } else { "" };
        self.id = format!(
            "{}/{}/{}#{flush}{number}",
            self.name, self.module, self.op_id
        );
        let room = DOCUMENT_BYTES_MAX.saturating_sub(self.op.as_bytes().len());
        let kept = document.filter(|document| document.len() <= room);
        self.truncated |= document.is_some() && kept.is_none();
        self.rejected = Some(RejectedOutput {
            sink: sink.to_owned(),
            number,
            is_flush,
            document: kept.and_then(|document| RawDocumentBuf::from_bytes(document.to_vec()).ok()),
        });
        self.failed(kind::SINK, "handle", reason)
    }

    /// Where it stands among other letters.
    #[must_use]
    pub fn place(&self) -> Place {
        Place {
            cluster_time: self.cluster_time,
            index: self.index,
            id: self.id.clone(),
        }
    }

    /// Roughly how much memory it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let output = self
            .rejected
            .as_ref()
            .and_then(|rejected| rejected.document.as_ref());
        let texts = self.stderr.iter().chain(&self.backtrace).map(String::len);
        1_024
            + self.op.as_bytes().len()
            + output.map_or(0, |output| output.as_bytes().len())
            + texts.sum::<usize>()
    }
}

fn text_of(op: &RawDocumentBuf, field: &str) -> String {
    let element = op_field(op.as_bytes(), field);
    element
        .and_then(|element| element.text())
        .unwrap_or_default()
        .to_owned()
}

/// The third part of an op's id, where it is a number.
fn index_of(op_id: &str) -> i64 {
    op_id
        .split(':')
        .nth(2)
        .and_then(|index| index.parse().ok())
        .unwrap_or(0)
}

/// The fields of a document that fit into the room, in their order, and whether any did not. An op has
/// its small fields first, and then `updateDescription`, `data`, `before`.
fn fitting(document: &[u8], room: &mut usize) -> (RawDocumentBuf, bool) {
    let whole = |document: &[u8]| RawDocumentBuf::from_bytes(document.to_vec()).unwrap_or_default();
    if document.len() <= *room {
        *room -= document.len();
        return (whole(document), false);
    }
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes);
    for element in Walk::new(document).into_iter().flatten().flatten() {
        let size = element.key.len() + element.value.len() + 2;
        if size <= *room {
            *room -= size;
            writer.raw(element.key, element.kind, element.value);
        }
    }
    writer.finish();
    (RawDocumentBuf::from_bytes(bytes).unwrap_or_default(), true)
}

/// The beginning of a text that is too long.
fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// The lines, as many as there is room for.
fn lines(all: &[String]) -> Vec<String> {
    let mut room = TEXT_BYTES_MAX;
    all.iter()
        .map(|line| cut(line, TEXT_BYTES_MAX))
        .take_while(|line| {
            let fits = line.len() <= room;
            room = room.saturating_sub(line.len());
            fits
        })
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use bson::rawdoc;

    use super::*;

    pub(in super::super) fn op() -> RawDocumentBuf {
        rawdoc! {
            "operation": "i", "namespace": "shop.orders", "opId": "17:3:4",
            "timestamp": bson::Timestamp { time: 17, increment: 3 }, "_id": 5, "data": { "_id": 5 },
        }
    }

    pub(in super::super) fn letter() -> DeadLetter {
        DeadLetter::new("run", "audit", "9f", op().as_bytes())
            .failed("trap", "handle", "unreachable")
            .with_traces(&["one".into(), "two".into()], &["inner".into()])
    }

    #[test]
    fn takes_what_it_is_about_from_the_op() {
        let letter = letter();
        assert_eq!(letter.id, "run/audit/17:3:4");
        assert_eq!(letter.namespace, "shop.orders");
        assert_eq!(
            (letter.cluster_time, letter.index),
            (Timestamp::new(17, 3), 4)
        );
        assert_eq!(index_of("17:3:t00ff"), 0);
        assert_eq!(index_of("17:3:2:000000ab"), 2);
    }

    #[test]
    fn an_op_that_is_too_large_keeps_what_fits() {
        let mut large = op();
        large.append(
            bson::cstr!("before"),
            rawdoc! { "filler": "x".repeat(16 << 20) },
        );
        let letter = DeadLetter::new("run", "audit", "9f", large.as_bytes());
        assert!(letter.truncated);
        assert_eq!(letter.op, op());
        let output = rawdoc! { "filler": "x".repeat(15 << 20) };
        let rejected = letter.rejected("s", "no", 0, false, Some(output.as_bytes()));
        assert_eq!(rejected.rejected.unwrap().document, None);
    }
}
