//! Faults while a segment is read.

use std::time::Duration;

use anyhow::Result;
use bson::doc;
use oplet::{
    op::{KeyRange, Timestamp},
    source::direct_read::{Cut, Read, ReadOptions},
};
use oplet_testkit::{Cluster, ReplicaSet};

use super::{
    Found, Scene, ensure_each_once, found, options, rest, scanning,
    snapshots::{DOCUMENTS, insert_large, many, ns},
};

/// Reads on after a fault in the middle, while the documents change: all of one time, each once.
async fn goes_on_after(scene: &Scene, fault: impl AsyncFn() -> Result<()>) -> Result<()> {
    for options in [options(), scanning()] {
        scene.database.drop().await?;
        let found = through_a_fault(scene, &options, &fault).await?;
        ensure_each_once(&found, &many())?;
    }
    Ok(())
}

/// What is read with a fault in the middle: all of one time.
async fn through_a_fault(
    scene: &Scene,
    options: &ReadOptions,
    fault: impl AsyncFn() -> Result<()>,
) -> Result<Vec<Found>> {
    insert_large(scene).await?;
    let target = scene.target().await?;
    let mut reader = scene.reader(&target, &KeyRange::all(), options);
    let at = reader.open(Timestamp::default()).await?;
    let Read::Batch(batch) = reader.next().await? else {
        panic!("there is a batch");
    };
    let mut all = found(&batch);
    // What was received already is not lost by a fault; what comes after it is asked for again.
    assert!(all.len() < DOCUMENTS as usize / 4, "{}", all.len());
    scene
        .collection()
        .update_many(doc! {}, doc! { "$set": { "n": 2 } })
        .await?;
    fault().await?;
    let (found, cut) = rest(&mut reader).await?;
    assert_eq!(cut, None);
    all.extend(found);
    assert!(all.iter().all(|found| found.at == at));
    assert!(ns(&all).iter().all(|n| *n == 1));
    Ok(all)
}

/// gtm loses the rest of a segment whose cursor dies, and looks complete.
pub(crate) async fn a_killed_cursor() -> Result<()> {
    let scene = Scene::new("killed").await?;
    goes_on_after(&scene, async || {
        let operations = vec![
            doc! { "$currentOp": { "idleCursors": true, "allUsers": true } },
            doc! { "$match": { "ns": format!("{}.c", scene.app), "cursor": { "$exists": true } } },
        ];
        let admin = scene.client.database("admin");
        let mut cursors = admin.aggregate(operations).await?;
        let mut killed = 0;
        while cursors.advance().await? {
            let cursor = cursors.deserialize_current()?;
            let id = cursor.get_document("cursor")?.get_i64("cursorId")?;
            let kill = doc! { "killCursors": "c", "cursors": [id] };
            scene.database.run_command(kill).await?;
            killed += 1;
        }
        assert!(killed > 0, "there is a cursor to be killed");
        Ok(())
    })
    .await?;
    scene.end().await;
    Ok(())
}

#[tokio::test]
async fn a_lost_connection_is_gone_on_from() -> Result<()> {
    // A server has one failpoint of that name: a server of its own.
    let set = ReplicaSet::start(Default::default()).await?;
    let scene = Scene::on(&set, "lost").await?;
    let mode = doc! { "times": 3 };
    let lost = doc! { "failCommands": ["getMore", "find"], "closeConnection": true };
    goes_on_after(&scene, async || {
        scene.fail(mode.clone().into(), lost.clone()).await
    })
    .await?;
    scene.end().await;
    Ok(())
}

#[tokio::test]
async fn another_primary_has_the_same_snapshot() -> Result<()> {
    let cluster = Cluster::start(3).await?;
    let uri = oplet::mongo::parse_uri(&cluster.uri())?;
    let client = cluster.client().await?;
    let server = oplet::mongo::Server::connect(&uri, &oplet::mongo::Options::default()).await?;
    let database = client.database("failover");
    let app = "failover".to_owned();
    let scene = Scene {
        server,
        client,
        database,
        app,
    };
    for options in [options(), scanning()] {
        scene.database.drop().await?;
        let found = through_a_fault(&scene, &options, async || {
            let primary = cluster.primary().await?;
            cluster.member(primary).kill().await?;
            cluster.primary().await?;
            cluster.member(primary).restart().await
        });
        let mut found = found.await?;
        if options.may_scan {
            // Another member keeps them in an order of its own: what was given comes again.
            let count = found.len();
            assert!(count > DOCUMENTS as usize, "{count}");
            found.sort_by(|a, b| a.key.cmp(&b.key));
            found.dedup_by(|a, b| a.key == b.key);
        }
        ensure_each_once(&found, &many())?;
    }
    scene.end().await;
    Ok(())
}

