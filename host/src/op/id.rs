//! The stable id of an op.

use std::{fmt, str::FromStr};

use super::Timestamp;

/// The id of an op: the same on every redelivery, and the same from the oplog and a change stream.
///
/// Written `SECONDS:INCREMENT:INDEX`: the cluster time, and which of the ops of that cluster time it
/// is. An ordinary entry has index 0; the ops of a transaction, or of writes that the server grouped
/// into one entry, count from 0 in the order in which the entry lists them, whatever of them is
/// watched. Behind a mongos two shards can write at the same cluster time, so there a fourth part
/// tells the documents apart. Where several deployments are read, a last part, `@` and eight digits,
/// tells these apart.
///
/// The document of a direct read has `direct:HASH` instead: a document that is read again, after a
/// restart, has the same id for as long as it has not changed, whatever the cluster time of the read.
/// No change has such an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OpId {
    /// Cluster time of the op.
    pub timestamp: Timestamp,
    /// Which op of that cluster time.
    pub index: OpIndex,
    /// Hash of the document's key, on a sharded cluster.
    pub shard_key_hash: Option<u32>,
    /// [Mark](super::Cluster::mark) of the deployment, where several are read.
    pub cluster: Option<u32>,
}

/// Which of the ops of one cluster time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OpIndex {
    /// Its index in the entry.
    Known(u32),
    /// The source does not tell the index (a resume token of an unknown format); the hash of the
    /// resume token is as stable, but differs from the index in other sources.
    TokenHash(u64),
    /// No change, but a document that was read: 96 bits of a hash over the collection, the direct read
    /// that it belongs to, and the document. The id does not show the cluster time.
    Read([u32; 3]),
}

/// What the id of a document that was read begins with.
const READ: &str = "direct:";

impl OpId {
    /// The id as it is written. Each op carries it, and going through `fmt` for its numbers would take
    /// a third of the time of writing the whole op.
    #[must_use]
    pub fn text(&self) -> OpIdText {
        let mut text = OpIdText {
            bytes: [0; ID_BYTES_MAX],
            start: ID_BYTES_MAX,
        };
        if let Some(mark) = self.cluster {
            text.hex(u64::from(mark), 8);
            text.byte(b'@');
            text.byte(b':');
        }
        if let Some(hash) = self.shard_key_hash {
            text.hex(u64::from(hash), 8);
            text.byte(b':');
        }
        match self.index {
            OpIndex::Known(index) => text.decimal(index),
            OpIndex::TokenHash(hash) => {
                text.hex(hash, 16);
                text.byte(b't');
            }
            OpIndex::Read(hash) => {
                for word in hash.into_iter().rev() {
                    text.hex(u64::from(word), 8);
                }
                for &byte in READ.as_bytes().iter().rev() {
                    text.byte(byte);
                }
                return text;
            }
        }
        text.byte(b':');
        text.decimal(self.timestamp.increment);
        text.byte(b':');
        text.decimal(self.timestamp.seconds);
        text
    }
}

impl fmt::Display for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text().as_str())
    }
}

impl FromStr for OpId {
    type Err = ();

    /// Reads an id as it is written, and nothing that is merely like it.
    fn from_str(text: &str) -> Result<Self, ()> {
        if let Some(hash) = text.strip_prefix(READ) {
            return Self::read(hash)
                .filter(|id| id.text().as_str() == text)
                .ok_or(());
        }
        let mut parts = text.split(':');
        let mut part = || parts.next().ok_or(());
        let timestamp = Timestamp::new(
            part()?.parse().map_err(drop)?,
            part()?.parse().map_err(drop)?,
        );
        let index = part()?;
        let index = match index.strip_prefix('t') {
            Some(hash) => OpIndex::TokenHash(u64::from_str_radix(hash, 16).map_err(drop)?),
            None => OpIndex::Known(index.parse().map_err(drop)?),
        };
        let mut id = Self {
            timestamp,
            index,
            shard_key_hash: None,
            cluster: None,
        };
        let hex = |digits: &str| u32::from_str_radix(digits, 16).map_err(drop);
        for part in parts {
            match part.strip_prefix('@') {
                Some(mark) => id.cluster = Some(hex(mark)?),
                None => id.shard_key_hash = Some(hex(part)?),
            }
        }
        // Whatever stood in another place, or twice, is written differently.
        match id.text().as_str() == text {
            true => Ok(id),
            false => Err(()),
        }
    }
}

