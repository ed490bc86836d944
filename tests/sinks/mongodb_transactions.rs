//! The MongoDB sink as a part of the caller's transaction.

use bson::{Document, doc};
use mongodb::ClientSession;
use oplet::sink::{OutputBatch, Rejection, mongodb::MongodbSink};

use super::{
    bson,
    mongodb::{Scene, key},
};

async fn begin(sink: &MongodbSink) -> ClientSession {
    let mut session = sink.client().start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    session
}

/// Delivers in one transaction, without those that are rejected.
async fn deliver(sink: &MongodbSink, documents: &[Document]) -> Vec<Rejection> {
    let all = bson(documents);
    let mut rejected: Vec<Rejection> = Vec::new();
    loop {
        let left: Vec<_> = (0..all.len())
            .filter(|index| rejected.iter().all(|rejection| rejection.index != *index))
            .collect();
        let mut batch = OutputBatch::default();
        for index in &left {
            let (chunk, place) = all.entry(*index);
            batch.push(chunk.clone(), place);
        }
        let mut session = begin(sink).await;
        let more = sink.deliver_in(&mut session, &batch).await.unwrap();
        if more.is_empty() {
            session.commit_transaction().await.unwrap();
            rejected.sort_by_key(|rejection| rejection.index);
            return rejected;
        }
        session.abort_transaction().await.unwrap();
        rejected.extend(more.into_iter().map(|rejection| Rejection {
            index: left[rejection.index],
            ..rejection
        }));
    }
}

#[tokio::test]
async fn an_aborted_transaction_leaves_nothing_and_a_committed_one_all() {
    let scene = Scene::new("txn").await;
    let sink = scene.sink(&[("mode-field", "how")]).await;
    let documents = [
        doc! { "_id": 1, "n": 1 },
        doc! { "how": "insert", "z": 1, "a": { "$b": 1 } },
        doc! { "_id": 1, "how": "delete" },
        doc! { "_id": 2, "how": "update", "n": 2 },
    ];
    let mut session = begin(&sink).await;
    let written = sink.deliver_in(&mut session, &bson(&documents)).await;
    assert_eq!(written.unwrap(), []);
    assert_eq!(
        scene.documents().await,
        [],
        "nothing is seen before the commit"
    );
    session.abort_transaction().await.unwrap();
    assert_eq!(scene.documents().await, []);
    let expected = [
        doc! { "_id": 2, "n": 2 },
        doc! { "_id": key(2), "z": 1, "a": { "$b": 1 } },
    ];
    for _ in 0..2 {
        assert_eq!(deliver(&sink, &documents).await, []);
        let found = scene.documents().await;
        assert_eq!(found, expected);
        let names: Vec<_> = found[1].keys().map(String::as_str).collect();
        assert_eq!(names, ["_id", "z", "a"]);
    }
}

#[tokio::test]
async fn inserts_leave_what_is_there_and_end_no_transaction() {
    let scene = Scene::new("txn_insert").await;
    scene
        .collection("c")
        .insert_one(doc! { "_id": 1, "old": true })
        .await
        .unwrap();
    let sink = scene.sink(&[("mode", "insert")]).await;
    let documents = [
        doc! { "_id": 1, "new": true },
        doc! { "_id": { "a": 1 }, "n": 1 },
    ];
    assert_eq!(deliver(&sink, &documents).await, []);
    let expected = [
        doc! { "_id": 1, "old": true },
        doc! { "_id": { "a": 1 }, "n": 1 },
    ];
    assert_eq!(scene.documents().await, expected);
}

#[tokio::test]
async fn what_is_refused_in_a_transaction_is_named() {
    let scene = Scene::new("txn_refused").await;
    let database = scene.client.database(&scene.database);
    let validator = doc! { "n": { "$lt": 100 } };
    database
        .create_collection("c")
        .validator(validator)
        .await
        .unwrap();
    for mode in ["replace", "insert", "update"] {
        scene.collection("c").delete_many(doc! {}).await.unwrap();
        let sink = scene.sink(&[("mode", mode), ("mode-field", "how")]).await;
        let documents = [
            doc! { "_id": 1, "n": 1 },
            doc! { "_id": 2, "n": 100 },
            doc! { "_id": 3, "n": 3 },
            doc! { "_id": 4, "how": "guess" },
            doc! { "_id": 5, "n": 200 },
        ];
        let rejected = deliver(&sink, &documents).await;
        let indexes: Vec<_> = rejected.iter().map(|rejection| rejection.index).collect();
        assert_eq!(indexes, [1, 3, 4], "{mode}: {rejected:?}");
        let expected = [doc! { "_id": 1, "n": 1 }, doc! { "_id": 3, "n": 3 }];
        assert_eq!(scene.documents().await, expected, "{mode}");
    }
}

#[tokio::test]
async fn two_transactions_on_one_document_do_not_both_succeed() {
    let scene = Scene::new("txn_conflict").await;
    scene
        .collection("c")
        .insert_one(doc! { "_id": 1 })
        .await
        .unwrap();
    let sink = scene.sink(&[]).await;
    let batch = bson(&[doc! { "_id": 1, "n": 1 }]);
    let mut first = begin(&sink).await;
    let mut second = begin(&sink).await;
    assert_eq!(sink.deliver_in(&mut first, &batch).await.unwrap(), []);
    let error = sink.deliver_in(&mut second, &batch).await.unwrap_err();
    assert!(
        error.contains_label("TransientTransactionError"),
        "{error:?}"
    );
    first.commit_transaction().await.unwrap();
    second.abort_transaction().await.unwrap();
}
