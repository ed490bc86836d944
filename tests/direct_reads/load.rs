//! Writers never rest while a collection is read.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering::SeqCst},
    },
    time::Duration,
};

use bson::{Bson, Document, doc, oid::ObjectId};
use fastrand::Rng;
use mongodb::Collection;
use oplet_testkit::{RunningOplet, Signal};
use tokio::{task::JoinSet, time::sleep};

use super::scene::{Reading, emitted, end, killed, said};
use crate::say;

/// Keys that are written to; a good part of them is not there at any moment.
pub(crate) const KEYS: usize = 6_000;

/// An id of one of several types.
pub(crate) fn id(number: usize) -> Bson {
    match number % 4 {
        0 => Bson::Int32(number as i32),
        1 => Bson::String(format!("thing-{number}")),
        2 => Bson::Double(number as f64 + 0.5),
        _ => {
            let mut bytes = [0; 12];
            bytes[4..].copy_from_slice(&(number as u64).to_be_bytes());
            Bson::ObjectId(ObjectId::from_bytes(bytes))
        }
    }
}

/// Two writers that never rest.
pub(crate) struct Writers {
    tasks: JoinSet<()>,
    /// The version to be written next.
    versions: Arc<AtomicI64>,
    stop: Arc<AtomicBool>,
}

impl Writers {
    /// Inserts a document of each key, and lets them begin.
    pub(crate) async fn begin(reading: &Reading) -> Self {
        let documents = (0..KEYS).map(|number| doc! { "_id": id(number), "v": 0_i64 });
        reading.things().insert_many(documents).await.unwrap();
        let mut all = Self {
            tasks: JoinSet::new(),
            versions: Arc::new(AtomicI64::new(1)),
            stop: Arc::default(),
        };
        for writer in 0..2 {
            let (versions, stop) = (all.versions.clone(), all.stop.clone());
            all.tasks
                .spawn(write(reading.things(), (writer, 2), versions, stop));
        }
        all
    }

    /// Ends them; how many versions they have written.
    pub(crate) async fn end(self) -> i64 {
        self.stop.store(true, SeqCst);
        self.tasks.join_all().await;
        self.versions.load(SeqCst)
    }
}

/// Replaces, inserts and deletes until it is told to stop. Versions grow for ever, over all keys, and a
/// key is written by one writer only.
pub(super) async fn write(
    things: Collection<Document>,
    (writer, writers): (usize, usize),
    versions: Arc<AtomicI64>,
    stop: Arc<AtomicBool>,
) {
    let mut rng = Rng::with_seed(writer as u64);
    while !stop.load(SeqCst) {
        let key = id(rng.usize(..KEYS / writers) * writers + writer);
        let filter = doc! { "_id": &key };
        if rng.u8(..4) == 0 {
            things.delete_one(filter).await.unwrap();
        } else {
            let version = versions.fetch_add(1, SeqCst);
            let document = doc! { "_id": &key, "v": version };
            things
                .replace_one(filter, document)
                .upsert(true)
                .await
                .unwrap();
        }
    }
}

/// Replays what a process gave. It never goes back to an older version of a document.
pub(crate) fn replay(running: &RunningOplet, map: &mut BTreeMap<String, i64>) {
    let mut newest: BTreeMap<String, i64> = BTreeMap::new();
    for op in emitted(running) {
        let Some(version) = op.version else {
            map.remove(&op.id);
            continue;
        };
        let before = newest.entry(op.id.clone()).or_default();
        assert!(*before <= version, "{op:?} comes behind version {before}");
        *before = version;
        map.insert(op.id, version);
    }
}

async fn check(source: &str, kills: usize) {
    let reading = Reading::new("load").await;
    let writers = Writers::begin(&reading).await;
    let run = || {
        reading
            .read()
            .args(["--source", source, "--workers", "3"])
            .args([
                "--direct-read-split",
                "30",
                "--direct-read-concurrency",
                "3",
            ])
    };
    let mut map = BTreeMap::new();
    for kill in 0..kills {
        let running = killed(run(), kill).await;
        replay(&running, &mut map);
    }
    let running = run().start().unwrap();
    said(&running, "the direct read is complete").await;
    sleep(Duration::from_millis(300)).await;
    let wrote = writers.end().await;
    running.signal(Signal::Terminate).unwrap();
    end(&running).await;
    replay(&running, &mut map);
    // What the last one had not come to.
    let running = run().arg("--exit-when-idle").start().unwrap();
    end(&running).await;
    replay(&running, &mut map);
    let collection = reading.versions().await;
    say(&format!(
        "{source}: {wrote} versions, {} documents",
        collection.len()
    ));
    assert_eq!(map.len(), collection.len());
    assert_eq!(map, collection);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_given_leads_to_the_collection() {
    check("change-stream", 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_given_leads_to_the_collection_whoever_is_killed() {
    check("change-stream", 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_given_leads_to_the_collection_by_the_oplog_too() {
    check("oplog", 2).await;
}
