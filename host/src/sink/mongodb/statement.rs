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
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Among {
    /// They may stand in one command.
    Share,
    /// One that overwrites all that the one before it has written is enough.
    Last(Extent),
    /// Each takes a command of its own.
    Apart,
}

/// What of a document a statement writes, whatever it finds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// The document.
    Whole,
    /// The fields with these [names](Parts::overwritten).
    Fields(Vec<u8>),
}

impl Statement {
    /// Whether it may be part of the command that the one before it, about the same document, is part of.
    pub(super) fn may_share(&self, before: &Self) -> bool {
        let is_share = |statement: &Self| statement.among == Among::Share;
        self.verb == before.verb && is_share(self) && is_share(before)
    }

    /// Whether the document is the same after it, be the one before it, about the same document, carried out
    /// or not.
    pub(super) fn is_enough_for(&self, before: &Self) -> bool {
        let (Among::Last(now), Among::Last(then)) = (&self.among, &before.among) else {
            return false;
        };
        *now == Extent::Whole || now == then
    }

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
            (Within::Command, _) if !options.is_keyed_by_id() => Among::Apart,
            (Within::Command, Mode::Replace) => Among::Last(Extent::Whole),
            (Within::Command, Mode::Update) => {
                let fields = parts.overwritten().map(Extent::Fields);
                fields.map_or(Among::Apart, Among::Last)
            }
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
mod tests;
