//! `oplet dead-letters redrive`

use bson::{Document, RawDocumentBuf, doc};
use oplet::dead_letters::{DeadLetter, Filter, Store};
use oplet_testkit::{ReplicaSet, database_name, guest};
use serde_json::json;

use super::{all, collection, commands::dead_letters, letter, op_ids};
use crate::modules::{Ended, Handwritten, Scene};

const FAULTY: &str = "guest_faulty";

async fn redrive(spec: &str, module: &str, flags: &[&str]) -> Ended {
    let module = guest(module).unwrap();
    let arguments = [&["redrive", module.to_str().unwrap()], flags].concat();
    dead_letters(spec, &arguments).await
}

fn ids(ended: &Ended) -> Vec<i64> {
    let documents = ended.documents();
    documents
        .iter()
        .map(|document| document["_id"].as_i64().unwrap())
        .collect()
}

/// Letters of three documents; the second still fails, and a later change of it would not.
async fn three_documents(store: &Store) {
    let letters = [
        letter(FAULTY, 4, 2, doc! {}),
        letter(FAULTY, 3, 2, doc! { "panic": true }),
        letter(FAULTY, 1, 1, doc! {}),
        letter(FAULTY, 5, 3, doc! {}),
        letter("another", 2, 4, doc! {}),
    ];
    store.insert(&letters).await.unwrap();
}

#[tokio::test]
async fn what_succeeds_is_removed_and_what_fails_holds_back_its_document() {
    let (store, spec) = collection("redrive").await;
    three_documents(&store).await;
    let ended = redrive(&spec, FAULTY, &[]).await.with_code(1);
    assert_eq!(ids(&ended), [1, 3]);
    ended.says(&[
        "letters: 2 succeeded (0 of them not wanted any more), 1 failed, 1 held back",
        "error: 2 dead letters stay",
    ]);
    let left = all(&store, Filter::default()).await;
    let of = |letter: &DeadLetter| (letter.op_id.clone(), letter.attempts);
    let expected = [("2:1:0", 1), ("3:1:0", 2), ("4:1:0", 1)];
    assert_eq!(
        left.iter().map(of).collect::<Vec<_>>(),
        expected.map(|(id, n)| (id.to_owned(), n))
    );
    let failed = &left[1];
    assert!(
        failed.message.contains("told to panic by 3:1:0")
            || failed.stderr.join("").contains("told to panic by 3:1:0")
    );
    assert!(
        failed.digest.len() == 64 && !failed.backtrace.is_empty(),
        "{failed:?}"
    );

    // Mended: another module under the name of the old.
    let mended = redrive(&spec, "guest_echo", &["--module", FAULTY])
        .await
        .with_code(0);
    assert_eq!(ids(&mended), [2, 2]);
    assert_eq!(
        op_ids(&store, Filter::default()).await,
        ["2:1:0"],
        "other modules' letters stay"
    );
}

#[tokio::test]
async fn filters_say_what_is_redriven() {
    let (store, spec) = collection("some").await;
    three_documents(&store).await;
    let ended = redrive(&spec, FAULTY, &["--limit", "1", "-q"])
        .await
        .with_code(0);
    assert_eq!((ids(&ended), ended.stderr.as_str()), (vec![1], ""));
    let ended = redrive(&spec, FAULTY, &["--kind", "reject"])
        .await
        .with_code(0);
    assert!(ids(&ended).is_empty());
    assert_eq!(store.count(&Filter::default()).await.unwrap(), 4);
}

