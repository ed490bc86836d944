//! The current documents of updates, many per round trip.

use std::collections::{HashMap, HashSet};

use bson::{RawDocumentBuf, cstr, doc, rawdoc};
use bytes::Bytes;
use mongodb::Client;
use oplet_sdk::raw::{Walk, kind};

use crate::{
    backoff::Backoff,
    mongo::{Fault, Reader, ReaderOptions},
    op::{DocumentKey, Op, Timestamp, split_namespace},
};

/// How many ids are asked for in one query.
const IDS_PER_QUERY: usize = 1_000;

/// How many bytes of documents are fetched ahead; what is beyond is fetched when it is needed.
const BYTES_AHEAD_MAX: usize = 32 << 20;

/// Fetches documents by `_id`.
#[derive(Debug, Clone)]
pub struct Lookup {
    client: Client,
    /// Whether a cluster time of an op is one that the server knows, so that it can be asked for
    /// answers at least as new. Not so where a stand-in for the oplog is read.
    is_causal: bool,
}

/// Documents that were looked up: of a key that was asked for, the document, or that it is gone.
#[derive(Debug, Default)]
pub struct Documents {
    found: HashMap<(String, DocumentKey), Option<Bytes>>,
    bytes: usize,
}

impl Documents {
    /// The answer for the document of an op, if it was asked for.
    #[must_use]
    pub fn get(&self, op: &Op<'_>) -> Option<Option<&[u8]>> {
        let key = (op.namespace().to_owned(), op.key()?);
        self.found.get(&key).map(|document| document.as_deref())
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.found.clear();
        self.bytes = 0;
    }

    /// Whether so much is held that fetching further ahead must wait.
    fn is_full(&self) -> bool {
        self.bytes >= BYTES_AHEAD_MAX
    }
}

impl Lookup {
    /// Looks up on that deployment.
    #[must_use]
    pub fn new(client: Client, is_causal: bool) -> Self {
        Self { client, is_causal }
    }

    /// Whether the deployment answers.
    pub async fn answers(&self) -> bool {
        let admin = self.client.database("admin");
        admin.run_command(doc! { "ping": 1 }).await.is_ok()
    }

    /// Fetches the documents of the given ops, the first of which is answered for certain; the others
    /// as far as memory allows. Passing faults are waited out.
    ///
    /// The answers are at least as new as the newest of the ops.
    ///
    /// # Errors
    /// When the server refuses in a way that waiting does not mend.
    pub async fn fetch(
        &self,
        ops: &[Op<'_>],
        documents: &mut Documents,
    ) -> Result<(), mongodb::error::Error> {
        let mut by_namespace: Vec<(&str, Vec<&Op<'_>>)> = Vec::new();
        let mut seen = HashSet::new();
        for op in ops {
            if !seen.insert((op.namespace(), op.key())) {
                continue;
            }
            match by_namespace
                .iter_mut()
                .find(|(namespace, _)| *namespace == op.namespace())
            {
                Some((_, ops)) => ops.push(op),
                None => by_namespace.push((op.namespace(), vec![op])),
            }
        }
        let newest = ops.iter().map(Op::timestamp).max().unwrap_or_default();
        'queries: for (namespace, ops) in &by_namespace {
            for ops in ops.chunks(IDS_PER_QUERY) {
                self.fetch_some(namespace, ops, newest, documents).await?;
                if documents.is_full() {
                    break 'queries;
                }
            }
        }
        // Where memory ran out before the first op's document came, it is fetched by itself.
        if let Some(first) = ops.first()
            && documents.get(first).is_none()
        {
            self.fetch_some(first.namespace(), &[first], newest, documents)
                .await?;
        }
        Ok(())
    }

    async fn fetch_some(
        &self,
        namespace: &str,
        ops: &[&Op<'_>],
        newest: Timestamp,
        documents: &mut Documents,
    ) -> Result<(), mongodb::error::Error> {
        let mut backoff = Backoff::new();
        loop {
            match self.query(namespace, ops, newest, documents).await {
                Ok(()) => return Ok(()),
                Err(error) if Fault::of(&error) == Fault::Passing => {
                    let delay = backoff.next_delay();
                    tracing::warn!(namespace, attempt = backoff.attempts(), retry_in = ?delay,
                        error = crate::mongo::describe(&error), "documents could not be looked up; trying again");
                    tokio::time::sleep(delay).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn query(
        &self,
        namespace: &str,
        ops: &[&Op<'_>],
        newest: Timestamp,
        documents: &mut Documents,
    ) -> Result<(), mongodb::error::Error> {
        let (database, collection) = split_namespace(namespace);
        let command = find_by_ids(collection, ops, self.is_causal.then_some(newest));
        let options = ReaderOptions {
            batch_size: None,
            await_time: None,
            tailable: false,
        };
        let mut reader = Reader::open(self.client.database(database), command, options);
        let namespace = namespace.to_owned();
        let mut complete = true;
        while let Some(reply) = reader.next().await {
            let reply = reply?;
            let invalid =
                |error: oplet_sdk::raw::Malformed| mongodb::error::Error::custom(error.to_string());
            for element in Walk::new(reply.documents().map_err(invalid)?).map_err(invalid)? {
                let document = element.map_err(invalid)?.value;
                let Some(id) = Walk::find(document, "_id").map_err(invalid)? else {
                    continue;
                };
                documents.bytes += document.len();
                let key = DocumentKey::new(id.kind, id.value);
                documents.found.insert(
                    (namespace.clone(), key),
                    Some(reply.bytes().slice_ref(document)),
                );
            }
            if documents.is_full() {
                complete = false;
                break;
            }
        }
        if complete || ops.len() == 1 {
            for op in ops {
                if let Some(key) = op.key() {
                    documents
                        .found
                        .entry((namespace.clone(), key))
                        .or_insert(None);
                }
            }
        }
        Ok(())
    }
}

/// `find` for some ids, given by their raw bytes so that no type or order of fields is lost.
fn find_by_ids(collection: &str, ops: &[&Op<'_>], at_least: Option<Timestamp>) -> RawDocumentBuf {
    let mut filter = Vec::new();
    let mut writer = oplet_sdk::raw::Writer::new(&mut filter);
    writer.begin(b"_id", kind::DOCUMENT);
    writer.begin(b"$in", kind::ARRAY);
    for (index, op) in ops.iter().enumerate() {
        if let Some((kind, value)) = op.document_id() {
            writer.raw(index.to_string().as_bytes(), kind, value);
        }
    }
    writer.end();
    writer.end();
    writer.finish();
    let filter = RawDocumentBuf::from_bytes(filter).expect("the writer frames what it writes");
    let mut read_concern = rawdoc! { "level": "majority" };
    if let Some(timestamp) = at_least {
        read_concern.append(cstr!("afterClusterTime"), bson::Timestamp::from(timestamp));
    }
    rawdoc! { "find": collection, "filter": filter, "readConcern": read_concern }
}
