//! Kills at random moments.

use std::{collections::BTreeMap, time::Duration};

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
    folder: tempfile::TempDir,
}

impl Soak {
    async fn new(source: &'static str, transactional: bool, spares_oplet: bool) -> Self {
        let seed = oplet_testkit::history::seed();
        eprintln!("{source}, transactional {transactional}: seed {seed}");
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
            let ids: std::collections::BTreeSet<_> = source.keys().chain(copy.keys()).collect();
            for id in ids {
                if source.get(id) != copy.get(id) {
                    let (source, copy) = (source.get(id), copy.get(id));
                    let seen = self.seen(name, *id).await;
                    differences.push(format!("{name}: {source:?} but {copy:?}; seen: {seen}"));
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
    let written = writers.count();
    writers.end().await;
    let caught_up = eventually(CATCH_UP, async || soak.is_equal().await).await;
    if caught_up.is_err() {
        let said = oplet.stderr().all();
        let differences = soak.differences().await;
        panic!(
            "after {written} writes the copy differs: {differences:#?}\n{}",
            said.join("\n")
        );
    }
    oplet.signal(Signal::Terminate).unwrap();
    assert_eq!(oplet.wait_exit(crate::DEADLINE).await.unwrap(), 0);

    assert!(
        written > u64::from(rounds) * 10,
        "the writers had work to do: {written}"
    );
    let ops = soak.documents("soak_audit", "ops").await;
    assert!(
        ops.len() as u64 >= written / 2,
        "{} ops of {written} writes",
        ops.len()
    );
    let repeated = ops
        .iter()
        .filter(|op| op.get("times") != Some(&Bson::Int32(1)))
        .count();
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
    eprintln!(
        "{source}: {written} writes, {} ops, {repeated} repeated, {descents} descents, {} kills",
        ops.len(),
        soak.kills
    );
    if transactional || spares_oplet {
        assert_eq!((repeated, descents), (0, 0), "each op counts once");
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
