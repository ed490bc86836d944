//! Entries that this server would never write: a capped collection stands in for the oplog.

use anyhow::Result;
use bson::{Bson, DateTime, Document, Timestamp, doc};
use oplet_testkit::eventually;

use super::*;

/// A collection that is read as the oplog, of entries at seconds 1, 2, 3 and so on.
pub(super) struct StandIn {
    scene: Scene,
    entries: Collection<Document>,
    seconds: u32,
    term: i64,
}

/// The cluster time of the entry that was written as the `seconds`th.
fn time(seconds: u32) -> Bson {
    Timestamp {
        time: seconds,
        increment: 1,
    }
    .into()
}

/// The fields of an entry in a session, after the entry at `previous`.
fn session(previous: Option<u32>) -> Document {
    let previous = match previous {
        Some(seconds) => doc! { "ts": time(seconds), "t": 1_i64 },
        None => doc! { "ts": Timestamp { time: 0, increment: 0 }, "t": -1_i64 },
    };
    doc! { "lsid": { "id": "s" }, "txnNumber": 7_i64, "prevOpTime": previous }
}

fn with(mut fields: Document, more: Document) -> Document {
    fields.extend(more);
    fields
}

impl StandIn {
    pub(super) async fn new(hint: &str) -> Result<Self> {
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
    pub(super) async fn begin_again(&mut self, term: i64) -> Result<()> {
        self.entries.drop().await?;
        let create = doc! { "create": "entries", "capped": true, "size": 1 << 20 };
        self.scene.database.run_command(create).await?;
        self.seconds = 0;
        self.term = term;
        Ok(())
    }

    /// What is added from now on was written by another primary.
    pub(super) fn begin_term(&mut self, term: i64) {
        self.term = term;
    }

    /// Waits until a tail of it waits for more.
    pub(super) async fn is_read_by(&self, tail: &RunningOplet) -> Result<()> {
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
    async fn add(&mut self, fields: Document) -> Result<()> {
        self.seconds += 1;
        let wall = DateTime::from_millis(i64::from(self.seconds) * 1000);
        let entry = doc! { "ts": time(self.seconds), "t": self.term, "v": 2, "wall": wall };
        self.entries.insert_one(with(entry, fields)).await?;
        Ok(())
    }

    /// Adds the insert of a document `{_id: id}` into `c`.
    pub(super) async fn add_insert(&mut self, id: i32) -> Result<()> {
        let insert = self.insert(id);
        self.add(insert).await
    }

    /// Adds a transaction of these inserts that is yet to be committed.
    pub(super) async fn add_prepared(&mut self, ids: [i32; 2]) -> Result<()> {
        let prepared = self.apply_ops(ids, doc! { "prepare": true });
        self.add(with(prepared, session(None))).await
    }

    /// Adds the commit of the transaction that was prepared at that second.
    pub(super) async fn add_commit(&mut self, prepared: u32) -> Result<()> {
        let commit = doc! { "commitTransaction": 1, "commitTimestamp": time(prepared) };
        let commit = doc! { "op": "c", "ns": "admin.$cmd", "o": commit };
        self.add(with(commit, session(Some(prepared)))).await
    }

    /// Adds inserts of 100 kB each; ten of them push everything else out.
    pub(super) async fn add_large_inserts(&mut self, count: i32) -> Result<()> {
        let text = "x".repeat(100_000);
        for id in 1..=count {
            let whole = doc! { "_id": id, "text": &text };
            let insert = with(self.insert(id), doc! { "o": whole });
            self.add(insert).await?;
        }
        Ok(())
    }

    /// The fields that say that `{_id: id}` was inserted into `c`.
    fn insert(&self, id: i32) -> Document {
        let namespace = self.scene.namespace("c");
        doc! { "op": "i", "ns": namespace, "o": { "_id": id }, "o2": { "_id": id } }
    }

    /// An entry of several ops.
    fn apply_ops(&self, ids: impl IntoIterator<Item = i32>, more: Document) -> Document {
        let inner: Vec<Document> = ids.into_iter().map(|id| self.insert(id)).collect();
        doc! { "op": "c", "ns": "admin.$cmd", "o": with(doc! { "applyOps": inner }, more) }
    }

    pub(super) fn tail(&self) -> Oplet {
        let tail = self.scene.tail("oplog").arg(self.scene.name());
        tail.args(["--oplog-namespace", &self.scene.namespace("entries")])
    }

    /// All that is in it, and what was said about it.
    async fn read(&self) -> Result<(Ops, String)> {
        let tail = self.tail().args(["--since", "oldest", "--exit-when-idle"]);
        let tail = tail.start()?;
        let code = tail.wait_exit(DEADLINE).await?;
        ensure!(code == 0, "exit code {code}: {}", said(&tail));
        Ok((Ops::printed(&tail)?, said(&tail)))
    }
}

#[tokio::test]
async fn updates_of_old_servers_are_described() -> Result<()> {
    let mut oplog = StandIn::new("v1").await?;
    let document = doc! { "_id": 1, "a": { "b": 2 }, "now": true };
    oplog.scene.collection("c").insert_one(document).await?;
    let changes = doc! { "$v": 1, "$set": { "a.b": 2 }, "$unset": { "old": true } };
    let namespace = oplog.scene.namespace("c");
    oplog
        .add(doc! { "op": "u", "ns": &namespace, "o2": { "_id": 1 }, "o": changes })
        .await?;
    let bare = doc! { "$set": { "n": 1 } };
    oplog
        .add(doc! { "op": "u", "ns": &namespace, "o2": { "_id": 2 }, "o": bare })
        .await?;
    let (ops, _) = oplog.read().await?;
    let [found, gone] = &ops.0[..] else {
        panic!("{:?}", ops.0);
    };
    let description = r#"{"updatedFields":{"a.b":{"$numberInt":"2"}},"removedFields":["old"],"truncatedArrays":[],"disambiguatedPaths":{}}"#;
    assert_eq!(found["updateDescription"].to_string(), description);
    assert_eq!(found["data"]["now"], true);
    assert_eq!(
        gone["updateDescription"]["updatedFields"]["n"]["$numberInt"],
        "1"
    );
    assert_eq!(gone.get("data"), None);
    Ok(())
}

#[tokio::test]
async fn grouped_inserts_are_no_transaction() -> Result<()> {
    let mut oplog = StandIn::new("grouped").await?;
    let grouped = oplog.apply_ops(1..=3, doc! {});
    let grouped = with(grouped, session(Some(1)));
    oplog.add_insert(0).await?;
    oplog.add(with(grouped, doc! { "multiOpType": 1 })).await?;
    let (ops, _) = oplog.read().await?;
    assert_eq!(ops.ids(), [0, 1, 2, 3]);
    assert_eq!(ops.op_ids(), ["1:1:0", "2:1:0", "2:1:1", "2:1:2"]);
    assert!(ops.0.iter().all(|op| op.get("txn").is_none()));
    Ok(())
}

#[tokio::test]
async fn a_prepared_transaction_comes_when_it_is_committed() -> Result<()> {
    let mut oplog = StandIn::new("prepared").await?;
    oplog.add_prepared([1, 2]).await?;
    oplog.add_insert(10).await?;
    oplog.add_commit(1).await?;
    oplog.add_insert(11).await?;
    let (ops, _) = oplog.read().await?;
    assert_eq!(ops.ids(), [10, 1, 2, 11]);
    assert_eq!(ops.op_ids(), ["2:1:0", "3:1:0", "3:1:1", "4:1:0"]);
    assert_eq!(ops.0[2]["txn"]["index"]["$numberLong"], "1");
    assert_eq!(ops.0[2]["txn"]["txnNumber"]["$numberLong"], "7");
    Ok(())
}

#[tokio::test]
async fn a_prepared_transaction_that_is_aborted_never_comes() -> Result<()> {
    let mut oplog = StandIn::new("aborted").await?;
    oplog.add_prepared([1, 2]).await?;
    let abort = doc! { "op": "c", "ns": "admin.$cmd", "o": { "abortTransaction": 1 } };
    oplog.add(with(abort, session(Some(1)))).await?;
    oplog.add_insert(10).await?;
    let (ops, said) = oplog.read().await?;
    assert_eq!(ops.ids(), [10]);
    assert!(!said.contains("could not be decoded"), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_transaction_of_several_entries_comes_at_its_last() -> Result<()> {
    let mut oplog = StandIn::new("chain").await?;
    let partial = doc! { "partialTxn": true };
    let first = oplog.apply_ops(1..=2, partial.clone());
    oplog.add(with(first, session(None))).await?;
    oplog.add_insert(10).await?;
    let second = oplog.apply_ops(3..=4, partial);
    oplog.add(with(second, session(Some(1)))).await?;
    let last = oplog.apply_ops([5], doc! { "count": 5_i64 });
    oplog.add(with(last, session(Some(3)))).await?;
    let (ops, _) = oplog.read().await?;
    assert_eq!(ops.ids(), [10, 1, 2, 3, 4, 5]);
    assert_eq!(
        ops.op_ids()[1..],
        ["4:1:0", "4:1:1", "4:1:2", "4:1:3", "4:1:4"]
    );
    // Begun in its middle, it comes whole all the same.
    let tail = oplog.tail().args(["--since", "3:1", "--exit-when-idle"]);
    assert_eq!(Ops::of(tail).await?.ids(), [1, 2, 3, 4, 5]);
    Ok(())
}

#[tokio::test]
async fn what_is_no_change_of_a_document_is_not_delivered() -> Result<()> {
    let mut oplog = StandIn::new("others").await?;
    let command = format!("{}.$cmd", oplog.scene.name());
    oplog.add_insert(1).await?;
    let moved = with(oplog.insert(2), doc! { "fromMigrate": true });
    oplog.add(moved).await?;
    for unknown in ["create", "createIndexes", "collMod", "notYetInvented"] {
        let fields = doc! { "op": "c", "ns": &command, "o": { unknown: "c" } };
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

#[tokio::test]
async fn an_entry_that_cannot_be_decoded_is_named_and_passed_over() -> Result<()> {
    let mut oplog = StandIn::new("undecodable").await?;
    let namespace = oplog.scene.namespace("c");
    oplog.add_insert(1).await?;
    let diff = doc! { "$v": 9, "diff": {} };
    for undecodable in [
        doc! { "op": "?", "ns": &namespace, "o": { "_id": 2 } },
        doc! { "op": "i", "ns": &namespace, "o": 2 },
        doc! { "op": "u", "ns": &namespace, "o": diff, "o2": { "_id": 2 } },
        doc! { "op": "c", "ns": "admin.$cmd", "o": { "applyOps": [oplog.insert(2), { "op": "i" }] } },
    ] {
        oplog.add(undecodable).await?;
    }
    oplog.add_insert(6).await?;
    let (ops, said) = oplog.read().await?;
    assert_eq!(ops.ids(), [1, 6]);
    for timestamp in ["2:1", "3:1", "4:1", "5:1"] {
        let lines = said.lines();
        let about = lines.filter(|line| line.contains(&format!("\"{timestamp}\"")));
        let about: Vec<_> = about.collect();
        assert_eq!(about.len(), 1, "{timestamp}: {said}");
        assert!(about[0].contains("could not be decoded"), "{said}");
    }
    Ok(())
}

#[tokio::test]
async fn no_ops_move_the_position() -> Result<()> {
    let mut oplog = StandIn::new("noops").await?;
    oplog.add_insert(1).await?;
    for _ in 0..3 {
        let no_op = doc! { "op": "n", "ns": "", "o": { "msg": "periodic noop" } };
        oplog.add(no_op).await?;
    }
    // Only the position can tell that the bound was reached.
    let tail = oplog.tail().args(["--since", "oldest", "--until", "4:1"]);
    assert_eq!(Ops::of(tail).await?.ids(), [1]);
    Ok(())
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
async fn a_position_that_it_no_longer_reaches_is_lost() -> Result<()> {
    let mut oplog = StandIn::new("rolled").await?;
    oplog.add_large_inserts(20).await?;
    let tail = oplog.tail().args(["--since", "2:1"]).start()?;
    assert_eq!(tail.wait_exit(DEADLINE).await?, 3);
    let said = said(&tail);
    assert!(said.contains("the position 2:1 is lost"), "{said}");
    assert!(said.contains("the oplog begins at 1"), "{said}");
    assert!(tail.stdout().all().is_empty());
    Ok(())
}
