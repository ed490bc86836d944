//! A collection that is read directly, and what came of it.

use std::collections::BTreeMap;

use bson::{Bson, Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::{Client, Collection};
use oplet_testkit::{Oplet, ReplicaSet, RunningOplet, Signal, database_name};
use serde_json::Value;

use crate::{DEADLINE, oplet};

/// A collection of a test's own on the shared replica set, and runs that read it.
pub(crate) struct Reading {
    pub(crate) client: Client,
    pub(crate) database: String,
    pub(crate) uri: String,
}

/// An op as a run has emitted it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Emitted {
    pub(crate) operation: String,
    /// `directRead`, or where the change came from.
    pub(crate) source: String,
    pub(crate) namespace: String,
    /// The `_id` as JSON text.
    pub(crate) id: String,
    /// The document's version; none for a delete.
    pub(crate) version: Option<i64>,
}

impl Reading {
    pub(crate) async fn new(hint: &str) -> Self {
        let set = ReplicaSet::shared().await.unwrap();
        Self::on(set, hint).await
    }

    pub(crate) async fn on(set: &ReplicaSet, hint: &str) -> Self {
        Self {
            client: set.client().await.unwrap(),
            database: database_name(hint),
            uri: set.uri(),
        }
    }

    pub(crate) fn things(&self) -> Collection<Document> {
        self.client.database(&self.database).collection("things")
    }

    pub(crate) fn namespace(&self) -> String {
        format!("{}.things", self.database)
    }

    /// Inserts documents with these ids, of the version 1.
    pub(crate) async fn insert(&self, ids: impl IntoIterator<Item = impl Into<Bson>>) {
        let documents = ids.into_iter().map(|id| doc! { "_id": id.into(), "v": 1 });
        let documents: Vec<_> = documents.collect();
        for part in documents.chunks(10_000) {
            self.things().insert_many(part).await.unwrap();
        }
    }

    /// `oplet run` of the echo module that watches the database.
    pub(crate) fn run(&self) -> Oplet {
        oplet()
            .arg("run")
            .arg(oplet_testkit::guest("guest_echo").unwrap())
            .args(["--uri", &self.uri, "--watch", &self.database])
    }

    /// The same that reads the collection, and keeps a checkpoint.
    pub(crate) fn read(&self) -> Oplet {
        self.run()
            .args(["--direct-read", &self.namespace(), "--name", &self.database])
            .args(["--checkpoint", "mongodb:oplet.checkpoints"])
    }

    /// The versions of all documents, by their ids as JSON text.
    pub(crate) async fn versions(&self) -> BTreeMap<String, i64> {
        let found = self.things().find(doc! {}).await.unwrap();
        let documents: Vec<Document> = found.try_collect().await.unwrap();
        let version = |document: &Document| {
            let id = document.get("_id").unwrap().clone().into_relaxed_extjson();
            (id.to_string(), document.get("v").and_then(whole).unwrap())
        };
        documents.iter().map(version).collect()
    }

    /// What stands in the checkpoint of the read.
    pub(crate) async fn ledger(&self) -> Document {
        let own = self
            .client
            .database("oplet")
            .collection::<Document>("checkpoints");
        let stored = own.find_one(doc! { "_id": &self.database }).await.unwrap();
        let stored = stored.expect("there is a checkpoint");
        let checkpoint = stored.get_document("checkpoint").unwrap();
        let reads = checkpoint.get_array("directReads").unwrap();
        assert_eq!(reads.len(), 1, "{reads:?}");
        reads[0].as_document().unwrap().clone()
    }
}

fn whole(value: &Bson) -> Option<i64> {
    value.as_i64().or(value.as_i32().map(i64::from))
}

/// What a run has emitted so far.
pub(crate) fn emitted(running: &RunningOplet) -> Vec<Emitted> {
    // The last line of one that was killed may not be whole.
    let lines = running.stdout().all();
    let ops = lines
        .iter()
        .filter_map(|line| serde_json::from_str(line).ok());
    ops.map(|op: Value| Emitted {
        operation: op["operation"].as_str().unwrap_or_default().to_owned(),
        source: op["source"].as_str().unwrap_or_default().to_owned(),
        namespace: op["namespace"].as_str().unwrap_or_default().to_owned(),
        id: op["_id"].to_string(),
        version: op["data"]["v"].as_i64(),
    })
    .collect()
}

/// Those that were read directly.
pub(crate) fn read_directly(running: &RunningOplet) -> Vec<Emitted> {
    let mut ops = emitted(running);
    ops.retain(|op| op.source == "directRead");
    ops
}

/// The ids of these, in order.
pub(crate) fn ids(ops: &[Emitted]) -> Vec<i64> {
    let mut ids: Vec<_> = ops.iter().map(|op| op.id.parse().unwrap()).collect();
    ids.sort_unstable();
    ids
}

/// Waits for its end, which must be a good one.
pub(crate) async fn end(running: &RunningOplet) {
    let code = running.wait_exit(DEADLINE * 3).await.unwrap();
    assert_eq!(code, 0, "{}", running.stderr().all().join("\n"));
}

/// Asks for its end, and waits for it.
pub(crate) async fn stop(running: &RunningOplet) {
    running.signal(Signal::Terminate).unwrap();
    end(running).await;
}

/// Waits until it has said that.
pub(crate) async fn said(running: &RunningOplet, what: &str) -> String {
    let line = running.wait_for_stderr(|line| line.contains(what), DEADLINE * 2);
    line.await
        .unwrap_or_else(|error| panic!("{error:#}\n{}", running.stderr().all().join("\n")))
}

/// Starts it slowly enough to be killed in the middle, the later the more `kills` there were, and kills it.
pub(crate) async fn killed(run: Oplet, kills: usize) -> RunningOplet {
    let running = run.args(["--direct-read-rate", "1500"]).start().unwrap();
    let lines = 900 + 300 * kills;
    if let Err(error) = running.wait_for_lines(lines, DEADLINE).await {
        panic!("{error:#}\n{}", running.stderr().all().join("\n"));
    }
    running.signal(Signal::Kill).unwrap();
    running.wait_exit(DEADLINE).await.unwrap();
    running
}
