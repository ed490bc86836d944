//! Writers never rest while a tail reads a collection.

use std::collections::BTreeMap;

use super::*;
use crate::direct_reads::{KEYS, Writers};

/// What was given of a collection, replayed.
#[derive(Default)]
struct Replayed {
    map: BTreeMap<String, i64>,
    /// The newest version of each document that the present tail has given.
    newest: BTreeMap<String, i64>,
    /// Documents that it has read directly.
    read: usize,
}

impl Replayed {
    fn take(&mut self, change: &Change) -> Result<()> {
        let id = Bson::try_from(change.id().context("a document")?)?;
        let id = id.into_relaxed_extjson().to_string();
        self.read += usize::from(change.is_direct_read());
        let Some(data) = change.data() else {
            self.map.remove(&id);
            return Ok(());
        };
        let version = data.get_i64("v")?;
        let newest = self.newest.entry(id.clone()).or_default();
        assert!(
            *newest <= version,
            "{id}: {version} comes behind {newest}, {}",
            change.op_id()
        );
        *newest = version;
        self.map.insert(id, version);
        Ok(())
    }

    /// Another tail takes over.
    fn next_tail(&mut self) {
        self.newest.clear();
        self.read = 0;
    }
}

/// Writers never rest while it is read, and the tail is stopped in the middle; each next one goes on at
/// the checkpoint of the one before, of which nothing was kept but that.
async fn check_load(source: SourceKind, stops: usize) -> Result<()> {
    let reading = Reading::new("tail_load").await;
    let writers = Writers::begin(&reading).await;
    let tail = changes_of(&reading, source)?
        .direct_read_split(30)
        .direct_read_concurrency(3);
    let mut next_tail = tail.clone().direct_read(namespace(&reading)?);
    let mut replayed = Replayed::default();
    for _ in 0..stops {
        // Slow enough to be stopped in the middle.
        let rate = 1500.try_into()?;
        let mut ops = next_tail.direct_read_rate(rate).start().await?.ops();
        let handle = ops.handle();
        while replayed.read < 1_200 {
            replayed.take(&next(&mut ops).await?)?;
            if replayed.read == 600 {
                handle.pause();
                sleep(Duration::from_millis(200)).await;
                handle.resume();
            }
        }
        let checkpoint = handle.checkpoint();
        assert_eq!(checkpoint.direct_reads.len(), 1);
        assert_eq!(checkpoint.direct_reads[0].complete_ms, None);
        timeout(DEADLINE, ops.stop()).await??;
        replayed.next_tail();
        // That it is to be read stands in the checkpoint.
        next_tail = tail.clone().resume_from(checkpoint);
    }
    let mut ops = next_tail.start().await?.ops();
    let handle = ops.handle();
    while handle.direct_reads()[0].state != "complete" {
        replayed.take(&next(&mut ops).await?)?;
    }
    if stops > 0 {
        assert!(replayed.read < KEYS, "{} were read again", replayed.read);
    }
    for _ in 0..100 {
        replayed.take(&next(&mut ops).await?)?;
    }
    writers.end().await;
    let checkpoint = handle.checkpoint();
    ops.stop().await?;
    replayed.next_tail();
    let rest = tail.resume_from(checkpoint).until_idle();
    let mut rest = rest.start().await?.ops();
    while let Some(change) = timeout(DEADLINE, rest.next()).await? {
        replayed.take(&change?)?;
    }
    assert_eq!(replayed.read, 0, "it was complete");
    assert_eq!(replayed.map, reading.versions().await);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_given_leads_to_the_collection() -> Result<()> {
    check_load(SourceKind::ChangeStream, 0).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_given_leads_to_the_collection_over_stops() -> Result<()> {
    check_load(SourceKind::ChangeStream, 3).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_given_leads_to_the_collection_by_the_oplog_too() -> Result<()> {
    check_load(SourceKind::Oplog, 2).await
}
