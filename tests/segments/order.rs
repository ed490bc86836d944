//! The order of keys is the server's own.

use anyhow::Result;
use bson::{RawDocumentBuf, doc};
use fastrand::Rng;
use futures_util::TryStreamExt;
use oplet::op::Key;

use super::{Scene, ids, raw};
use crate::say;

/// Every `_id` type that the server takes, random values of each: its own sort of them is ours.
#[tokio::test]
async fn the_servers_sort_is_the_order_of_keys() -> Result<()> {
    let seed = fastrand::u64(..);
    say(&format!("seed {seed}"));
    let scene = Scene::new("order").await?;
    let mut ids = ids(&mut Rng::with_seed(seed), 3_000);
    scene.insert(ids.clone()).await?;
    let all = scene.database.collection::<RawDocumentBuf>("c");
    let sorted = all.find(doc! {}).sort(doc! { "_id": 1 });
    let sorted: Vec<RawDocumentBuf> = sorted.await?.try_collect().await?;
    let keys: Vec<Key> = sorted
        .iter()
        .map(|document| Key::of_document(document.as_bytes()).expect("it has an id"))
        .collect();
    for pair in keys.windows(2) {
        assert!(
            pair[0] < pair[1],
            "{:?} and {:?}, seed {seed}",
            pair[0],
            pair[1]
        );
    }
    // What is one key to us is one to the server: none was refused as a duplicate.
    assert_eq!(keys.len(), ids.len());
    ids.sort_by_cached_key(|id| {
        let (kind, value) = raw(id);
        Key::new(kind, &value)
    });
    let ours = ids.iter().map(raw);
    assert!(ours.eq(keys.iter().map(|key| (key.kind(), key.value().to_vec()))));
    scene.end().await;
    Ok(())
}
