//! What sinks do with batches, against the real other side: a mongod, an HTTP server.

mod answers;
mod http;
pub(crate) mod http_server;
mod http_tls;
mod mongodb;
mod mongodb_faults;
mod mongodb_remains;
mod mongodb_retries;
mod mongodb_transactions;

use std::sync::Arc;

use ::mongodb::Client;
use bson::Document;
use bytes::Bytes;
use oplet::{
    op::{
        Ack, Acknowledge, BatchBuilder, BatchTicket, Format, Operation, Position, Record,
        SourceKind, Timestamp, write_json,
    },
    sink::{Cause, Chunk, Context, Encoding, Output, OutputBatch},
};

/// Sinks are tested by what they deliver; acknowledging is the runner's.
#[derive(Debug)]
struct Unheard;

impl Acknowledge for Unheard {
    fn acknowledge(&self, _: BatchTicket, _: &[u32]) {}
}

/// What sinks need to be opened, where nobody takes over from anybody.
fn context(client: &Client) -> Context {
    Context {
        client: client.clone(),
        environment: Arc::new(|_| None),
        writer: None,
    }
}

/// What a module `m` emitted, one document per op. The `n`th has the key `1:n:0#m#0`.
fn batch(documents: &[Document], encoding: Encoding) -> OutputBatch {
    let mut ops = BatchBuilder::new(Bytes::new());
    let namespace = ops.make(|out| out.extend_from_slice(b"a.b"));
    let mut outputs = Vec::new();
    let mut bytes = Vec::new();
    for (place, document) in documents.iter().enumerate() {
        let time = Timestamp::new(1, place as u32 + 1);
        ops.push(Record::new(Operation::Insert, namespace, time));
        let document = document.to_vec().unwrap();
        match encoding {
            Encoding::Bson => bytes.extend_from_slice(&document),
            Encoding::JsonLines(format) => {
                let mut line = String::new();
                write_json(&document, format, &mut line).unwrap();
                bytes.extend_from_slice(line.as_bytes());
                bytes.push(b'\n');
            }
        }
        outputs.push(Output {
            place: place as u32,
            module: 0,
            version: 0,
            number: 0,
            cause: Cause::Op,
            end: bytes.len() as u32,
        });
    }
    let ticket = BatchTicket {
        stream: 0,
        sequence: 0,
    };
    let len = documents.len();
    let chunk = Arc::new(Chunk {
        batch: Arc::new(ops.finish(
            SourceKind::Oplog,
            Position::Time(Timestamp::new(1, len as u32)),
            false,
        )),
        modules: Arc::from(["m".to_owned()]),
        versions: Arc::from(["0123456789abcdef".to_owned()]),
        outputs,
        bytes,
        ack: Ack::new(Arc::new(Unheard), ticket, (0..len as u32).collect()),
    });
    let mut batch = OutputBatch::default();
    (0..len).for_each(|index| batch.push(chunk.clone(), index));
    batch
}

fn bson(documents: &[Document]) -> OutputBatch {
    batch(documents, Encoding::Bson)
}

fn lines(documents: &[Document]) -> OutputBatch {
    batch(documents, Encoding::JsonLines(Format::Relaxed))
}

/// Options as they are given to a sink.
fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(own).collect()
}
