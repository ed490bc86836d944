//! A run as a process of its own, with a name and a checkpoint.

use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::Client;
use oplet_testkit::{Oplet, ReplicaSet, RunningOplet, database_name, eventually};
use serde_json::Value;

use crate::{DEADLINE, oplet};

/// A database whose changes a named run handles.
pub(crate) struct Named {
    pub(crate) client: Client,
    pub(crate) database: String,
    pub(crate) uri: String,
}

impl Named {
    pub(crate) async fn new(hint: &str) -> Self {
        Self::on(ReplicaSet::shared().await.unwrap(), hint).await
    }

    pub(crate) async fn on(set: &ReplicaSet, hint: &str) -> Self {
        Self {
            client: set.client().await.unwrap(),
            database: database_name(hint),
            uri: set.uri(),
        }
    }

    /// `oplet run` of the echo module under the name of the database.
    pub(crate) fn run(&self) -> Oplet {
        oplet()
            .arg("run")
            .arg(oplet_testkit::guest("guest_echo").unwrap())
            .args(["--uri", &self.uri, "--watch", &self.database])
            .args(["--name", &self.database])
            .args(["--checkpoint", "mongodb:oplet.checkpoints"])
    }

    /// Starts it, and waits until it runs.
    pub(crate) async fn start(&self, oplet: Oplet) -> RunningOplet {
        let running = oplet.start().unwrap();
        let runs = running
            .wait_for_stderr(|line| line.contains("running"), DEADLINE)
            .await;
        if let Err(error) = runs {
            panic!("{error:#}\n{}", running.stderr().all().join("\n"));
        }
        running
    }

    /// Inserts documents with these ids.
    pub(crate) async fn insert(&self, ids: std::ops::Range<i32>) {
        let things = self
            .client
            .database(&self.database)
            .collection::<Document>("things");
        let documents = ids.map(|id| doc! { "_id": id, "sequence": 1 });
        things.insert_many(documents).await.unwrap();
    }

    /// All of a collection of Oplet's own that bears this run's name.
    pub(crate) async fn own(&self, collection: &str) -> Vec<Document> {
        let own = self
            .client
            .database("oplet")
            .collection::<Document>(collection);
        let filter = doc! { "$or": [{ "_id": &self.database }, { "name": &self.database }] };
        own.find(filter).await.unwrap().try_collect().await.unwrap()
    }

    /// Waits until the checkpoint is beyond what was written last.
    pub(crate) async fn wait_for_checkpoint(&self, beyond: &Document) {
        let saved = async || {
            let checkpoints = self.own("checkpoints").await;
            checkpoints
                .first()
                .is_some_and(|present| present.get("checkpoint") != beyond.get("checkpoint"))
        };
        eventually(DEADLINE, saved).await.unwrap();
    }
}

/// The ids of the documents that were emitted. Lanes work side by side: they are sorted.
pub(crate) fn ids(running: &RunningOplet) -> Vec<i64> {
    let lines = running.stdout().all();
    let id = |line: &String| serde_json::from_str::<Value>(line).unwrap()["_id"].as_i64();
    let mut ids: Vec<_> = lines.iter().filter_map(id).collect();
    ids.sort_unstable();
    ids
}

/// Waits until so many lines were emitted.
pub(crate) async fn wait_for(running: &RunningOplet, lines: usize) {
    let come = running.wait_for_lines(lines, DEADLINE).await;
    if let Err(error) = come {
        panic!("{error:#}\n{}", running.stderr().all().join("\n"));
    }
}
