//! Where a tail begins.

use anyhow::Result;
use bson::{DateTime, Document, doc};
use oplet_testkit::{Options, ReplicaSet, eventually};

use super::*;

/// The `_id`s of what comes when a tail begins at `since`.
async fn ids_since(scene: &Scene, source: &str, since: &str) -> Result<Vec<i64>> {
    let tail = scene.tail(source).arg(scene.namespace("c"));
    let ops = Ops::of(tail.args(["--since", since, "--exit-when-idle"])).await?;
    Ok(ops.ids())
}

#[tokio::test]
async fn since_a_timestamp_begins_with_the_first_op_after_it() -> Result<()> {
    let scene = Scene::shared("since").await?;
    scene.insert("c", 1..=5).await?;
    for source in SOURCES {
        let all = scene.ops(source, &[&scene.namespace("c")]).await?;
        assert_eq!(all.ids(), [1, 2, 3, 4, 5]);
        let third = all.position(2);
        assert_eq!(ids_since(&scene, source, &third).await?, [4, 5], "{source}");
        let last = all.position(4);
        assert!(
            ids_since(&scene, source, &last).await?.is_empty(),
            "{source}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn since_a_time_begins_with_the_first_op_of_its_second() -> Result<()> {
    let scene = Scene::shared("rfc").await?;
    scene.insert("c", [1]).await?;
    // Its own time: the server's may be that of what others have written since.
    let all = scene.ops("oplog", &[&scene.namespace("c")]).await?;
    let first = all.position(0);
    let (first, _) = first.split_once(':').context("a position")?;
    let first: u32 = first.parse()?;
    let (ticks, mut clock) = (scene.collection("clock"), 0);
    eventually(DEADLINE, async || {
        clock += 1;
        let ticked = ticks.insert_one(doc! { "_id": clock }).await.is_ok();
        ticked && now(&scene.client).await.is_ok_and(|at| at.time > first)
    })
    .await?;
    scene.insert("c", [2, 3]).await?;
    let time = |seconds: u32| DateTime::from_millis(i64::from(seconds) * 1000);
    for source in SOURCES {
        let earlier = time(first).try_to_rfc3339_string()?;
        assert_eq!(ids_since(&scene, source, &earlier).await?, [1, 2, 3]);
        let later = time(first + 1).try_to_rfc3339_string()?;
        assert_eq!(ids_since(&scene, source, &later).await?, [2, 3]);
        let span = "90m";
        assert_eq!(ids_since(&scene, source, span).await?, [1, 2, 3]);
    }
    Ok(())
}

#[tokio::test]
async fn oldest_begins_with_the_first_entry_of_the_oplog() -> Result<()> {
    let server = ReplicaSet::start(Options::default()).await?;
    let scene = Scene::on(&server, "oldest").await?;
    scene.insert("c", 1..=3).await?;
    for source in SOURCES {
        let tail = scene.tail(source).args(["--since", "oldest"]);
        let ops = Ops::of(tail.arg("--exit-when-idle")).await?;
        assert_eq!(ops.ids(), [1, 2, 3], "{source}");
    }
    Ok(())
}

#[tokio::test]
async fn since_a_token_goes_on_behind_its_event() -> Result<()> {
    let scene = Scene::shared("token").await?;
    let mut stream = scene.collection("c").watch().await?;
    scene.insert("c", 1..=3).await?;
    let mut token = Document::new();
    for _ in 1..=2 {
        let event = loop {
            if let Some(event) = stream.next_if_any().await? {
                break event;
            }
        };
        token = bson::serialize_to_document(&event.id)?;
    }
    let json = serde_json::to_string(&token)?;
    let bare = format!("token:{:?}", token.get_str("_data")?);
    for since in [format!("token:{json}"), bare] {
        assert_eq!(ids_since(&scene, "change-stream", &since).await?, [3]);
        // The oplog knows its time only, so it begins with the op that the token is of.
        assert_eq!(ids_since(&scene, "oplog", &since).await?, [2, 3]);
    }
    Ok(())
}

#[tokio::test]
async fn a_position_that_the_oplog_no_longer_reaches_ends_the_tail() -> Result<()> {
    let server = ReplicaSet::start(Options::tiny_oplog()).await?;
    let scene = Scene::on(&server, "lost").await?;
    scene.insert("c", [1]).await?;
    let lost = now(&scene.client).await?;
    server.roll_oplog().await?;
    for source in SOURCES {
        let tail = scene.tail(source).args(["--since", &position(lost)]);
        let tail = tail.start()?;
        assert_eq!(tail.wait_exit(DEADLINE).await?, 3, "{source}");
        let said = said(&tail);
        let what = format!("the position {} is lost", position(lost));
        assert!(said.contains(&what), "{said}");
        let begins = said.split_once("the oplog begins at ").expect(&said).1;
        let (begins, _) = begins.split_once(": `--since oldest`").expect(&said);
        let (seconds, increment) = begins.split_once(':').expect(&said);
        let begins = bson::Timestamp {
            time: seconds.parse()?,
            increment: increment.parse()?,
        };
        let oplog = scene.client.database("local").collection("oplog.rs");
        let entry = oplog.find_one(doc! {}).sort(doc! { "$natural": 1 }).await?;
        let entry: Document = entry.expect("an oplog is never empty");
        let now = entry.get_timestamp("ts")?;
        assert!(lost < begins && begins <= now, "{now}: {said}");
        assert!(tail.stdout().all().is_empty());
    }
    Ok(())
}
