//! Entries that this server would never write: a capped collection stands in for the oplog.

use anyhow::Result;
use bson::{Bson, DateTime, Document, Timestamp, doc};
use oplet_testkit::eventually;

use super::*;

/// A collection that is read as the oplog, of entries at seconds 1, 2, 3 and so on.
pub(crate) struct StandIn {
    pub(crate) scene: Scene,
    entries: Collection<Document>,
    seconds: u32,
    term: i64,
}

/// The cluster time of the entry that was written as the `seconds`th.
pub(crate) fn time(seconds: u32) -> Bson {
    Timestamp {
        time: seconds,
        increment: 1,
    }
    .into()
}

/// The fields of an entry in a session, after the entry at `previous`.
pub(crate) fn session(previous: Option<u32>) -> Document {
    let previous = match previous {
        Some(seconds) => doc! { "ts": time(seconds), "t": 1_i64 },
        None => doc! { "ts": Timestamp { time: 0, increment: 0 }, "t": -1_i64 },
    };
    doc! { "lsid": { "id": "s" }, "txnNumber": 7_i64, "prevOpTime": previous }
}

pub(crate) fn with(mut fields: Document, more: Document) -> Document {
    fields.extend(more);
    fields
}

impl StandIn {
    pub(crate) async fn new(hint: &str) -> Result<Self> {
        let scene = Scene::shared(hint).await?;
        let mut stand_in = Self {
            entries: scene.collection("entries"),
            scene,
            seconds: 0,
            term: 1,
        };
        stand_in.begin_again(1).await?;
        Ok(stand_in)
    }

    /// Empties it: what is added then is a history of its own.
    pub(crate) async fn begin_again(&mut self, term: i64) -> Result<()> {
        self.entries.drop().await?;
        let create = doc! { "create": "entries", "capped": true, "size": 1 << 20 };
        self.scene.database.run_command(create).await?;
        self.seconds = 0;
        self.term = term;
        Ok(())
    }

    /// What is added from now on was written by another primary.
    pub(crate) fn begin_term(&mut self, term: i64) {
        self.term = term;
    }

    /// Waits until a tail of it waits for more.
    pub(crate) async fn is_read_by(&self, tail: &RunningOplet) -> Result<()> {
        let admin = self.scene.client.database("admin");
        let cursors = doc! { "$currentOp": { "allUsers": true, "idleCursors": true } };
        let namespace = self.scene.namespace("entries");
        let ours = doc! { "$match": { "ns": namespace, "cursor.tailable": true } };
        let read = eventually(DEADLINE, async || {
            let found = admin.aggregate([cursors.clone(), ours.clone()]).await;
            match found {
                Ok(mut found) => found.advance().await.unwrap_or(false),
                Err(_) => false,
            }
        });
        read.await.with_context(|| said(tail))
    }

    /// Adds an entry of these fields.
    pub(crate) async fn add(&mut self, fields: Document) -> Result<()> {
        self.seconds += 1;
        let wall = DateTime::from_millis(i64::from(self.seconds) * 1000);
        let entry = doc! { "ts": time(self.seconds), "t": self.term, "v": 2, "wall": wall };
        self.entries.insert_one(with(entry, fields)).await?;
        Ok(())
    }

    /// Adds the insert of a document `{_id: id}` into `c`.
    pub(crate) async fn add_insert(&mut self, id: i32) -> Result<()> {
        let insert = self.insert(id);
        self.add(insert).await
    }

    /// Adds a transaction of these inserts that is yet to be committed.
    pub(crate) async fn add_prepared(&mut self, ids: [i32; 2]) -> Result<()> {
        let prepared = self.apply_ops(ids, doc! { "prepare": true });
        self.add(with(prepared, session(None))).await
    }

    /// Adds the commit of the transaction that was prepared at that second.
    pub(crate) async fn add_commit(&mut self, prepared: u32) -> Result<()> {
        let commit = doc! { "commitTransaction": 1, "commitTimestamp": time(prepared) };
        let commit = doc! { "op": "c", "ns": "admin.$cmd", "o": commit };
        self.add(with(commit, session(Some(prepared)))).await
    }

