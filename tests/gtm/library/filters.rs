//! Which changes are given, and as what.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use bson::{RawDocumentBuf, rawdoc};
use oplet::{
    op::Operation,
    tail::{DecodeError, Error, OnUndecodable, Options},
};
use serde::Deserialize;

use super::*;

#[tokio::test]
async fn a06_without_options_each_change_comes_once() -> Result<()> {
    let scene = Scene::shared("a06").await?;
    let mut ops = oplet::tail(scene.uri.as_str(), Options::default())
        .await?
        .ops();
    scene.insert("c", 1..=3).await?;
    // Others write to this server, too.
    let namespace = scene.namespace("c");
    let mut seen = Vec::new();
    while seen.last() != Some(&3) {
        let change = next(&mut ops).await?;
        if change.namespace() == namespace {
            seen.push(id(&change)?);
        }
    }
    assert_eq!(seen, [1, 2, 3]);
    // What a client of one's own sees is the same, and the client stays one's own.
    let client = scene.client.clone();
    let tail = TailBuilder::new(&client).watch(namespace.parse()?);
    let mut ops = tail.start().await?.ops();
    scene.insert("c", [4]).await?;
    assert_eq!(ids(&mut ops, 1).await?, [4]);
    ops.stop().await?;
    scene.insert("c", [5]).await?;
    Ok(())
}

#[tokio::test]
async fn a07_filters_on_type_and_namespace() -> Result<()> {
    for source in SOURCES {
        let scene = Scene::shared("a07").await?;
        for collection in ["users", "c"] {
            scene.insert(collection, 1..=2).await?;
            let one = scene.collection(collection);
            let (first, new) = (doc! { "_id": 1 }, doc! { "$set": { "n": 1 } });
            one.update_one(first.clone(), new).await?;
            one.delete_one(first).await?;
        }
        scene.collection("users").drop().await?;
        let users = scene.namespace("users");
        let asked = Arc::new(AtomicUsize::new(0));
        let (namespace, counted) = (users.clone(), asked.clone());
        let mut tail = tail_of(&scene, source)?
            .until_idle()
            .namespace_filter(move |op| op.namespace() == namespace)
            .filter(move |_| {
                counted.fetch_add(1, SeqCst);
                true
            })
            .filter(|change| change.is_insert());
        tail.options().watch = vec![scene.name().parse()?];
        let mut ops = tail.start().await?.ops();
        let mut seen = Vec::new();
        while let Some(change) = timeout(DEADLINE, ops.next()).await? {
            let change = change?;
            assert_eq!(
                (change.operation(), change.namespace()),
                (Operation::Insert, &*users)
            );
            seen.push(id(&change)?);
        }
        assert_eq!(seen, [1, 2], "{source:?}");
        // Two inserts, an update, a delete, a drop: what the first filter refuses the next never sees.
        assert_eq!(asked.load(SeqCst), 5, "{source:?}");
    }
    Ok(())
}

/// A filter on the document of updates, and how often it was asked with which.
async fn filters_on_documents(source: SourceKind) -> Result<()> {
    let scene = Scene::shared("contents").await?;
    scene.insert("c", 1..=4).await?;
    for id in 1..=4 {
        let new = doc! { "$set": { "n": id } };
        scene
            .collection("c")
            .update_one(doc! { "_id": id }, new)
            .await?;
    }
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = asked.clone();
    let tail = tail_of(&scene, source)?.until_idle().filter(move |change| {
        let n = change.data().and_then(|data| data.get_i32("n").ok());
        seen.lock().unwrap().push((change.op_id().to_string(), n));
        change.is_update() && n.is_some_and(|n| n > 2)
    });
    let mut ops = tail.start().await?.ops();
    assert_eq!(all_ids(&mut ops).await?, [3, 4], "{source:?}");
    let asked = asked.lock().unwrap().clone();
    assert_eq!(
        asked.len(),
        8,
        "once for each of four inserts and four updates"
    );
    let updates: Vec<_> = asked[4..].iter().map(|(_, n)| *n).collect();
    assert_eq!(updates, [1, 2, 3, 4].map(Some), "each with its document");
    Ok(())
}

