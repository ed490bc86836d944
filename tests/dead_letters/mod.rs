//! What failed is kept until somebody mends it: the stores, the writer, and `oplet dead-letters`.

mod commands;
mod redrive;
mod redrive_sinks;
mod stores;
mod writer;

use std::sync::{Arc, Mutex};

use bson::{Document, RawDocumentBuf, doc};
use oplet::{
    dead_letters::{self, DeadLetter, Filter, Store},
    op::{Ack, Acknowledge, BatchTicket, StoreSpec},
};
use oplet_testkit::{ReplicaSet, database_name};
use tempfile::TempDir;

/// An insert of `{_id: id}` with these fields at this cluster time, as a module sees it.
fn op(seconds: u32, id: i32, fields: Document) -> RawDocumentBuf {
    let mut data = doc! { "_id": id };
    data.extend(fields);
    let op = doc! {
        "operation": "i", "namespace": "shop.orders", "opId": format!("{seconds}:1:0"),
        "timestamp": bson::Timestamp { time: seconds, increment: 1 }, "source": "oplog",
        "_id": id, "data": data,
    };
    RawDocumentBuf::try_from(&op).unwrap()
}

/// A letter about such an op.
fn letter(module: &str, seconds: u32, id: i32, fields: Document) -> DeadLetter {
    let op = op(seconds, id, fields);
    DeadLetter::new("run", module, "9f", op.as_bytes()).failed("trap", "handle", "unreachable")
}

/// All letters that are meant, in order.
async fn all(store: &Store, filter: Filter) -> Vec<DeadLetter> {
    let mut letters = store.list(filter);
    let mut found = Vec::new();
    while let Some(letter) = letters.next().await.unwrap() {
        found.push(letter);
    }
    found
}

async fn op_ids(store: &Store, filter: Filter) -> Vec<String> {
    let letters = all(store, filter).await;
    letters.into_iter().map(|letter| letter.op_id).collect()
}

/// A store in a collection of its own, and its name for the command line.
async fn collection(hint: &str) -> (Store, String) {
    let set = ReplicaSet::shared().await.unwrap();
    let client = set.client().await.unwrap();
    let spec = format!("mongodb:{}.letters", database_name(hint));
    let parsed = StoreSpec::parse(&spec, dead_letters::COLLECTION).unwrap();
    (Store::open(&parsed, &client), spec)
}

/// A store in a file of its own.
fn file() -> (TempDir, std::path::PathBuf, Store) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("letters.jsonl");
    let store = Store::file(path.clone());
    (folder, path, store)
}

/// Which places were told as done.
#[derive(Debug, Default)]
struct Heard(Mutex<Vec<u32>>);

impl Acknowledge for Heard {
    fn acknowledge(&self, _: BatchTicket, places: &[u32]) {
        self.0.lock().unwrap().extend(places);
    }
}

impl Heard {
    fn duty(self: &Arc<Self>, place: u32) -> Ack {
        let ticket = BatchTicket {
            stream: 0,
            sequence: 0,
        };
        Ack::new(self.clone(), ticket, vec![place])
    }

    fn places(&self) -> Vec<u32> {
        let mut places = self.0.lock().unwrap().clone();
        places.sort_unstable();
        places
    }
}
