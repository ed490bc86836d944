//! What the MongoDB sink does with a batch that was begun: it goes on, and repeats nothing.

use std::time::Duration;

use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::Client;
use oplet::sink::{
    DeliverError, OutputBatch, Rejection, Sink as _,
    mongodb::{MongodbSink, Options},
};
use oplet_testkit::{Options as SetOptions, ReplicaSet, database_name, options::Mode};

use super::{
    answers::{Answers, Fate},
    bson, context, pairs,
};

/// A sink behind a way on which answers get lost.
struct Scene {
    answers: Answers,
    sink: MongodbSink,
    client: Client,
    database: String,
}

impl Scene {
    async fn new(set: &ReplicaSet, hint: &str) -> Self {
        let answers = Answers::of(set.port()).await;
        let database = database_name(hint);
        let namespace = format!("{database}.c");
        let mut pairs = pairs(&[("mode", "update"), ("mode-field", "how")]);
        pairs.push(("namespace".into(), namespace));
        let uri = format!("{}&appName={database}", answers.uri());
        let options = Options::from_pairs(&uri, &mut pairs).unwrap();
        let client = set.client().await.unwrap();
        Self {
            answers,
            sink: MongodbSink::open(&options, &context(&client))
                .await
                .unwrap(),
            client,
            database,
        }
    }

    async fn documents(&self) -> Vec<Document> {
        let collection = self.client.database(&self.database).collection("c");
        let found = collection.find(doc! {}).sort(doc! { "_id": 1 });
        found.await.unwrap().try_collect().await.unwrap()
    }

    /// Lets one command of these fail.
    async fn fail(&self, commands: &[&str], how: Document) {
        let mut data = doc! { "failCommands": commands, "appName": &self.database };
        data.extend(how);
        let mode = doc! { "times": 1 };
        let command = doc! { "configureFailPoint": "failCommand", "mode": mode, "data": data };
        let admin = self.client.database("admin");
        admin.run_command(command).await.unwrap();
    }