#[tokio::test]
async fn a08_a_filter_sees_the_documents_of_the_oplogs_updates_once() -> Result<()> {
    filters_on_documents(SourceKind::Oplog).await
}

#[tokio::test]
async fn a09_a_filter_on_documents_is_honoured_on_a_stream() -> Result<()> {
    filters_on_documents(SourceKind::ChangeStream).await
}

#[derive(Debug, Deserialize)]
struct User {
    name: String,
}

#[tokio::test]
async fn a44_documents_are_raw_and_decoded_by_namespace_with_a_policy() -> Result<()> {
    for source in SOURCES {
        let scene = Scene::shared("a44").await?;
        let written: [RawDocumentBuf; 3] = [
            rawdoc! { "_id": 1, "name": "a", "z": 1_i64, "b": 2.0, "a": { "y": 1, "x": 2 } },
            rawdoc! { "_id": 2, "name": 7 },
            rawdoc! { "_id": 3, "name": "c" },
        ];
        let raw = scene.database.collection::<RawDocumentBuf>("c");
        for document in &written {
            raw.insert_one(document).await?;
        }
        scene.insert("other", [4]).await?;
        let tail = || -> Result<TailBuilder> {
            let tail = tail_of(&scene, source)?.watch(scene.namespace("other").parse()?);
            Ok(tail.until_idle())
        };

        let mut ops = tail()?.start().await?.ops();
        for document in &written {
            let change = next(&mut ops).await?;
            assert_eq!(
                change.data().map(|data| data.as_bytes()),
                Some(document.as_bytes())
            );
        }

        let namespace = scene.namespace("c");
        let decode = move |change: &Change| match change.namespace() == namespace {
            true => change.data_as::<User>().map_err(DecodeError::from),
            false => Err("a namespace of no interest".into()),
        };
        let mut given = tail()?
            .start()
            .await?
            .ops()
            .decoded(OnUndecodable::Give, decode.clone());
        let mut names = Vec::new();
        while let Some(decoded) = timeout(DEADLINE, given.next()).await? {
            let decoded = decoded?;
            let user = decoded.value.flatten();
            names.push((id(&decoded.change)?, user.map(|user| user.name)));
        }
        let name = |name: &str| Some(name.to_owned());
        assert_eq!(
            names,
            [(1, name("a")), (2, None), (3, name("c")), (4, None)]
        );
        assert_eq!(given.undecodable(), 2, "{source:?}");

        let mut skipped = tail()?
            .start()
            .await?
            .ops()
            .decoded(OnUndecodable::Skip, decode);
        let mut names = Vec::new();
        while let Some(decoded) = timeout(DEADLINE, skipped.next()).await? {
            names.extend(decoded?.value.flatten().map(|user| user.name));
        }
        assert_eq!(names, ["a", "c"], "{source:?}");
        assert_eq!(
            skipped.handle().in_flight().ops,
            0,
            "what is skipped is done"
        );

        let typed = tail()?.explicit_acks().start().await?.ops();
        let mut typed = typed.typed::<User>(OnUndecodable::Fail);
        let first = timeout(DEADLINE, typed.next()).await?.context("an end")??;
        first.change.ack();
        match timeout(DEADLINE, typed.next()).await? {
            Some(Err(Error::Decode { namespace, .. })) => {
                assert_eq!(namespace, scene.namespace("c"))
            }
            other => bail!("{other:?}"),
        }
        assert!(timeout(DEADLINE, typed.next()).await?.is_none());
        let done = typed.handle().frontier().done;
        assert_eq!(
            done,
            first.change.op().point(),
            "what could not be decoded is not done"
        );
    }
    Ok(())
}
