//! What a process leaves behind that dies while it writes.

use std::time::Duration;

use bson::{Document, doc};
use mongodb::Client;
use oplet::{
    mongo::{Remains, connect_client},
    sink::{
        Context, Sink as _,
        mongodb::{MongodbSink, Options},
    },
};
use oplet_testkit::{ReplicaSet, eventually};
use tokio::{runtime::Runtime, time::sleep};

use super::{bson, context, pairs};
use crate::DEADLINE;

const WORKERS: usize = 6;

/// A sink whose connections show that id.
async fn sink_of(uri: &str, writer: &str) -> MongodbSink {
    let options = Options::from_pairs(uri, &mut pairs(&[("namespace", "remains.c")]));
    let context = Context {
        writer: Some(writer.to_owned()),
        ..context(&connect_client(uri, None).await.unwrap())
    };
    MongodbSink::open(&options.unwrap(), &context)
        .await
        .unwrap()
}

/// A document for each worker.
fn documents(value: &str) -> Vec<Document> {
    let document = |id: usize| doc! { "_id": id as i64, "value": value };
    (0..WORKERS).map(document).collect()
}

/// The connections that the server has of that writer.
async fn connections(client: &Client, writer: &str) -> usize {
    let command = doc! {
        "aggregate": 1,
        "pipeline": [
            { "$currentOp": { "idleConnections": true } },
            { "$match": { "appName": format!("oplet {writer}"), "command.hello": { "$exists": false } } },
        ],
        "cursor": {},
    };
    let reply = client.database("admin").run_command(command).await;
    let cursor = reply.unwrap().get_document("cursor").unwrap().clone();
    cursor.get_array("firstBatch").unwrap().len()
}

#[tokio::test]
async fn what_a_server_had_not_read_comes_before_what_a_successor_writes() {
    let set = ReplicaSet::start(Default::default()).await.unwrap();
    let client = set.client().await.unwrap();
    let collection = client.database("remains").collection::<Document>("c");
    for round in 0..5 {
        let id = format!("{round:032x}");
        let successor = sink_of(&set.uri(), "successor").await;
        successor.deliver(&bson(&documents("first"))).await.unwrap();
        // The one before: a process of its own, as far as the server can tell.
        let process = Runtime::new().unwrap();
        let (uri, writer) = (set.uri(), id.clone());
        let (sink, sessions) = process
            .spawn(async move {
                let sink = sink_of(&uri, &writer).await;
                let sessions = sink.sessions(WORKERS).await;
                sink.deliver(&bson(&documents("before"))).await.unwrap();
                (std::sync::Arc::new(sink), sessions)
            })
            .await
            .unwrap();
        assert!(connections(&client, &id).await > 0);
        set.suspend().await.unwrap();
        for document in documents("late") {
            let sink = sink.clone();
            process.spawn(async move { sink.deliver(&bson(&[document])).await });
        }
        sleep(Duration::from_millis(200)).await;
        drop(sink);
        process.shutdown_background();
        set.resume().await.unwrap();

        let remains = Remains {
            writers: vec![id.clone()],
            sessions,
        };
        successor.end(&remains).await;
        successor.deliver(&bson(&documents("new"))).await.unwrap();
        sleep(Duration::from_millis(100)).await;
        let old = collection.count_documents(doc! { "value": { "$ne": "new" } });
        assert_eq!(old.await.unwrap(), 0, "in round {round}");
        // The driver's own watch of the server writes nothing, and may end a moment later.
        let are_closed = async || connections(&client, &id).await == 0;
        eventually(DEADLINE, are_closed).await.unwrap();
    }
}

#[tokio::test]
async fn connections_that_stay_open_are_not_waited_for_when_they_are_idle() {
    let set = ReplicaSet::shared().await.unwrap();
    let client = set.client().await.unwrap();
    let suspended = sink_of(&set.uri(), "suspended").await;
    let successor = sink_of(&set.uri(), "other").await;
    let remains = Remains {
        writers: vec!["suspended".to_owned()],
        sessions: suspended.sessions(1).await,
    };
    successor.end(&remains).await;
    assert!(connections(&client, "suspended").await > 0);
}
