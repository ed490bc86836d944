//! What fails, for a while or for good.

use tokio::time::{Instant, timeout};

use super::*;

#[tokio::test]
async fn the_same_batch_is_given_until_it_is_through() {
    let sink = Scripted::stuck();
    *sink.answers.lock().unwrap() = [Answer::Fail, Answer::Fail].into();
    let scene = scene("", sink.clone());
    scene.send(0, 0).await;
    tokio::time::sleep(A_WHILE).await;
    scene.send(0, 1).await;
    sink.go.add_permits(2);
    while scene.sinks.statuses()[0].failures < 2 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let state = &scene.sinks.statuses()[0];
    assert_eq!(
        (state.ready, state.last_error.as_deref()),
        (false, Some("told to"))
    );
    assert!(state.failing_since.is_some() && scene.heard.all().is_empty());
    sink.go.add_permits(2);
    scene.heard.has(2).await;
    assert_eq!(sink.batches(), [["{\"n\":0}\n"], ["{\"n\":1}\n"]]);
    let state = &scene.sinks.statuses()[0];
    assert_eq!(
        (state.ready, &state.last_error, state.failures),
        (true, &None, 2)
    );
}

#[tokio::test]
async fn a_sink_is_ready_again_when_every_worker_got_through() {
    let sink = Scripted::stuck();
    *sink.answers.lock().unwrap() = [Answer::Fail, Answer::Fail].into();
    let scene = scene("workers=2", sink.clone());
    scene.send(0, 0).await;
    scene.send(1, 1).await;
    sink.go.add_permits(3);
    scene.heard.has(1).await;
    tokio::time::sleep(A_WHILE).await;
    assert!(!scene.sinks.statuses()[0].ready);
    sink.go.add_permits(1);
    scene.heard.has(2).await;
    assert!(scene.sinks.statuses()[0].ready);
}

#[tokio::test]
async fn a_sink_is_left_alone_as_long_as_it_asks() {
    let asked = Duration::from_millis(200);
    let sink = Scripted::new(&[Answer::FailUntil(asked), Answer::FailUntil(Duration::ZERO)]);
    let scene = scene("backoff-min-ms=1", sink);
    let begun = Instant::now();
    scene.send(0, 0).await;
    scene.heard.has(1).await;
    assert!(begun.elapsed() >= asked);
}

#[tokio::test]
async fn an_attempt_that_takes_too_long_has_failed() {
    let sink = Scripted::new(&[Answer::Hang]);
    let scene = scene("time-limit-ms=50", sink.clone());
    scene.send(0, 0).await;
    scene.heard.has(1).await;
    assert_eq!(scene.sinks.statuses()[0].failures, 1);
}

#[tokio::test]
async fn a_document_that_is_rejected_holds_its_chunk_until_it_is_kept_elsewhere() {
    let sink = Scripted::new(&[Answer::Reject(vec![2, 0, 2, 77])]);
    let mut scene = scene("", sink.clone());
    let documents = ["1", "2", "3"].map(str::to_owned);
    let sent = chunk(&scene.heard, 0, &documents);
    scene.sender.send(0, sent).await.unwrap();
    scene.send(0, 1).await;
    let first = timeout(LONG, scene.rejected.recv()).await.unwrap().unwrap();
    let second = timeout(LONG, scene.rejected.recv()).await.unwrap().unwrap();
    assert_eq!((first.index, second.index), (0, 2));
    assert_eq!(
        (first.sink.as_str(), first.reason.as_str()),
        ("null", "told to")
    );
    assert_eq!(second.chunk.document(second.index), b"3");
    assert_eq!(second.chunk.key(second.index), "1:1:0#m#2");
    scene.heard.has(1).await;
    let state = &scene.sinks.statuses()[0];
    assert_eq!(
        (state.delivered, state.delivered_bytes, state.rejected),
        (2, 9, 2)
    );
    first.ack.done();
    assert_eq!(scene.heard.all(), [1], "the other chunk only");
    second.ack.done();
    assert_eq!(scene.heard.all(), [1, 0]);
    assert!(timeout(A_WHILE, scene.rejected.recv()).await.is_err());
}

#[tokio::test]
async fn a_sink_that_has_ended_is_told_and_takes_no_more() {
    let sink = Scripted::new(&[Answer::Accept, Answer::End]);
    let scene = scene("", sink.clone());
    scene.send(0, 0).await;
    scene.heard.has(1).await;
    assert!(timeout(A_WHILE, scene.sinks.ended()).await.is_err());
    scene.send(0, 1).await;
    let ended = timeout(LONG, scene.sinks.ended()).await.unwrap();
    assert_eq!((ended.sink.as_str(), ended.is_closed), ("null", true));
    let late = scene.sender.send(0, single(&scene.heard, 2)).await;
    assert_eq!(late, Err(Closed));
    assert!(!scene.sinks.statuses()[0].ready);
    // Nothing is left to wait for.
    timeout(LONG, scene.sinks.flush()).await.unwrap();
    timeout(LONG, scene.sinks.close()).await.unwrap();
    assert_eq!(scene.heard.all(), [0]);
}

#[tokio::test]
async fn a_panic_and_the_end_of_patience_end_a_sink() {
    let panics = scene("", Scripted::new(&[Answer::Panic]));
    panics.send(0, 0).await;
    let ended = timeout(LONG, panics.sinks.ended()).await.unwrap();
    assert_eq!(
        (ended.message.as_str(), ended.is_closed),
        ("the sink panicked", false)
    );
    let fails = vec![Answer::Fail; 1000];
    let patient = scene(
        "give-up-after-s=1&backoff-max-ms=100",
        Scripted::new(&fails),
    );
    patient.send(0, 0).await;
    let ended = timeout(LONG, patient.sinks.ended()).await.unwrap();
    assert_eq!(ended.message, "given up after 1s: told to");
    assert!(patient.heard.all().is_empty());
}

#[tokio::test]
async fn a_sink_that_is_away_at_the_start_is_waited_for() {
    let inner = Scripted::new(&[]);
    let attempts = Arc::new(Mutex::new(0));
    let late = super::super::late::Late::new(Box::new({
        let (inner, attempts) = (inner.clone(), attempts.clone());
        move || {
            let inner: Arc<dyn Sink> = inner.clone();
            let mut attempts = attempts.lock().unwrap();
            *attempts += 1;
            let opened = match *attempts < 3 {
                true => Err(DeliverError::Passing {
                    message: "away".to_owned(),
                    retry_after: None,
                }),
                false => Ok(inner),
            };
            Box::pin(std::future::ready(opened))
        }
    }));
    let scene = scene("", Arc::new(late));
    scene.send(0, 0).await;
    scene.heard.has(1).await;
    scene.send(0, 1).await;
    scene.heard.has(2).await;
    assert_eq!(*attempts.lock().unwrap(), 3);
    assert_eq!(scene.sinks.statuses()[0].failures, 2);
}
