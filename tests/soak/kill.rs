//! Kills at random moments.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bson::{Bson, Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::Client;
use oplet_testkit::{Options, ReplicaSet, RunningOplet, Signal, eventually, guest};

use super::writers::{COLLECTIONS, Writers};
use crate::oplet;

/// Kills in the short form.
const ROUNDS: u32 = 6;

/// How long the copy may take to catch up at the end.
const CATCH_UP: Duration = Duration::from_secs(120);

/// The database that is written to; its copy and what was seen lie beside it.
const DATABASE: &str = "soak";

struct Soak {
    set: ReplicaSet,
    client: Client,
    source: &'static str,
    transactional: bool,
    /// Only the server suffers.
    spares_oplet: bool,
    random: fastrand::Rng,
    /// Kills of Oplet so far: each may give ops again.
    kills: u32,
    /// What the processes said that were killed.
    said: Vec<String>,
    folder: tempfile::TempDir,
}

impl Soak {
    async fn new(source: &'static str, transactional: bool, spares_oplet: bool) -> Self {
        let seed = oplet_testkit::history::seed();
        let set = ReplicaSet::start(Options::default()).await.unwrap();
        let client = set.client().await.unwrap();
        for name in COLLECTIONS {
            client
                .database(DATABASE)
                .create_collection(name)
                .await
                .unwrap();
        }
        Self {
            set,
            client,
            source,
            transactional,
            spares_oplet,
            random: fastrand::Rng::with_seed(seed),
            kills: 0,
            said: Vec::new(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn start_oplet(&self) -> RunningOplet {
        let mut sink = "mongodb:soak_copy.things#namespace-field=_ns&mode-field=_mode".to_owned();
        if self.transactional {
            sink += "&transactional=true";
        }
        let cache = self.folder.path().join("modules");
        oplet()
            .arg("run")
            .arg(guest("guest_mirror").unwrap())
            .args(["--uri", &self.set.uri(), "--watch", DATABASE])
            .args(["--source", self.source, "--name", "soak"])
            .args(["--checkpoint", "mongodb:oplet.checkpoints", "--sink", &sink])
            .arg("--module-cache")
            .arg(cache)
            .start()
            .unwrap()
    }

    /// Does something bad; gives the process that works afterwards.
    async fn strike(&mut self, oplet: RunningOplet) -> RunningOplet {
        let first = if self.spares_oplet { 6 } else { 0 };
        match self.random.u8(first..10) {
            0..6 => {
                self.kills += 1;
                oplet.signal(Signal::Kill).unwrap();
                self.said.extend(oplet.stderr().all());
                self.said.push("--- killed ---".into());
                drop(oplet);
                return self.start_oplet();
            }
            6 | 7 => {
                let step_down = doc! { "replSetStepDown": 1, "force": true };
                // It closes the connection that it came by.
                let _ = self.client.database("admin").run_command(step_down).await;
            }
            8 => {
                let kill = doc! { "killAllSessions": [] };
                let _ = self.client.database("admin").run_command(kill).await;
            }
            _ => {
                self.set.terminate().await.unwrap();
                self.set.restart().await.unwrap();
            }
        }
        oplet
    }

    async fn documents(&self, database: &str, collection: &str) -> Vec<Document> {
        let found = self
            .client
            .database(database)
            .collection::<Document>(collection);
        let sorted = found.find(doc! {}).sort(doc! { "_id": 1 });
        match sorted.await {
            Ok(cursor) => cursor.try_collect().await.unwrap_or_default(),
            Err(_) => Vec::new(),
        }
    }

    async fn oplog(&self, filter: Document, fields: Document) -> Vec<Document> {
        let oplog = self
            .client
            .database("local")
            .collection::<Document>("oplog.rs");
        let entries = oplog.find(filter).projection(fields).await.unwrap();
        entries.try_collect().await.unwrap()
    }

    /// The ids of the ops that the oplog has of the collections.
    async fn happened(&self) -> BTreeSet<String> {
        let namespaces = COLLECTIONS.map(|name| format!("{DATABASE}.{name}"));
        let filter =
            doc! { "op": { "$in": ["i", "u", "d"] }, "ns": { "$in": namespaces.to_vec() } };
        let entries = self.oplog(filter, doc! { "ts": 1 }).await;
        let id = |entry: &Document| {
            let time = entry.get_timestamp("ts").unwrap();
            format!("{}:{}:0", time.time, time.increment)
        };
        entries.iter().map(id).collect()
    }

    async fn is_equal(&self) -> bool {
        for name in COLLECTIONS {
            let source = self.documents(DATABASE, name).await;
            if source.is_empty() || source != self.documents("soak_copy", name).await {
                return false;
            }
        }
        true
    }

    /// Which sequences of a document were handled, in order.
    async fn seen(&self, name: &str, id: i32) -> String {
        let histories = self.documents("soak_audit", "history").await;
        let key = Bson::from(format!("{name}/{id}"));
        let history = histories
            .iter()
            .find(|history| history.get("_id") == Some(&key));
        history.map_or("nothing".to_owned(), Document::to_string)
    }

    /// Which documents the copy had of one, in order, and by which sessions they were written.
    async fn copied(&self, name: &str, id: i32) -> Vec<String> {
        let filter = doc! {
            "ns": format!("soak_copy.{name}"),
            "$or": [{ "o2._id": id }, { "o._id": id }],
        };
        let fields = doc! { "wall": 1, "lsid.id": 1, "txnNumber": 1, "op": 1, "o": 1 };
        let entries = self.oplog(filter, fields).await;
        entries.iter().map(Document::to_string).collect()
    }

    /// What differs, for the message of a test that failed.
    async fn differences(&self) -> Vec<String> {
        let mut differences = Vec::new();
        for name in COLLECTIONS {
            let by_id = |documents: Vec<Document>| -> BTreeMap<i32, Document> {
                let id = |document: &Document| document.get_i32("_id").unwrap();
                documents
                    .into_iter()
                    .map(|document| (id(&document), document))
                    .collect()
            };
            let source = by_id(self.documents(DATABASE, name).await);
            let copy = by_id(self.documents("soak_copy", name).await);
            let ids: BTreeSet<_> = source.keys().chain(copy.keys()).collect();
            for id in ids {
                if source.get(id) != copy.get(id) {
                    let (source, copy) = (source.get(id), copy.get(id));
                    let seen = self.seen(name, *id).await;
                    let copied = self.copied(name, *id).await;
                    differences.push(format!(
                        "{name}: {source:?} but {copy:?}; seen: {seen}; copied: {copied:#?}"
                    ));
                }
            }
        }
        differences.truncate(5);
        differences
    }
}

async fn survives(source: &'static str, transactional: bool, spares_oplet: bool) {
    let rounds = std::env::var("OPLET_SOAK_ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok());
    let rounds = rounds.unwrap_or(ROUNDS);
    let mut soak = Soak::new(source, transactional, spares_oplet).await;
    let mut oplet = soak.start_oplet();
    // The first start takes its position before anything is written.
    oplet
        .wait_for_stderr(
            |line| line.contains("running") || line.contains("since"),
            crate::DEADLINE,
        )
        .await
        .unwrap();
    let writers = Writers::start(&soak.set, DATABASE, 4, soak.random.u64(..)).await;
    for _ in 0..rounds {
        let pause = soak.random.u64(100..1_200);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        oplet = soak.strike(oplet).await;
    }
    let has_worked = async || writers.count() > u64::from(rounds) * 10;
    let worked = eventually(CATCH_UP, has_worked).await;
    let written = writers.count();
    worked.unwrap_or_else(|error| panic!("the writers had work to do: {written}; {error}"));
    writers.end().await;
    let caught_up = eventually(CATCH_UP, async || soak.is_equal().await).await;
    if caught_up.is_err() {
        let said = [soak.said.clone(), oplet.stderr().all()].concat();
        let differences = soak.differences().await;
        panic!(
            "after {written} writes the copy differs: {differences:#?}\n{}",
            said.join("\n")
        );
    }
    oplet.signal(Signal::Terminate).unwrap();
    assert_eq!(oplet.wait_exit(crate::DEADLINE).await.unwrap(), 0);

    // By the server's own book, nothing is missing and nothing was made up.
    let ops = soak.documents("soak_audit", "ops").await;
    let id = |op: &Document| op.get_str("_id").unwrap().to_owned();
    let seen: BTreeSet<String> = ops.iter().map(id).collect();
    let happened = soak.happened().await;
    let missing: Vec<_> = happened.difference(&seen).collect();
    let made_up: Vec<_> = seen.difference(&happened).collect();
    assert!(
        missing.is_empty() && made_up.is_empty(),
        "missing {missing:?}, made up {made_up:?}"
    );
    let is_repeated = |op: &&Document| op.get("times") != Some(&Bson::Int32(1));
    let repeated: Vec<_> = ops.iter().filter(is_repeated).collect();
    let mut descents = 0;
    for document in soak.documents("soak_audit", "history").await {
        let sequences = document.get_array("sequences").unwrap();
        let back = sequences
            .windows(2)
            .filter(|pair| pair[1].as_i32() < pair[0].as_i32())
            .count();
        let kills = soak.kills as usize;
        assert!(
            back <= kills,
            "went back {back} times in {kills} kills: {document}"
        );
        descents += back;
    }
    crate::say(&format!(
        "{source}: {written} writes, {} ops, {} repeated, {descents} descents, {} kills",
        ops.len(),
        repeated.len(),
        soak.kills
    ));
    if (transactional || spares_oplet) && (!repeated.is_empty() || descents > 0) {
        let said = [soak.said, oplet.stderr().all()].concat();
        panic!(
            "each op counts once: {repeated:?}, {descents}\n{}",
            said.join("\n")
        );
    }
}

#[tokio::test]
async fn a_copy_survives_kills_of_everything_from_the_oplog() {
    survives("oplog", false, false).await;
}

#[tokio::test]
async fn a_copy_survives_kills_of_everything_from_a_change_stream() {
    survives("change-stream", false, false).await;
}

#[tokio::test]
async fn with_transactions_each_op_counts_once_from_the_oplog() {
    survives("oplog", true, false).await;
}

#[tokio::test]
async fn with_transactions_each_op_counts_once_from_a_change_stream() {
    survives("change-stream", true, false).await;
}

#[tokio::test]
async fn while_only_the_server_suffers_each_op_counts_once_from_the_oplog() {
    survives("oplog", false, true).await;
}

#[tokio::test]
async fn while_only_the_server_suffers_each_op_counts_once_from_a_change_stream() {
    survives("change-stream", false, true).await;
}
