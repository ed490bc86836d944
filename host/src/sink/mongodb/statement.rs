//! What one emitted document asks of the server.

use oplet_sdk::raw::{Element, Malformed, Walk, Writer, kind};

use super::{
    document::Parts,
    options::{Mode, Options, check_namespace},
    target::append_comparable,
};

/// The largest document that a server keeps.
const DOCUMENT_BYTES_MAX: usize = 16 << 20;

/// Which command a statement is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Verb {
    Insert,
    Update,
    Delete,
}

/// Whether the statement is part of a transaction, which any error ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Within {
    Command,
    Transaction,
}

/// One statement of a write command.
#[derive(Debug)]
pub(super) struct Statement {
    /// The document's number in the batch.
    pub(super) index: usize,
    /// `db.coll`.
    pub(super) namespace: String,
    pub(super) verb: Verb,
    /// The element of the command's array, as BSON.
    pub(super) bytes: Vec<u8>,
    /// Which document it is about: equal for statements about the same one.
    pub(super) target: Vec<u8>,
    pub(super) among: Among,
    /// Those before it that it stands for, too, as long as it is not refused.
    pub(super) superseded: Vec<Statement>,
}

/// What becomes of several statements of one kind about the same document.
///
/// A server keeps which statements of a numbered command were carried out, but for those that changed
/// nothing. These it carries out when the command is repeated, also in front of a later one that it leaves
/// out then: of "a is 1, a is 2" the first may have found a 1, and sets it back. So only those share a
/// command that commute, or that find again what they found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Among {
    /// They may stand in one command.
    Share,
    /// The last one is enough.
    Last,
    /// Each takes a command of its own.
    Apart,
}

impl Statement {
    /// Makes the statement of a document, whose bytes go into it as they are.
    ///
    /// The error says, for people, why no statement can be made of it.
    pub(super) fn build(
        index: usize,
        document: &[u8],
        output_key: &str,
        options: &Options,
        within: Within,
    ) -> Result<Self, String> {
        if document.len() > DOCUMENT_BYTES_MAX {
            return Err(format!(
                "the document has {} bytes, and a server takes {DOCUMENT_BYTES_MAX}",
                document.len()
            ));
        }
        let mut key_value = (output_key.len() as u32 + 1).to_le_bytes().to_vec();
        key_value.extend_from_slice(output_key.as_bytes());
        key_value.push(0);
        let (parts, namespace, mode) = read(document, &key_value, options)?;
        let mut bytes = Vec::with_capacity(document.len() + 128);
        let mut writer = Writer::new(&mut bytes);
        let verb = match (mode, within) {
            (Mode::Insert, Within::Command) => {
                parts.write_whole(&mut writer);
                Verb::Insert
            }
            (Mode::Insert, Within::Transaction) => {
                parts.write_insert_unless_there(&mut writer);
                Verb::Update
            }
            (Mode::Replace, _) => {
                parts.write_replace(&mut writer);
                Verb::Update
            }
            (Mode::Update, _) => {
                parts.write_update(&mut writer)?;
                Verb::Update
            }
            (Mode::Delete, _) => {
                parts.write_query(&mut writer);
                writer.int32(b"limit", 1);
                Verb::Delete
            }
        };
        writer.finish();
        let among = match (within, mode) {
            // What is not committed is not repeated in part.
            (Within::Transaction, _) | (_, Mode::Insert | Mode::Delete) => Among::Share,
            (Within::Command, Mode::Update) if parts.only_add() => Among::Share,
            // By another key, a new document gets its `_id` from the first.
            (Within::Command, Mode::Replace) if options.is_keyed_by_id() => Among::Last,
            (Within::Command, Mode::Update | Mode::Replace) => Among::Apart,
        };
        let mut target = Vec::new();
        for field in &parts.key {
            append_comparable(field.kind, field.value, &mut target)
                .map_err(|error| error.to_string())?;
        }
        Ok(Self {
            index,
            namespace,
            verb,
            bytes,
            target,
            among,
            superseded: Vec::new(),
        })
    }
}

