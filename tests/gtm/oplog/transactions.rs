//! Entries that hold several ops.

use anyhow::Result;
use bson::doc;
use mongodb::ClientSession;

use super::gist;
use crate::tailing::{
    Ops, Scene,
    stand_in::{StandIn, session, time, with},
};

/// The op ids of some ops, and their places in their transaction.
fn places(ops: &Ops) -> Vec<(&str, Option<&str>)> {
    let place = |op| -> (&str, Option<&str>) {
        let op: &serde_json::Value = op;
        let index = op["txn"]["index"]["$numberLong"].as_str();
        (op["opId"].as_str().unwrap_or_default(), index)
    };
    ops.0.iter().map(place).collect()
}

/// Servers write chains and prepared transactions of other sessions in between, as here. Shapes of
/// 4.2 and later (db/repl/oplog_entry.idl, db/op_observer).
#[tokio::test]
async fn a19_transactions_come_whole_at_their_commit() -> Result<()> {
    // Three ops, from a server.
    let scene = Scene::shared("a19").await?;
    scene.insert("c", [0]).await?;
    let mut session_of_three = scene.client.start_session().await?;
    session_of_three.start_transaction().await?;
    write_three(&scene, &mut session_of_three).await?;
    session_of_three.commit_transaction().await?;
    let ops = scene.ops("oplog", &[&scene.namespace("c")]).await?;
    assert_eq!(gist(&ops), ["i 0", "i 1", "u 1", "d 0"]);
    let number = &ops.0[1]["txn"]["txnNumber"];
    for (op, index) in ops.0[1..].iter().zip(["0", "1", "2"]) {
        assert_eq!(&op["txn"]["txnNumber"], number);
        assert_eq!(op["txn"]["index"]["$numberLong"], index);
        assert_eq!(op["timestamp"], ops.0[1]["timestamp"]);
    }

    // A chain, as of one that is larger than an entry.
    let mut oplog = StandIn::new("a19_chain").await?;
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
    let expected = ["0", "1", "2", "3", "4"].map(Some);
    let inside = places(&ops).split_off(1);
    for ((id, index), expected) in inside.into_iter().zip(expected) {
        assert_eq!(
            (id, index),
            (format!("4:1:{}", index.unwrap_or("?")).as_str(), expected)
        );
    }
    // Begun in its middle, it comes whole all the same.
    let tail = oplog.tail().args(["--since", "3:1", "--exit-when-idle"]);
    assert_eq!(Ops::of(tail).await?.ids(), [1, 2, 3, 4, 5]);

    // A chain that is prepared, and committed much later.
    let mut oplog = StandIn::new("a19_prepared").await?;
    let first = oplog.apply_ops([1], doc! { "partialTxn": true });
    oplog.add(with(first, session(None))).await?;
    let last = oplog.apply_ops([2], doc! { "prepare": true, "count": 2_i64 });
    oplog.add(with(last, session(Some(1)))).await?;
    for id in 10..14 {
        oplog.add_insert(id).await?;
    }
    let (ops, _) = oplog.read().await?;
    assert_eq!(ops.ids(), [10, 11, 12, 13]);
    oplog.add_commit(2).await?;
    oplog.add_insert(14).await?;
    let (ops, _) = oplog.read().await?;
    assert_eq!(ops.ids(), [10, 11, 12, 13, 1, 2, 14]);
    assert_eq!(
        places(&ops)[4..6],
        [("7:1:0", Some("0")), ("7:1:1", Some("1"))]
    );
    // A reader that began behind the preparation finds it.
    let tail = oplog.tail().args(["--since", "5:1", "--exit-when-idle"]);
    assert_eq!(Ops::of(tail).await?.ids(), [13, 1, 2, 14]);

    // One that is prepared, and aborted.
    let mut oplog = StandIn::new("a19_aborted").await?;
    oplog.add_prepared([1, 2]).await?;
    let abort = doc! { "op": "c", "ns": "admin.$cmd", "o": { "abortTransaction": 1 } };
    oplog.add(with(abort, session(Some(1)))).await?;
    oplog.add_insert(10).await?;
    let (ops, said) = oplog.read().await?;
    assert_eq!(ops.ids(), [10]);
    assert!(!said.contains("could not be decoded"), "{said}");
    Ok(())
}

async fn write_three(scene: &Scene, session: &mut ClientSession) -> Result<()> {
    let collection = scene.collection("c");
    let insert = collection.insert_one(doc! { "_id": 1 });
    insert.session(&mut *session).await?;
    let update = collection.update_one(doc! { "_id": 1 }, doc! { "$set": { "n": 1 } });
    update.session(&mut *session).await?;
    let delete = collection.delete_one(doc! { "_id": 0 });
    delete.session(&mut *session).await?;
    Ok(())
}

#[tokio::test]
async fn a20_grouped_writes_are_unwound_and_are_no_transaction() -> Result<()> {
    let mut oplog = StandIn::new("a20").await?;
    oplog.add_insert(0).await?;
    // Vectored inserts of 8.0 (`multiOpType`), retryable, after another write of the session.
    let grouped = with(oplog.apply_ops(1..=3, doc! {}), session(Some(1)));
    oplog.add(with(grouped, doc! { "multiOpType": 1 })).await?;
    // Deletes of many documents, from 6.1 on: no session.
    let namespace = oplog.scene.namespace("c");
    let delete = |id: i32| doc! { "op": "d", "ns": &namespace, "o": { "_id": id } };
    let deletes = doc! { "applyOps": [delete(1), delete(2)] };
    oplog
        .add(doc! { "op": "c", "ns": "admin.$cmd", "o": deletes })
        .await?;
    // The same, larger than an entry: a chain without a session (from 7.1 on).
    let null =
        doc! { "prevOpTime": { "ts": bson::Timestamp { time: 0, increment: 0 }, "t": -1_i64 } };
    let first = oplog.apply_ops([4], doc! { "partialTxn": true });
    oplog.add(with(first, null)).await?;
    let previous = doc! { "prevOpTime": { "ts": time(4), "t": 1_i64 } };
    let last = oplog.apply_ops([5], doc! { "count": 2_i64 });
    oplog.add(with(last, previous)).await?;
    let (ops, _) = oplog.read().await?;
    let expected = ["i 0", "i 1", "i 2", "i 3", "d 1", "d 2", "i 4", "i 5"];
    assert_eq!(gist(&ops), expected);
    let ids = [
        "1:1:0", "2:1:0", "2:1:1", "2:1:2", "3:1:0", "3:1:1", "5:1:0", "5:1:1",
    ];
    assert_eq!(places(&ops), ids.map(|id| (id, None)));

    // What `applyOps` applies as a whole, from this server.
    let scene = Scene::shared("a20_atomic").await?;
    scene.insert("c", [1]).await?;
    let namespace = scene.namespace("c");
    let insert = doc! { "op": "i", "ns": &namespace, "o": { "_id": 2 } };
    let delete = doc! { "op": "d", "ns": &namespace, "o": { "_id": 1 } };
    let apply = doc! { "applyOps": [insert, delete] };
    scene.client.database("admin").run_command(apply).await?;
    let ops = scene.ops("oplog", &[&namespace]).await?;
    assert_eq!(gist(&ops), ["i 1", "i 2", "d 1"]);
    assert!(ops.0.iter().all(|op| op.get("txn").is_none()));
    Ok(())
}
