//! Pipelines.

use std::sync::Arc;

use anyhow::Result;
use bson::{Bson, Document, RawDocumentBuf, doc};
use oplet::{
    op::{KeyRange, Timestamp},
    source::direct_read::{ReadOptions, Splitting, Stages, Target, split},
};
use oplet_testkit::ReplicaSet;

use super::{Found, Scene, ensure_each_once, options};

fn staged(stages: &[Document]) -> ReadOptions {
    let raw = |stage| RawDocumentBuf::try_from(stage).expect("it is BSON");
    ReadOptions {
        stages: Stages::new(stages.iter().map(raw).collect()),
        ..options()
    }
}

async fn ranges(
    scene: &Scene,
    target: &Arc<Target>,
    options: &ReadOptions,
) -> Result<Vec<KeyRange>> {
    let splitting = Splitting {
        boundaries_max: Some(4),
        ..Splitting::default()
    };
    Ok(split(&scene.server, target, &options.stages, &splitting).await?)
}

/// A direct read goes through a pipeline of its own, whose stages see documents, not events.
pub(crate) async fn a_match_sees_documents() -> Result<()> {
    let scene = Scene::new("match").await?;
    let users =
        (0..100).map(|id| doc! { "_id": id, "username": if id % 3 == 0 { "a" } else { "b" } });
    scene.collection().insert_many(users).await?;
    let target = scene.target().await?;
    let matched: Vec<Bson> = (0..100).filter(|id| id % 3 == 0).map(Bson::Int32).collect();
    let options = staged(&[doc! { "$match": { "username": "a" } }]);
    let ranges = ranges(&scene, &target, &options).await?;
    assert_eq!(ranges.len(), 5);
    for documents_max in [1, 7, 1_000] {
        let options = ReadOptions {
            documents_max,
            ..options.clone()
        };
        let found = scene.read(&target, &ranges, &options).await?;
        ensure_each_once(&found, &matched)?;
    }
    scene.end().await;
    Ok(())
}

/// Ranges are found through the index, whatever the type of their bounds, and nothing is sorted.
#[tokio::test]
async fn a_range_behind_stages_uses_the_index() -> Result<()> {
    let scene = Scene::new("explain").await?;
    let ids = (0..2_000).map(Bson::Int32);
    scene
        .insert(ids.chain((0..10).map(|n| doc! { "a": "$n", "b": n }.into())))
        .await?;
    for (from, to, keys) in [
        (Bson::Int32(100), Bson::Int32(110), 10),
        (Bson::Int32(1_995), doc! { "a": "$n", "b": 3 }.into(), 8),
        (
            doc! { "a": "$n", "b": 3 }.into(),
            doc! { "a": "$n", "b": 5 }.into(),
            2,
        ),
    ] {
        let bounds = doc! { "$and": [
            { "$gte": ["$_id", { "$literal": from.clone() }] },
            { "$lt": ["$_id", { "$literal": to.clone() }] },
        ] };
        let explain = doc! {
            "explain": {
                "aggregate": "c",
                "pipeline": [
                    { "$match": { "$expr": bounds } }, { "$sort": { "_id": 1 } }, { "$match": { "n": 1 } },
                ],
                "cursor": {},
                "hint": { "_id": 1 },
            },
            "verbosity": "executionStats",
        };
        let explained = scene.database.run_command(explain).await?;
        let text = explained.to_string();
        assert!(
            text.contains("IXSCAN") && !text.contains("\"SORT\""),
            "{text}"
        );
        let stats = match explained.get_document("executionStats") {
            Ok(stats) => stats,
            Err(_) => explained.get_array("stages")?[0]
                .as_document()
                .expect("a stage is a document")
                .get_document("$cursor")?
                .get_document("executionStats")?,
        };
        let examined = stats.get_i32("totalKeysExamined")?;
        assert!(
            examined <= keys + 1,
            "{examined} keys for {keys}: {from} to {to}"
        );
    }
    scene.end().await;
    Ok(())
}

/// Stages that need all documents at once get them, in one read.
#[tokio::test]
async fn stages_that_gather_are_not_split() -> Result<()> {
    let scene = Scene::new("gather").await?;
    scene.insert((0..100).map(Bson::Int32)).await?;
    let target = scene.target().await?;
    let tens = doc! { "$trunc": { "$divide": ["$_id", 10] } };
    let mut options = staged(&[doc! { "$group": { "_id": tens, "n": { "$sum": 1 } } }]);
    options.documents_max = 3;
    options.allow_disk_use = true;
    let ranges = ranges(&scene, &target, &options).await?;
    assert_eq!(ranges, [KeyRange::all()]);
    let found = scene.read(&target, &ranges, &options).await?;
    ensure_each_once(
        &found,
        &(0..10).map(|n| Bson::Double(n.into())).collect::<Vec<_>>(),
    )?;
    assert!(
        found
            .iter()
            .all(|found| found.document.get_i32("n").is_ok_and(|n| n == 10))
    );
    scene.end().await;
    Ok(())
}

/// Documents without their `_id` cannot be gone on from, but are read again from the beginning.
#[tokio::test]
async fn documents_without_their_id_come_at_least_once_through_a_fault() -> Result<()> {
    // A server has one failpoint of that name: a server of its own.
    let set = ReplicaSet::start(Default::default()).await?;
    let scene = Scene::on(&set, "without").await?;
    let text = "x".repeat(32 << 10);
    let documents = (0..200).map(|id| doc! { "_id": id, "n": id, "text": &text });
    scene.collection().insert_many(documents).await?;
    let target = scene.target().await?;
    let options =
        staged(&[doc! { "$project": { "_id": { "$toString": "$_id" }, "n": 1, "text": 1 } }]);
    let lost = doc! { "failCommands": ["getMore"], "errorCode": 43 };
    scene.fail(doc! { "times": 1 }.into(), lost).await?;
    let mut reader = scene.reader(&target, &KeyRange::all(), &options);
    let at = reader.open(Timestamp::default()).await?;
    let (found, cut) = super::rest(&mut reader).await?;
    assert_eq!(cut, None);
    let n = |found: &Found| found.document.get_i32("n").unwrap_or(-1);
    let mut ns: Vec<i32> = found.iter().map(n).collect();
    assert!(ns.len() > 200, "{}", ns.len());
    ns.sort_unstable();
    ns.dedup();
    assert!(ns.into_iter().eq(0..200));
    assert!(found.iter().all(|found| found.at == at));
    scene.end().await;
    Ok(())
}
