//! One oplog entry, borrowed from its bytes.
//!
//! ```json
//! {"lsid": {"id": UUID}, "txnNumber": 4, "op": "i", "ns": "shop.orders", "ui": UUID,
//!  "o": {"_id": 7, "total": 5}, "o2": {"_id": 7}, "stmtId": 0,
//!  "ts": Timestamp(1700000001, 3), "t": 1, "v": 2, "wall": Date, "prevOpTime": {"ts": Timestamp(0, 0), "t": -1}}
//! ```
//!
//! An element of `applyOps` is the same without a time of its own: `op`, `ns`, `ui`, `o`, `o2`.
//! Fields differ between server versions; those that are not known here are passed over.

use std::fmt;

use oplet_sdk::raw::{Element, Malformed, Walk, kind};

use super::UpdateFault;
use crate::op::{OpTime, Timestamp};

/// What is wrong with an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The bytes are not BSON.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A field that its kind of entry always has is missing.
    #[error("field `{0}` is missing")]
    Missing(&'static str),
    /// A field is of a BSON type that it cannot have.
    #[error("field `{field}` is of BSON type {kind:#04x}")]
    WrongType {
        /// The field.
        field: &'static str,
        /// Its type byte.
        kind: u8,
    },
    /// `op` is a letter that no known server writes.
    #[error("operation `{0}` is not known")]
    UnknownOperation(String),
    /// An update's `o` is neither a document nor a known description of what changed.
    #[error("cannot tell what the update changed")]
    Update(#[from] UpdateFault),
    /// `applyOps` nests deeper than a server allows.
    #[error("applyOps nests too deep")]
    TooDeep,
    /// More ops in one transaction than there are indices.
    #[error("too many ops in one transaction")]
    TooManyOps,
    /// `prevOpTime` led to an entry that is not part of the transaction.
    #[error("the entry is not a part of the transaction that leads to it")]
    NotAPart,
    /// A dump has the end of a transaction, and not what came before.
    #[error("an earlier part of the transaction is not there")]
    PartMissing,
}

/// An entry that cannot be decoded. Nothing of it is delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryError {
    /// The entry's `ts`, when that could be read.
    pub timestamp: Option<Timestamp>,
    /// What is wrong.
    pub fault: Fault,
}

impl fmt::Display for EntryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.timestamp {
            Some(timestamp) => write!(f, "cannot decode the oplog entry of {timestamp}"),
            None => f.write_str("cannot decode an oplog entry without a timestamp"),
        }
    }
}

impl std::error::Error for EntryError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.fault)
    }
}

impl EntryError {
    /// Finds the timestamp by itself: the fault may lie in a field before it.
    #[cold]
    pub(super) fn new(bytes: &[u8], fault: Fault) -> Self {
        let timestamp = Walk::find(bytes, "ts").ok().flatten();
        Self {
            timestamp: timestamp.and_then(|element| element.timestamp().map(Timestamp::from)),
            fault,
        }
    }
}

/// The letter in `op`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind<'a> {
    /// `i`
    Insert,
    /// `u`
    Update,
    /// `d`
    Delete,
    /// `c`
    Command,
    /// `n`
    NoOp,
    /// Anything else.
    Other(&'a str),
}

impl<'a> From<&'a str> for ChangeKind<'a> {
    fn from(op: &'a str) -> Self {
        match op {
            "i" => Self::Insert,
            "u" => Self::Update,
            "d" => Self::Delete,
            "c" => Self::Command,
            "n" => Self::NoOp,
            other => Self::Other(other),
        }
    }
}

/// What an entry, or an element of `applyOps`, says was done.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// `op`
    pub kind: ChangeKind<'a>,
    /// `fromMigrate`: a chunk moved between shards, no document changed.
    pub from_migrate: bool,
    /// `ui`: the collection's UUID.
    pub uuid: Option<[u8; 16]>,
    /// `needsRetryImage`: which document is kept aside so that the write can be retried.
    pub retry_image: Option<&'a str>,
    /// `preImageOpTime`: the entry that holds the document before the write.
    pub pre_image: Option<OpTime>,
    /// `postImageOpTime`: the entry that holds the document after the write.
    pub post_image: Option<OpTime>,
    namespace: Option<&'a str>,
    object: Option<&'a [u8]>,
    object2: Option<&'a [u8]>,
}

