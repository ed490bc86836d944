//! Documents as updates left them: the update applied to the document before it. That both sources
//! tell the same of whole histories, `random` shows; here is what it is made of, byte for byte, and
//! what happens where a server has kept nothing.

use std::collections::HashMap;

use anyhow::{Context, Result};
use bson::{Document, RawArrayBuf, RawBson, RawBsonRef, RawDocumentBuf, Timestamp, doc};
use futures_util::TryStreamExt as _;
use mongodb::options::{FullDocumentBeforeChangeType, FullDocumentType, ReturnDocument};
use oplet::source::oplog::apply_update;
use oplet_testkit::{History, history};

use super::{random::keep_images, *};
use crate::{
    DEADLINE,
    tailing::{now, said},
};

/// Statements of the histories here.
const STATEMENTS: usize = 1_500;

/// An update as a change stream tells it.
struct Updated {
    id: RawDocumentBuf,
    time: Timestamp,
    before: RawDocumentBuf,
    after: RawDocumentBuf,
}

/// The updates of the scene up to now, but for those of transactions, which are many to a time.
async fn updates(scene: &Scene, start: Timestamp) -> Result<Vec<Updated>> {
    let end = now(&scene.client).await?;
    let stream = scene.database.watch();
    let stream = stream
        .full_document(FullDocumentType::Required)
        .full_document_before_change(FullDocumentBeforeChangeType::Required)
        .start_at_operation_time(start);
    let mut stream = stream.await?.with_type::<RawDocumentBuf>();
    let mut updates = Vec::new();
    scene.collection("end").insert_one(doc! {}).await?;
    loop {
        let Some(event) = stream.next_if_any().await? else {
            continue;
        };
        let time = event.get_timestamp("clusterTime")?;
        if time > end {
            return Ok(updates);
        }
        if event.get_str("operationType")? == "update" && event.get("lsid")?.is_none() {
            let part = |name| anyhow::Ok(event.get_document(name)?.to_owned());
            updates.push(Updated {
                id: part("documentKey")?,
                time,
                before: part("fullDocumentBeforeChange")?,
                after: part("fullDocument")?,
            });
        }
    }
}

/// A document of a change stream as it is stored, with the last of each field.
///
/// An update that moves a field to another place says in the oplog that the field is inserted. As the
/// server makes the document that the update left, it leaves the field where it was, too (seen with
/// 6.0.5): a change stream tells it twice. What is stored has it once, where the second one is.
fn each_once(value: RawBsonRef<'_>) -> Result<RawBson> {
    Ok(match value {
        RawBsonRef::Document(document) => {
            let elements: Vec<_> = document.iter().collect::<Result<_, _>>()?;
            let mut stored = RawDocumentBuf::new();
            for (place, (name, value)) in elements.iter().enumerate() {
                let mut later = elements[place + 1..].iter();
                if !later.any(|(other, _)| other == name) {
                    stored.append(*name, each_once(*value)?);
                }
            }
            RawBson::Document(stored)
        }
        RawBsonRef::Array(array) => {
            let mut stored = RawArrayBuf::new();
            for value in array {
                stored.push(each_once(value?)?);
            }
            RawBson::Array(stored)
        }
        value => value.into(),
    })
}