/// What is read as it lies cannot be cut: it is given up early, and read by its keys.
#[tokio::test]
async fn a_scan_that_would_take_too_long_is_given_up() -> Result<()> {
    let scene = Scene::new("slow").await?;
    insert_large(&scene).await?;
    let target = scene.target().await?;
    let options = ReadOptions {
        time_max: Duration::ZERO,
        ..scanning()
    };
    let mut reader = scene.reader(&target, &KeyRange::all(), &options);
    reader.open(Timestamp::default()).await?;
    let (found, cut) = rest(&mut reader).await?;
    assert_eq!(cut, Some(Cut::SnapshotLost(None)));
    assert!(!found.is_empty() && found.len() < DOCUMENTS as usize);
    // One part of all keys is read by its keys in any case.
    let range = KeyRange {
        from: Some(found[0].key.clone()),
        to: None,
    };
    let mut reader = scene.reader(&target, &range, &options);
    reader.open(Timestamp::default()).await?;
    let (_, cut) = rest(&mut reader).await?;
    assert!(matches!(cut, Some(Cut::Full(_))), "{cut:?}");
    scene.end().await;
    Ok(())
}

/// The server no longer has the time of the segment: what was given stands, the rest is for another.
#[tokio::test]
async fn a_snapshot_that_is_too_old_cuts_the_segment() -> Result<()> {
    // A server has one failpoint of that name: a server of its own.
    let set = ReplicaSet::start(Default::default()).await?;
    let scene = Scene::on(&set, "old").await?;
    insert_large(&scene).await?;
    let target = scene.target().await?;
    for code in [239, 246] {
        let lost = doc! { "failCommands": ["getMore"], "errorCode": code };
        scene.fail(doc! { "skip": 2 }.into(), lost).await?;
        let mut reader = scene.reader(&target, &KeyRange::all(), &options());
        let at = reader.open(Timestamp::default()).await?;
        let (mut all, cut) = rest(&mut reader).await?;
        let Some(Cut::SnapshotLost(Some(key))) = cut else {
            panic!("{cut:?} after {}", all.len());
        };
        assert!(!all.is_empty() && all.len() < DOCUMENTS as usize);
        assert!(all.iter().all(|found| found.at == at && found.key < key));
        scene.heal().await?;
        let left = KeyRange {
            from: Some(key),
            to: None,
        };
        all.extend(scene.read(&target, &[left], &options()).await?);
        ensure_each_once(&all, &many())?;
    }
    // Before anything was given, the whole range is to be read again.
    let lost = doc! { "failCommands": ["getMore"], "errorCode": 239 };
    scene.fail("alwaysOn".into(), lost).await?;
    let options = ReadOptions {
        stages: oplet::source::direct_read::Stages::new(vec![
            bson::rawdoc! { "$project": { "_id": 0 } },
        ]),
        ..options()
    };
    let mut reader = scene.reader(&target, &KeyRange::all(), &options);
    reader.open(Timestamp::default()).await?;
    while let Read::Batch(_) = reader.next().await? {}
    let next = reader.next().await?;
    assert!(
        matches!(next, Read::Cut(Cut::SnapshotLost(None))),
        "{next:?}"
    );
    scene.heal().await?;
    scene.end().await;
    Ok(())
}

/// A snapshot that is not there yet is waited for.
#[tokio::test]
async fn a_snapshot_that_is_not_there_yet_is_asked_for_again() -> Result<()> {
    // A server has one failpoint of that name: a server of its own.
    let set = ReplicaSet::start(Default::default()).await?;
    let scene = Scene::on(&set, "early").await?;
    scene.insert(many()).await?;
    let target = scene.target().await?;
    let early = doc! { "failCommands": ["find"], "errorCode": 246 };
    scene.fail(doc! { "times": 2 }.into(), early).await?;
    let found = scene.read(&target, &[KeyRange::all()], &options()).await?;
    ensure_each_once(&found, &many())?;
    scene.end().await;
    Ok(())
}
