//! Where a tail ends by itself.

use anyhow::Result;
use bson::doc;

use super::*;

#[tokio::test]
async fn until_keeps_what_is_at_the_bound() -> Result<()> {
    let scene = Scene::shared("until").await?;
    scene.insert("c", 1..=5).await?;
    for source in SOURCES {
        let all = scene.ops(source, &[&scene.namespace("c")]).await?;
        let third = all.position(2);
        let tail = scene.tail(source).arg(scene.namespace("c"));
        let ops = Ops::of(tail.args(["--since", &scene.before, "--until", &third])).await?;
        assert_eq!(ops.ids(), [1, 2, 3], "{source}");
    }
    Ok(())
}

#[tokio::test]
async fn an_op_right_behind_the_beginning_is_within_every_end() -> Result<()> {
    let scene = Scene::shared("next").await?;
    // The server gives the documents of one command neighbouring cluster times.
    let documents = (1..=3).map(|id| doc! { "_id": id });
    scene.collection("c").insert_many(documents).await?;
    for source in SOURCES {
        let all = scene.ops(source, &[&scene.namespace("c")]).await?;
        let tail = scene.tail(source).arg(scene.namespace("c"));
        let tail = tail.args(["--since", &all.position(0), "--until", &all.position(1)]);
        assert_eq!(Ops::of(tail).await?.ids(), [2], "{source}");
    }
    Ok(())
}

#[tokio::test]
async fn until_keeps_a_transaction_whole() -> Result<()> {
    let scene = Scene::shared("until_txn").await?;
    scene.insert("c", [0]).await?;
    let mut session = scene.client.start_session().await?;
    session.start_transaction().await?;
    let collection = scene.collection("c");
    for id in 1..=4 {
        let insert = collection.insert_one(doc! { "_id": id });
        insert.session(&mut session).await?;
    }
    session.commit_transaction().await?;
    scene.insert("c", [5]).await?;
    for source in SOURCES {
        let all = scene.ops(source, &[&scene.namespace("c")]).await?;
        let bound = all.position(1);
        let tail = scene.tail(source).arg(scene.namespace("c"));
        let ops = Ops::of(tail.args(["--since", &scene.before, "--until", &bound])).await?;
        assert_eq!(ops.ids(), [0, 1, 2, 3, 4], "{source}");
    }
    Ok(())
}

#[tokio::test]
async fn max_ops_is_exact() -> Result<()> {
    let scene = Scene::shared("max_ops").await?;
    let documents = (1..=50).map(|id| doc! { "_id": id });
    scene.collection("c").insert_many(documents).await?;
    for source in SOURCES {
        for max_ops in [0, 1, 7] {
            let tail = scene.tail(source).arg(scene.namespace("c"));
            let tail = tail.args(["--since", &scene.before, "--max-ops", &max_ops.to_string()]);
            let expected: Vec<i64> = (1..=max_ops).collect();
            assert_eq!(Ops::of(tail).await?.ids(), expected, "{source}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn exit_when_idle_ends_behind_what_was_there() -> Result<()> {
    let scene = Scene::shared("idle").await?;
    let documents = (1..=5_000).map(|id| doc! { "_id": id });
    scene.collection("c").insert_many(documents).await?;
    for source in SOURCES {
        let ops = scene.ops(source, &[&scene.namespace("c")]).await?;
        assert_eq!(ops.ids(), (1..=5_000).collect::<Vec<_>>(), "{source}");
        let tail = scene.tail(source).arg(scene.namespace("c"));
        let ops = Ops::of(tail.arg("--exit-when-idle")).await?;
        assert!(ops.0.is_empty(), "{source}: from now on");
    }
    Ok(())
}

#[tokio::test]
async fn exit_when_idle_ends_under_load() -> Result<()> {
    let scene = Scene::shared("busy").await?;
    scene.insert("c", 1..=3).await?;
    let busy = scene.collection("c");
    let load = tokio::spawn(async move {
        let mut id = 3;
        loop {
            id += 1;
            if busy.insert_one(doc! { "_id": id }).await.is_err() {
                break;
            }
        }
    });
    for source in SOURCES {
        let ops = scene.ops(source, &[&scene.namespace("c")]).await?;
        assert_eq!(ops.ids()[..3], [1, 2, 3], "{source}");
    }
    load.abort();
    Ok(())
}
