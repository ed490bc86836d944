//! `oplet::tail`, as a Rust program uses it, beside what gtm demands (`tests/gtm/library`).

use std::time::Duration;

use oplet::{
    TailBuilder, checkpoint,
    control::OnPositionLost,
    op::{Since, SourceKind},
    source,
    tail::{Error, Event, Ops, Saving},
};
use oplet_testkit::Options;
use tokio::time::timeout;

use super::*;

fn builder(scene: &Scene, source: &str) -> Result<TailBuilder> {
    let kind = match source {
        "oplog" => SourceKind::Oplog,
        _ => SourceKind::ChangeStream,
    };
    Ok(TailBuilder::new(scene.uri.as_str())
        .source(kind)
        .watch(scene.namespace("c").parse()?)
        .since(scene.before.parse()?))
}

async fn ids(ops: &mut Ops, count: usize) -> Result<Vec<i32>> {
    let mut ids = Vec::new();
    for _ in 0..count {
        let change = timeout(DEADLINE, ops.next()).await?.context("an end")??;
        let data = change.data().context("no document")?;
        ids.push(data.get_i32("_id")?);
    }
    Ok(ids)
}

#[tokio::test]
async fn what_is_not_acknowledged_is_not_in_the_checkpoint() -> Result<()> {
    for source in SOURCES {
        let scene = Scene::shared("acks").await?;
        scene.insert("c", 1..=6).await?;
        let tail = builder(&scene, source)?.explicit_acks();
        let mut ops = tail.clone().start().await?.ops();
        let mut changes = Vec::new();
        for _ in 0..6 {
            changes.push(timeout(DEADLINE, ops.next()).await?.context("an end")??);
        }
        // The third is missing, and with it all behind it.
        for at in [0, 1, 3, 4] {
            changes[at].ack();
            changes[at].clone().ack();
        }
        let checkpoint = ops.handle().checkpoint();
        assert_eq!(ops.handle().frontier().done, changes[1].op().point());
        drop(ops);
        // As a program would keep it.
        let document = checkpoint.to_document();
        let kept = checkpoint::Checkpoint::from_document("", "here", &document)?;
        let mut ops = tail.resume_from(kept).start().await?.ops();
        assert_eq!(ids(&mut ops, 4).await?, [3, 4, 5, 6], "{source}");
    }
    Ok(())
}

#[tokio::test]
async fn an_end_is_an_end_until_somebody_seeks() -> Result<()> {
    for source in SOURCES {
        let scene = Scene::shared("ends").await?;
        scene.insert("c", 1..=5).await?;
        let mut ops = builder(&scene, source)?.until_idle().start().await?.ops();
        assert_eq!(ids(&mut ops, 5).await?, [1, 2, 3, 4, 5]);
        for _ in 0..3 {
            assert!(timeout(DEADLINE, ops.next()).await?.is_none(), "{source}");
        }
        ops.handle().since(&scene.before.parse()?).await?;
        assert_eq!(ids(&mut ops, 5).await?, [1, 2, 3, 4, 5]);
        assert!(timeout(DEADLINE, ops.next()).await?.is_none(), "{source}");
    }
    Ok(())
}

#[tokio::test]
async fn a_filter_that_panics_is_an_error() -> Result<()> {
    let scene = Scene::shared("panics").await?;
    scene.insert("c", [1]).await?;
    let tail = builder(&scene, "oplog")?.filter(|_| panic!("a filter of a test"));
    let mut ops = tail.start().await?.ops();
    let next = timeout(DEADLINE, ops.next()).await?;
    assert!(matches!(next, Some(Err(Error::Panicked(_)))), "{next:?}");
    assert!(timeout(DEADLINE, ops.next()).await?.is_none());
    timeout(DEADLINE, ops.stop()).await??;
    Ok(())
}

#[tokio::test]
async fn one_process_works_under_a_name() -> Result<()> {
    let scene = Scene::shared("names").await?;
    // The lease of its own is long enough to be renewed in time, also on a busy machine.
    let saving = Saving::new(scene.name());
    let tail = builder(&scene, "change-stream")?.saving(saving);
    let first = tail.clone().start().await?;
    match timeout(DEADLINE, tail.clone().start()).await? {
        Err(Error::Checkpoint(checkpoint::Error::Held { .. })) => {}
        other => anyhow::bail!("{other:?}"),
    }
    // Who is taken the lease away is told, and gives nothing more.
    let leases = scene
        .client
        .database("oplet")
        .collection::<Document>("checkpoints");
    let (one, taken) = (
        doc! { "_id": scene.name() },
        doc! { "$inc": { "epoch": 1_i64 } },
    );
    leases.update_one(one, taken).await?;
    let mut first = first.ops();
    let told = timeout(DEADLINE, first.next()).await?;
    assert!(
        matches!(told, Some(Err(Error::LeaseLost { .. }))),
        "{told:?}"
    );
    scene.insert("c", [1]).await?;
    assert!(timeout(DEADLINE, first.next()).await?.is_none());
    Ok(())
}