impl Statement {
    /// Takes the place of the one before it.
    pub(super) fn supersede(&mut self, mut before: Self) {
        self.superseded = std::mem::take(&mut before.superseded);
        self.superseded.push(before);
    }

    /// It is refused: the last that it has superseded, if any, takes its place.
    pub(super) fn give_way(&mut self) -> bool {
        let Some(before) = self.superseded.pop() else {
            return false;
        };
        let superseded = std::mem::take(&mut self.superseded);
        *self = Self {
            superseded,
            ..before
        };
        true
    }
}

fn read<'a>(
    document: &'a [u8],
    output_key: &'a [u8],
    options: &'a Options,
) -> Result<(Parts<'a>, String, Mode), String> {
    let malformed = |error: Malformed| error.to_string();
    let mut namespace = options.namespace.clone();
    let mut mode = options.mode;
    let mut fields = Vec::new();
    for element in Walk::new(document).map_err(malformed)? {
        let element = element.map_err(malformed)?;
        let is = |name: &Option<String>| {
            name.as_ref()
                .is_some_and(|name| name.as_bytes() == element.key)
        };
        if is(&options.namespace_field) {
            let text = element.text().ok_or("its namespace is not a string")?;
            check_namespace(text)?;
            namespace = Some(text.to_owned());
        } else if is(&options.mode_field) {
            let text = element.text().ok_or("its mode is not a string")?;
            mode = Mode::from_word(text).ok_or_else(|| {
                format!("its mode `{text}` is none of {}", Mode::WORDS.join(", "))
            })?;
        } else {
            fields.push(element);
        }
    }
    let namespace = namespace.ok_or("it does not say which collection it belongs to")?;
    let find = |name: &str| {
        let found = fields.iter().find(|field| field.key == name.as_bytes());
        found.copied()
    };
    let id = find("_id");
    let mut key = Vec::with_capacity(options.key.len());
    for name in &options.key {
        match find(name) {
            Some(field) => key.push(field),
            None if name == "_id" && mode != Mode::Delete => key.push(Element {
                kind: kind::STRING,
                key: b"_id",
                value: output_key,
                at: 0,
            }),
            // Whatever else an insert is about, its `_id` tells.
            None if mode == Mode::Insert => {}
            None => {
                return Err(format!(
                    "it has no field `{name}`, which would tell the document that is meant"
                ));
            }
        }
    }
    let parts = Parts {
        fields,
        key,
        id,
        output_key,
    };
    Ok((parts, namespace, mode))
}

#[cfg(test)]
mod tests {
    use bson::{Document, RawDocument, doc, rawdoc};

    use super::*;

    fn build(pairs: &[(&str, &str)], document: &Document) -> Result<(Verb, Document), String> {
        let mut pairs = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let options = Options::from_pairs("mongodb:a.b", &mut pairs).unwrap();
        let document = document.to_vec().unwrap();
        let statement = Statement::build(0, &document, "K", &options, Within::Command)?;
        let bytes = RawDocument::from_bytes(&statement.bytes).unwrap();
        Ok((statement.verb, bytes.try_into().unwrap()))
    }

