//! One dead letter.

use bson::RawDocumentBuf;
use oplet_sdk::{
    abi::field,
    raw::{Walk, Writer, kind as bson_kind},
};

use super::fields::{Fields, op_field};
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

    /// The letter as a document.
    #[must_use]
    pub fn to_document(&self) -> RawDocumentBuf {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        writer.text(b"_id", &self.id);
        self.write_parts(&mut writer, Part::ALL, Keep::Document);
        writer.finish();
        RawDocumentBuf::from_bytes(bytes).expect("the writer frames what it writes")
    }

    /// Adds some of the fields to a document.
    pub(super) fn write_parts(&self, writer: &mut Writer<'_>, parts: &[Part], keep: Keep) {
        for part in parts {
            match part {
                Part::Op => self.write_op(writer, keep),
                Part::Failure => self.write_failure(writer, keep),
                Part::Attempts => writer.int32(
                    b"attempts",
                    i32::try_from(self.attempts).unwrap_or(i32::MAX),
                ),
                Part::FirstFailed => writer.date_ms(b"firstFailed", self.first_failed_ms),
                Part::LastFailed => writer.date_ms(b"lastFailed", self.last_failed_ms),
            }
        }
    }

    fn write_op(&self, writer: &mut Writer<'_>, keep: Keep) {
        writer.text(b"name", &self.name);
        writer.text(b"module", &self.module);
        writer.text(b"opId", &self.op_id);
        writer.text(b"namespace", &self.namespace);
        writer.timestamp(
            b"clusterTime",
            self.cluster_time.seconds,
            self.cluster_time.increment,
        );
        writer.int64(b"index", self.index);
        if self.truncated {
            writer.bool(b"truncated", true);
        }
        keep.write(writer, b"op", self.op.as_bytes());
    }

    fn write_failure(&self, writer: &mut Writer<'_>, keep: Keep) {
        writer.text(b"digest", &self.digest);
        writer.text(b"kind", &self.kind);
        writer.text(b"export", &self.export);
        writer.text(b"message", &self.message);
        for (key, lines) in [
            (&b"stderr"[..], &self.stderr),
            (b"backtrace", &self.backtrace),
        ] {
            writer.begin(key, bson_kind::ARRAY);
            for (index, line) in lines.iter().enumerate() {
                writer.text(index.to_string().as_bytes(), line);
            }
            writer.end();
        }
        if let Some(rejected) = &self.rejected {
            writer.begin(b"rejected", bson_kind::DOCUMENT);
            writer.text(b"sink", &rejected.sink);
            writer.int64(b"number", i64::from(rejected.number));
            if rejected.is_flush {
                writer.bool(b"flush", true);
            }
            if let Some(document) = &rejected.document {
                keep.write(writer, b"document", document.as_bytes());
            }
            writer.end();
        }
    }

    /// Reads a letter from a document.
    ///
    /// # Errors
    /// What is missing or wrong, for people.
    pub fn from_document(document: &[u8]) -> Result<Self, String> {
        let fields = Fields(document);
        let rejected = match fields.document("rejected")? {
            Some(rejected) => {
                let fields = Fields(rejected);
                Some(RejectedOutput {
                    sink: fields.text("sink")?,
                    number: fields.integer("number")?.try_into().unwrap_or(u32::MAX),
                    is_flush: fields.bool("flush")?,
                    document: fields.kept_document("document")?,
                })
            }
            None => None,
        };
        Ok(Self {
            id: fields.text("_id")?,
            name: fields.text("name")?,
            module: fields.text("module")?,
            digest: fields.text("digest")?,
            op: fields
                .kept_document("op")?
                .ok_or("the field `op` is missing")?,
            op_id: fields.text("opId")?,
            namespace: fields.text("namespace")?,
            cluster_time: fields.timestamp("clusterTime")?,
            index: fields.integer("index")?,
            kind: fields.text("kind")?,
            export: fields.text("export")?,
            message: fields.text("message")?,
            stderr: fields.texts("stderr")?,
            backtrace: fields.texts("backtrace")?,
            attempts: fields.integer("attempts")?.try_into().unwrap_or(u32::MAX),
            rejected,
            truncated: fields.bool("truncated")?,
            first_failed_ms: fields.date_ms("firstFailed")?,
            last_failed_ms: fields.date_ms("lastFailed")?,
        })
    }
}

/// Fields of a letter that are written together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Which op it is about.
    Op,
    /// How it failed.
    Failure,
    /// How often it was tried.
    Attempts,
    /// When it failed first.
    FirstFailed,
    /// When it failed last.
    LastFailed,
}

impl Part {
    pub(super) const ALL: &[Self] = &[
        Self::Failure,
        Self::Attempts,
        Self::FirstFailed,
        Self::LastFailed,
        Self::Op,
    ];
}

/// How documents are kept inside a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// As documents, for people and queries.
    Document,
    /// As binary values, where the store cannot keep the document as it is: some servers refuse
    /// names of fields that others allow, and JSON has no place for a field that is there twice.
    Binary,
}

impl Keep {
    fn write(self, writer: &mut Writer<'_>, key: &[u8], document: &[u8]) {
        match self {
            Self::Document => writer.document(key, document),
            Self::Binary => {
                let mut value = Vec::with_capacity(document.len() + 5);
                value.extend_from_slice(
                    &u32::try_from(document.len())
                        .unwrap_or(u32::MAX)
                        .to_le_bytes(),
                );
                value.push(0);
                value.extend_from_slice(document);
                writer.raw(key, bson_kind::BINARY, &value);
            }
        }
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
mod tests {
    use bson::{doc, rawdoc};

    use super::*;

    fn op() -> RawDocumentBuf {
        rawdoc! {
            "operation": "i", "namespace": "shop.orders", "opId": "17:3:4",
            "timestamp": bson::Timestamp { time: 17, increment: 3 }, "_id": 5, "data": { "_id": 5 },
        }
    }

    fn letter() -> DeadLetter {
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
    fn a_document_and_back_is_the_same() {
        let rejected = letter().rejected("search", "too long", 2, false, Some(op().as_bytes()));
        assert_eq!(rejected.id, "run/audit/17:3:4#2");
        let flushed = letter().rejected("search", "too long", 0, true, None);
        assert_eq!(flushed.id, "run/audit/17:3:4#flush#0");
        for letter in [letter(), rejected, flushed] {
            let document = letter.to_document();
            assert_eq!(DeadLetter::from_document(document.as_bytes()), Ok(letter));
        }
    }

    #[test]
    fn documents_may_be_kept_as_binary() {
        let mut letter = letter().rejected("search", "too long", 2, false, Some(op().as_bytes()));
        // A field that is there twice survives, too.
        letter.op.append(bson::cstr!("twice"), 1);
        letter.op.append(bson::cstr!("twice"), 2);
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        writer.text(b"_id", &letter.id);
        letter.write_parts(&mut writer, Part::ALL, Keep::Binary);
        writer.finish();
        assert_eq!(DeadLetter::from_document(&bytes), Ok(letter));
    }

    #[test]
    fn what_is_no_letter_says_why() {
        let without_op = doc! {"_id": "a", "name": "n", "module": "m", "digest": "d"};
        let bytes = RawDocumentBuf::try_from(&without_op).unwrap();
        let error = DeadLetter::from_document(bytes.as_bytes()).unwrap_err();
        assert_eq!(error, "the field `op` is missing");
        let wrong = RawDocumentBuf::try_from(&doc! {"_id": 7}).unwrap();
        let error = DeadLetter::from_document(wrong.as_bytes()).unwrap_err();
        assert_eq!(error, "the field `_id` is no text");
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
