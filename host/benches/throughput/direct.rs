//! The subjects that read what lies in a collection.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use bson::{RawDocumentBuf, doc};
use mongodb::Client;
use oplet::{
    mongo::{self, Server},
    op::{Batch, Namespace, Timestamp},
    source::{
        Stats,
        direct_read::{Cut, Read, ReadOptions, SegmentReader, Splitting, Stages, examine, split},
    },
};
use oplet_sdk::raw::Walk;

/// The driver's cursor over the collection, as it lies; one field of each document is read.
pub(crate) async fn bare(
    client: &Client,
    namespace: &Namespace,
    batch_size: Option<u32>,
) -> Result<u64> {
    let name = namespace.to_string();
    let (database, collection) = name.split_once('.').context("not `db.coll`")?;
    let collection = client
        .database(database)
        .collection::<RawDocumentBuf>(collection);
    let mut find = collection.find(doc! {});
    if let Some(batch_size) = batch_size {
        find = find.batch_size(batch_size);
    }
    let mut cursor = find.await?;
    let (mut documents, mut sum) = (0, 0_i64);
    while cursor.advance().await? {
        sum = sum.wrapping_add(cursor.current().get_i64("n")?);
        documents += 1;
    }
    std::hint::black_box(sum);
    Ok(documents)
}

/// The reader of direct reads, with one cursor at a time: as it lies where that may be, or by its keys.
pub(crate) async fn segments(uri: &str, namespace: &Namespace, by_keys: bool) -> Result<()> {
    let uri = mongo::parse_uri(uri)?;
    let server = Server::connect(&uri, &mongo::Options::default()).await?;
    eprintln!("start");
    let target = Arc::new(examine(&server, namespace).await?);
    let options = ReadOptions {
        may_scan: !by_keys,
        ..ReadOptions::new(server.operation_time)
    };
    let splitting = Splitting::default();
    let stats = Arc::new(Stats::default());
    let mut documents = 0;
    for mut range in split(&server, &target, &Stages::default(), &splitting).await? {
        loop {
            let (target, stats) = (target.clone(), stats.clone());
            let mut reader =
                SegmentReader::new(&server, target, range.clone(), options.clone(), stats);
            reader.open(Timestamp::default()).await?;
            let cut = loop {
                match reader.next().await? {
                    Read::Batch(batch) => documents += count(&batch)?,
                    Read::Cut(cut) => break Some(cut),
                    Read::End => break None,
                }
            };
            match cut {
                Some(Cut::Full(at) | Cut::SnapshotLost(Some(at))) => range.from = Some(at),
                Some(Cut::SnapshotLost(None)) => anyhow::bail!("the read was given up"),
                None => break,
            }
        }
    }
    eprintln!("done {documents}");
    server.shutdown().await;
    Ok(())
}

/// How many documents; one field of each is read.
fn count(batch: &Batch) -> Result<u64> {
    let mut sum = 0_i64;
    for op in batch.ops() {
        let document = op.data().context("a document is read")?;
        let number = Walk::find(document, "n")?.and_then(|number| number.int64());
        sum = sum.wrapping_add(number.unwrap_or_default());
    }
    std::hint::black_box(sum);
    Ok(batch.len() as u64)
}
