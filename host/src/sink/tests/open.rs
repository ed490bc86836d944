//! From what was asked for to sinks at work.

use std::net::TcpListener;

use tokio::time::timeout;

use super::*;
use crate::mongo;

/// The context of a run whose deployment is never asked.
async fn context() -> Context {
    Context {
        client: mongo::connect_client("mongodb://127.0.0.1:1", None)
            .await
            .unwrap(),
        environment: Arc::new(|_| None),
        writer: None,
    }
}

fn specs(texts: &[&str]) -> Vec<Spec> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[tokio::test]
async fn a_sink_that_can_never_work_is_refused_and_one_that_is_away_is_not() {
    let (reject, _rejected) = mpsc::channel(1);
    let refused = Sinks::open(
        &specs(&["null", "file:/no/such/x"]),
        &context().await,
        reject,
    )
    .await;
    let refused = refused.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "cannot open the sink `file` at file:/no/such/x"
    );

    // A port that nobody listens on.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let far = format!("far=mongodb://127.0.0.1:{port}/?serverSelectionTimeoutMS=100#namespace=a.b");
    let specs = specs(&["null", &far]);
    assert_eq!(*Sinks::names(&specs), ["null", "far"]);
    let (reject, _rejected) = mpsc::channel(1);
    let sinks = Sinks::open(&specs, &context().await, reject).await.unwrap();
    let states = sinks.statuses();
    assert!(states[0].ready && !states[1].ready, "{states:?}");
    assert_eq!(states[1].target, format!("mongodb://127.0.0.1:{port}/"));
    let senders = sinks.senders();
    assert_eq!((senders[0].workers(), senders[1].workers()), (1, 2));
    let heard = Arc::new(Heard::default());
    for (number, sender) in senders.iter().enumerate() {
        sender.send(0, single(&heard, number as u64)).await.unwrap();
    }
    heard.has(1).await;
    assert!(timeout(A_WHILE, sinks.flush()).await.is_err());
    assert_eq!(
        heard.all(),
        [0],
        "what is away holds its own documents back, and no others"
    );
}
