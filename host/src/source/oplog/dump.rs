//! Entries that somebody has copied, as mongodump does.

use std::collections::HashMap;

use bytes::Bytes;

use super::{Chain, Decoded, Decoder, EntryError, Fault, Link, Skipped};
use crate::op::{Batch, BatchBuilder, OpTime, Position, Scope, SourceKind};

/// Decodes the entries of a dump, in their order, without a server.
///
/// Of a transaction that takes several entries the earlier ones are held until its end comes: behind
/// a server they would be read again then. Those of one that is not at its end, or was aborted, are
/// held as long as the dump is read.
#[derive(Debug)]
pub struct Dump {
    decoder: Decoder,
    parts: HashMap<OpTime, Bytes>,
}

impl Dump {
    /// A dump of which the ops in `scope` are wanted.
    #[must_use]
    pub fn new(scope: Scope) -> Self {
        Self {
            decoder: Decoder::new(scope),
            parts: HashMap::new(),
        }
    }

    /// The ops of the next entry: one batch, or several for a transaction of several entries.
    ///
    /// # Errors
    /// [`EntryError`]; [`Fault::PartMissing`] where the dump begins inside a transaction. None of the
    /// entry's ops are given then, and the next entry can be read.
    pub fn entry(&mut self, entry: &[u8]) -> Result<Vec<Batch>, EntryError> {
        let mut builder = BatchBuilder::new(Bytes::copy_from_slice(entry));
        let body = builder.body();
        let link = Link::read(&body)?;
        match self.decoder.entry(&body, &mut builder)? {
            Decoded::Ops(_) | Decoded::NoOp => {}
            Decoded::Skipped(Skipped::PartialTransaction | Skipped::PreparedTransaction) => {
                self.parts.insert(link.op_time, body.clone());
            }
            Decoded::Skipped(_) => {}
            Decoded::Chain(chain) => return self.chain(&chain, body.clone()),
        }
        Ok(vec![finish(builder, link)])
    }

    /// The ops of a transaction, oldest part first.
    fn chain(&mut self, chain: &Chain, last: Bytes) -> Result<Vec<Batch>, EntryError> {
        let link = Link::read(&last)?;
        let missing = || EntryError {
            timestamp: Some(chain.timestamp),
            fault: Fault::PartMissing,
        };
        let mut parts = Vec::new();
        if !chain.commit {
            parts.push(last);
        }
        let mut next = Some(chain.prev_op_time);
        while let Some(op_time) = next {
            let part = self.parts.remove(&op_time).ok_or_else(missing)?;
            next = Link::read(&part)?.prev_op_time;
            parts.push(part);
        }
        let mut index = 0;
        let decode = |part| {
            let mut builder = BatchBuilder::new(part);
            let body = builder.body();
            index = self.decoder.part(&body, chain, index, &mut builder)?;
            Ok(finish(builder, link))
        };
        parts.into_iter().rev().map(decode).collect()
    }
}

fn finish(builder: BatchBuilder, link: Link) -> Batch {
    builder.finish(SourceKind::Oplog, Position::Oplog(link.op_time), false)
}

#[cfg(test)]
mod tests {
    use bson::doc;

    use super::*;
    use crate::source::oplog::tests::{command, entry, ids, insert, raw, scope, session};

    /// An entry at another time than the others of these tests.
    fn at(mut document: bson::Document, increment: u32) -> Vec<u8> {
        document.insert("ts", bson::Timestamp { time: 9, increment });
        raw(&document)
    }

    fn apply(id: i32, more: bson::Document, prev: Option<u32>, increment: u32) -> Vec<u8> {
        let mut o = doc! {"applyOps": [insert("shop.orders", id)]};
        o.extend(more);
        at(command(o, session(prev)), increment)
    }

    /// The ids of the ops of an entry, with those of their documents.
    fn taken(dump: &mut Dump, entry: &[u8]) -> Vec<String> {
        dump.entry(entry).unwrap().iter().flat_map(ids).collect()
    }

    #[test]
    fn a_transaction_comes_with_its_last_entry() {
        let mut dump = Dump::new(scope("shop"));
        let partial = || doc! {"partialTxn": true};
        assert_eq!(taken(&mut dump, &apply(1, partial(), None, 1)), [""; 0]);
        let other = at(entry(insert("shop.orders", 7)), 2);
        assert_eq!(taken(&mut dump, &other), ["9:2:0 7"]);
        assert_eq!(taken(&mut dump, &apply(2, partial(), Some(1), 3)), [""; 0]);
        let last = apply(3, doc! {}, Some(3), 4);
        assert_eq!(taken(&mut dump, &last), ["9:4:0 1", "9:4:1 2", "9:4:2 3"]);
        // What was given is not held any longer.
        assert!(dump.parts.is_empty());
    }

    #[test]
    fn a_prepared_transaction_comes_with_its_commit() {
        let mut dump = Dump::new(scope("shop"));
        let prepared = apply(1, doc! {"prepare": true}, None, 1);
        assert_eq!(taken(&mut dump, &prepared), [""; 0]);
        let commit = at(command(doc! {"commitTransaction": 1}, session(Some(1))), 5);
        assert_eq!(taken(&mut dump, &commit), ["9:5:0 1"]);
    }

    #[test]
    fn a_dump_may_begin_inside_a_transaction() {
        let mut dump = Dump::new(scope("shop"));
        let error = dump.entry(&apply(3, doc! {}, Some(1), 2)).unwrap_err();
        assert_eq!(error.fault, Fault::PartMissing);
        let other = at(entry(insert("shop.orders", 7)), 3);
        assert_eq!(taken(&mut dump, &other), ["9:3:0 7"]);
    }
}
