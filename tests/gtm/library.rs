//! What a Rust program that tails without modules sees.
//!
//! - `filters`: which changes are given, and as what
//! - `faults`: what a server does wrong, and a consumer
//! - `commands`: pause, resume, seek, stop
//! - `crashes`: what comes again, and what does not
//! - `reads`: what lies in collections, among the changes

mod commands;
mod crashes;
mod faults;
mod filters;
mod reads;

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use bson::{Document, doc};
use oplet::{
    TailBuilder,
    op::{Since, SourceKind},
    tail::{Change, Ops},
};
use oplet_testkit::ReplicaSet;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{DEADLINE, tailing::Scene};

const SOURCES: [SourceKind; 2] = [SourceKind::Oplog, SourceKind::ChangeStream];

/// How long nothing may come where nothing is to come.
const QUIET: Duration = Duration::from_millis(500);

/// The changes of the scene's collection `c`, from its beginning on.
fn tail_of(scene: &Scene, source: SourceKind) -> Result<TailBuilder> {
    let before: Since = scene.before.parse()?;
    // By this name a server's fail points find it.
    let uri = format!("{}&appName={}", scene.uri, scene.name());
    Ok(TailBuilder::new(uri)
        .source(source)
        .watch(scene.namespace("c").parse()?)
        .since(before))
}

/// The next change, which has to come.
async fn next(ops: &mut Ops) -> Result<Change> {
    let next = timeout(DEADLINE, ops.next()).await;
    let next = next.context("no change comes")?;
    Ok(next.context("the tail has ended")??)
}

/// The next so many `_id`s.
async fn ids(ops: &mut Ops, count: usize) -> Result<Vec<i32>> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(id(&next(ops).await?)?);
    }
    Ok(ids)
}

/// All `_id`s to the end.
async fn all_ids(ops: &mut Ops) -> Result<Vec<i32>> {
    let mut ids = Vec::new();
    while let Some(change) = timeout(DEADLINE, ops.next()).await? {
        ids.push(id(&change?)?);
    }
    Ok(ids)
}

fn id(change: &Change) -> Result<i32> {
    match change.id() {
        Some(bson::RawBson::Int32(id)) => Ok(id),
        other => bail!("{other:?} is no id of these tests"),
    }
}

/// Nothing comes for a while.
async fn assert_quiet(ops: &mut Ops) {
    let came = timeout(QUIET, ops.next()).await;
    assert!(came.is_err(), "{came:?}");
}

/// Inserts `{_id: 1}`, `{_id: 2}` and so on into the scene's `c`, until it is told to end.
struct Writer {
    written: watch::Receiver<i32>,
    task: JoinHandle<()>,
}

impl Writer {
    fn start(scene: &Scene) -> Self {
        let collection = scene.collection("c");
        let (count, written) = watch::channel(0);
        let task = tokio::spawn(async move {
            for id in 1.. {
                // A server that steps down takes a write later.
                while collection.insert_one(doc! { "_id": id }).await.is_err() {
                    let there = collection.find_one(doc! { "_id": id }).await;
                    if there.is_ok_and(|there| there.is_some()) {
                        break;
                    }
                    sleep(Duration::from_millis(20)).await;
                }
                if count.send(id).is_err() {
                    break;
                }
            }
        });
        Self { written, task }
    }

    /// Waits for so many more.
    async fn goes_on(&mut self, count: i32) -> Result<()> {
        let wanted = *self.written.borrow() + count;
        let written = self.written.wait_for(|written| *written >= wanted);
        timeout(DEADLINE, written).await??;
        Ok(())
    }

    /// Ends, and tells the last `_id` that was written for certain.
    async fn end(self) -> i32 {
        self.task.abort();
        let _ = self.task.await;
        *self.written.borrow()
    }
}

/// Sets off the server's fail point for the commands of a scene's tail; tells how many commands it has
/// met so far.
async fn fail(set: &ReplicaSet, scene: &Scene, mode: bson::Bson, data: Document) -> Result<i64> {
    let mut how = doc! { "appName": scene.name() };
    how.extend(data);
    let command = doc! { "configureFailPoint": "failCommand", "mode": mode, "data": how };
    let admin = set.client().await?.database("admin");
    let reply = admin.run_command(command).await?;
    let count = reply.get("count").context("a fail point counts")?;
    count
        .as_i64()
        .or(count.as_i32().map(i64::from))
        .context("a number")
}

/// Documents of 4 KiB, of `_id`s from 1 on.
async fn insert_large(scene: &Scene, count: i32) -> Result<()> {
    let text: Arc<str> = "x".repeat(4096).into();
    let ids: Vec<i32> = (1..=count).collect();
    for ids in ids.chunks(1000) {
        let documents = ids.iter().map(|id| doc! { "_id": id, "text": &*text });
        scene.collection("c").insert_many(documents).await?;
    }
    Ok(())
}
