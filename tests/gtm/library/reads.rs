//! What lies in collections, among the changes.

mod load;

use bson::{Bson, rawdoc};
use oplet::{
    op::Namespace,
    tail::{Error, Event, Events},
};
use oplet_testkit::eventually;

use super::*;
use crate::direct_reads::Reading;

/// The changes of the collection, from now on.
fn changes_of(reading: &Reading, source: SourceKind) -> Result<TailBuilder> {
    let tail = TailBuilder::new(reading.uri.as_str()).source(source);
    Ok(tail.watch(namespace(reading)?))
}

/// The same, and what lies in it.
fn read(reading: &Reading, source: SourceKind) -> Result<TailBuilder> {
    Ok(changes_of(reading, source)?.direct_read(namespace(reading)?))
}

fn namespace(reading: &Reading) -> Result<Namespace> {
    Ok(reading.namespace().parse()?)
}

/// What is no collection, and what is Oplet's own.
fn not_to_be_read(reading: &Reading) -> Result<[Namespace; 3]> {
    let own = Namespace::Collection {
        database: "oplet".to_owned(),
        collection: "checkpoints".to_owned(),
    };
    Ok(["*".parse()?, reading.database.parse()?, own])
}

/// The next event about direct reads.
async fn told(events: &mut Events) -> Result<Event> {
    loop {
        let event = timeout(DEADLINE, events.next()).await?;
        let event = event.context("the tail is gone")?;
        if matches!(
            event,
            Event::DirectReadBegun { .. }
                | Event::DirectReadComplete { .. }
                | Event::DirectReadEnded { .. }
        ) {
            return Ok(event);
        }
    }
}

#[tokio::test]
async fn a_read_is_told_and_comes_before_what_follows() -> Result<()> {
    for source in SOURCES {
        let reading = Reading::new("tail_told").await;
        reading.insert(1..=300).await;
        let mut ops = read(&reading, source)?.start().await?.ops();
        let mut events = ops.handle().events();
        let mut seen = ids(&mut ops, 300).await?;
        seen.sort_unstable();
        assert_eq!(seen, (1..=300).collect::<Vec<_>>(), "{source:?}");
        let namespace = reading.namespace();
        let begun = Event::DirectReadBegun {
            namespace: namespace.clone(),
            documents_expected: Some(300),
        };
        assert_eq!(told(&mut events).await?, begun);
        // The last one is not done.
        assert_ne!(ops.handle().direct_reads()[0].state, "complete");
        reading.insert([301]).await;
        let change = next(&mut ops).await?;
        assert_eq!((id(&change)?, change.is_direct_read()), (301, false));
        let complete = Event::DirectReadComplete {
            namespace,
            documents: 300,
            segments: 1,
        };
        assert_eq!(told(&mut events).await?, complete);
    }
    Ok(())
}

#[tokio::test]
async fn the_server_and_the_filters_narrow_what_is_read() -> Result<()> {
    let reading = Reading::new("tail_filters").await;
    reading.insert(0..100).await;
    let even = rawdoc! { "$match": { "_id": { "$mod": [2, 0] } } };
    let mut ops = changes_of(&reading, SourceKind::ChangeStream)?
        .direct_read_through(namespace(&reading)?, [even])
        .namespace_filter(|op| op.document_id().is_some())
        .filter(|change| id(change).is_ok_and(|id| id < 50))
        .until_idle()
        .start()
        .await?
        .ops();
    let mut events = ops.handle().events();
    let mut seen = all_ids(&mut ops).await?;
    seen.sort_unstable();
    assert_eq!(seen, (0..50).step_by(2).collect::<Vec<_>>());
    told(&mut events).await?;
    let complete = told(&mut events).await?;
    assert!(
        matches!(complete, Event::DirectReadComplete { documents: 50, .. }),
        "{complete:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_view_and_what_is_not_there_are_read() -> Result<()> {
    let reading = Reading::new("tail_view").await;
    reading.insert(0..20).await;
    let database = reading.client.database(&reading.database);
    let view = database.create_collection("few").view_on("things");
    let few = vec![doc! { "$match": { "_id": { "$lt": 5 } } }];
    view.pipeline(few).await?;
    let (few, nothing) = (
        format!("{}.few", reading.database),
        format!("{}.nothing", reading.database),
    );
    let mut ops = TailBuilder::new(reading.uri.as_str())
        .watch(reading.database.parse()?)
        .direct_read(few.parse()?)
        .direct_read(nothing.parse()?)
        .until_idle()
        .start()
        .await?
        .ops();
    let handle = ops.handle();
    let mut seen = all_ids(&mut ops).await?;
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2, 3, 4]);
    let both = handle.direct_reads();
    let both: Vec<_> = both
        .iter()
        .map(|read| (&*read.namespace, read.documents))
        .collect();
    assert_eq!(both, [(&*few, 5), (&*nothing, 0)]);
    Ok(())
}

