//! From failed ops and refused outputs to letters in the store.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::future::BoxFuture;

use super::outlet::{Letter, Letters};
use crate::{
    dead_letters::{DeadLetter, Writer},
    op::{Ack, DocumentState},
    sink::{Cause, Chunk, Encoding},
};

/// Puts failed ops and refused outputs into the dead letters.
#[derive(Debug)]
pub(super) struct Post {
    name: String,
    writer: Writer,
}

impl Post {
    pub(super) fn new(name: &str, writer: Writer) -> Self {
        Self {
            name: name.to_owned(),
            writer,
        }
    }

    /// The run's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Hands over a letter, and tells by `ack` when it is stored.
    pub(super) async fn put(&self, letter: DeadLetter, ack: Ack) {
        self.writer.put(letter, ack).await;
    }

    /// Keeps an output that a sink refused, with its op.
    pub(super) async fn refused(
        &self,
        sink: &str,
        chunk: &Chunk,
        index: usize,
        encoding: Encoding,
        reason: &str,
        ack: Ack,
    ) {
        let output = &chunk.outputs[index];
        let module = &chunk.modules[output.module as usize];
        let digest = chunk.version(index);
        let mut op = Vec::new();
        chunk.op(index).encode(DocumentState::NotAsked, &mut op);
        let document = as_bson(chunk.document(index), encoding);
        let letter = DeadLetter::new(&self.name, module, digest, &op).rejected(
            sink,
            reason,
            output.number,
            output.cause == Cause::Flush,
            document.as_deref(),
        );
        tracing::error!(
            sink,
            module,
            op_id = letter.op_id,
            reason,
            "a sink refuses a document; it goes into the dead letters"
        );
        self.writer.put(letter, ack).await;
    }

    /// Waits until everything that was handed over is stored. Cancellation safe.
    pub(super) async fn flush(&self) {
        self.writer.flush().await;
    }
}

impl Letters for Post {
    fn put(&self, letter: Letter, ack: Ack) -> BoxFuture<'_, ()> {
        let record = DeadLetter {
            attempts: letter.attempts,
            first_failed_ms: letter.first_failed_ms,
            last_failed_ms: letter.failed_ms,
            ..DeadLetter::new(&self.name, &letter.module, &letter.digest, &letter.op)
        };
        let record = record
            .failed(letter.class, letter.export, &letter.message)
            .with_traces(&letter.stderr, &letter.backtrace);
        Box::pin(self.writer.put(record, ack))
    }
}

/// A document as modules emitted it.
fn as_bson(document: &[u8], encoding: Encoding) -> Option<Vec<u8>> {
    match encoding {
        Encoding::Bson => Some(document.to_vec()),
        Encoding::JsonLines(_) => {
            let value: serde_json::Value = serde_json::from_slice(document).ok()?;
            let bson::Bson::Document(document) = bson::Bson::try_from(value).ok()? else {
                return None;
            };
            let raw = bson::RawDocumentBuf::try_from(&document).ok()?;
            Some(raw.into_bytes())
        }
    }
}

/// How many refused documents may wait for the dead letters.
pub(super) const REFUSED_MAX: usize = 64;

/// Passes on what sinks refuse, until they are gone.
pub(super) async fn pass_on(
    post: Arc<Post>,
    encodings: BTreeMap<String, Encoding>,
    mut refused: tokio::sync::mpsc::Receiver<crate::sink::Rejected>,
) {
    while let Some(rejected) = refused.recv().await {
        let encoding = encodings.get(&rejected.sink).copied();
        let encoding = encoding.unwrap_or(Encoding::Bson);
        let (chunk, index) = (&rejected.chunk, rejected.index);
        post.refused(
            &rejected.sink,
            chunk,
            index,
            encoding,
            &rejected.reason,
            rejected.ack,
        )
        .await;
    }
}