impl<'a> Change<'a> {
    /// Reads an element of `applyOps`.
    ///
    /// # Errors
    /// A [`Fault`] when a field is missing, is of the wrong type, or the bytes are not BSON.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Fault> {
        Fields::walk(bytes)?.change()
    }

    /// `ns`: `db.coll`, or `db.$cmd` for a command.
    ///
    /// # Errors
    /// [`Fault::Missing`].
    pub fn namespace(&self) -> Result<&'a str, Fault> {
        self.namespace.ok_or(Fault::Missing("ns"))
    }

    /// `o`: the document, the change, the key, or the command.
    ///
    /// # Errors
    /// [`Fault::Missing`].
    pub fn object(&self) -> Result<&'a [u8], Fault> {
        self.object.ok_or(Fault::Missing("o"))
    }

    /// `o2`: an update's key, and from 5.3 an insert's.
    #[must_use]
    pub fn object2(&self) -> Option<&'a [u8]> {
        self.object2
    }
}

/// An entry's own place in the oplog, and the entry before it in its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// `ts` and `t`
    pub op_time: OpTime,
    /// `prevOpTime`; none where the entry has none, or the null one that begins a chain.
    pub prev_op_time: Option<OpTime>,
}

impl Link {
    /// Reads an entry of which only `ts`, `t` and `prevOpTime` may have been asked for.
    ///
    /// # Errors
    /// [`EntryError`] when one of them is of the wrong type, or `ts` is missing.
    pub fn read(bytes: &[u8]) -> Result<Self, EntryError> {
        Self::walk(bytes).map_err(|fault| EntryError::new(bytes, fault))
    }

    fn walk(bytes: &[u8]) -> Result<Self, Fault> {
        Fields::walk(bytes)?.link()
    }
}

/// One oplog entry.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Where it stands.
    pub link: Link,
    /// What was done.
    pub change: Change<'a>,
    /// `wall`, in milliseconds since 1970; from 3.6 always there.
    pub wall_time_ms: Option<i64>,
    /// `lsid` (a document) and `txnNumber`: of a transaction, or of a retryable write.
    pub session: Option<(&'a [u8], i64)>,
    /// `multiOpType` is 1: the writes in `applyOps` were grouped only to log them together.
    pub grouped: bool,
}

impl<'a> Entry<'a> {
    /// Reads an entry by one walk over its fields.
    ///
    /// # Errors
    /// [`EntryError`] when a field that is needed is missing or of the wrong type.
    pub fn read(bytes: &'a [u8]) -> Result<Self, EntryError> {
        Self::walk(bytes).map_err(|fault| EntryError::new(bytes, fault))
    }

    fn walk(bytes: &'a [u8]) -> Result<Self, Fault> {
        let fields = Fields::walk(bytes)?;
        Ok(Self {
            link: fields.link()?,
            change: fields.change()?,
            wall_time_ms: fields.wall_time_ms,
            session: fields.lsid.zip(fields.txn_number),
            grouped: fields.grouped,
        })
    }
}

/// The fields of an entry or of an element of `applyOps`, as far as they were met.
#[derive(Default)]
struct Fields<'a> {
    kind: Option<ChangeKind<'a>>,
    namespace: Option<&'a str>,
    object: Option<&'a [u8]>,
    object2: Option<&'a [u8]>,
    from_migrate: bool,
    uuid: Option<[u8; 16]>,
    retry_image: Option<&'a str>,
    pre_image: Option<OpTime>,
    post_image: Option<OpTime>,
    timestamp: Option<Timestamp>,
    term: Option<i64>,
    prev_op_time: Option<OpTime>,
    wall_time_ms: Option<i64>,
    lsid: Option<&'a [u8]>,
    txn_number: Option<i64>,
    grouped: bool,
}

impl<'a> Fields<'a> {
    fn walk(bytes: &'a [u8]) -> Result<Self, Fault> {
        let mut fields = Self::default();
        each(bytes, |element| fields.take(element))?;
        Ok(fields)
    }

