//! `oplet tail`: where it begins and ends, and what it prints.
//!
//! - `positions`: `--since`, and what a lost position looks like
//! - `ends`: `--until`, `--max-ops`, `--exit-when-idle`
//! - `restart`: reading on where another reader ended
//! - `stand_in`: entries that this server would never write, from a collection in the oplog's stead
//! - `lookup`: which document an update of the oplog comes with
//! - `images`: documents as they were before and after a change
//! - `commands`: those that change what a collection is
//! - `cursors`: whose they are, and where
//! - `reads`: what lies in collections, before their changes
//! - `output`: formats, and what is never delivered
//! - `stream`: the library that it uses, as other programs use it

mod commands;
mod cursors;
mod ends;
mod images;
pub(crate) mod lookup;
mod output;
mod positions;
mod reads;
mod restart;
pub(crate) mod stand_in;
mod stream;

use anyhow::{Context, Result, ensure};
use bson::{Document, doc};
use mongodb::{Client, Collection, Database};
use oplet_testkit::{Oplet, ReplicaSet, RunningOplet, database_name};
use serde_json::Value;

use crate::{DEADLINE, oplet};

/// The two ways to read changes, as `--source` names them.
pub(crate) const SOURCES: [&str; 2] = ["oplog", "change-stream"];

/// A position as `--since` and `--until` take it.
pub(crate) fn position(time: bson::Timestamp) -> String {
    format!("{}:{}", time.time, time.increment)
}

/// A database of its own for a test, on a running server, and the position before its first write.
pub(crate) struct Scene {
    pub(crate) uri: String,
    pub(crate) client: Client,
    pub(crate) database: Database,
    pub(crate) before: String,
}

/// What one run of `oplet tail` printed.
pub(crate) struct Ops(pub(crate) Vec<Value>);

// === impl Scene ===

impl Scene {
    /// A scene on the server that all tests share.
    pub(crate) async fn shared(hint: &str) -> Result<Self> {
        Self::on(ReplicaSet::shared().await?, hint).await
    }

    /// A scene on a server of the test's own.
    pub(crate) async fn on(server: &ReplicaSet, hint: &str) -> Result<Self> {
        let client = server.client().await?;
        let before = now(&client).await?;
        Ok(Self {
            uri: server.uri(),
            database: client.database(&database_name(hint)),
            client,
            before: position(before),
        })
    }

    /// The name of the scene's database.
    pub(crate) fn name(&self) -> &str {
        self.database.name()
    }

    /// `db.coll`, in the scene's database.
    pub(crate) fn namespace(&self, collection: &str) -> String {
        format!("{}.{collection}", self.name())
    }

    pub(crate) fn collection(&self, name: &str) -> Collection<Document> {
        self.database.collection(name)
    }

    /// Inserts documents of those `_id`s, one command each, so that each has a time of its own.
    pub(crate) async fn insert(
        &self,
        collection: &str,
        ids: impl IntoIterator<Item = i32>,
    ) -> Result<()> {
        let collection = self.collection(collection);
        for id in ids {
            collection.insert_one(doc! { "_id": id }).await?;
        }
        Ok(())
    }

    /// `oplet tail` of the scene's server, printing canonical JSON.
    pub(crate) fn tail(&self, source: &str) -> Oplet {
        oplet()
            .args(["tail", "--uri", &self.uri, "--source", source])
            .args(["--format", "canonical"])
    }

    /// All that has happened in the scene so far, read from `source`; `watched` are namespaces.
    pub(crate) async fn ops(&self, source: &str, watched: &[&str]) -> Result<Ops> {
        let tail = self.tail(source).args(watched);
        Ops::of(tail.args(["--since", &self.before, "--exit-when-idle"])).await
    }
}

/// The cluster time of the last write.
pub(crate) async fn now(client: &Client) -> Result<bson::Timestamp> {
    let admin = client.database("admin");
    let reply = admin.run_command(doc! { "ping": 1 }).await?;
    Ok(reply.get_timestamp("operationTime")?)
}

// === impl Ops ===

impl Ops {
    /// Runs `oplet tail` to its end, which has to be a good one.
    pub(crate) async fn of(tail: Oplet) -> Result<Self> {
        let tail = tail.start()?;
        let code = tail.wait_exit(DEADLINE).await?;
        ensure!(code == 0, "exit code {code}: {}", said(&tail));
        Self::printed(&tail)
    }

    /// What has been printed so far.
    pub(crate) fn printed(tail: &RunningOplet) -> Result<Self> {
        let lines = tail.stdout().all();
        let ops = lines.iter().map(|line| serde_json::from_str(line));
        let ops = ops.collect::<Result<_, _>>();
        Ok(Self(ops.context("a printed line is no JSON document")?))
    }

    /// Each op's `_id`, where they are small numbers.
    pub(crate) fn ids(&self) -> Vec<i64> {
        let id = |op: &Value| -> Option<i64> { op["_id"]["$numberInt"].as_str()?.parse().ok() };
        let ids = self.0.iter().map(|op| id(op).expect("`_id` is an int"));
        ids.collect()
    }

    /// Each op's `opId`.
    pub(crate) fn op_ids(&self) -> Vec<&str> {
        let op_ids = self.0.iter().map(|op| op["opId"].as_str());
        op_ids.map(|op_id| op_id.expect("`opId` is text")).collect()
    }

    /// The position of the op of that index.
    pub(crate) fn position(&self, index: usize) -> String {
        let time = &self.0[index]["timestamp"]["$timestamp"];
        format!("{}:{}", time["t"], time["i"])
    }
}

/// What a process said on its standard error.
pub(crate) fn said(process: &RunningOplet) -> String {
    process.stderr().all().join("\n")
}
