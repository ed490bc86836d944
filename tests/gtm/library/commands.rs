//! Pause, resume, seek and stop.

use oplet::{
    op::Timestamp,
    tail::{Error, Event, Saving},
};
use oplet_testkit::Options;

use super::*;

#[tokio::test]
async fn a32_commands_on_an_idle_tail_work_at_once_and_may_be_repeated() -> Result<()> {
    for source in SOURCES {
        let scene = Scene::shared("a32").await?;
        let mut ops = tail_of(&scene, source)?.start().await?.ops();
        let handle = ops.handle();
        let mut events = handle.events();
        // While somebody waits for a change.
        let (sender, mut given) = tokio::sync::mpsc::unbounded_channel();
        let reader = tokio::spawn(async move {
            while let Some(change) = ops.next().await {
                sender.send(id(&change?)?)?;
            }
            anyhow::Ok(())
        });
        for _ in 0..3 {
            handle.pause();
            handle.pause();
            assert!(handle.is_paused());
            handle.resume();
            handle.resume();
        }
        for _ in 0..3 {
            assert_eq!(events.next().await, Some(Event::Paused));
            assert_eq!(events.next().await, Some(Event::Resumed));
        }
        scene.insert("c", [1]).await?;
        assert_eq!(
            timeout(DEADLINE, given.recv()).await?,
            Some(1),
            "{source:?}"
        );
        handle.pause();
        scene.insert("c", [2]).await?;
        assert!(timeout(QUIET, given.recv()).await.is_err(), "{source:?}");
        let present = Since::After(scene.before.parse().expect("a cluster time"));
        timeout(DEADLINE, handle.since(&present)).await??;
        assert!(
            timeout(QUIET, given.recv()).await.is_err(),
            "{source:?}: it stays paused"
        );
        for _ in 0..2 {
            timeout(DEADLINE, handle.stop()).await??;
        }
        timeout(DEADLINE, reader).await???;
        assert!(matches!(
            handle.since(&Since::Now).await,
            Err(Error::Stopped)
        ));
    }
    Ok(())
}

#[tokio::test]
async fn a33_a_pause_while_busy_is_exact() -> Result<()> {
    for source in SOURCES {
        let scene = Scene::shared("a33").await?;
        let mut ops = tail_of(&scene, source)?.start().await?.ops();
        let handle = ops.handle();
        let mut writer = Writer::start(&scene);
        let mut seen = Vec::new();
        for round in 1..=5 {
            // In the middle of a batch, as a rule.
            seen.extend(ids(&mut ops, 10 * round + 1).await?);
            handle.pause();
            writer.goes_on(50).await?;
            assert_quiet(&mut ops).await;
            handle.resume();
        }
        let last = writer.end().await;
        seen.extend(ids(&mut ops, last as usize - seen.len()).await?);
        assert_eq!(seen, (1..=last).collect::<Vec<_>>(), "{source:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a34_a_cluster_time_means_the_first_change_after_it() -> Result<()> {
    let scene = Scene::shared("a34").await?;
    scene.insert("c", 1..=5).await?;
    for source in SOURCES {
        let mut ops = tail_of(&scene, source)?.start().await?.ops();
        let mut times: Vec<Timestamp> = Vec::new();
        for _ in 0..5 {
            times.push(next(&mut ops).await?.timestamp());
        }
        let third = times[2];
        for (since, first) in [(third.before(), 3), (third, 4), (third.next(), 4)] {
            // A clock that runs on may give the next write the next time.
            let first = if since == times[3] { 5 } else { first };
            let since = Since::After(since);
            let begun = tail_of(&scene, source)?.since(since.clone());
            let mut begun = begun.start().await?.ops();
            assert_eq!(
                ids(&mut begun, 1).await?,
                [first],
                "{source:?} begun at {since}"
            );
            ops.handle().since(&since).await?;
            let expected: Vec<i32> = (first..=5).collect();
            let seen = ids(&mut ops, expected.len()).await?;
            assert_eq!(seen, expected, "{source:?} sent to {since}");
            assert_quiet(&mut ops).await;
        }
        // Where nothing is, it does not go, and goes on as it was.
        let future = Since::After(Timestamp::new(u32::MAX, 1));
        let refused = ops.handle().since(&future).await;
        assert!(
            matches!(refused, Err(Error::OutsideWindow { .. })),
            "{refused:?}"
        );
        // Of what was read before a seek nothing is left.
        ops.handle().since(&Since::After(times[0])).await?;
        assert_eq!(ids(&mut ops, 1).await?, [2], "{source:?}");
        ops.handle().since(&Since::After(third)).await?;
        assert_eq!(ids(&mut ops, 2).await?, [4, 5], "{source:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a35_a_stop_is_bounded_whatever_is_going_on() -> Result<()> {
    let set = ReplicaSet::start(Options::default()).await?;
    let scene = Scene::on(&set, "a35").await?;
    insert_large(&scene, 2_000).await?;
    for source in SOURCES {
        // Nobody reads, and everything is full.
        let tail = tail_of(&scene, source)?.bytes_max(1 << 18).batch_size(20);
        let ops = tail.clone().start().await?.ops();
        let handle = ops.handle();
        oplet_testkit::eventually(DEADLINE, async || handle.in_flight().ops > 0).await?;
        timeout(DEADLINE, handle.stop()).await??;
        drop(ops);
        // It is paused, and somebody waits for it.
        let mut ops = tail.clone().start().await?.ops();
        let handle = ops.handle();
        handle.pause();
        let (ended, stopped) = tokio::join!(timeout(DEADLINE, ops.next()), handle.stop());
        assert!(ended?.is_none());
        stopped?;
        // The server holds the connection, and says nothing.
        let named = tail.saving(Saving::new(scene.name()));
        let mut named = named.start().await?.ops();
        let mut bare = tail_of(&scene, source)?.start().await?.ops();
        assert_eq!(ids(&mut named, 2).await?, [1, 2]);
        assert_eq!(ids(&mut bare, 2).await?, [1, 2]);
        set.suspend().await?;
        timeout(DEADLINE, bare.stop()).await??;
        // Else it would be durable already.
        next(&mut named).await?;
        let told = timeout(DEADLINE, named.stop()).await;
        set.resume().await?;
        assert!(matches!(told?, Err(Error::NotSaved { .. })), "{source:?}");
    }
    Ok(())
}