    #[test]
    fn each_mode_has_its_statement() {
        let given = doc! { "a": 1, "_id": 7 };
        let own = doc! { "a": 1 };
        for (pairs, document, expected) in [
            (
                &[("mode", "insert")][..],
                &given,
                (Verb::Insert, doc! { "_id": 7, "a": 1 }),
            ),
            (
                &[("mode", "insert")],
                &own,
                (Verb::Insert, doc! { "_id": "K", "a": 1 }),
            ),
            (
                &[],
                &own,
                (
                    Verb::Update,
                    doc! { "q": { "_id": "K" }, "u": { "_id": "K", "a": 1 }, "upsert": true },
                ),
            ),
            (
                &[("mode", "update")],
                &given,
                (
                    Verb::Update,
                    doc! { "q": { "_id": 7 }, "u": { "$set": { "a": 1 }, "$setOnInsert": { "_id": 7 } }, "upsert": true },
                ),
            ),
            (
                &[("mode", "update"), ("key", "a")],
                &own,
                (
                    Verb::Update,
                    doc! { "q": { "a": 1 }, "u": { "$setOnInsert": { "_id": "K" } }, "upsert": true },
                ),
            ),
            (
                &[("mode", "update")],
                &doc! { "_id": 7, "$inc": { "n": 1 } },
                (
                    Verb::Update,
                    doc! { "q": { "_id": 7 }, "u": { "$inc": { "n": 1 }, "$setOnInsert": { "_id": 7 } }, "upsert": true },
                ),
            ),
            (
                &[("mode-field", "how")],
                &doc! { "_id": { "$gt": 1 }, "how": "delete" },
                (
                    Verb::Delete,
                    doc! { "q": { "_id": { "$eq": { "$gt": 1 } } }, "limit": 1 },
                ),
            ),
        ] {
            assert_eq!(build(pairs, document).unwrap(), expected, "{document}");
        }
    }

    #[test]
    fn few_may_stand_in_a_command_with_others_about_the_same_document() {
        let each = doc! { "$each": [1] };
        for (mode, document, expected) in [
            ("insert", doc! { "a": 1 }, Among::Share),
            ("delete", doc! { "_id": 1 }, Among::Share),
            ("replace", doc! { "a": 1 }, Among::Last),
            ("update", doc! { "a": 1 }, Among::Apart),
            ("update", doc! { "_id": 1 }, Among::Apart),
            ("update", doc! { "$inc": { "a": 1 } }, Among::Share),
            (
                "update",
                doc! { "$inc": { "a": 1, "b": -1.5 }, "$push": { "c": [1] }, "$setOnInsert": { "d": 1 } },
                Among::Share,
            ),
            (
                "update",
                doc! { "$push": { "a": { "b": 1 } } },
                Among::Share,
            ),
            (
                "update",
                doc! { "$push": { "a": 1, "b": each } },
                Among::Apart,
            ),
            (
                "update",
                doc! { "$inc": { "a": 1 }, "$set": { "b": 1 } },
                Among::Apart,
            ),
            ("update", doc! { "$max": { "a": 1 } }, Among::Apart),
            ("update", doc! { "$setOnInsert": { "a": 1 } }, Among::Share),
        ] {
            let mut pairs = vec![("mode".to_owned(), mode.to_owned())];
            let options = Options::from_pairs("mongodb:a.b", &mut pairs).unwrap();
            let document = document.to_vec().unwrap();
            let build = |within| Statement::build(0, &document, "K", &options, within).unwrap();
            assert_eq!(
                build(Within::Command).among,
                expected,
                "{mode} {document:?}"
            );
            assert_eq!(build(Within::Transaction).among, Among::Share);
        }
    }

    #[test]
    fn what_no_statement_can_be_made_of_is_told() {
        for (pairs, document) in [
            (&[("mode", "delete")][..], doc! { "a": 1 }),
            (&[("key", "b")], doc! { "a": 1 }),
            (
                &[("mode", "update")],
                doc! { "_id": 1, "$inc": { "n": 1 }, "b": 1 },
            ),
            (&[("mode-field", "how")], doc! { "how": "upsert" }),
            (&[("mode-field", "how")], doc! { "how": 1 }),
            (&[("namespace-field", "to")], doc! { "to": "shop" }),
        ] {
            build(pairs, &document).unwrap_err();
        }
        let options = Options::from_pairs("mongodb:a.b", &mut Vec::new()).unwrap();
        let truncated = &rawdoc! { "a": 1 }.into_bytes()[..7];
        Statement::build(0, truncated, "K", &options, Within::Command).unwrap_err();
    }
}
