//! What a server does wrong, and a consumer.

use oplet::{
    source,
    tail::{Error, Event, OnRefusal},
};
use oplet_testkit::{Options, eventually};

use super::*;

#[tokio::test]
async fn a24_a_refusal_is_told_once_or_waited_out_in_growing_steps() -> Result<()> {
    let set = ReplicaSet::start(Options::default()).await?;
    let scene = Scene::on(&set, "a24").await?;
    let refuse = doc! { "failCommands": ["aggregate"], "errorCode": 13 };
    let before = fail(&set, &scene, "alwaysOn".into(), refuse.clone()).await?;
    let tail = tail_of(&scene, SourceKind::ChangeStream)?;
    let mut ops = tail.clone().start().await?.ops();
    match timeout(DEADLINE, ops.next()).await? {
        Some(Err(Error::Source(source::Error::Unauthorized { .. }))) => {}
        other => bail!("{other:?}"),
    }
    assert!(timeout(DEADLINE, ops.next()).await?.is_none());
    let after = fail(&set, &scene, "alwaysOn".into(), refuse).await?;
    assert_eq!(after - before, 1, "it asks once");

    let mut ops = tail.on_refusal(OnRefusal::Retry).start().await?.ops();
    let mut events = ops.handle().events();
    let mut event = async || timeout(DEADLINE, events.next()).await;
    for step in 1..=4 {
        let (number, wait) = match event().await? {
            Some(Event::Reconnecting {
                attempt, retry_in, ..
            }) => (attempt, retry_in),
            other => bail!("{other:?}"),
        };
        assert_eq!(number, step);
        let least = Duration::from_millis(100 << (number - 1));
        assert!(wait >= least, "{wait:?} at step {number}");
    }
    scene.insert("c", [1]).await?;
    let asked = fail(&set, &scene, "off".into(), doc! {}).await? - after;
    assert!((4..=6).contains(&asked), "{asked} attempts in four steps");
    assert_eq!(ids(&mut ops, 1).await?, [1]);
    while !matches!(event().await?, Some(Event::Recovered { .. })) {}
    Ok(())
}

#[tokio::test]
async fn a26_a_connection_that_breaks_or_a_step_down_is_an_event_and_no_gap() -> Result<()> {
    let set = ReplicaSet::start(Options::default()).await?;
    for source in SOURCES {
        let scene = Scene::on(&set, "a26").await?;
        let mut ops = tail_of(&scene, source)?.start().await?.ops();
        let mut events = ops.handle().events();
        let mut writer = Writer::start(&scene);
        let mut seen = ids(&mut ops, 20).await?;
        let close = doc! { "failCommands": ["getMore"], "closeConnection": true };
        fail(&set, &scene, doc! { "times": 2 }.into(), close).await?;
        let mut kinds = Vec::new();
        while kinds.last() != Some(&"recovered") {
            let came = tokio::select! {
                event = events.next() => event,
                change = next(&mut ops) => {
                    seen.push(id(&change?)?);
                    continue;
                }
            };
            match came {
                Some(Event::Reconnecting { .. }) => kinds.push("reconnecting"),
                Some(Event::Recovered { .. }) => kinds.push("recovered"),
                other => bail!("{other:?}"),
            }
        }
        assert_eq!(kinds.first(), Some(&"reconnecting"));
        // The reply is the connection's end.
        let step_down = doc! { "replSetStepDown": 1, "force": true };
        let _ = scene.client.database("admin").run_command(step_down).await;
        writer.goes_on(20).await?;
        let last = writer.end().await;
        while seen.last().is_none_or(|id| *id < last) {
            seen.push(id(&next(&mut ops).await?)?);
        }
        let expected: Vec<i32> = (1..=seen.len() as i32).collect();
        assert_eq!(
            seen, expected,
            "{source:?}: nothing is missing, nothing repeats"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a31_a_start_that_cannot_be_found_fails() -> Result<()> {
    let set = ReplicaSet::start(Options::default()).await?;
    let scene = Scene::on(&set, "a31").await?;
    scene.insert("c", 1..=3).await?;
    for source in SOURCES {
        let oldest = || anyhow::Ok(tail_of(&scene, source)?.since(Since::Oldest));
        let how = |code: i32| doc! { "failCommands": ["find"], "errorCode": code };
        fail(&set, &scene, "alwaysOn".into(), how(13)).await?;
        match timeout(DEADLINE, oldest()?.start()).await? {
            Err(Error::Source(source::Error::Unauthorized { .. })) => {}
            other => bail!("{source:?}: {other:?}"),
        }
        // What passes is waited out.
        fail(&set, &scene, doc! { "times": 2 }.into(), how(91)).await?;
        let mut ops = timeout(DEADLINE, oldest()?.start()).await??.ops();
        assert_eq!(ids(&mut ops, 3).await?, [1, 2, 3], "{source:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a36_a_slow_consumer_holds_back_the_reader_in_bytes() -> Result<()> {
    const BYTES_MAX: usize = 1 << 20;
    const DOCUMENTS: i32 = 6_000;
    // What others write would be read along with the oplog.
    let set = ReplicaSet::start(Options::default()).await?;
    let scene = Scene::on(&set, "a36").await?;
    insert_large(&scene, DOCUMENTS).await?;
    for source in SOURCES {
        let tail = tail_of(&scene, source)?.bytes_max(BYTES_MAX).batch_size(50);
        let mut ops = tail.start().await?.ops();
        let handle = ops.handle();
        let first = ids(&mut ops, 1).await?;
        let read = || {
            handle
                .stats()
                .bytes
                .load(std::sync::atomic::Ordering::SeqCst)
        };
        eventually(DEADLINE, async || handle.in_flight().bytes > BYTES_MAX / 2).await?;
        let mut before = 0;
        while read() > before {
            before = read();
            sleep(QUIET).await;
        }
        // A reply waits for room beside what is in the window; whatever was read, of 24 MiB in all.
        let reply = 50 * (4096 + 2048);
        assert!(
            handle.in_flight().bytes <= BYTES_MAX,
            "{:?}",
            handle.in_flight()
        );
        assert!(
            read() <= (BYTES_MAX + 4 * reply) as u64,
            "{source:?}: {} bytes",
            read()
        );
        let mut seen = first;
        seen.extend(ids(&mut ops, DOCUMENTS as usize - 1).await?);
        assert_eq!(seen, (1..=DOCUMENTS).collect::<Vec<_>>(), "{source:?}");
        ops.stop().await?;
    }
    Ok(())
}
