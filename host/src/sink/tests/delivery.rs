//! Batches, acks, bounds, ends.

use tokio::time::{Instant, timeout};

use super::*;

#[tokio::test]
async fn an_ack_comes_after_the_last_document_of_its_chunk() {
    let sink = Scripted::stuck();
    let scene = scene("batch-documents=2", sink.clone());
    let documents = ["1", "2", "3"].map(str::to_owned);
    let sent = chunk(&scene.heard, 0, &documents);
    scene.sender.send(0, sent).await.unwrap();
    scene.send(0, 1).await;
    sink.go.add_permits(1);
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(sink.batches(), [["1", "2"]]);
    assert!(scene.heard.all().is_empty(), "the third is not delivered");
    sink.go.add_permits(1);
    scene.heard.has(2).await;
    assert_eq!(sink.batches()[1], ["3", "{\"n\":1}\n"]);
    assert_eq!(scene.heard.all(), [0, 1]);
}

#[tokio::test]
async fn what_gathers_while_a_batch_is_under_way_is_the_next_one() {
    let sink = Scripted::stuck();
    let scene = scene("", sink.clone());
    scene.send(0, 0).await;
    tokio::time::sleep(A_WHILE).await;
    for number in 1..4 {
        scene.send(0, number).await;
    }
    sink.go.add_permits(2);
    scene.heard.has(4).await;
    let sizes: Vec<_> = sink.batches().iter().map(Vec::len).collect();
    assert_eq!(sizes, [1, 3]);
}

#[tokio::test]
async fn batches_keep_to_their_bounds() {
    let sink = Scripted::new(&[]);
    let scene = scene("batch-bytes=6&batch-documents=3", sink.clone());
    let documents = [
        "12",
        "34",
        "56",
        "7890",
        "larger than that",
        "1",
        "2",
        "3",
        "4",
    ];
    let sent = chunk(&scene.heard, 0, &documents.map(str::to_owned));
    scene.sender.send(0, sent).await.unwrap();
    scene.heard.has(1).await;
    let expected: [&[&str]; 5] = [
        &["12", "34", "56"],
        &["7890"],
        &["larger than that"],
        &["1", "2", "3"],
        &["4"],
    ];
    assert_eq!(sink.batches(), expected);
}

#[tokio::test]
async fn documents_wait_for_others_as_long_as_they_may() {
    let sink = Scripted::new(&[]);
    let scene = scene("batch-age-ms=300&batch-documents=2", sink.clone());
    let begun = Instant::now();
    scene.send(0, 0).await;
    tokio::time::sleep(A_WHILE).await;
    assert!(sink.batches().is_empty());
    scene.heard.has(1).await;
    assert!(begun.elapsed() >= Duration::from_millis(300));
    let begun = Instant::now();
    scene.send(0, 1).await;
    scene.send(0, 2).await;
    scene.heard.has(3).await;
    assert!(
        begun.elapsed() < Duration::from_millis(300),
        "the batch was full"
    );
}

#[tokio::test]
async fn a_flush_waits_for_what_was_sent_and_for_no_batch_to_fill() {
    let sink = Scripted::stuck();
    let scene = scene("batch-age-ms=3600000&workers=2", sink.clone());
    scene.send(0, 0).await;
    scene.send(1, 1).await;
    let mut flush = Box::pin(scene.sinks.flush());
    assert!(timeout(A_WHILE, &mut flush).await.is_err());
    sink.go.add_permits(2);
    timeout(LONG, flush).await.unwrap();
    assert_eq!(scene.heard.all().len(), 2);
    // It is over: what comes now waits again.
    scene.send(0, 2).await;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(scene.sinks.statuses()[0].queued, 1);
    sink.go.add_permits(1);
    timeout(LONG, scene.sinks.close()).await.unwrap();
    assert_eq!(scene.heard.all().len(), 3);
    let late = scene.sender.send(0, single(&scene.heard, 3)).await;
    assert_eq!(late, Err(Closed));
}

#[tokio::test]
async fn who_has_more_than_the_queue_holds_waits() {
    let sink = Scripted::stuck();
    let scene = scene("queue-bytes=100", sink.clone());
    let large = |number| chunk(&scene.heard, number, &["x".repeat(60)]);
    scene.sender.send(0, large(0)).await.unwrap();
    let mut second = Box::pin(scene.sender.send(0, large(1)));
    assert!(timeout(A_WHILE, &mut second).await.is_err());
    assert_eq!(scene.sinks.statuses()[0].queued_bytes, 60);
    sink.go.add_permits(1);
    timeout(LONG, second).await.unwrap().unwrap();
    // One that is larger than the queue goes alone.
    let huge = chunk(&scene.heard, 2, &["x".repeat(6000)]);
    let mut third = Box::pin(scene.sender.send(0, huge));
    assert!(timeout(A_WHILE, &mut third).await.is_err());
    sink.go.add_permits(2);
    timeout(LONG, third).await.unwrap().unwrap();
    scene.heard.has(3).await;
    let state = &scene.sinks.statuses()[0];
    assert_eq!((state.queued, state.queued_bytes), (0, 0));
    assert_eq!((state.delivered, state.delivered_bytes), (3, 6120));
    assert_eq!(state.latency.count, 3);
}

#[tokio::test]
async fn a_chunk_without_documents_is_done_in_its_turn() {
    let sink = Scripted::stuck();
    let scene = scene("", sink.clone());
    scene.send(0, 0).await;
    let empty = chunk(&scene.heard, 1, &[]);
    scene.sender.send(0, empty).await.unwrap();
    tokio::time::sleep(A_WHILE).await;
    assert!(scene.heard.all().is_empty());
    sink.go.add_permits(1);
    scene.heard.has(2).await;
    assert_eq!(scene.heard.all(), [0, 1]);
}

#[tokio::test]
async fn what_waits_when_the_sinks_are_dropped_is_not_acknowledged() {
    let sink = Scripted::stuck();
    let scene = scene("queue-bytes=30", sink.clone());
    scene.send(0, 0).await;
    let (sender, heard) = (scene.sender.clone(), scene.heard.clone());
    let waits = tokio::spawn(async move { sender.send(0, single(&heard, 1)).await });
    tokio::time::sleep(A_WHILE).await;
    drop(scene.sinks);
    assert_eq!(timeout(LONG, waits).await.unwrap().unwrap(), Err(Closed));
    sink.go.add_permits(9);
    tokio::time::sleep(A_WHILE).await;
    assert!(scene.heard.all().is_empty());
}
