//! A letter as a document, and back.

use bson::RawDocumentBuf;
use oplet_sdk::raw::{Writer, kind};

use super::{DeadLetter, RejectedOutput, fields::Fields};

impl DeadLetter {
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
            writer.begin(key, kind::ARRAY);
            for (index, line) in lines.iter().enumerate() {
                writer.text(index.to_string().as_bytes(), line);
            }
            writer.end();
        }
        if let Some(rejected) = &self.rejected {
            writer.begin(b"rejected", kind::DOCUMENT);
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
                writer.raw(key, kind::BINARY, &value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bson::doc;

    use super::{
        super::record::tests::{letter, op},
        *,
    };

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
}
