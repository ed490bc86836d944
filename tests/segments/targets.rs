//! What can be read, and what is said of it.

use anyhow::Result;
use bson::{Bson, DateTime, doc};
use oplet::{
    op::{KeyRange, Namespace, Timestamp},
    source::direct_read::{Error, Inexact, Kind, examine},
};
use oplet_testkit::ReplicaSet;

use super::{Scene, ensure_each_once, options, rest};

#[tokio::test]
async fn a_collection_is_known_by_what_the_server_says_of_it() -> Result<()> {
    // A server has one failpoint of that name: a server of its own.
    let set = ReplicaSet::start(Default::default()).await?;
    let scene = Scene::on(&set, "known").await?;
    let absent = scene.target().await?;
    assert_eq!((absent.kind, absent.documents), (Kind::Absent, Some(0)));
    assert_eq!(scene.ranges(&absent, 3).await?, []);
    scene.insert((0..100).map(Bson::Int32)).await?;
    let target = scene.target().await?;
    assert_eq!(
        (target.kind, target.documents),
        (Kind::Collection, Some(100))
    );
    assert!(target.uuid.is_some() && target.average_bytes.is_some_and(|bytes| bytes > 10));
    assert!(target.orders_by_bytes() && target.has_ranges() && !target.is_clustered);
    assert_eq!(target.inexact(), None);
    // Who may not have the statistics may have the count.
    let refused = doc! { "failCommands": ["collStats"], "errorCode": 13 };
    scene.fail("alwaysOn".into(), refused).await?;
    let target = scene.target().await?;
    assert_eq!((target.documents, target.average_bytes), (Some(100), None));
    let refused = doc! { "failCommands": ["collStats", "count"], "errorCode": 13 };
    scene.fail("alwaysOn".into(), refused).await?;
    let target = scene.target().await?;
    assert_eq!(target.documents, None);
    assert_eq!(scene.ranges(&target, 3).await?.len(), 4);
    scene.heal().await?;
    scene.end().await;
    Ok(())
}

#[tokio::test]
async fn what_names_no_collection_is_refused() -> Result<()> {
    let scene = Scene::new("refused").await?;
    let database = Namespace::Database("shop".into());
    let error = examine(&scene.server, &database).await.unwrap_err();
    assert!(matches!(error, Error::NoCollection { .. }), "{error}");
    let error = examine(&scene.server, &Namespace::Deployment)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NoCollection { .. }), "{error}");
    let system = scene.namespace("system.views");
    let error = examine(&scene.server, &system).await.unwrap_err();
    assert!(matches!(error, Error::System { .. }), "{error}");
    scene.end().await;
    Ok(())
}

/// What has no snapshots is read by one cursor, between a time before and a time after.
#[tokio::test]
async fn views_series_and_capped_collections_are_read_whole() -> Result<()> {
    let scene = Scene::new("whole").await?;
    let date = |id: i32| DateTime::from_millis(i64::from(id) * 1000);
    for (kind, options_of) in [
        (
            Kind::View,
            doc! { "viewOn": "base", "pipeline": [{ "$match": { "_id": { "$lt": 50 } } }] },
        ),
        (
            Kind::TimeSeries,
            doc! { "timeseries": { "timeField": "t" } },
        ),
        (Kind::Capped, doc! { "capped": true, "size": 1 << 20 }),
    ] {
        scene.collection().drop().await?;
        scene.create(options_of).await?;
        let to = if kind == Kind::View { "base" } else { "c" };
        let written = scene.database.collection(to);
        let documents = (0..100).map(|id| doc! { "_id": id, "t": date(id) });
        written.insert_many(documents).await?;
        let target = scene.target().await?;
        assert_eq!(target.kind, kind);
        assert_eq!(target.inexact(), Some(Inexact::Kind(kind)));
        assert!(!target.has_ranges());
        let ranges = scene.ranges(&target, 9).await?;
        assert_eq!(ranges, [KeyRange::all()], "{kind:?}");
        let mut reader = scene.reader(&target, &ranges[0], &options());
        let before = reader.open(Timestamp::new(1, 1)).await?;
        let (found, cut) = rest(&mut reader).await?;
        assert_eq!(cut, None);
        let count = if kind == Kind::View { 50 } else { 100 };
        let ids: Vec<Bson> = (0..count).map(Bson::Int32).collect();
        ensure_each_once(&found, &ids)?;
        assert!(
            reader.until() >= before && before > Timestamp::new(1, 1),
            "{kind:?}"
        );
        assert!(found.iter().all(|found| found.at == before));
    }
    scene.end().await;
    Ok(())
}
