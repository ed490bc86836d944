//! From a reply to ops.

use oplet_sdk::raw::{Element, Malformed, Walk};
use xxhash_rust::xxh3::xxh3_128;

use super::Target;
use crate::{
    mongo::Reply,
    op::{BatchBuilder, Key, OpIndex, Operation, Record, Span, Timestamp, Value},
};

/// What the ids of a read have in common, as a number that is mixed into each: the collection and the
/// direct read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Salt(u128);

impl Salt {
    pub(super) fn new(target: &Target, started: Timestamp) -> Self {
        let mut bytes = target.namespace.to_string().into_bytes();
        if let Some(uuid) = target.uuid {
            bytes.extend(uuid.bytes());
        }
        bytes.extend(started.seconds.to_le_bytes());
        bytes.extend(started.increment.to_le_bytes());
        Self(xxh3_128(&bytes))
    }

    /// The id of a document: it changes with the document, and so differs from what was given before
    /// only where that was another version.
    fn index_of(self, document: &[u8]) -> OpIndex {
        let hash = xxh3_128(document) ^ self.0;
        OpIndex::Read([(hash >> 64) as u32, (hash >> 32) as u32, hash as u32])
    }
}

/// A document that was received and not given yet: the key to go on from, should what follows it fail.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) key: Key,
    document: Vec<u8>,
}

/// Makes ops of documents.
#[derive(Debug)]
pub(super) struct Filler<'a> {
    builder: &'a mut BatchBuilder,
    namespace: Span,
    at: Timestamp,
    salt: Salt,
}

impl<'a> Filler<'a> {
    pub(super) fn new(
        builder: &'a mut BatchBuilder,
        namespace: &str,
        at: Timestamp,
        salt: Salt,
    ) -> Self {
        let namespace = builder.make(|extra| extra.extend_from_slice(namespace.as_bytes()));
        Self {
            builder,
            namespace,
            at,
            salt,
        }
    }

    /// Adds a document that was held back.
    pub(super) fn add_held(&mut self, held: &Held) {
        let data = self
            .builder
            .make(|extra| extra.extend_from_slice(&held.document));
        let (kind, value) = held.key.parts();
        let id = Value {
            kind,
            span: self.builder.make(|extra| extra.extend_from_slice(value)),
        };
        self.push(&held.document, data, Some(id));
    }

    /// Adds the documents of a reply, and returns how many it had. With `hold`, the last one of them is
    /// not added but returned.
    pub(super) fn add_reply(
        &mut self,
        reply: &Reply,
        hold: bool,
    ) -> Result<(u64, Option<Held>), Malformed> {
        let mut documents = Walk::new(reply.documents()?)?;
        let mut count = 0;
        let mut next = documents.next().transpose()?;
        while let Some(element) = next {
            count += 1;
            next = documents.next().transpose()?;
            let document = element.value;
            let id = id_of(document)?;
            if let (true, None, Some(id)) = (hold, next, id) {
                let held = Held {
                    key: Key::from(id),
                    document: document.to_vec(),
                };
                return Ok((count, Some(held)));
            }
            let data = self.builder.span_of(document);
            let id = id.map(|id| Value {
                kind: id.kind,
                span: self.builder.span_of(id.value),
            });
            self.push(document, data, id);
        }
        Ok((count, None))
    }

    fn push(&mut self, document: &[u8], data: Span, id: Option<Value>) {
        let mut record = Record::new(Operation::Insert, self.namespace, self.at);
        record.index = self.salt.index_of(document);
        record.id = id;
        record.data = Some(data);
        self.builder.push(record);
    }
}

/// The `_id`, which the server keeps at the front; stages may put it elsewhere, or take it out.
fn id_of(document: &[u8]) -> Result<Option<Element<'_>>, Malformed> {
    match Walk::new(document)?.next().transpose()? {
        Some(first) if first.key == b"_id" => Ok(Some(first)),
        _ => Walk::find(document, "_id"),
    }
}
