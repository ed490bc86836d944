//! A segment is what stood at its time.

use std::time::Duration;

use anyhow::{Context, Result};
use bson::{Bson, doc};
use oplet::{
    op::{KeyRange, Timestamp},
    source::direct_read::{Cut, ReadOptions},
};

use super::{Found, Scene, ensure_each_once, options, rest};
use crate::tailing::now;

/// More than fit into one reply, with this option.
pub(super) const DOCUMENTS: i32 = 500;

pub(super) fn many() -> Vec<Bson> {
    (0..DOCUMENTS).map(Bson::Int32).collect()
}

/// Documents of such a size that a reply has 64 of them.
pub(super) async fn insert_large(scene: &Scene) -> Result<()> {
    let text = "x".repeat(32 << 10);
    let documents = (0..DOCUMENTS).map(|id| doc! { "_id": id, "n": 1, "text": &text });
    scene.collection().insert_many(documents).await?;
    Ok(())
}

pub(super) fn ns(found: &[Found]) -> Vec<i32> {
    let n = |found: &Found| found.document.get_i32("n").unwrap_or_default();
    found.iter().map(n).collect()
}

/// What is written after a segment was opened is not in it, what was acknowledged before is.
#[tokio::test]
async fn a_segment_is_what_stood_at_its_time() -> Result<()> {
    let scene = Scene::new("snapshot").await?;
    insert_large(&scene).await?;
    let target = scene.target().await?;
    scene
        .collection()
        .update_one(doc! { "_id": 400 }, doc! { "$set": { "n": 2 } })
        .await?;
    let written = Timestamp::from(now(&scene.client).await?);
    let mut reader = scene.reader(&target, &KeyRange::all(), &options());
    let at = reader.open(written).await?;
    assert!(at >= written, "{at} and {written}");
    let all = scene.collection();
    all.update_many(doc! {}, doc! { "$set": { "n": 3 } })
        .await?;
    all.delete_many(doc! { "_id": { "$gte": 300, "$lt": 350 } })
        .await?;
    all.insert_one(doc! { "_id": 100.5 }).await?;
    let (found, cut) = rest(&mut reader).await?;
    assert_eq!(cut, None);
    ensure_each_once(&found, &many())?;
    assert!(found.iter().all(|found| found.at == at));
    let mut expected = vec![1; DOCUMENTS as usize];
    expected[400] = 2;
    assert_eq!(ns(&found), expected);
    assert_eq!((reader.at(), reader.until()), (at, at));
    scene.end().await;
    Ok(())
}

/// A time that is yet to come is waited for: the read contains what it was asked to contain.
#[tokio::test]
async fn a_segment_waits_for_the_time_that_it_must_contain() -> Result<()> {
    let scene = Scene::new("ahead").await?;
    scene.insert([1.into()]).await?;
    let target = scene.target().await?;
    let written = Timestamp::from(now(&scene.client).await?);
    let ahead = Timestamp::new(written.seconds, written.increment + 3);
    let mut reader = scene.reader(&target, &KeyRange::all(), &options());
    let write = async {
        for n in 2..8 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            scene
                .collection()
                .update_one(doc! {}, doc! { "$set": { "n": n } })
                .await?;
        }
        anyhow::Ok(())
    };
    let (at, ()) = tokio::try_join!(async { Ok(reader.open(ahead).await?) }, write)?;
    assert!(at >= ahead, "{at} and {ahead}");
    scene.end().await;
    Ok(())
}

