//! Transactions of several entries: their parts are read again when their end comes.

use bytes::Bytes;
use tracing::{debug, error};

use super::{Chain, EntryError, Link, Ready, Tail};
use crate::{
    op::{Batch, BatchBuilder, OpTime, Position, SourceKind},
    source::{Error, oldest_entry},
};

/// A transaction of several entries that is given entry by entry, so that memory holds one of them.
#[derive(Debug)]
pub(super) struct Transaction {
    chain: Chain,
    /// Where the earlier parts are that were not given yet, the next one last.
    parts: Vec<OpTime>,
    /// The entry that ends the transaction, if that is a part itself.
    last: Option<Bytes>,
    /// Index of the next op in the transaction.
    index: u32,
    /// Where the tail stands until all is given.
    position: Position,
}

impl Tail {
    /// Finds the parts of a transaction of several entries, to be given one after another. The
    /// position stays before the transaction until its last part is given.
    pub(super) async fn take_chain(&mut self, chain: &Chain, last: Bytes) -> Result<(), Error> {
        let mut parts = Vec::new();
        let mut next = Some(chain.prev_op_time);
        while let Some(op_time) = next {
            let entry = self.part(chain, op_time).await?;
            next = match Link::read(&entry) {
                Ok(link) => link.prev_op_time,
                Err(error) => {
                    self.give_up_chain(chain, &error, entry.clone());
                    return Ok(());
                }
            };
            parts.push(op_time);
        }
        debug!(timestamp = %chain.timestamp, parts = parts.len(), "a transaction of several entries");
        self.ready.push_back(Ready::Transaction(Transaction {
            chain: *chain,
            parts,
            last: (!chain.commit).then_some(last),
            index: 0,
            position: self.position.clone(),
        }));
        Ok(())
    }

    /// The ops of the next part of a transaction; `None` when there is no more.
    pub(super) async fn next_part(
        &mut self,
        mut transaction: Transaction,
    ) -> Result<Option<Batch>, Error> {
        let entry = match (transaction.parts.pop(), transaction.last.take()) {
            (Some(op_time), last) => {
                transaction.last = last;
                self.part(&transaction.chain, op_time).await?
            }
            (None, Some(last)) => last,
            (None, None) => return Ok(None),
        };
        let mut builder = BatchBuilder::new(entry);
        let entry = builder.body();
        let Transaction { chain, index, .. } = &transaction;
        match self.decoder.part(&entry, chain, *index, &mut builder) {
            Ok(index) => {
                let position = transaction.position.clone();
                let batch = builder.finish(SourceKind::Oplog, position.clone(), false);
                transaction.index = index;
                self.ready.push_front(Ready::Transaction(transaction));
                match self.ready_of(batch, position) {
                    Ready::Batch(batch) => Ok(Some(batch)),
                    ready => {
                        self.ready.push_front(ready);
                        Ok(None)
                    }
                }
            }
            Err(error) => {
                let chain = *chain;
                self.give_up_chain(&chain, &error, entry);
                Ok(None)
            }
        }
    }

    /// Reads a part of a transaction. A server keeps those of a transaction that is still open; one
    /// that was committed may have lost them while nobody read.
    async fn part(&mut self, chain: &Chain, part: OpTime) -> Result<Bytes, Error> {
        let timestamp = bson::Timestamp::from(part.timestamp);
        if let Some(entry) = self
            .find_entry(bson::doc! { "ts": timestamp }, None)
            .await?
        {
            return Ok(Bytes::from(entry.into_bytes()));
        }
        // Where the oplog begins may lie before the transaction's end, which would be met again: what
        // is left whole begins behind that.
        let left = chain.timestamp.next();
        let oldest = oldest_entry(&self.client, &self.options.oplog_namespace).await?;
        Err(Error::PositionLost {
            position: self.position.clone(),
            oldest: Some(oldest.map_or(left, |oldest| oldest.timestamp.max(left))),
            reason: format!(
                "a transaction that follows has its beginning at {}, which is no longer there",
                part.timestamp
            ),
        })
    }

    /// A transaction with a part that cannot be decoded is passed over as far as it was not given.
    fn give_up_chain(&mut self, chain: &Chain, error: &EntryError, entry: Bytes) {
        error!(timestamp = %chain.timestamp, "a transaction is passed over from its undecodable part on");
        self.undecodable_entry(error, entry);
    }
}