#[tokio::test]
async fn a_lost_position_is_an_error_or_an_event() -> Result<()> {
    let server = ReplicaSet::start(Options::tiny_oplog()).await?;
    let scene = Scene::on(&server, "lost").await?;
    scene.insert("c", [1]).await?;
    server.roll_oplog().await?;
    for source in SOURCES {
        let tail = builder(&scene, source)?;
        let mut ops = tail.clone().start().await?.ops();
        match timeout(DEADLINE, ops.next()).await? {
            Some(Err(error)) if error.is_position_lost() => {}
            other => anyhow::bail!("{source}: {other:?}"),
        }
        let tail = tail.on_position_lost(OnPositionLost::Skip);
        let mut ops = tail.start().await?.ops();
        let mut events = ops.handle().events();
        let id = match source {
            "oplog" => 2,
            _ => 3,
        };
        scene.insert("c", [id]).await?;
        let mut seen = ids(&mut ops, 1).await?;
        while seen.last() != Some(&id) {
            seen.extend(ids(&mut ops, 1).await?);
        }
        drop(ops);
        let mut gap = None;
        while let Some(event) = timeout(DEADLINE, events.next()).await? {
            if let Event::PositionLost { to, .. } = event {
                gap = Some(to);
            }
            if event == Event::Stopped {
                break;
            }
        }
        assert!(gap.is_some_and(|to| to.is_some()), "{source}: {gap:?}");
        assert!(!seen.contains(&1), "{source}: {seen:?}");
    }
    Ok(())
}

#[tokio::test]
async fn options_that_cannot_be_are_refused() -> Result<()> {
    let scene = Scene::shared("refused").await?;
    let stage = bson::rawdoc! { "$match": {} };
    for tail in [
        builder(&scene, "oplog")?.pipeline([stage]),
        builder(&scene, "oplog")?.batch_size(0),
    ] {
        let refused = tail.start().await;
        assert!(matches!(refused, Err(Error::Options { .. })), "{refused:?}");
    }
    let nowhere = TailBuilder::new("mongodb://127.0.0.1:1");
    let nowhere = nowhere
        .connect_timeout(Duration::from_secs(1))
        .start()
        .await;
    assert!(matches!(nowhere, Err(Error::Connect(_))), "{nowhere:?}");
    let malformed = TailBuilder::new("127.0.0.1").start().await;
    assert!(matches!(malformed, Err(Error::Connect(_))), "{malformed:?}");
    // What only the server can tell comes in the stream.
    let token = Since::Token(bson::rawdoc! { "_data": "8" });
    let tail = builder(&scene, "change-stream")?.since(token);
    let mut ops = tail.start().await?.ops();
    match timeout(DEADLINE, ops.next()).await? {
        Some(Err(Error::Source(source::Error::Refused { .. }))) => Ok(()),
        other => anyhow::bail!("{other:?}"),
    }
}

#[tokio::test]
async fn the_example_goes_on_where_it_ended() -> Result<()> {
    let scene = Scene::shared("example").await?;
    let namespace = scene.namespace("c");
    let (sender, mut lines) = tokio::sync::mpsc::unbounded_channel();
    let (uri, name) = (scene.uri.clone(), scene.name().to_owned());
    let run = async {
        let print = |line| drop(sender.send(line));
        crate::example::print_changes(&uri, &namespace, &name, print).await
    };
    let write = async {
        let collection = scene.collection("c");
        let new = |number: i32| format!("new Int32({number}) ada");
        let mut number = 0;
        // From when on it watches it does not tell.
        let line = loop {
            number += 1;
            let order = doc! { "_id": number, "customer": "ada" };
            collection.insert_one(order).await?;
            let line = timeout(Duration::from_millis(500), lines.recv()).await;
            if let Ok(line) = line {
                break line.context("an end")?;
            }
        };
        // It may be late, and about an earlier one: those behind it come, too.
        let first = (1..=number).find(|number| line == new(*number));
        let first = first.with_context(|| line.clone())?;
        for number in first + 1..=number {
            let line = timeout(DEADLINE, lines.recv()).await?;
            anyhow::ensure!(line == Some(new(number)), "{line:?}");
        }
        collection.delete_one(doc! { "_id": number }).await?;
        let line = timeout(DEADLINE, lines.recv()).await?;
        anyhow::ensure!(line == Some(format!("gone Int32({number}) ")), "{line:?}");
        Ok(())
    };
    tokio::select! {
        ended = run => anyhow::bail!("{:?}", ended.map_err(|error| error.to_string())),
        written = write => written,
    }
}