#[tokio::test]
async fn an_op_with_several_refused_outputs_is_handled_once() {
    let (store, spec) = collection("refused").await;
    let output = RawDocumentBuf::try_from(&doc! { "_id": 77 }).unwrap();
    let refused = |number, is_flush| {
        let letter = letter(FAULTY, 1, 1, doc! {});
        letter.rejected(
            "stdout",
            "too long",
            number,
            is_flush,
            Some(output.as_bytes()),
        )
    };
    let unknown =
        letter(FAULTY, 2, 2, doc! {}).rejected("search", "no", 0, true, Some(output.as_bytes()));
    store
        .insert(&[
            refused(0, false),
            refused(1, false),
            refused(0, true),
            unknown,
        ])
        .await
        .unwrap();
    let ended = redrive(&spec, FAULTY, &[]).await.with_code(1);
    // What was gathered from several ops is delivered as it was.
    assert_eq!(ids(&ended), [1, 77]);
    ended.says(&["letters: 3 succeeded", "1 failed"]);
    let left = all(&store, Filter::default()).await;
    assert_eq!(
        (left.len(), left[0].message.as_str()),
        (1, "there is no sink `search`")
    );
}

#[tokio::test]
async fn an_op_that_the_filter_does_not_want_any_more_is_done() {
    let (store, spec) = collection("unwanted").await;
    store
        .insert(&[letter("mended", 1, 1, doc! {})])
        .await
        .unwrap();
    let scene = Scene::new("unwanted").await;
    let module = scene.module("mended", &Handwritten::new("mended").only('d').text());
    let ended = dead_letters(&spec, &["redrive", module.to_str().unwrap()])
        .await
        .with_code(0);
    assert_eq!(ended.documents().len(), 0);
    ended.says(&["letters: 1 succeeded (1 of them not wanted any more)"]);
    assert_eq!(store.count(&Filter::default()).await.unwrap(), 0);
}

#[tokio::test]
async fn documents_of_updates_are_looked_up() {
    let (store, spec) = collection("pending").await;
    let database = database_name("pending");
    let client = ReplicaSet::shared().await.unwrap().client().await.unwrap();
    let things = client.database(&database).collection::<Document>("things");
    things
        .insert_one(doc! { "_id": 1, "now": "this" })
        .await
        .unwrap();
    let update = |seconds: u32, id: i32| {
        let op = doc! {
            "operation": "u", "namespace": format!("{database}.things"), "opId": format!("{seconds}:1:0"),
            "timestamp": bson::Timestamp { time: seconds, increment: 1 }, "source": "oplog", "pending": true,
            "_id": id, "updateDescription": { "updatedFields": { "now": "that" } },
        };
        let op = RawDocumentBuf::try_from(&op).unwrap();
        DeadLetter::new("run", "guest_echo", "9f", op.as_bytes())
    };
    store.insert(&[update(1, 1), update(2, 2)]).await.unwrap();
    let ended = redrive(&spec, "guest_echo", &[]).await.with_code(0);
    let printed = ended.documents();
    assert_eq!(printed[0]["data"], json!({"_id": 1, "now": "this"}));
    assert_eq!(printed[1].get("data"), None, "the document is gone");
    assert!(printed.iter().all(|op| op.get("pending").is_none()));
}

#[tokio::test]
async fn nothing_is_removed_when_nobody_reads_the_output() {
    let (store, spec) = collection("unread").await;
    let letters: Vec<_> = (1..=3_000)
        .map(|seconds| letter("guest_echo", seconds, 1, doc! { "filler": "x".repeat(200) }))
        .collect();
    store.insert(&letters).await.unwrap();
    let uri = ReplicaSet::shared().await.unwrap().uri();
    let module = guest("guest_echo").unwrap();
    let oplet = crate::oplet()
        .args(["dead-letters", "redrive"])
        .arg(module)
        .args(["--dead-letters", &spec, "--uri", &uri])
        .close_stdout_after(3);
    Ended::of(oplet).await.with_code(0);
    let left = op_ids(&store, Filter::default()).await;
    // A pipe holds some that nobody read; what was written to it counts as delivered.
    assert!(left.len() > 1_000, "{}", left.len());
    let expected = letters[letters.len() - left.len()..]
        .iter()
        .map(|letter| &letter.op_id);
    assert!(
        left.iter().eq(expected),
        "what is left is the rest, in order"
    );
}
