//! A transaction of 50 MB, and a reader that is killed in its middle.

use anyhow::Result;
use bson::doc;
use mongodb::ClientSession;
use oplet_testkit::{Options, RunningOplet, Signal};

use super::*;
use crate::{
    delivery::process::{Named, wait_for},
    modules::{self, Handwritten},
};

/// An entry of the oplog holds 16 MB: the transaction takes four.
const DOCUMENTS: i32 = 60;
const DOCUMENT_BYTES: usize = 850 << 10;

/// A module that emits each op's `_id` after a while, so that the checkpoint comes to lie between two
/// ops of the transaction.
fn slow() -> String {
    let clock = "(drop (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 512)))";
    let handle = format!(
        "(local $until i64)
        {clock}
        (local.set $until (i64.add (i64.load (i32.const 512)) (i64.const 100000000)))
        (loop $again
            {clock}
            (br_if $again (i64.lt_u (i64.load (i32.const 512)) (local.get $until))))
        (call $emit_one (local.get $op)) (i32.const 0)"
    );
    Handwritten::new("slow")
        .wasi("clock_time_get", "(param i32 i64 i32) (result i32)")
        .memory(r#"(memory (export "memory") 40)"#)
        .alloc("(i32.const 0x10000)")
        .handle(&handle)
        .text()
}

/// Inserts the documents in one transaction; commits it, prepared or not, as a server does with those
/// of several shards.
async fn write(named: &Named, is_prepared: bool) -> Result<()> {
    let mut session = named.client.start_session().await?;
    session.start_transaction().await?;
    let things = named.client.database(&named.database);
    let things = things.collection::<Document>("things");
    let text = "x".repeat(DOCUMENT_BYTES);
    for id in 1..=DOCUMENTS {
        let insert = things.insert_one(doc! { "_id": id, "text": &text });
        insert.session(&mut session).await?;
    }
    match is_prepared {
        true => commit_prepared(named, &mut session).await,
        false => Ok(session.commit_transaction().await?),
    }
}

async fn commit_prepared(named: &Named, session: &mut ClientSession) -> Result<()> {
    let admin = named.client.database("admin");
    let majority = doc! { "w": "majority" };
    let prepare = doc! { "prepareTransaction": 1, "writeConcern": &majority };
    let prepared = admin.run_command(prepare).session(&mut *session).await?;
    let prepared = prepared.get_timestamp("prepareTimestamp")?;
    // Others write between the two.
    let others = named.client.database("oplet_elsewhere");
    others.collection("c").insert_one(doc! {}).await?;
    let commit =
        doc! { "commitTransaction": 1, "commitTimestamp": prepared, "writeConcern": majority };
    admin.run_command(commit).session(session).await?;
    Ok(())
}

/// The `_id`s in the order in which they were emitted.
fn emitted(running: &RunningOplet) -> Vec<i64> {
    let id = |op: &Value| op["_id"].as_i64().expect("it is a number");
    ops(running).iter().map(id).collect()
}

#[tokio::test]
async fn a_transaction_of_50_megabytes_goes_on_where_its_reader_was_killed() -> Result<()> {
    let set = ReplicaSet::start(Options::default()).await?;
    let folder = modules::Scene::on(&set, "large_killed".into()).await;
    let module = folder.module("slow", &slow());
    for source in SOURCES {
        for is_prepared in [false, true] {
            let named = Named::on(&set, "large_killed").await;
            named.insert(0..1).await;
            let run = || {
                let run = oplet().arg("run").arg(&module);
                run.args(["--uri", &named.uri, "--watch", &named.database])
                    .args(["--name", &named.database, "--source", source])
                    .args(["--checkpoint", "mongodb:oplet.checkpoints"])
                    .args(["--ordering", "oplog"])
            };
            let first = named.start(run()).await;
            write(&named, is_prepared).await?;
            wait_for(&first, 5).await;
            let saved = named.own("checkpoints").await.remove(0);
            named.wait_for_checkpoint(&saved).await;
            first.signal(Signal::Kill)?;
            first.wait_exit(DEADLINE).await?;
            let first = emitted(&first);
            let end = first.len() as i64;
            assert!(end < i64::from(DOCUMENTS), "it was killed too late");
            assert_eq!(first, (1..=end).collect::<Vec<_>>(), "{source}");

            named.insert(100..101).await;
            let second = named.start(run()).await;
            let last = |line: &str| line.contains(r#""_id":100"#);
            second.wait_for_line(last, DEADLINE).await?;
            second.signal(Signal::Terminate)?;
            assert_eq!(second.wait_exit(DEADLINE).await?, 0);
            let second = emitted(&second);
            // The checkpoint lay inside: some of it was done, and what was not saved comes again.
            let begin = second[0];
            assert!(
                begin > 1 && begin <= end + 1,
                "{source}: from {begin}, killed at {end}"
            );
            let rest = (begin..=i64::from(DOCUMENTS)).chain([100]);
            assert_eq!(second, rest.collect::<Vec<_>>(), "{source}");
        }
    }
    Ok(())
}