    /// Adds inserts of 100 kB each; ten of them push everything else out.
    pub(crate) async fn add_large_inserts(&mut self, count: i32) -> Result<()> {
        let text = "x".repeat(100_000);
        for id in 1..=count {
            let whole = doc! { "_id": id, "text": &text };
            let insert = with(self.insert(id), doc! { "o": whole });
            self.add(insert).await?;
        }
        Ok(())
    }

    /// The fields that say that `{_id: id}` was inserted into `c`.
    pub(crate) fn insert(&self, id: i32) -> Document {
        let namespace = self.scene.namespace("c");
        doc! { "op": "i", "ns": namespace, "o": { "_id": id }, "o2": { "_id": id } }
    }

    /// An entry of several ops.
    pub(crate) fn apply_ops(&self, ids: impl IntoIterator<Item = i32>, more: Document) -> Document {
        let inner: Vec<Document> = ids.into_iter().map(|id| self.insert(id)).collect();
        doc! { "op": "c", "ns": "admin.$cmd", "o": with(doc! { "applyOps": inner }, more) }
    }

    pub(crate) fn tail(&self) -> Oplet {
        let tail = self.scene.tail("oplog").arg(self.scene.name());
        tail.args(["--oplog-namespace", &self.scene.namespace("entries")])
    }

    /// All that is in it, and what was said about it.
    pub(crate) async fn read(&self) -> Result<(Ops, String)> {
        self.read_with(&[]).await
    }

    /// The same, with more flags.
    pub(crate) async fn read_with(&self, flags: &[&str]) -> Result<(Ops, String)> {
        let tail = self.tail().args(["--since", "oldest", "--exit-when-idle"]);
        let tail = tail.args(flags);
        let tail = tail.start()?;
        let code = tail.wait_exit(DEADLINE).await?;
        ensure!(code == 0, "exit code {code}: {}", said(&tail));
        Ok((Ops::printed(&tail)?, said(&tail)))
    }
}

#[tokio::test]
async fn a_retryable_write_is_no_transaction() -> Result<()> {
    let mut oplog = StandIn::new("retryable").await?;
    let namespace = oplog.scene.namespace("c");
    for (statement, id) in (1..=2).enumerate() {
        let fields = with(oplog.insert(id), session(None));
        let fields = with(fields, doc! { "stmtId": statement as i32 });
        oplog.add(fields).await?;
    }
    let image =
        doc! { "op": "d", "ns": namespace, "o": { "_id": 1 }, "needsRetryImage": "preImage" };
    oplog.add(with(image, session(Some(2)))).await?;
    let (ops, _) = oplog.read().await?;
    assert_eq!(ops.ids(), [1, 2, 1]);
    assert!(ops.0.iter().all(|op| op.get("txn").is_none()));
    Ok(())
}

#[tokio::test]
async fn what_is_no_change_of_a_document_is_not_delivered() -> Result<()> {
    let mut oplog = StandIn::new("others").await?;
    let command = format!("{}.$cmd", oplog.scene.name());
    oplog.add_insert(1).await?;
    let moved = with(oplog.insert(2), doc! { "fromMigrate": true });
    oplog.add(moved).await?;
    for command_name in ["create", "createIndexes", "collMod", "startIndexBuild"] {
        let fields = doc! { "op": "c", "ns": &command, "o": { command_name: "c" } };
        oplog.add(fields).await?;
    }
    let shards = doc! { "op": "n", "ns": "", "o": { "msg": "x" }, "o2": oplog.insert(3) };
    oplog.add(shards).await?;
    oplog.add_insert(4).await?;
    let (ops, said) = oplog.read().await?;
    assert_eq!(ops.ids(), [1, 4]);
    assert!(!said.contains("could not be decoded"), "{said}");
    Ok(())
}
