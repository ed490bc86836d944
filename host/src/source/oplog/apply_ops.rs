//! Entries that hold many ops: transactions, and writes that were grouped to log them together.
//!
//! A transaction that takes several entries is delivered at its last one. All its ops carry that
//! entry's time, so a start at any position gives the same ops, and nothing is held until then:
//!
//! ```json
//! {"ts": 1:1, "op": "c", "ns": "admin.$cmd", "lsid": {}, "txnNumber": 3, "prevOpTime": null optime,
//!  "o": {"applyOps": [...], "partialTxn": true}}                          skipped
//! {"ts": 1:2, ..., "prevOpTime": {"ts": 1:1, "t": 1}, "o": {"applyOps": [...], "partialTxn": true}}   skipped
//! {"ts": 1:3, ..., "prevOpTime": {"ts": 1:2, "t": 1}, "o": {"applyOps": [...], "count": 9}}           the chain's end
//! ```
//!
//! A prepared transaction ends with `{"commitTransaction": 1}` instead, which has no ops of its own;
//! what it leads to has `prepare: true`. With `multiOpType: 1` (from 8.0) the writes in `applyOps`
//! are not a transaction, and `prevOpTime` leads to other writes of the session.

use oplet_sdk::raw::{Element, Walk};

use super::{
    Change, ChangeKind, Decoded, Decoder, Entry, EntryError, Fault, Skipped,
    decode::{Stamp, first_of},
    entry::{array, document},
};
use crate::op::{BatchBuilder, OpTime, Timestamp};

/// How deep `applyOps` may nest; each takes three levels of a document's 180.
pub(super) const NESTING_MAX: u32 = 64;

/// The end of a transaction with earlier parts, which are found by walking `prevOpTime` back.
///
/// The tail reads the parts' [`Link`](super::Link)s from `prev_op_time` back until one leads no
/// further, then calls [`Decoder::part`] for each, oldest first, and, unless this is a `commit`, last
/// for the entry that gave the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    /// Where the last part before this entry stands.
    pub prev_op_time: OpTime,
    /// The entry is the commit of a prepared transaction, and no part itself.
    pub commit: bool,
    /// Cluster time of the entry, which all ops carry.
    pub timestamp: Timestamp,
    /// The entry's wall clock, which all ops carry, in milliseconds since 1970.
    pub wall_time_ms: Option<i64>,
    /// The transaction's number in its session.
    pub txn_number: Option<i64>,
}

impl Chain {
    pub(super) fn new(entry: &Entry<'_>, prev_op_time: OpTime, commit: bool) -> Self {
        Self {
            prev_op_time,
            commit,
            timestamp: entry.link.op_time.timestamp,
            wall_time_ms: entry.wall_time_ms,
            txn_number: entry.session.map(|(_, txn_number)| txn_number),
        }
    }
}

impl Decoder {
    /// Adds the ops of one part of a transaction, whose first op has that index in the transaction,
    /// and returns the index after its last.
    ///
    /// # Errors
    /// [`EntryError`], with the part's own timestamp; the builder then has the ops that it had before.
    ///
    /// # Panics
    /// When the bytes do not lie in the builder's body.
    pub fn part(
        &mut self,
        bytes: &[u8],
        chain: &Chain,
        index: u32,
        builder: &mut BatchBuilder,
    ) -> Result<u32, EntryError> {
        let entry = Entry::read(bytes)?;
        let len = builder.len();
        self.decode_part(&entry, chain, index, builder)
            .map_err(|fault| {
                self.take_back(len, builder);
                EntryError::new(bytes, fault)
            })
    }

    /// Adds the ops of an entry whose command is `applyOps`, unless it is a part of something longer.
    pub(super) fn transaction<'a>(
        &mut self,
        entry: &Entry<'a>,
        command: &Element<'_>,
        mut stamp: Stamp<'a>,
        builder: &mut BatchBuilder,
    ) -> Result<Decoded<'a>, Fault> {
        if !entry.grouped {
            match state(entry.change.object()?)? {
                State::Partial => return Ok(Decoded::Skipped(Skipped::PartialTransaction)),
                State::Prepared => return Ok(Decoded::Skipped(Skipped::PreparedTransaction)),
                State::Complete => {}
            }
            if let Some(prev_op_time) = entry.link.prev_op_time {
                return Ok(Decoded::Chain(Chain::new(entry, prev_op_time, false)));
            }
            stamp.txn = entry.session;
        }
        let len = builder.len();
        self.apply_ops(command, &stamp, &mut 0, 0, builder)?;
        Ok(Decoded::Ops(builder.len() - len))
    }

    fn decode_part(
        &mut self,
        entry: &Entry<'_>,
        chain: &Chain,
        mut index: u32,
        builder: &mut BatchBuilder,
    ) -> Result<u32, Fault> {
        let txn_number = entry.session.map(|(_, txn_number)| txn_number);
        if entry.change.kind != ChangeKind::Command || txn_number != chain.txn_number {
            return Err(Fault::NotAPart);
        }
        let stamp = Stamp {
            timestamp: chain.timestamp,
            wall_time_ms: chain.wall_time_ms,
            txn: entry.session,
            entry: entry.link.op_time.timestamp,
            first: index,
            lsid: None,
        };
        match first_of(entry.change.object()?)? {
            Some(command) if command.key == b"applyOps" => {
                self.apply_ops(&command, &stamp, &mut index, 0, builder)?;
                Ok(index)
            }
            _ => Err(Fault::NotAPart),
        }
    }

    /// Unwinds an `applyOps`: every op in it takes an index, watched or not.
    fn apply_ops(
        &mut self,
        command: &Element<'_>,
        stamp: &Stamp<'_>,
        index: &mut u32,
        depth: u32,
        builder: &mut BatchBuilder,
    ) -> Result<(), Fault> {
        if depth >= NESTING_MAX {
            return Err(Fault::TooDeep);
        }
        for inner in Walk::new(array("applyOps", command)?)? {
            let change = Change::read(document("applyOps", &inner?)?)?;
            if change.kind == ChangeKind::Command
                && let Some(nested) = first_of(change.object()?)?
                && nested.key == b"applyOps"
            {
                self.apply_ops(&nested, stamp, index, depth + 1, builder)?;
                continue;
            }
            if change.kind != ChangeKind::NoOp && !change.from_migrate {
                self.change(&change, stamp, *index, builder)?;
            }
            *index = index.checked_add(1).ok_or(Fault::TooManyOps)?;
        }
        Ok(())
    }
}

/// How far the transaction is when this `applyOps` is logged.
enum State {
    Partial,
    Prepared,
    Complete,
}

fn state(object: &[u8]) -> Result<State, Fault> {
    let mut state = State::Complete;
    for element in Walk::new(object)? {
        let element = element?;
        match (element.key, element.bool()) {
            (b"partialTxn", Some(true)) => state = State::Partial,
            (b"prepare", Some(true)) => return Ok(State::Prepared),
            _ => {}
        }
    }
    Ok(state)
}