impl OpId {
    /// The id of a document that was read, but for the cluster time of the read.
    fn read(text: &str) -> Option<Self> {
        let (hash, mark) = match text.split_once(":@") {
            Some((hash, mark)) => (hash, Some(u32::from_str_radix(mark, 16).ok()?)),
            None => (text, None),
        };
        let word = |at: usize| u32::from_str_radix(hash.get(at..at + 8)?, 16).ok();
        Some(Self {
            timestamp: Timestamp::default(),
            index: OpIndex::Read([word(0)?, word(8)?, word(16)?]),
            shard_key_hash: None,
            cluster: mark,
        })
    }
}

/// Two numbers of ten digits, `t` and sixteen digits, eight digits, `@` and eight digits, and the
/// colons between them.
const ID_BYTES_MAX: usize = 2 * 10 + 17 + 8 + 9 + 4;

/// The text of an [`OpId`], written from its end.
#[derive(Debug, Clone, Copy)]
pub struct OpIdText {
    bytes: [u8; ID_BYTES_MAX],
    start: usize,
}

impl OpIdText {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[self.start..]).expect("digits, letters and signs")
    }

    fn byte(&mut self, byte: u8) {
        self.start -= 1;
        self.bytes[self.start] = byte;
    }

    fn decimal(&mut self, mut number: u32) {
        loop {
            self.byte(b'0' + (number % 10) as u8);
            number /= 10;
            if number == 0 {
                return;
            }
        }
    }

    fn hex(&mut self, mut number: u64, digits: u32) {
        for _ in 0..digits {
            self.byte(b"0123456789abcdef"[(number & 15) as usize]);
            number >>= 4;
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
            cluster: None,
        };
        assert_eq!(id.to_string(), "17:3:4");
        id.shard_key_hash = Some(0xAB);
        assert_eq!(id.to_string(), "17:3:4:000000ab");
        id.index = OpIndex::TokenHash(1);
        assert_eq!(id.to_string(), "17:3:t0000000000000001:000000ab");
        id.cluster = Some(0xCD);
        id.index = OpIndex::Known(0);
        assert_eq!(id.to_string(), "17:3:0:000000ab:@000000cd");
        let longest = OpId {
            timestamp: Timestamp::new(u32::MAX, u32::MAX),
            index: OpIndex::TokenHash(u64::MAX),
            shard_key_hash: Some(u32::MAX),
            cluster: Some(u32::MAX),
        };
        assert_eq!(
            longest.to_string(),
            "4294967295:4294967295:tffffffffffffffff:ffffffff:@ffffffff"
        );
        assert_eq!(longest.to_string().len(), ID_BYTES_MAX);
    }
    #[test]
    fn reads_what_it_writes() {
        for text in [
            "0:0:0",
            "17:3:4",
            "17:3:4:000000ab",
            "17:3:t0000000000000001",
            "17:3:t0000000000000001:000000ab",
            "17:3:4:@000000cd",
            "17:3:4:000000ab:@000000cd",
            "4294967295:4294967295:tffffffffffffffff:ffffffff",
            "direct:000000010000000200abcdef",
            "direct:000000010000000200abcdef:@000000cd",
        ] {
            assert_eq!(
                text.parse().map(|id: OpId| id.to_string()),
                Ok(text.to_owned())
            );
        }
        for text in [
            "",
            "17",
            "17:3",
            "17:3:",
            "17:3:4:",
            "+17:3:4",
            "017:3:4",
            "17:3:4:ab",
            "17:3:t1",
            "17:3:4:000000AB",
            "17:3:4:000000ab:",
            "17:3:4:@cd",
            "17:3:4:@000000cd:000000ab",
            "17:3:4:000000ab:000000ab",
            "17:3:4:@000000cd:@000000cd",
            "4294967296:0:0",
            "a:b:c",
            "direct:",
            "direct:00000001000000020000000",
            "direct:000000010000000200abcdef0",
            "direct:000000010000000200ABCDEF",
        ] {
            assert_eq!(text.parse::<OpId>(), Err(()), "{text}");
        }
    }
}