    #[inline(always)]
    fn take(&mut self, element: &Element<'a>) -> Result<(), Fault> {
        match element.key {
            b"op" => self.kind = Some(text("op", element)?.into()),
            b"ns" => self.namespace = Some(text("ns", element)?),
            b"o" => self.object = Some(document("o", element)?),
            b"o2" => self.object2 = Some(document("o2", element)?),
            b"fromMigrate" => {
                self.from_migrate = element
                    .bool()
                    .ok_or_else(|| wrong("fromMigrate", element))?;
            }
            b"ts" => self.timestamp = Some(timestamp("ts", element)?),
            b"t" => self.term = Some(int("t", element)?),
            // Nothing but the op document's `wallTime` hangs on it.
            b"wall" => self.wall_time_ms = element.date_ms(),
            b"lsid" => self.lsid = Some(document("lsid", element)?),
            b"txnNumber" => self.txn_number = Some(int("txnNumber", element)?),
            b"prevOpTime" => self.prev_op_time = op_time("prevOpTime", element)?,
            b"ui" => self.uuid = uuid(element),
            b"needsRetryImage" => self.retry_image = element.text(),
            b"preImageOpTime" => self.pre_image = op_time("preImageOpTime", element)?,
            b"postImageOpTime" => self.post_image = op_time("postImageOpTime", element)?,
            b"multiOpType" => self.grouped = int("multiOpType", element)? == 1,
            _ => {}
        }
        Ok(())
    }

    fn change(&self) -> Result<Change<'a>, Fault> {
        Ok(Change {
            kind: self.kind.ok_or(Fault::Missing("op"))?,
            from_migrate: self.from_migrate,
            uuid: self.uuid,
            retry_image: self.retry_image,
            pre_image: self.pre_image,
            post_image: self.post_image,
            namespace: self.namespace,
            object: self.object,
            object2: self.object2,
        })
    }

    fn link(&self) -> Result<Link, Fault> {
        Ok(Link {
            op_time: OpTime {
                timestamp: self.timestamp.ok_or(Fault::Missing("ts"))?,
                term: self.term.unwrap_or(-1),
            },
            prev_op_time: self.prev_op_time,
        })
    }
}

/// `{ts, t}`, or none for the null one (`ts` zero) that begins a chain.
fn op_time(field: &'static str, element: &Element<'_>) -> Result<Option<OpTime>, Fault> {
    let mut op_time = OpTime {
        timestamp: Timestamp::default(),
        term: -1,
    };
    each(document(field, element)?, |part| {
        match part.key {
            b"ts" => op_time.timestamp = timestamp(field, part)?,
            b"t" => op_time.term = int(field, part)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok((op_time.timestamp != Timestamp::default()).then_some(op_time))
}

/// Shows every element where the walk put it: moving them costs half as much again as the walk, as
/// the processor waits for what it has only just stored.
#[inline(always)]
fn each<'a>(
    bytes: &'a [u8],
    mut take: impl FnMut(&Element<'a>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut walk = Walk::new(bytes)?;
    while let Some(step) = &walk.next() {
        match step {
            Ok(element) => take(element)?,
            Err(malformed) => return Err((*malformed).into()),
        }
    }
    Ok(())
}

#[cold]
fn wrong(field: &'static str, element: &Element<'_>) -> Fault {
    Fault::WrongType {
        field,
        kind: element.kind,
    }
}

/// A UUID, of whatever is one.
pub(super) fn uuid(element: &Element<'_>) -> Option<[u8; 16]> {
    let bytes = element.value.get(5..)?;
    (element.kind == kind::BINARY).then(|| bytes.try_into().ok())?
}

pub(super) fn text<'a>(field: &'static str, element: &Element<'a>) -> Result<&'a str, Fault> {
    element.text().ok_or_else(|| wrong(field, element))
}

pub(super) fn document<'a>(field: &'static str, element: &Element<'a>) -> Result<&'a [u8], Fault> {
    element.document().ok_or_else(|| wrong(field, element))
}

pub(super) fn array<'a>(field: &'static str, element: &Element<'a>) -> Result<&'a [u8], Fault> {
    element.array().ok_or_else(|| wrong(field, element))
}

fn int(field: &'static str, element: &Element<'_>) -> Result<i64, Fault> {
    element.int64().ok_or_else(|| wrong(field, element))
}

fn timestamp(field: &'static str, element: &Element<'_>) -> Result<Timestamp, Fault> {
    let timestamp = element.timestamp().ok_or_else(|| wrong(field, element))?;
    Ok(timestamp.into())
}
