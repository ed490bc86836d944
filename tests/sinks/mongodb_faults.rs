//! The MongoDB sink and a deployment that is in trouble.

use std::time::Duration;

use bson::{Bson, Document, doc};
use oplet::sink::{
    DeliverError, Sink as _,
    mongodb::{MongodbSink, Options},
};
use oplet_testkit::{Options as SetOptions, ReplicaSet, database_name, options::Mode};

use super::{bson, context, pairs};

/// A sink on a deployment that it connects to by itself, under a name by which it can be failed.
async fn own_sink(set: &ReplicaSet, name: &str, options: &[(&str, &str)]) -> MongodbSink {
    let join = if set.uri().contains('?') { '&' } else { '?' };
    let uri = format!(
        "{}{join}appName={name}&serverSelectionTimeoutMS=2000",
        set.uri()
    );
    let namespace = format!("{name}.c");
    let mut pairs = pairs(options);
    pairs.push(("namespace".into(), namespace));
    let options = Options::from_pairs(&uri, &mut pairs).unwrap();
    let unused = context(&set.client().await.unwrap());
    MongodbSink::open(&options, &unused).await.unwrap()
}

async fn fail(set: &ReplicaSet, name: &str, how: Document) {
    let mut data = doc! { "failCommands": ["insert", "update", "delete"], "appName": name };
    data.extend(how);
    let mode = doc! { "times": 1 };
    let command = doc! { "configureFailPoint": "failCommand", "mode": mode, "data": data };
    let client = set.client().await.unwrap();
    client.database("admin").run_command(command).await.unwrap();
}

async fn count(set: &ReplicaSet, name: &str) -> u64 {
    let client = set.client().await.unwrap();
    let collection = client.database(name).collection::<Document>("c");
    collection.count_documents(doc! {}).await.unwrap()
}

/// Delivers until it succeeds, as the runner does.
async fn deliver_in_the_end(sink: &MongodbSink, documents: &[Document]) -> Vec<String> {
    let batch = bson(documents);
    let mut messages = Vec::new();
    for _ in 0..100 {
        match sink.deliver(&batch).await {
            Ok(rejections) => {
                assert_eq!(rejections, []);
                return messages;
            }
            Err(DeliverError::Passing { message, .. }) => messages.push(message),
            Err(error) => panic!("{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it never succeeds: {messages:?}");
}

#[tokio::test]
async fn passing_errors_hold_the_batch_back_and_the_next_attempt_converges() {
    // A server has one failpoint of that name: a server of its own.
    let set = ReplicaSet::start(SetOptions::default()).await.unwrap();
    let name = database_name("faults");
    let sink = own_sink(&set, &name, &[("mode", "insert")]).await;
    let mut written: i32 = 0;
    let concern = doc! { "code": 64, "errmsg": "waiting for replication timed out" };
    for (how, word) in [
        (doc! { "errorCode": 91 }, "91"),
        (doc! { "errorCode": 10107 }, "10107"),
        (doc! { "errorCode": 13 }, "may not write"),
        (doc! { "closeConnection": true }, ""),
        (doc! { "writeConcernError": concern }, "majority"),
    ] {
        let documents: Vec<_> = (0..5).map(|n| doc! { "_id": written + n }).collect();
        fail(&set, &name, how.clone()).await;
        let messages = deliver_in_the_end(&sink, &documents).await;
        assert!(!messages.is_empty(), "{how} was not seen");
        assert!(messages[0].contains(word), "{how}: {messages:?}");
        written += 5;
        assert_eq!(
            count(&set, &name).await,
            u64::from(written.unsigned_abs()),
            "{how}"
        );
    }
}

#[tokio::test]
async fn a_server_that_dies_is_waited_for() {
    let set = ReplicaSet::start(SetOptions::default()).await.unwrap();
    let sink = own_sink(&set, "dies", &[]).await;
    let documents: Vec<_> = (0..100).map(|n| doc! { "_id": n, "n": n }).collect();
    set.kill().await.unwrap();
    let error = sink.deliver(&bson(&documents)).await.unwrap_err();
    assert!(matches!(error, DeliverError::Passing { .. }), "{error:?}");
    set.restart().await.unwrap();
    deliver_in_the_end(&sink, &documents).await;
    assert_eq!(count(&set, "dies").await, 100);
}

#[tokio::test]
async fn a_standalone_is_written_to_as_well() {
    let options = SetOptions {
        mode: Mode::Standalone,
        ..SetOptions::default()
    };
    let set = ReplicaSet::start(options).await.unwrap();
    let sink = own_sink(&set, "alone", &[]).await;
    assert_eq!(sink.deliver(&bson(&[doc! { "a": 1 }])).await.unwrap(), []);
    assert_eq!(count(&set, "alone").await, 1);
}

#[tokio::test]
async fn a_view_is_no_document_s_fault() {
    let set = ReplicaSet::shared().await.unwrap();
    let name = database_name("view");
    let client = set.client().await.unwrap();
    let view = doc! { "create": "c", "viewOn": "d", "pipeline": Bson::Array(vec![]) };
    client.database(&name).run_command(view).await.unwrap();
    let sink = own_sink(set, &name, &[]).await;
    let error = sink.deliver(&bson(&[doc! { "a": 1 }])).await.unwrap_err();
    assert!(error.to_string().contains("view"), "{error}");
}

#[tokio::test]
async fn a_server_that_is_away_at_the_start_is_told() {
    let mut options = pairs(&[("namespace", "a.b")]);
    let uri = "mongodb://u:secret@127.0.0.1:1/?serverSelectionTimeoutMS=200";
    let options = Options::from_pairs(uri, &mut options).unwrap();
    let set = ReplicaSet::shared().await.unwrap();
    let unused = context(&set.client().await.unwrap());
    let error = MongodbSink::open(&options, &unused).await.unwrap_err();
    assert!(matches!(error, DeliverError::Passing { .. }), "{error:?}");
    assert!(!error.to_string().contains("secret"), "{error}");
}
