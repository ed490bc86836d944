//! The stable id of an op.

use std::fmt;

use super::Timestamp;

/// The id of an op: the same on every redelivery, and the same from the oplog and a change stream.
///
/// Written `SECONDS:INCREMENT:INDEX`: the cluster time, and which of the ops of that cluster time it
/// is. An ordinary entry has index 0; the ops of a transaction, or of writes that the server grouped
/// into one entry, count from 0 in the order in which the entry lists them, whatever of them is
/// watched. Behind a mongos two shards can write at the same cluster time, so there a fourth part
/// tells the documents apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OpId {
    /// Cluster time of the op.
    pub timestamp: Timestamp,
    /// Which op of that cluster time.
    pub index: OpIndex,
    /// Hash of the document's key, on a sharded cluster.
    pub shard_key_hash: Option<u32>,
}

/// Which of the ops of one cluster time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OpIndex {
    /// Its index in the entry.
    Known(u32),
    /// The source does not tell the index (a resume token of an unknown format); the hash of the
    /// resume token is as stable, but differs from the index in other sources.
    TokenHash(u64),
}

impl fmt::Display for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.timestamp)?;
        match self.index {
            OpIndex::Known(index) => write!(f, ":{index}")?,
            OpIndex::TokenHash(hash) => write!(f, ":t{hash:016x}")?,
        }
        match self.shard_key_hash {
            Some(hash) => write!(f, ":{hash:08x}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_as_documented() {
        let mut id = OpId {
            timestamp: Timestamp::new(17, 3),
            index: OpIndex::Known(4),
            shard_key_hash: None,
        };
        assert_eq!(id.to_string(), "17:3:4");
        id.shard_key_hash = Some(0xAB);
        assert_eq!(id.to_string(), "17:3:4:000000ab");
        id.index = OpIndex::TokenHash(1);
        assert_eq!(id.to_string(), "17:3:t0000000000000001:000000ab");
    }
}
