//! Entries become ops.
//!
//! A [`Decoder`] adds the ops of one entry to a [`BatchBuilder`] over the reply in which the entry
//! lies. Nothing is held between entries: a transaction that takes several is told by its last one
//! ([`Decoded::Chain`]), and the tail fetches the parts before it then.

use oplet_sdk::raw::{Element, Walk};

use super::{
    Chain, Change, ChangeKind, Entry, EntryError, Fault, UpdateDescription, images::Wanted,
};
use crate::{
    op::{BatchBuilder, OpIndex, Operation, Record, Scope, Span, Timestamp, Value},
    source::{Before, Commands, Reading, Updates},
};

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// So many ops were added; none when an `applyOps` holds nothing that is watched.
    Ops(usize),
    /// A no-op, which only moves the position.
    NoOp,
    /// An entry that is nothing to deliver.
    Skipped(Skipped<'a>),
    /// The end of a transaction that has earlier parts. Nothing was added.
    Chain(Chain),
}

/// Why an entry is nothing to deliver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skipped<'a> {
    /// A namespace that is not watched.
    Unwatched,
    /// A chunk's move between shards.
    Migration,
    /// A part of a transaction whose end is yet to come.
    PartialTransaction,
    /// A prepared transaction, yet to be committed.
    PreparedTransaction,
    /// A transaction that came to nothing.
    AbortedTransaction,
    /// A command that does not change what is delivered, by its name.
    Command(&'a str),
    /// A change to the server's own structures, by its letters.
    Internal(&'a str),
}

/// What all ops of one entry share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp<'a> {
    pub(super) timestamp: Timestamp,
    pub(super) wall_time_ms: Option<i64>,
    pub(super) txn: Option<(&'a [u8], i64)>,
    /// Time of the entry that holds the op: of a transaction of several, not that of its end.
    pub(super) entry: Timestamp,
    /// Index of the entry's first op.
    pub(super) first: u32,
    /// Session of the entry, a document.
    pub(super) lsid: Option<&'a [u8]>,
}

impl Stamp<'_> {
    /// An op with nothing but this.
    pub(super) fn record(
        &self,
        operation: Operation,
        namespace: Span,
        index: u32,
        builder: &BatchBuilder,
    ) -> Record {
        let mut record = Record::new(operation, namespace, self.timestamp);
        record.index = OpIndex::Known(index);
        record.wall_time_ms = self.wall_time_ms;
        record.txn = self
            .txn
            .map(|(lsid, number)| (builder.span_of(lsid), number));
        record
    }
}

/// Decodes entries for one set of watched namespaces.
#[derive(Debug)]
pub struct Decoder {
    scope: Scope,
    /// The namespace that was asked for last, and the answer: runs of one namespace are the rule.
    last: (String, bool),
    description: UpdateDescription,
    pub(super) commands: Commands,
    updates: Updates,
    before: Before,
    /// The ops of this batch whose documents before them are wanted, in their order.
    wanted: Vec<Wanted>,
}

impl Decoder {
    /// A decoder of what lies in `scope`.
    #[must_use]
    pub fn new(scope: Scope) -> Self {
        Self::with_reading(scope, &Reading::default())
    }

    /// A decoder of what lies in `scope`, that reads like that.
    #[must_use]
    pub fn with_reading(scope: Scope, reading: &Reading) -> Self {
        Self {
            // The empty namespace is nobody's.
            last: (String::new(), false),
            scope,
            description: UpdateDescription::default(),
            commands: reading.commands,
            updates: reading.updates,
            before: reading.before,
            wanted: Vec::new(),
        }
    }

    /// The ops since the last call whose documents before them are wanted.
    pub(super) fn take_wanted(&mut self) -> Vec<Wanted> {
        std::mem::take(&mut self.wanted)
    }

    /// Takes back all ops from the `len`th on.
    pub(super) fn take_back(&mut self, len: usize, builder: &mut BatchBuilder) {
        builder.truncate(len);
        self.wanted.retain(|wanted| wanted.place < len);
    }