#[tokio::test]
async fn an_update_is_applied_byte_for_byte_as_the_server_does() -> Result<()> {
    let scene = Scene::shared("applied").await?;
    for collection in ["alpha", "beta", "gamma"] {
        keep_images(&scene, collection).await?;
    }
    let start = now(&scene.client).await?;
    let mut history = History::new(history::seed(), scene.name()).without_ddl();
    let written = history.run(&scene.client, STATEMENTS).await?;
    let updates = updates(&scene, start).await?;
    assert!(updates.len() > written.updates / 3, "{written:?}");

    let oplog = scene
        .client
        .database("local")
        .collection::<RawDocumentBuf>("oplog.rs");
    let ours = doc! { "ts": { "$gt": start }, "op": "u", "ns": { "$regex": format!("^{}\\.", scene.name()) } };
    let entries: Vec<RawDocumentBuf> = oplog.find(ours).await?.try_collect().await?;
    let mut changes = HashMap::new();
    for entry in &entries {
        changes.insert(entry.get_timestamp("ts")?, entry.get_document("o")?);
    }
    let mut last: HashMap<Vec<u8>, RawDocumentBuf> = HashMap::new();
    for update in &updates {
        let change = changes.get(&update.time).context("it has an entry")?;
        let mut after = Vec::new();
        apply_update(update.before.as_bytes(), change.as_bytes(), &mut after)?;
        let after = RawDocumentBuf::from_bytes(after)?;
        let shown = || {
            let Updated { before, after, .. } = update;
            format!("{before:?}\n{change:?}\n{after:?}")
        };
        let told = each_once(RawBsonRef::Document(&update.after))?;
        assert!(told.as_document() == Some(&after), "{}", shown());
        last.insert(update.id.as_bytes().to_vec(), after);
    }
    // It is what is stored, where nothing has changed it since.
    let mut stored = 0;
    for (id, after) in last {
        let id = RawDocumentBuf::from_bytes(id)?;
        for collection in ["alpha", "beta", "gamma"] {
            let collection = scene.database.collection::<RawDocumentBuf>(collection);
            let found = collection
                .find_one(Document::try_from(id.as_ref())?)
                .await?;
            stored += usize::from(found.is_some_and(|found| found.as_bytes() == after.as_bytes()));
        }
    }
    assert!(stored > 20, "{stored}");
    Ok(())
}

/// Servers up to 4.4 wrote `$set` and `$unset` with paths. Later ones still apply them: what comes of
/// them is compared with the server's own.
#[tokio::test]
async fn an_update_of_an_old_server_is_applied_as_the_server_does() -> Result<()> {
    let scene = Scene::shared("applied_v1").await?;
    let collection = scene.database.collection::<RawDocumentBuf>("c");
    let namespace = scene.namespace("c");
    let mut rng = fastrand::Rng::with_seed(history::seed());
    let paths = [
        "a",
        "a.0",
        "a.2",
        "a.9",
        "d.c",
        "d.e.z.1",
        "d.e.z.7",
        "d.new.deep",
        "f0",
        "m.0.1",
        "m.4.0",
        "n",
        "new",
        "new2.x.1",
    ];
    let mut applied = 0;
    for id in 0..150 {
        let mut document = doc! { "_id": id };
        document.extend(history::random_document(&mut rng));
        let raw = RawDocumentBuf::try_from(&document)?;
        collection.insert_one(raw).await?;
        let (mut set, mut unset, mut taken) = (doc! {}, doc! {}, Vec::new());
        for path in paths {
            // One place is not changed twice.
            let overlaps = |other: &&str| {
                let begins = |a: &str, b: &str| format!("{a}.").starts_with(&format!("{b}."));
                begins(other, path) || begins(path, other)
            };
            if rng.usize(..3) > 0 || taken.iter().any(overlaps) {
                continue;
            }
            taken.push(path);
            match rng.bool() {
                true => set.insert(path, rng.i32(..9)),
                false => unset.insert(path, true),
            };
        }
        let mut change = doc! { "$v": 1 };
        for (name, fields) in [("$unset", unset), ("$set", set)] {
            if !fields.is_empty() {
                change.insert(name, fields);
            }
        }
        let found = collection.find_one(doc! { "_id": id }).await?;
        let before = found.context("it was inserted")?;
        let entry = doc! { "op": "u", "ns": &namespace, "o2": { "_id": id }, "o": &change };
        let apply = doc! { "applyOps": [entry] };
        if scene
            .client
            .database("admin")
            .run_command(apply)
            .await
            .is_err()
        {
            // Such a path leads through a number, and no server wrote it.
            continue;
        }
        let found = collection.find_one(doc! { "_id": id }).await?;
        let expected = found.context("it is still there")?;
        let change = RawDocumentBuf::try_from(&change)?;
        let mut after = Vec::new();
        apply_update(before.as_bytes(), change.as_bytes(), &mut after)
            .with_context(|| format!("{before:?}\n{change:?}"))?;
        let after = RawDocumentBuf::from_bytes(after)?;
        assert!(
            after == expected,
            "{before:?}\n{change:?}\n{after:?}\n{expected:?}"
        );
        applied += 1;
    }
    assert!(applied > 50, "{applied}");
    Ok(())
}

fn apply<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["--updates", "apply"], more].concat()
}

/// `n` of the document that each update comes with, and of the one before it.
fn numbers(ops: &Ops) -> Vec<(Option<&str>, Option<&str>)> {
    let updates = ops.0.iter().filter(|op| op["operation"] == "u");
    updates
        .map(|op| {
            (
                op["data"]["n"]["$numberInt"].as_str(),
                op["before"]["n"]["$numberInt"].as_str(),
            )
        })
        .collect()
}

