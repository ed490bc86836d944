//! An oplog that really rolls over.

use std::time::Duration;

use anyhow::{Context, Result};
use bson::{Document, Timestamp, doc};
use mongodb::Client;
use tokio::time::Instant;

use super::ReplicaSet;
use crate::options::Options;

/// How long it may take; a few seconds are normal.
const ROLL_TIMEOUT: Duration = Duration::from_secs(60);

/// For how long the oldest entry has to stay the same.
const SETTLED: Duration = Duration::from_secs(1);

impl Options {
    /// A replica set whose oplog can be [rolled over](ReplicaSet::roll_oplog) within seconds.
    ///
    /// Only the start option takes an oplog of a megabyte (`replSetResizeOplog` starts at 990), and
    /// what lies behind the last checkpoint is kept in any case, so there has to be one each second.
    #[must_use]
    pub fn tiny_oplog() -> Self {
        Self {
            oplog_megabytes: 1,
            arguments: vec!["--syncdelay=1".into()],
            ..Self::default()
        }
    }
}

impl ReplicaSet {
    /// Writes to the database `oplet_testkit` until the oplog begins after everything that is in it
    /// now; gives where it begins then. For a set that was started with [`Options::tiny_oplog`].
    ///
    /// # Errors
    /// When a write fails, or it does not roll over in time.
    pub async fn roll_oplog(&self) -> Result<Timestamp> {
        let client = self.client().await?;
        let rolled = roll(&client).await;
        client.shutdown().await;
        rolled
    }
}

async fn roll(client: &Client) -> Result<Timestamp> {
    let end = Instant::now() + ROLL_TIMEOUT;
    let newest = end_of_oplog(client, -1).await?;
    let fill = client.database("oplet_testkit").collection("fill");
    let text = "x".repeat(200_000);
    loop {
        fill.insert_one(doc! { "text": &text }).await?;
        let oldest = end_of_oplog(client, 1).await?;
        if oldest > newest {
            fill.drop().await?;
            return settled(client, oldest).await;
        }
        anyhow::ensure!(
            Instant::now() < end,
            "the oplog did not roll over within {ROLL_TIMEOUT:?}"
        );
    }
}

/// Waits until the server has cut off all that it wants to, which it does on a thread of its own.
async fn settled(client: &Client, mut oldest: Timestamp) -> Result<Timestamp> {
    loop {
        tokio::time::sleep(SETTLED).await;
        let now = end_of_oplog(client, 1).await?;
        if now == oldest {
            return Ok(oldest);
        }
        oldest = now;
    }
}

async fn end_of_oplog(client: &Client, direction: i32) -> Result<Timestamp> {
    let oplog = client.database("local").collection::<Document>("oplog.rs");
    let entry = oplog.find_one(doc! {}).sort(doc! { "$natural": direction });
    let entry = entry.projection(doc! { "ts": 1 }).await?;
    let entry = entry.context("an oplog is never empty")?;
    Ok(entry.get_timestamp("ts")?)
}