    /// Delivers until it succeeds, as the runner does; also how many attempts failed.
    async fn deliver(&self, batch: &OutputBatch) -> (Vec<Rejection>, usize) {
        let mut messages = Vec::new();
        for _ in 0..100 {
            let attempt = self.sink.deliver(batch);
            match tokio::time::timeout(Duration::from_secs(3), attempt).await {
                Ok(Ok(rejections)) => return (rejections, messages.len()),
                Ok(Err(DeliverError::Passing { message, .. })) => messages.push(message),
                Ok(Err(error)) => panic!("{error:?}"),
                Err(_) => messages.push("no answer".into()),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("it never succeeds: {messages:?}");
    }
}

/// `count` times `n` is added to, in each of three documents.
fn increments(count: i32) -> Vec<Document> {
    let sums = (0..count).flat_map(|n| (0..3).map(move |id| (n, id)));
    sums.map(|(n, id)| doc! { "_id": id, "$inc": { "n": 1 }, "$push": { "seen": n } })
        .collect()
}

fn summed(count: i32) -> Vec<Document> {
    let seen: Vec<i32> = (0..count).collect();
    (0..3)
        .map(|id| doc! { "_id": id, "n": count, "seen": &seen })
        .collect()
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_done_once() {
    let set = ReplicaSet::shared().await.unwrap();
    for fate in [Fate::Cut, Fate::Swallowed] {
        let scene = Scene::new(set, "lost").await;
        scene.answers.lose(3, fate);
        let (rejections, failed) = scene.deliver(&bson(&increments(10))).await;
        assert_eq!((rejections, failed), (vec![], 3), "{fate:?}");
        assert_eq!(scene.answers.writes(), 4, "{fate:?}");
        assert_eq!(scene.documents().await, summed(10), "{fate:?}");
    }
}

/// A server keeps no record of a statement that changed nothing, and carries it out when the command is
/// repeated.
#[tokio::test]
async fn what_changed_nothing_is_not_done_again_behind_what_did() {
    let set = ReplicaSet::shared().await.unwrap();
    let max = doc! { "$max": { "b": 0 } };
    for (how, asked, others) in [
        ("replace", doc! {}, doc! {}),
        ("update", doc! {}, doc! {}),
        ("update", max, doc! { "b": 0 }),
    ] {
        let scene = Scene::new(set, "nothing").await;
        let is = |a: i32| {
            let change = match asked.is_empty() {
                true => doc! { "a": a },
                false => doc! { "$set": { "a": a } },
            };
            let parts = [doc! { "_id": 1, "how": how }, change, asked.clone()];
            Document::from_iter(parts.into_iter().flatten())
        };
        let mut expected = doc! { "_id": 1, "a": 3 };
        expected.extend(others);
        scene.deliver(&bson(&[is(1)])).await;
        for lost in 1..=3 {
            scene.answers.lose(lost, Fate::Cut);
            let (rejections, failed) = scene.deliver(&bson(&[is(1), is(2), is(1), is(3)])).await;
            assert_eq!((rejections, failed), (vec![], lost as usize), "{how}");
            let documents = scene.documents().await;
            assert_eq!(documents, std::slice::from_ref(&expected), "{how}");
            scene.deliver(&bson(&[is(1)])).await;
        }
    }
}

/// Otherwise each would wait for the majority on its own.
#[tokio::test]
async fn of_changes_that_overwrite_each_other_the_last_is_written() {
    let set = ReplicaSet::shared().await.unwrap();
    let scene = Scene::new(set, "last").await;
    let replaced = (0..500).map(|n| doc! { "_id": 1, "how": "replace", "n": n });
    let updated = (0..500).map(|n| doc! { "_id": 2, "$set": { "n": n } });
    let (rejections, _) = scene
        .deliver(&bson(&replaced.chain(updated).collect::<Vec<_>>()))
        .await;
    assert!(rejections.is_empty(), "{rejections:?}");
    let expected = [1, 2].map(|id| doc! { "_id": id, "n": 499 });
    assert_eq!(scene.documents().await, expected);
    let oplog = scene
        .client
        .database("local")
        .collection::<Document>("oplog.rs");
    let written = doc! { "ns": format!("{}.c", scene.database) };
    let written = oplog.count_documents(written).await.unwrap();
    assert_eq!(written, 2);
}

#[tokio::test]
async fn what_stands_behind_one_that_is_refused_at_last_counts_once() {
    let set = ReplicaSet::shared().await.unwrap();
    let scene = Scene::new(set, "behind").await;
    let database = scene.client.database(&scene.database);
    let things = database.collection::<Document>("c");
    things.insert_one(doc! { "_id": 0, "a": 0 }).await.unwrap();
    let increment = |id: i32| doc! { "_id": id, "$inc": { "n": 1 } };
    let mut documents = vec![doc! { "_id": 0, "a": 0 }];
    documents.extend((1..=5).chain(1..=5).map(increment));
    let batch = bson(&documents);
    scene.answers.lose(1, Fate::Cut);
    scene.sink.deliver(&batch).await.unwrap_err();
    // The first changed nothing then, and would now.
    let change = doc! { "$set": { "a": 1 } };
    things.update_one(doc! { "_id": 0 }, change).await.unwrap();
    let validator = doc! { "a": { "$ne": 0 } };
    let refuse = doc! { "collMod": "c", "validator": validator };
    database.run_command(refuse).await.unwrap();
    let (rejections, failed) = scene.deliver(&batch).await;
    let indexes: Vec<_> = rejections.iter().map(|rejection| rejection.index).collect();
    assert_eq!((indexes, failed), (vec![0], 0), "{rejections:?}");
    let mut expected = vec![doc! { "_id": 0, "a": 1 }];
    expected.extend((1..=5).map(|id| doc! { "_id": id, "n": 2 }));
    assert_eq!(scene.documents().await, expected);
}

#[tokio::test]
async fn the_same_documents_emitted_anew_are_written_anew() {
    let set = ReplicaSet::shared().await.unwrap();
    let scene = Scene::new(set, "anew").await;
    for round in 1..=3 {
        let (rejections, failed) = scene.deliver(&bson(&increments(1))).await;
        assert_eq!((rejections, failed), (vec![], 0));
        assert_eq!(scene.documents().await[0].get_i32("n").unwrap(), round);
    }
}

#[tokio::test]
async fn commands_that_are_through_are_not_sent_again() {
    // A server has one failpoint of that name: a server of its own.
    let set = ReplicaSet::start(SetOptions::default()).await.unwrap();
    let scene = Scene::new(&set, "through").await;
    let mut documents = increments(5);
    documents.push(doc! { "_id": 7, "how": "insert", "a": 1 });
    documents.push(doc! { "_id": 0, "how": "delete" });
    documents.push(doc! { "_id": 0, "how": "update", "$inc": { "n": 1 } });
    // The delete comes after the first updates, and before the last one.
    scene.fail(&["delete"], doc! { "errorCode": 112 }).await;
    let (rejections, failed) = scene.deliver(&bson(&documents)).await;
    assert_eq!((rejections, failed), (vec![], 1));
    assert_eq!(
        scene.answers.writes(),
        5,
        "update, insert, delete twice, update"
    );
    let mut expected = summed(5);
    expected[0] = doc! { "_id": 0, "n": 1 };
    expected.push(doc! { "_id": 7, "a": 1 });
    assert_eq!(scene.documents().await, expected);
}

#[tokio::test]
async fn a_majority_that_does_not_answer_is_asked_again_without_writing() {
    // A server has one failpoint of that name: a server of its own.
    let set = ReplicaSet::start(SetOptions::default()).await.unwrap();
    let scene = Scene::new(&set, "majority").await;
    let concern = doc! { "code": 64, "errmsg": "waiting for replication timed out" };
    scene
        .fail(&["update"], doc! { "writeConcernError": concern })
        .await;
    let (rejections, failed) = scene.deliver(&bson(&increments(5))).await;
    assert_eq!((rejections, failed), (vec![], 1));
    assert_eq!(scene.documents().await, summed(5));
}

#[tokio::test]
async fn refused_statements_are_told_once_when_their_answer_is_lost() {
    let set = ReplicaSet::shared().await.unwrap();
    let scene = Scene::new(set, "refused").await;
    let database = scene.client.database(&scene.database);
    let validator = doc! { "n": { "$lt": 3 } };
    let create = database.create_collection("c").validator(validator);
    create.await.unwrap();
    scene.answers.lose(1, Fate::Cut);
    let (rejections, failed) = scene.deliver(&bson(&increments(4))).await;
    let indexes: Vec<_> = rejections.iter().map(|rejection| rejection.index).collect();
    assert_eq!((indexes, failed), ((6..12).collect(), 1), "{rejections:?}");
    assert_eq!(scene.documents().await, summed(2));
    // Each document once, so that what is behind the first that failed is sent unordered.
    let documents: Vec<_> = (0..20)
        .map(|n| doc! { "_id": 100 + n, "$inc": { "n": if n % 5 == 2 { 3 } else { 1 } } })
        .collect();
    for lost in [1, 2] {
        scene.answers.lose(lost, Fate::Cut);
        let (rejections, failed) = scene.deliver(&bson(&documents)).await;
        assert_eq!(failed, lost as usize);
        let n = i32::try_from(lost).unwrap();
        let indexes: Vec<_> = rejections.iter().map(|rejection| rejection.index).collect();
        assert_eq!(indexes, [2, 7, 12, 17], "{rejections:?}");
        let sums = scene.documents().await;
        assert!(
            sums[3..].iter().all(|sum| sum.get_i32("n").unwrap() == n),
            "{sums:?}"
        );
    }
}

#[tokio::test]
async fn the_server_remembers_over_a_crash() {
    let set = ReplicaSet::start(SetOptions::default()).await.unwrap();
    let scene = Scene::new(&set, "crash").await;
    let batch = bson(&increments(10));
    for _ in 0..2 {
        scene.answers.lose(1, Fate::Cut);
        scene.sink.deliver(&batch).await.unwrap_err();
        set.kill().await.unwrap();
        scene.sink.deliver(&batch).await.unwrap_err();
        set.restart().await.unwrap();
    }
    let (rejections, _) = scene.deliver(&batch).await;
    assert_eq!(rejections, []);
    assert_eq!(scene.documents().await, summed(10));
}

#[tokio::test]
async fn a_standalone_does_a_write_again_but_not_the_batch() {
    let options = SetOptions {
        mode: Mode::Standalone,
        ..SetOptions::default()
    };
    let set = ReplicaSet::start(options).await.unwrap();
    let scene = Scene::new(&set, "alone").await;
    let mut documents = increments(1);
    documents.push(doc! { "_id": 3, "how": "delete" });
    documents.push(doc! { "_id": 3, "$inc": { "n": 1 } });
    // By numbers it is tried once; that answer says that nothing was done.
    let (rejections, failed) = scene.deliver(&bson(&documents)).await;
    assert_eq!((rejections, failed), (vec![], 0));
    assert_eq!(
        scene.answers.writes(),
        4,
        "one update twice, delete, update"
    );
    scene.fail(&["delete"], doc! { "errorCode": 112 }).await;
    let (rejections, failed) = scene.deliver(&bson(&documents)).await;
    assert_eq!((rejections, failed), (vec![], 1));
    assert_eq!(scene.answers.writes(), 8);
    let mut expected: Vec<_> = (0..3)
        .map(|id| doc! { "_id": id, "n": 2, "seen": [0, 0] })
        .collect();
    expected.push(doc! { "_id": 3, "n": 1 });
    assert_eq!(scene.documents().await, expected);
}

#[tokio::test]
async fn collections_of_every_kind_take_numbered_writes() {
    let set = ReplicaSet::shared().await.unwrap();
    let scene = Scene::new(set, "kinds").await;
    let database = scene.client.database(&scene.database);
    for create in [
        doc! { "create": "capped", "capped": true, "size": 4096 },
        doc! { "create": "series", "timeseries": { "timeField": "at" } },
        doc! { "create": "clustered", "clusteredIndex": { "key": { "_id": 1 }, "unique": true } },
    ] {
        database.run_command(create).await.unwrap();
    }
    let local = format!("local.{}", scene.database);
    for namespace in ["capped", "series", "clustered"]
        .map(|name| format!("{}.{name}", scene.database))
        .iter()
        .chain([&local])
    {
        let mut pairs = pairs(&[("mode", "insert")]);
        pairs.push(("namespace".into(), namespace.clone()));
        let options = Options::from_pairs(&scene.answers.uri(), &mut pairs).unwrap();
        let sink = MongodbSink::open(&options, &context(&scene.client))
            .await
            .unwrap();
        let documents = [1, 2].map(|n| doc! { "_id": n, "at": bson::DateTime::now() });
        assert_eq!(
            sink.deliver(&bson(&documents)).await,
            Ok(vec![]),
            "{namespace}"
        );
        let (database, collection) = namespace.split_once('.').unwrap();
        let collection = scene
            .client
            .database(database)
            .collection::<Document>(collection);
        assert_eq!(
            collection.count_documents(doc! {}).await.unwrap(),
            2,
            "{namespace}"
        );
    }
    let local = scene
        .client
        .database("local")
        .collection::<Document>(&scene.database);
    local.drop().await.unwrap();
}
