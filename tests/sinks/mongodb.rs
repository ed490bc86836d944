//! What the MongoDB sink leaves behind in the collections.

use bson::{Bson, Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::Client;
use oplet::sink::{
    Rejection, Sink as _,
    mongodb::{MongodbSink, Options},
};
use oplet_testkit::{ReplicaSet, database_name};

use super::{bson, context, pairs};

/// A database of its own, and sinks that write to its collection `c`.
pub(super) struct Scene {
    pub(super) client: Client,
    /// The sinks' own.
    writer: Client,
    pub(super) database: String,
}

impl Scene {
    pub(super) async fn new(hint: &str) -> Self {
        let set = ReplicaSet::shared().await.unwrap();
        Self {
            client: set.client().await.unwrap(),
            writer: set.client().await.unwrap(),
            database: database_name(hint),
        }
    }

    pub(super) async fn sink(&self, options: &[(&str, &str)]) -> MongodbSink {
        let url = format!("mongodb:{}.c", self.database);
        let options = Options::from_pairs(&url, &mut pairs(options)).unwrap();
        let context = context(&self.writer);
        MongodbSink::open(&options, &context).await.unwrap()
    }

    pub(super) fn collection(&self, name: &str) -> mongodb::Collection<Document> {
        self.client.database(&self.database).collection(name)
    }

    /// All documents of `c`, by their `_id`.
    pub(super) async fn documents(&self) -> Vec<Document> {
        let collection = self.collection("c");
        let found = collection.find(doc! {}).sort(doc! { "_id": 1 });
        found.await.unwrap().try_collect().await.unwrap()
    }

    /// Delivers documents, twice: the second time, as after a failure, must change nothing.
    async fn deliver_twice(
        &self,
        options: &[(&str, &str)],
        documents: &[Document],
    ) -> Vec<Rejection> {
        let sink = self.sink(options).await;
        let batch = bson(documents);
        let rejections = sink.deliver(&batch).await.unwrap();
        let first = self.documents().await;
        assert_eq!(sink.deliver(&batch).await.unwrap(), rejections);
        assert_eq!(
            self.documents().await,
            first,
            "the second delivery changes nothing"
        );
        rejections
    }
}

/// The key of the `n`th document, counted from 1.
pub(super) fn key(n: usize) -> String {
    format!("1:{n}:0#m#0")
}

#[tokio::test]
async fn inserts_leave_what_is_there() {
    let scene = Scene::new("insert").await;
    scene
        .collection("c")
        .insert_one(doc! { "_id": 1, "old": true })
        .await
        .unwrap();
    let documents = [
        doc! { "z": 1, "a": 2 },
        doc! { "_id": 1, "new": true },
        doc! { "b": 1, "_id": 2 },
    ];
    let rejections = scene.deliver_twice(&[("mode", "insert")], &documents).await;
    assert_eq!(rejections, []);
    let expected = [
        doc! { "_id": 1, "old": true },
        doc! { "_id": 2, "b": 1 },
        doc! { "_id": key(1), "z": 1, "a": 2 },
    ];
    assert_eq!(scene.documents().await, expected);
}

#[tokio::test]
async fn a_duplicate_in_another_index_is_rejected_alone() {
    let scene = Scene::new("unique").await;
    let index = mongodb::IndexModel::builder()
        .keys(doc! { "email": 1 })
        .options(
            mongodb::options::IndexOptions::builder()
                .unique(true)
                .build(),
        );
    scene
        .collection("c")
        .create_index(index.build())
        .await
        .unwrap();
    let documents = [1, 2, 1, 3].map(|email| doc! { "email": email });
    let rejections = scene.deliver_twice(&[("mode", "insert")], &documents).await;
    let [Rejection { index: 2, reason }] = &rejections[..] else {
        panic!("{rejections:?}")
    };
    assert!(reason.contains("E11000"), "{reason}");
    assert_eq!(scene.documents().await.len(), 3);
}

#[tokio::test]
async fn replacements_keep_types_order_and_the_last_word() {
    let scene = Scene::new("replace").await;
    let documents = [
        doc! { "_id": 1, "n": 1 },
        doc! { "_id": 2, "n": 1 },
        doc! { "z": 1_i64, "_id": 1.0, "a": bson::Timestamp { time: 1, increment: 2 } },
        doc! { "free": true },
        doc! { "_id": { "$gt": 0 }, "x": 1 },
    ];
    let rejections = scene.deliver_twice(&[], &documents).await;
    // The last one's `_id` is no condition; the server takes no such field, and must not be asked
    // for the document that it would find.
    assert_eq!(rejections.len(), 1, "{rejections:?}");
    assert_eq!(rejections[0].index, 4);
    let found = scene.documents().await;
    let names: Vec<_> = found[0].keys().map(String::as_str).collect();
    assert_eq!(names, ["_id", "z", "a"]);
    assert!(matches!(found[0].get("z"), Some(Bson::Int64(1))));
    assert_eq!(
        found[1..],
        [
            doc! { "_id": 2, "n": 1 },
            doc! { "_id": key(4), "free": true }
        ]
    );
}

#[tokio::test]
async fn replacements_by_other_fields_keep_the_id_that_is_there() {
    let scene = Scene::new("by_fields").await;
    let there = doc! { "_id": 5, "shop": 1, "number": 1, "old": true };
    scene.collection("c").insert_one(there).await.unwrap();
    let documents = [
        doc! { "z": 1, "shop": 1, "number": 1 },
        doc! { "shop": 1, "number": 2, "a.b": "$_id" },
        doc! { "shop": 1 },
    ];
    let rejections = scene
        .deliver_twice(&[("key", "shop,number")], &documents)
        .await;
    assert_eq!(rejections.len(), 1, "{rejections:?}");
    assert!(rejections[0].reason.contains("`number`"), "{rejections:?}");
    let expected = [
        doc! { "_id": 5, "z": 1, "shop": 1, "number": 1 },
        doc! { "_id": key(2), "shop": 1, "number": 2, "a.b": "$_id" },
    ];
    assert_eq!(scene.documents().await, expected);
}

#[tokio::test]
async fn updates_set_fields_or_apply_operators() {
    let scene = Scene::new("update").await;
    scene
        .collection("c")
        .insert_one(doc! { "_id": 1, "a": 1, "b": 1 })
        .await
        .unwrap();
    let documents = [
        doc! { "_id": 1, "b": 2 },
        doc! { "_id": 2, "$unset": { "a": "" }, "$max": { "n": 3 } },
        doc! { "_id": 3 },
        doc! { "c": 1 },
        doc! { "_id": 1, "$unset": { "a": "" } },
        doc! { "_id": 4, "$nonsense": { "a": 1 } },
        doc! { "_id": 5, "$set": { "a": 1 }, "$setOnInsert": { "b": 1 } },
    ];
    let rejections = scene.deliver_twice(&[("mode", "update")], &documents).await;
    let [Rejection { index: 5, .. }] = &rejections[..] else {
        panic!("{rejections:?}")
    };
    let expected = [
        doc! { "_id": 1, "b": 2 },
        doc! { "_id": 2, "n": 3 },
        doc! { "_id": 3 },
        doc! { "_id": 5, "a": 1, "b": 1 },
        doc! { "_id": key(4), "c": 1 },
    ];
    assert_eq!(scene.documents().await, expected);
}

#[tokio::test]
async fn updates_by_another_field_give_new_documents_the_output_key() {
    let scene = Scene::new("update_by").await;
    scene
        .collection("c")
        .insert_one(doc! { "_id": 1, "sku": "a" })
        .await
        .unwrap();
    let documents = [
        doc! { "sku": "a", "n": 1 },
        doc! { "sku": "b", "n": 2 },
        doc! { "sku": "c" },
    ];
    let options = [("mode", "update"), ("key", "sku")];
    assert_eq!(scene.deliver_twice(&options, &documents).await, []);
    let expected = [
        doc! { "_id": 1, "sku": "a", "n": 1 },
        doc! { "_id": key(2), "sku": "b", "n": 2 },
        doc! { "_id": key(3), "sku": "c" },
    ];
    assert_eq!(scene.documents().await, expected);
}

#[tokio::test]
async fn modes_mix_and_one_document_keeps_its_order() {
    let scene = Scene::new("mixed").await;
    let document = |id: i32, mode: &str, n: i32| doc! { "_id": id, "how": mode, "n": n };
    let documents = [
        document(1, "insert", 1),
        document(2, "replace", 1),
        document(1, "delete", 2),
        document(3, "delete", 1),
        document(1, "insert", 3),
        document(2, "delete", 2),
        document(1, "update", 4),
        document(3, "insert", 2),
        doc! { "_id": 1.0, "how": "update", "$unset": { "n": "" }, "$set": { "m": 5 } },
        doc! { "_id": 4, "how": "guess" },
        doc! { "_id": 4, "n": 1 },
        // An `_id` is never a condition: this deletes nothing.
        doc! { "_id": { "$gt": 0 }, "how": "delete" },
    ];
    let rejections = scene
        .deliver_twice(&[("mode-field", "how")], &documents)
        .await;
    assert_eq!(rejections.iter().map(|r| r.index).collect::<Vec<_>>(), [9]);
    let expected = [
        doc! { "_id": 1, "m": 5 },
        doc! { "_id": 3, "n": 2 },
        doc! { "_id": 4, "n": 1 },
    ];
    assert_eq!(scene.documents().await, expected);
}

#[tokio::test]
async fn a_field_tells_the_collection() {
    let scene = Scene::new("routed").await;
    let to = |collection: &str| format!("{}.{collection}", scene.database);
    let documents = [
        doc! { "_id": 1, "to": to("x.y") },
        doc! { "_id": 1 },
        doc! { "_id": 2, "to": "nowhere" },
        doc! { "_id": 2, "to": to("system.nothing") },
        doc! { "_id": 3, "to": to("x.y") },
        doc! { "_id": 4, "to": to("view") },
    ];
    let view = doc! { "create": "view", "viewOn": "x.y", "pipeline": [] };
    scene
        .client
        .database(&scene.database)
        .run_command(view)
        .await
        .unwrap();
    let rejections = scene
        .deliver_twice(&[("namespace-field", "to")], &documents)
        .await;
    assert_eq!(
        rejections.iter().map(|r| r.index).collect::<Vec<_>>(),
        [2, 3, 5],
        "{rejections:?}"
    );
    assert_eq!(scene.documents().await, [doc! { "_id": 1 }]);
    let other = scene
        .collection("x.y")
        .count_documents(doc! {})
        .await
        .unwrap();
    assert_eq!(other, 2);
}

#[tokio::test]
async fn what_a_validator_refuses_is_rejected_and_the_rest_goes_on() {
    let scene = Scene::new("validated").await;
    let database = scene.client.database(&scene.database);
    let validator = doc! { "n": { "$lt": 100 } };
    database
        .create_collection("c")
        .validator(validator)
        .await
        .unwrap();
    // One document comes twice, so that its order counts and the statements stay ordered.
    let documents: Vec<_> = (0..300)
        .map(|n| doc! { "_id": n % 299, "n": if n % 50 == 7 { 100 } else { n % 100 } })
        .collect();
    let rejections = scene.deliver_twice(&[], &documents).await;
    let indexes: Vec<_> = rejections.iter().map(|rejection| rejection.index).collect();
    assert_eq!(indexes, [7, 57, 107, 157, 207, 257]);
    assert!(rejections[0].reason.contains("121"), "{rejections:?}");
    assert_eq!(scene.documents().await.len(), 293);
}

#[tokio::test]
async fn batches_larger_than_a_message_go_in_several() {
    let scene = Scene::new("large").await;
    let filling = "x".repeat(5 << 20);
    let mut documents: Vec<_> = (0..7)
        .map(|n| doc! { "_id": n, "filling": &filling })
        .collect();
    let limit = 16 << 20;
    let own = doc! { "_id": 7, "filling": "" }.to_vec().unwrap().len();
    let largest = doc! { "_id": 7, "filling": "y".repeat(limit - own) };
    assert_eq!(largest.to_vec().unwrap().len(), limit);
    documents.insert(3, largest);
    let too_large = doc! { "_id": 8, "filling": "y".repeat(limit - own + 1) };
    documents.insert(5, too_large);
    // Just small enough, until it gets an `_id`.
    let own = doc! { "filling": "" }.to_vec().unwrap().len();
    documents.push(doc! { "filling": "z".repeat(limit - own) });
    for mode in ["replace", "insert"] {
        let sink = scene.sink(&[("mode", mode)]).await;
        let rejections = sink.deliver(&bson(&documents)).await.unwrap();
        let indexes: Vec<_> = rejections.iter().map(|rejection| rejection.index).collect();
        assert_eq!(indexes, [5, 9], "{mode}");
        let count = scene
            .collection("c")
            .count_documents(doc! {})
            .await
            .unwrap();
        assert_eq!(count, 8, "{mode}");
        scene.collection("c").drop().await.unwrap();
    }
}
