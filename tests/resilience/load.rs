//! A program that writes without a pause, and remembers what was acknowledged.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI32, Ordering::SeqCst},
};

use bson::{Document, doc};
use mongodb::{Client, options::WriteConcern};
use oplet_testkit::{ReplicaSet, eventually};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::DEADLINE;

/// Inserts documents `{_id: 0}`, `{_id: 1}`, ..., each followed by an update that sets `n` to its
/// `_id`, all with majority. A write that fails is followed by the next, as if a client gave up.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicI32>,
    task: JoinHandle<Vec<Write>>,
}

/// A write that the server has acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Write {
    pub(super) operation: &'static str,
    pub(super) id: i32,
}

impl Load {
    /// Starts writing to a collection.
    pub(super) async fn start(set: &ReplicaSet, database: &str, collection: &str) -> Self {
        Self::through(set.client().await.unwrap(), database, collection)
    }

    /// As [`start`](Self::start), with a client of the deployment.
    pub(super) fn through(client: Client, database: &str, collection: &str) -> Self {
        let options = mongodb::options::CollectionOptions::builder()
            .write_concern(WriteConcern::majority())
            .build();
        let collection = client
            .database(database)
            .collection_with_options::<Document>(collection, options);
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicI32::new(0));
        let (is_over, count) = (stop.clone(), acknowledged.clone());
        let task = tokio::spawn(async move {
            let mut writes = Vec::new();
            let mut id = 0;
            while !is_over.load(SeqCst) {
                let inserted = collection.insert_one(doc! { "_id": id, "a": "x".repeat(100) });
                if inserted.await.is_ok() {
                    writes.push(Write { operation: "i", id });
                    count.fetch_add(1, SeqCst);
                    let update = doc! { "$set": { "n": id } };
                    let updated = collection.update_one(doc! { "_id": id }, update);
                    if updated.await.is_ok() {
                        writes.push(Write { operation: "u", id });
                        count.fetch_add(1, SeqCst);
                    }
                }
                id += 1;
            }
            writes
        });
        Self {
            stop,
            acknowledged,
            task,
        }
    }

    /// Waits until so many more writes are acknowledged.
    pub(super) async fn goes_on(&self, writes: i32) {
        let until = self.acknowledged.load(SeqCst) + writes;
        let reached = eventually(DEADLINE, async || self.acknowledged.load(SeqCst) >= until);
        reached.await.unwrap();
    }

    /// How many writes are acknowledged.
    pub(super) fn acknowledged(&self) -> usize {
        self.acknowledged.load(SeqCst).try_into().unwrap()
    }

    /// Ends writing; tells what was acknowledged, in order.
    pub(super) async fn end(self) -> Vec<Write> {
        self.stop.store(true, SeqCst);
        self.task.await.unwrap()
    }
}

/// The writes that ops tell of.
pub(super) fn writes(ops: &[Value]) -> Vec<Write> {
    let write = |op: &Value| Write {
        operation: match op["operation"].as_str() {
            Some("i") => "i",
            Some("u") => "u",
            other => panic!("no such write was made: {other:?} in {op}"),
        },
        id: op["_id"]
            .as_i64()
            .and_then(|id| id.try_into().ok())
            .unwrap(),
    };
    ops.iter()
        .filter(|op| op["operation"] != "c")
        .map(write)
        .collect()
}