#[tokio::test]
async fn a_segment_is_cut_where_it_is_long_enough() -> Result<()> {
    let scene = Scene::new("cut").await?;
    insert_large(&scene).await?;
    let target = scene.target().await?;
    let lengths = async |options: ReadOptions| {
        let mut lengths = Vec::new();
        let mut range = KeyRange::all();
        let mut all = Vec::new();
        loop {
            let mut reader = scene.reader(&target, &range, &options);
            reader.open(Timestamp::default()).await?;
            let (found, cut) = rest(&mut reader).await?;
            lengths.push(found.len());
            all.extend(found);
            match cut {
                Some(Cut::Full(key)) => range.from = Some(key),
                None => break,
                Some(other) => panic!("{other:?}"),
            }
        }
        ensure_each_once(&all, &many())?;
        anyhow::Ok(lengths)
    };
    let by_documents = ReadOptions {
        documents_max: 150,
        ..options()
    };
    assert_eq!(lengths(by_documents).await?, [150, 150, 150, 50]);
    let by_bytes = lengths(ReadOptions {
        bytes_max: 4 << 20,
        ..options()
    })
    .await?;
    assert!(by_bytes.len() > 2, "{by_bytes:?}");
    let by_time = lengths(ReadOptions {
        time_max: Duration::ZERO,
        ..options()
    })
    .await?;
    assert!(by_time.len() > 2, "{by_time:?}");
    // Not one document more than there are.
    let even = ReadOptions {
        documents_max: 250,
        ..options()
    };
    assert_eq!(lengths(even).await?, [250, 250]);
    scene.end().await;
    Ok(())
}

/// The same document has the same id whenever and however it is read; another version has another.
#[tokio::test]
async fn an_op_id_changes_with_the_document() -> Result<()> {
    let scene = Scene::new("id").await?;
    scene.insert(many()).await?;
    let target = scene.target().await?;
    let ranges = scene.ranges(&target, 3).await?;
    let once = scene.read(&target, &ranges, &options()).await?;
    scene
        .collection()
        .update_one(doc! { "_id": 7 }, doc! { "$set": { "n": 2 } })
        .await?;
    let short = ReadOptions {
        documents_max: 9,
        ..options()
    };
    let again = scene.read(&target, &[KeyRange::all()], &short).await?;
    for (id, (a, b)) in once.iter().zip(&again).enumerate() {
        assert_eq!(a.op_id == b.op_id, id != 7, "{id}");
        assert!(a.op_id.starts_with("direct:"), "{}", a.op_id);
    }
    let mut ids: Vec<_> = once.iter().map(|found| &found.op_id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), once.len());
    // Another direct read of the same is not the same.
    let other = ReadOptions {
        started: Timestamp::new(2, 1),
        ..options()
    };
    let other = scene.read(&target, &ranges, &other).await?;
    assert!(other.iter().zip(&once).all(|(a, b)| a.op_id != b.op_id));
    scene.end().await;
    Ok(())
}

#[tokio::test]
async fn a_collection_that_is_another_one_is_noticed() -> Result<()> {
    let scene = Scene::new("gone").await?;
    for fate in ["dropped", "renamed", "made anew", "renamed onto"] {
        scene.database.drop().await?;
        insert_large(&scene).await?;
        let target = scene.target().await?;
        let mut open = scene.reader(&target, &KeyRange::all(), &options());
        open.open(Timestamp::default()).await?;
        let admin = scene.client.database("admin");
        let (name, other) = (format!("{}.c", scene.app), format!("{}.d", scene.app));
        let rename = |from: &str, to: &str| {
            admin.run_command(doc! { "renameCollection": from, "to": to, "dropTarget": true })
        };
        match fate {
            "renamed" => drop(rename(&name, &other).await?),
            "renamed onto" => {
                let others = scene.database.collection("d");
                others.insert_one(doc! { "_id": 1 }).await?;
                rename(&other, &name).await?;
            }
            _ => scene.collection().drop().await?,
        }
        if fate == "made anew" {
            scene.insert(many()).await?;
        }
        let mut later = scene.reader(&target, &KeyRange::all(), &options());
        let error = later.open(Timestamp::default()).await;
        let error = error.err().context(fate)?;
        assert!(error.is_gone(), "{fate}: {error:?}");
        // A cursor that is open sees it as well, or gives what stood at its time.
        match rest(&mut open).await {
            Err(error) => assert!(error.is_gone(), "{fate}: {error:?}"),
            Ok((found, None)) => ensure_each_once(&found, &many())?,
            // Another reader is to read the rest, and sees it.
            Ok((_, cut)) => assert!(matches!(cut, Some(Cut::SnapshotLost(_))), "{cut:?}"),
        }
    }
    scene.end().await;
    Ok(())
}
