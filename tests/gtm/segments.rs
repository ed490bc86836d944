//! Direct reads: how a collection is split and read.

use anyhow::Result;
use bson::doc;
use fastrand::Rng;

use crate::segments::{self, Scene, ensure_each_once, ids, options};

/// A10, the half of direct reads: a pipeline for streams sees events, one for direct reads documents.
#[tokio::test]
async fn a10_a_pipeline_sees_the_documents_of_a_direct_read() -> Result<()> {
    segments::a_match_sees_documents().await
}

#[tokio::test]
async fn a37_a_cursor_that_dies_is_resumed() -> Result<()> {
    segments::a_killed_cursor().await
}

#[tokio::test]
async fn a38_mixed_types_of_id_are_all_read_once() -> Result<()> {
    let scene = Scene::new("a38").await?;
    let ids = ids(&mut Rng::with_seed(38), 400);
    scene.create(doc! {}).await?;
    scene.insert(ids.clone()).await?;
    let target = scene.target().await?;
    for boundaries in [1, 9, 99] {
        let ranges = scene.ranges(&target, boundaries).await?;
        assert_eq!(ranges.len(), boundaries as usize + 1);
        ensure_each_once(&scene.read(&target, &ranges, &options()).await?, &ids)?;
    }
    scene.end().await;
    Ok(())
}

/// gtm reads the count into 32 bits, and then does not split.
#[test]
fn a39_three_billion_documents_are_split() {
    use oplet::source::direct_read::Splitting;
    let by_size = Splitting::default();
    assert_eq!(by_size.ranges(Some(3_000_000_000), Some(250)), 4096);
    assert_eq!(by_size.ranges(Some(3_000_000_000), None), 4096);
    let as_gtm = Splitting {
        boundaries_max: Some(9),
        ..by_size
    };
    assert_eq!(as_gtm.ranges(Some(3_000_000_000), Some(250)), 10);
}
