//! Writers that never stop, and never lose track.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use bson::{Document, doc};
use mongodb::{Collection, Database, options::WriteConcern};
use oplet_testkit::ReplicaSet;
use tokio::task::JoinHandle;

/// The collections that are written to.
pub(super) const COLLECTIONS: [&str; 3] = ["a", "b", "c"];

/// How many documents there are, over all collections.
const DOCUMENTS: i32 = 1_000;

/// Pause after a write that failed, before the state is read anew.
const PAUSE: Duration = Duration::from_millis(50);

/// Some writers, each with documents of its own.
pub(super) struct Writers {
    stop: Arc<AtomicBool>,
    writes: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<()>>,
}

impl Writers {
    /// Starts writers on a database: inserts, updates, replacements and deletes, with majority.
    pub(super) async fn start(set: &ReplicaSet, database: &str, count: i32, seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let writes = Arc::new(AtomicU64::new(0));
        let mut tasks = Vec::new();
        for writer in 0..count {
            let client = set.client().await.unwrap();
            let ids = (0..DOCUMENTS).filter(|id| id % count == writer);
            let writer = Writer {
                database: client.database(database),
                ids: ids.collect(),
                states: HashMap::new(),
                random: fastrand::Rng::with_seed(seed + writer as u64),
            };
            tasks.push(tokio::spawn(writer.write(stop.clone(), writes.clone())));
        }
        Self {
            stop,
            writes,
            tasks,
        }
    }

    /// How many writes were acknowledged.
    pub(super) fn count(&self) -> u64 {
        self.writes.load(SeqCst)
    }

    /// Ends writing.
    pub(super) async fn end(self) {
        self.stop.store(true, SeqCst);
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

struct Writer {
    database: Database,
    ids: Vec<i32>,
    /// Of each document its last sequence number, and whether it is there.
    states: HashMap<i32, (i32, bool)>,
    random: fastrand::Rng,
}

impl Writer {
    async fn write(mut self, stop: Arc<AtomicBool>, writes: Arc<AtomicU64>) {
        while !stop.load(SeqCst) {
            let id = self.ids[self.random.usize(..self.ids.len())];
            match self.step(id).await {
                Ok(()) => {
                    writes.fetch_add(1, SeqCst);
                }
                Err(_) => self.find_out(id).await,
            }
        }
    }

    fn collection(&self, id: i32) -> Collection<Document> {
        let options = mongodb::options::CollectionOptions::builder()
            .write_concern(WriteConcern::majority())
            .build();
        let name = COLLECTIONS[id.unsigned_abs() as usize % COLLECTIONS.len()];
        self.database.collection_with_options(name, options)
    }

    async fn step(&mut self, id: i32) -> Result<(), mongodb::error::Error> {
        let collection = self.collection(id);
        let (last, is_there) = self.states.get(&id).copied().unwrap_or_default();
        let sequence = last + 1;
        let filter = doc! { "_id": id };
        let padding = "x".repeat(self.random.usize(..200));
        let document = doc! { "_id": id, "sequence": sequence, "padding": &padding };
        let kind = self.random.u8(..10);
        // Before the attempt: a number is used once, also where nobody knows whether it was written.
        self.states.insert(id, (sequence, is_there));
        let is_there = match (is_there, kind) {
            (false, _) => {
                collection.insert_one(document).await?;
                true
            }
            (true, 0) => {
                collection.delete_one(filter).await?;
                false
            }
            (true, 1..4) => {
                collection.replace_one(filter, document).await?;
                true
            }
            (true, _) => {
                let update = doc! { "$set": { "sequence": sequence, "at": { "n": sequence } } };
                collection.update_one(filter, update).await?;
                true
            }
        };
        self.states.insert(id, (sequence, is_there));
        Ok(())
    }

    /// After a write of which nobody knows whether it was done.
    async fn find_out(&mut self, id: i32) {
        loop {
            tokio::time::sleep(PAUSE).await;
            if let Ok(found) = self.collection(id).find_one(doc! { "_id": id }).await {
                let (last, _) = self.states.get(&id).copied().unwrap_or_default();
                self.states.insert(id, (last, found.is_some()));
                return;
            }
        }
    }
}