#[tokio::test]
async fn a_collection_is_read_when_somebody_asks() -> Result<()> {
    for source in SOURCES {
        let reading = Reading::new("tail_asked").await;
        reading.insert(1..=200).await;
        let mut ops = changes_of(&reading, source)?.start().await?.ops();
        let handle = ops.handle();
        let mut events = handle.events();
        for round in 1..=2 {
            handle.snapshot(&namespace(&reading)?)?;
            for _ in 0..200 {
                let change = next(&mut ops).await?;
                assert!(change.is_direct_read(), "{source:?} {}", change.op_id());
            }
            let change = doc! { "$inc": { "v": 1 } };
            reading
                .things()
                .update_one(doc! { "_id": 7 }, change)
                .await?;
            let change = next(&mut ops).await?;
            assert!(change.is_update(), "{source:?}");
            change.ack();
            let begun = told(&mut events).await?;
            assert!(
                matches!(begun, Event::DirectReadBegun { .. }),
                "{source:?}, {round}: {begun:?}"
            );
            let complete = told(&mut events).await?;
            assert!(
                matches!(complete, Event::DirectReadComplete { documents: 200, .. }),
                "{source:?}, {round}: {complete:?}"
            );
        }
        for wrong in not_to_be_read(&reading)? {
            let refused = handle.snapshot(&wrong);
            assert!(
                matches!(refused, Err(Error::Options { .. })),
                "{wrong}: {refused:?}"
            );
        }
        timeout(DEADLINE, ops.stop()).await??;
        let stopped = handle.snapshot(&namespace(&reading)?);
        assert!(matches!(stopped, Err(Error::Stopped)), "{stopped:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_position_that_is_kept_knows_what_is_not_read_yet() -> Result<()> {
    let reading = Reading::new("tail_kept").await;
    reading.insert(0..1_000).await;
    let tail = read(&reading, SourceKind::ChangeStream)?
        .direct_read_split(9)
        .direct_read_concurrency(1)
        .save_as(reading.database.as_str());
    let slow = tail.clone().direct_read_rate(1_000.try_into()?);
    let mut ops = slow.start().await?.ops();
    let handle = ops.handle();
    let mut seen = ids(&mut ops, 450).await?;
    handle.save().await?;
    let ledger = reading.ledger().await;
    assert!(!ledger.contains_key("complete"), "{ledger}");
    ops.stop().await?;
    // It goes on; and what is done is not read for the third time.
    for expected in [100..=900, 0..=0] {
        let mut ops = tail.clone().until_idle().start().await?.ops();
        let more = all_ids(&mut ops).await?;
        assert!(expected.contains(&more.len()), "{}", more.len());
        seen.extend(more);
        ops.stop().await?;
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, (0..1_000).collect::<Vec<_>>());
    assert!(reading.ledger().await.contains_key("complete"));
    Ok(())
}

#[tokio::test]
async fn a_seek_lets_a_read_go_on_and_gives_what_it_covers_again() -> Result<()> {
    for source in SOURCES {
        let reading = Reading::new("tail_seek").await;
        let before = crate::tailing::now(&reading.client).await?;
        let before: Since = crate::tailing::position(before).parse()?;
        reading.insert(0..400).await;
        let tail = read(&reading, source)?.direct_read_split(9);
        let tail = tail.direct_read_rate(1_000.try_into()?);
        let mut ops = tail.start().await?.ops();
        let handle = ops.handle();
        let mut read: Vec<i32> = Vec::new();
        read.extend(ids(&mut ops, 100).await?);
        timeout(DEADLINE, handle.since(&before)).await??;
        let mut inserted = Vec::new();
        while inserted.len() < 400 || handle.direct_reads()[0].state != "complete" {
            let Ok(change) = timeout(QUIET, ops.next()).await else {
                // The last one is done when the next is asked for.
                continue;
            };
            let change = change.context("the tail has ended")??;
            match change.is_direct_read() {
                true => read.push(id(&change)?),
                false => inserted.push(id(&change)?),
            }
        }
        read.sort_unstable();
        read.dedup();
        let all: Vec<_> = (0..400).collect();
        assert_eq!(read, all, "{source:?}");
        assert_eq!(inserted, all, "{source:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_number_of_changes_counts_documents_to_the_one() -> Result<()> {
    let reading = Reading::new("tail_count").await;
    reading.insert(0..5_000).await;
    let mut ops = read(&reading, SourceKind::ChangeStream)?
        .direct_read_split(9)
        .max_ops(1_234)
        .start()
        .await?
        .ops();
    assert_eq!(all_ids(&mut ops).await?.len(), 1_234);
    Ok(())
}

#[tokio::test]
async fn a35_a_stop_is_bounded_while_something_is_read() -> Result<()> {
    let reading = Reading::new("a35_read").await;
    let text = "x".repeat(4_096);
    let documents = (0..3_000).map(|id| doc! { "_id": id, "text": &text });
    reading.things().insert_many(documents).await?;
    let tail = read(&reading, SourceKind::ChangeStream)?.bytes_max(1 << 18);
    let tail = tail.direct_read_split(9);
    for is_paused in [false, true] {
        let mut ops = tail.clone().start().await?.ops();
        let handle = ops.handle();
        ids(&mut ops, 10).await?;
        if is_paused {
            handle.pause();
        }
        // Nobody reads, and everything is full.
        let is_full = async || handle.in_flight().bytes > 1 << 17;
        eventually(DEADLINE, is_full).await?;
        timeout(DEADLINE, handle.stop()).await??;
        assert!(timeout(DEADLINE, ops.next()).await?.is_none());
    }
    // In the middle of a slow one, by dropping it.
    let slow = tail.direct_read_rate(10.try_into()?);
    let mut ops = slow.start().await?.ops();
    ids(&mut ops, 1).await?;
    let handle = ops.handle();
    drop(ops);
    timeout(DEADLINE, handle.stop()).await??;
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_read_is_refused() -> Result<()> {
    let reading = Reading::new("tail_refused").await;
    for wrong in not_to_be_read(&reading)? {
        let tail = changes_of(&reading, SourceKind::Oplog)?;
        let refused = tail.direct_read(wrong.clone()).start().await;
        assert!(
            matches!(refused, Err(Error::Options { .. })),
            "{wrong}: {refused:?}"
        );
    }
    let tail = changes_of(&reading, SourceKind::Oplog)?;
    let system = Namespace::Collection {
        database: reading.database.clone(),
        collection: "system.views".to_owned(),
    };
    let mut ops = tail.direct_read(system).start().await?.ops();
    let refused = timeout(DEADLINE, ops.next()).await?;
    assert!(
        matches!(refused, Some(Err(Error::DirectRead { .. }))),
        "{refused:?}"
    );
    assert!(timeout(DEADLINE, ops.next()).await?.is_none());
    Ok(())
}
