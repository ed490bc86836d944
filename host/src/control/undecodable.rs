//! What sources cannot decode, as letters in the store.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use oplet_sdk::{
    abi::field,
    raw::{self, Writer},
};

use super::post::Post;
use crate::{
    dead_letters::{DeadLetter, kind},
    op::{Ack, Acknowledge, BatchTicket},
    source::{Aside, Undecodable},
};

/// What stands for a module where none was reached. It is no name that a module can have.
const NO_MODULE: &str = "-";

/// Who is told of a letter that no op waits for.
#[derive(Debug)]
struct Nobody;

impl Acknowledge for Nobody {
    fn acknowledge(&self, _: BatchTicket, _: &[u32]) {}
}

impl Aside for Post {
    fn keep(&self, undecodable: Undecodable) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let letter = letter(self.name(), &undecodable);
            let ticket = BatchTicket {
                stream: 0,
                sequence: 0,
            };
            self.put(letter, Ack::new(Arc::new(Nobody), ticket, Vec::new()))
                .await;
            // The source goes on behind it then.
            self.flush().await;
        })
    }
}

/// `{opId, timestamp, source, entry}`: what is known of it in the place of an op, and it, as it came.
fn letter(name: &str, undecodable: &Undecodable) -> DeadLetter {
    let Undecodable {
        kind: source,
        timestamp,
        reason,
        bytes,
    } = undecodable;
    let hash = xxhash_rust::xxh3::xxh3_64(bytes);
    let mut op = Vec::new();
    let mut writer = Writer::new(&mut op);
    // The same whenever it is read again.
    let time = timestamp.unwrap_or_default();
    writer.text(field::OP_ID.as_bytes(), &format!("{time}:x{hash:016x}"));
    writer.timestamp(field::TIMESTAMP.as_bytes(), time.seconds, time.increment);
    writer.text(field::SOURCE.as_bytes(), source.as_str());
    match raw::validate(bytes) {
        Ok(()) => writer.document(b"entry", bytes),
        Err(_) => {
            let mut binary = (bytes.len() as u32).to_le_bytes().to_vec();
            binary.push(0);
            binary.extend_from_slice(bytes);
            writer.raw(b"entry", raw::kind::BINARY, &binary);
        }
    }
    writer.finish();
    DeadLetter::new(name, NO_MODULE, "", &op).failed(kind::UNDECODABLE, "", reason)
}

#[cfg(test)]
mod tests {
    use bson::{Document, RawDocumentBuf, doc};

    use super::*;
    use crate::op::{SourceKind, Timestamp};

    fn of(bytes: Vec<u8>) -> DeadLetter {
        let undecodable = Undecodable {
            kind: SourceKind::Oplog,
            timestamp: Some(Timestamp::new(9, 3)),
            reason: "field `ns` is missing".into(),
            bytes: bytes.into(),
        };
        letter("run", &undecodable)
    }

    #[test]
    fn an_entry_is_kept_as_it_came() {
        let entry = RawDocumentBuf::try_from(&doc! {"op": "i", "o": {"_id": 1}}).unwrap();
        let kept = of(entry.as_bytes().to_vec());
        assert_eq!(kept.cluster_time, Timestamp::new(9, 3));
        assert_eq!(
            (kept.kind.as_str(), kept.module.as_str()),
            ("undecodable", "-")
        );
        assert_eq!(kept.message, "field `ns` is missing");
        let op = Document::try_from(kept.op.clone()).unwrap();
        assert_eq!(
            op.get_document("entry").unwrap(),
            &doc! {"op": "i", "o": {"_id": 1}}
        );
        assert_eq!(
            of(entry.into_bytes()).id,
            kept.id,
            "the same when it is read again"
        );
        let broken = of(vec![5, 0, 0, 0, 7]);
        let op = Document::try_from(broken.op).unwrap();
        assert_eq!(
            op.get_binary_generic("entry").unwrap(),
            &vec![5, 0, 0, 0, 7]
        );
    }
}