    /// Adds the ops of one entry, whose bytes lie in the builder's body.
    ///
    /// # Errors
    /// [`EntryError`]; the builder then has the ops that it had before.
    ///
    /// # Panics
    /// When the bytes do not lie in the builder's body.
    pub fn entry<'a>(
        &mut self,
        bytes: &'a [u8],
        builder: &mut BatchBuilder,
    ) -> Result<Decoded<'a>, EntryError> {
        let entry = Entry::read(bytes)?;
        let len = builder.len();
        self.decode(&entry, builder).map_err(|fault| {
            self.take_back(len, builder);
            EntryError::new(bytes, fault)
        })
    }

    fn decode<'a>(
        &mut self,
        entry: &Entry<'a>,
        builder: &mut BatchBuilder,
    ) -> Result<Decoded<'a>, Fault> {
        let change = &entry.change;
        if change.from_migrate {
            return Ok(Decoded::Skipped(Skipped::Migration));
        }
        let timestamp = entry.link.op_time.timestamp;
        let stamp = Stamp {
            timestamp,
            wall_time_ms: entry.wall_time_ms,
            txn: None,
            entry: timestamp,
            first: 0,
            lsid: entry.session.map(|(lsid, _)| lsid),
        };
        if change.kind == ChangeKind::NoOp {
            // Its `o2` may hold an older entry, which has been delivered in its own place.
            return Ok(match self.sharding(change, &stamp, builder)? {
                true => Decoded::Ops(1),
                false => Decoded::NoOp,
            });
        }
        if change.kind == ChangeKind::Command {
            let object = change.object()?;
            let command = first_of(object)?.ok_or(Fault::Missing("o"))?;
            match command.key {
                b"applyOps" => return self.transaction(entry, &command, stamp, builder),
                b"commitTransaction" => {
                    let prev = entry.link.prev_op_time;
                    let prev = prev.ok_or(Fault::Missing("prevOpTime"))?;
                    return Ok(Decoded::Chain(Chain::new(entry, prev, true)));
                }
                b"abortTransaction" => {
                    return Ok(Decoded::Skipped(Skipped::AbortedTransaction));
                }
                _ => {}
            }
        }
        Ok(match self.change(change, &stamp, 0, builder)? {
            None => Decoded::Ops(1),
            Some(reason) => Decoded::Skipped(reason),
        })
    }

    /// Adds the op of one change, or says why there is none.
    pub(super) fn change<'a>(
        &mut self,
        change: &Change<'a>,
        stamp: &Stamp<'_>,
        index: u32,
        builder: &mut BatchBuilder,
    ) -> Result<Option<Skipped<'a>>, Fault> {
        let operation = match change.kind {
            ChangeKind::Insert => Operation::Insert,
            ChangeKind::Update => Operation::Update,
            ChangeKind::Delete => Operation::Delete,
            ChangeKind::Command => return self.command(change, stamp, index, builder),
            // Declarations of databases (up to 4.0), global indexes (from 6.2), containers (from 8.2).
            ChangeKind::Other(op @ ("db" | "xi" | "xd" | "ci" | "cu" | "cd")) => {
                return Ok(Some(Skipped::Internal(op)));
            }
            ChangeKind::Other(op) => return Err(Fault::UnknownOperation(op.to_owned())),
            ChangeKind::NoOp => return Ok(Some(Skipped::Internal("n"))),
        };
        let namespace = change.namespace()?;
        if !self.is_watched(namespace) {
            return Ok(Some(Skipped::Unwatched));
        }
        let namespace = builder.span_of(namespace.as_bytes());
        let mut record = stamp.record(operation, namespace, index, builder);
        let object = change.object()?;
        match operation {
            Operation::Insert => {
                let id = Walk::find(object, "_id")?.ok_or(Fault::Missing("o._id"))?;
                record.id = Some(value(&id, builder));
                if let Some(key) = change.object2() {
                    record.document_key = Key::read(key, "o2._id")?.span(builder);
                }
                record.data = Some(builder.span_of(object));
            }
            Operation::Update => {
                let key = change.object2().ok_or(Fault::Missing("o2"))?;
                let key = Key::read(key, "o2._id")?;
                record.id = Some(value(&key.id, builder));
                record.document_key = key.span(builder);
                if self.description.take(object)? {
                    record.pending = self.updates != Updates::Delta;
                    let description = &self.description;
                    record.update_description = Some(builder.make(|out| description.write(out)));
                } else {
                    record.replace = true;
                    record.data = Some(builder.span_of(object));
                }
            }
            Operation::Delete | Operation::Command => {
                let key = Key::read(object, "o._id")?;
                record.id = Some(value(&key.id, builder));
                record.document_key = key.span(builder);
            }
        }
        let is_delta = record.update_description.is_some();
        let is_before_wanted = self.before != Before::Off && operation != Operation::Insert;
        if is_before_wanted || (is_delta && self.updates == Updates::Apply) {
            let is_delta = is_delta && self.updates == Updates::Apply;
            let wanted = Wanted::new(change, is_delta, stamp, index, builder);
            self.wanted.extend(wanted);
        }
        builder.push(record);
        Ok(None)
    }

    /// Whether a change in that namespace is watched.
    pub(super) fn is_watched(&mut self, namespace: &str) -> bool {
        if self.last.0 != namespace {
            self.last.0.clear();
            self.last.0.push_str(namespace);
            self.last.1 = self.scope.contains(namespace);
        }
        self.last.1
    }
}

/// A document key, and the `_id` in it.
struct Key<'a> {
    bytes: &'a [u8],
    id: Element<'a>,
}

impl<'a> Key<'a> {
    fn read(bytes: &'a [u8], id: &'static str) -> Result<Self, Fault> {
        let found = Walk::find(bytes, "_id")?.ok_or(Fault::Missing(id))?;
        Ok(Self { bytes, id: found })
    }

    /// The whole key, where there is more in it than `_id`.
    fn span(&self, builder: &BatchBuilder) -> Option<Span> {
        let before = self.id.at - b"_id".len() - 2;
        let only_id = before == 4 && self.id.at + self.id.value.len() + 1 == self.bytes.len();
        (!only_id).then(|| builder.span_of(self.bytes))
    }
}

fn value(element: &Element<'_>, builder: &BatchBuilder) -> Value {
    Value {
        kind: element.kind,
        span: builder.span_of(element.value),
    }
}

/// The first field of a command names it.
pub(super) fn first_of(object: &[u8]) -> Result<Option<Element<'_>>, Fault> {
    Ok(Walk::new(object)?.next().transpose()?)
}