#[tokio::test]
async fn what_a_server_has_not_kept_is_looked_up() -> Result<()> {
    let scene = Scene::shared("not_kept").await?;
    keep_images(&scene, "kept").await?;
    for collection in ["kept", "plain"] {
        let collection = scene.collection(collection);
        collection.insert_one(doc! { "_id": 1, "n": 0 }).await?;
        for _ in 0..3 {
            let change = doc! { "$inc": { "n": 1 } };
            collection.update_one(doc! {}, change).await?;
        }
    }
    let kept = [scene.namespace("kept")];
    let exact = [
        (Some("1"), Some("0")),
        (Some("2"), Some("1")),
        (Some("3"), Some("2")),
    ];
    let with_before = apply(&["--before", "when-available"]);
    let ops = scene
        .ops("oplog", &[&[kept[0].as_str()], &with_before[..]].concat())
        .await?;
    assert_eq!(numbers(&ops), exact);
    let ops = scene
        .ops("oplog", &[&[kept[0].as_str()], &apply(&[])[..]].concat())
        .await?;
    assert_eq!(numbers(&ops), exact.map(|(data, _)| (data, None)));
    let plain = scene.namespace("plain");
    let ops = scene
        .ops("oplog", &[&[plain.as_str()], &with_before[..]].concat())
        .await?;
    assert_eq!(numbers(&ops), [(Some("3"), None); 3]);
    let tail = scene.tail("oplog").args([&plain, "--before", "required"]);
    let tail = tail
        .args(["--since", &scene.before, "--exit-when-idle"])
        .start()?;
    assert_eq!(tail.wait_exit(DEADLINE).await?, 1);
    let said = said(&tail);
    assert!(
        said.contains(&format!("a change on {plain} behind the position")),
        "{said}"
    );
    assert!(
        said.contains("has no document on record, which is required"),
        "{said}"
    );
    Ok(())
}

#[tokio::test]
async fn what_is_kept_for_a_retry_is_taken() -> Result<()> {
    let scene = Scene::shared("retry_image").await?;
    let collection = scene.collection("c");
    collection.insert_one(doc! { "_id": 1, "n": 0 }).await?;
    let mut sessions = Vec::new();
    for which in [ReturnDocument::Before, ReturnDocument::After] {
        // Of each session the last is kept; one that is dropped may be taken again.
        let mut session = scene.client.start_session().await?;
        let change = doc! { "$inc": { "n": 1 } };
        let found = collection
            .find_one_and_update(doc! {}, change)
            .return_document(which);
        found.session(&mut session).await?;
        sessions.push(session);
    }
    collection
        .update_one(doc! {}, doc! { "$inc": { "n": 1 } })
        .await?;
    let namespace = scene.namespace("c");
    let asked = apply(&["--before", "when-available"]);
    let ops = scene
        .ops("oplog", &[&[namespace.as_str()], &asked[..]].concat())
        .await?;
    let expected = [(Some("1"), Some("0")), (Some("2"), None), (Some("3"), None)];
    assert_eq!(numbers(&ops), expected);
    Ok(())
}

#[tokio::test]
async fn large_documents_before_changes_come_a_few_at_a_time() -> Result<()> {
    let scene = Scene::shared("large_images").await?;
    keep_images(&scene, "c").await?;
    let collection = scene.collection("c");
    let text = "x".repeat(9 << 20);
    for id in 0..3 {
        collection
            .insert_one(doc! { "_id": id, "n": 0, "text": &text })
            .await?;
    }
    let changes: Vec<Document> = (0..9)
        .map(|n| doc! { "q": { "_id": n % 3 }, "u": { "$inc": { "n": 1 } } })
        .collect();
    let update = doc! { "update": "c", "updates": changes };
    scene.database.run_command(update).await?;
    let namespace = scene.namespace("c");
    let ops = scene
        .ops("oplog", &[&[namespace.as_str()], &apply(&[])[..]].concat())
        .await?;
    assert_eq!(ops.ids(), [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2]);
    let exact: Vec<_> = ["1", "2", "3"]
        .into_iter()
        .flat_map(|n| [(Some(n), None); 3])
        .collect();
    assert_eq!(numbers(&ops), exact);
    Ok(())
}
