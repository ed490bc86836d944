//! Letters wait for their store, and ops for their letters.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use bson::doc;
use mongodb::Client;
use oplet::{
    dead_letters::{self, Filter, Store, Writer},
    op::StoreSpec,
};
use oplet_testkit::{ReplicaSet, eventually};

use super::{Heard, letter, op_ids};
use crate::DEADLINE;

#[tokio::test]
async fn an_op_is_acknowledged_when_its_letter_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let store = Store::file(missing.join("letters.jsonl"));
    let writer = Writer::start(store.clone());
    let heard = Arc::new(Heard::default());
    for place in 0..3 {
        writer
            .put(letter("m", place + 1, 1, doc! {}), heard.duty(place))
            .await;
    }
    let failed = async || writer.counts().failures.load(Relaxed) >= 2;
    eventually(DEADLINE, failed).await.unwrap();
    assert_eq!(
        (heard.places(), writer.counts().waiting.load(Relaxed)),
        (vec![], 3)
    );

    // Somebody mends it.
    std::fs::create_dir(&missing).unwrap();
    writer.flush().await;
    assert_eq!(heard.places(), [0, 1, 2]);
    let counts = writer.counts();
    assert_eq!(
        (counts.written.load(Relaxed), counts.waiting.load(Relaxed)),
        (3, 0)
    );
    assert_eq!(
        op_ids(&store, Filter::default()).await,
        ["1:1:0", "2:1:0", "3:1:0"]
    );
}

#[tokio::test]
async fn what_is_dropped_before_it_is_stored_is_not_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let writer = Writer::start(Store::file(missing.join("letters.jsonl")));
    let heard = Arc::new(Heard::default());
    writer.put(letter("m", 1, 1, doc! {}), heard.duty(0)).await;
    let counts = writer.counts().clone();
    drop(writer);
    std::fs::create_dir(&missing).unwrap();
    // The task held the other half of what is counted.
    let ended = async || Arc::strong_count(&counts) == 1;
    eventually(DEADLINE, ended).await.unwrap();
    assert!(heard.places().is_empty());
}

#[tokio::test]
async fn letters_wait_for_a_server_that_is_away() {
    let set = ReplicaSet::start(Default::default()).await.unwrap();
    let uri = format!("{}&serverSelectionTimeoutMS=500", set.uri());
    let client = Client::with_uri_str(&uri).await.unwrap();
    let store = Store::open(&StoreSpec::own(dead_letters::COLLECTION), &client);
    let writer = Writer::start(store.clone());
    let heard = Arc::new(Heard::default());
    writer.put(letter("m", 1, 1, doc! {}), heard.duty(0)).await;
    writer.flush().await;
    assert_eq!(heard.places(), [0]);

    set.kill().await.unwrap();
    for place in 1..4 {
        writer
            .put(letter("m", place + 1, 1, doc! {}), heard.duty(place))
            .await;
    }
    let failed = async || writer.counts().failures.load(Relaxed) >= 2;
    eventually(DEADLINE, failed).await.unwrap();
    assert_eq!(heard.places(), [0]);

    set.restart().await.unwrap();
    writer.flush().await;
    assert_eq!(heard.places(), [0, 1, 2, 3]);
    assert_eq!(
        op_ids(&store, Filter::default()).await,
        ["1:1:0", "2:1:0", "3:1:0", "4:1:0"]
    );
}
