//! Updates, and the documents that they come with.

use anyhow::Result;
use bson::{Bson, Document, doc};

use crate::{
    DEADLINE,
    modules::NOWHERE,
    oplet,
    tailing::{SOURCES, Scene, lookup, said, stand_in::StandIn},
};

/// Up to MongoDB 4.4; the oldest without `$v` (db/update/log_builder.cpp of those versions).
#[tokio::test]
async fn a13_updates_of_old_servers_are_described() -> Result<()> {
    let mut oplog = StandIn::new("a13").await?;
    let document = doc! { "_id": 1, "a": { "b": 2 }, "now": true };
    oplog.scene.collection("c").insert_one(document).await?;
    let changes = doc! { "$v": 1, "$set": { "a.b": 2 }, "$unset": { "old": true } };
    let namespace = oplog.scene.namespace("c");
    oplog
        .add(doc! { "op": "u", "ns": &namespace, "o2": { "_id": 1 }, "o": changes })
        .await?;
    let bare = doc! { "$set": { "n": 1 } };
    oplog
        .add(doc! { "op": "u", "ns": &namespace, "o2": { "_id": 2 }, "o": bare })
        .await?;
    let (looked_up, _) = oplog.read().await?;
    assert_eq!(looked_up.0[0]["data"]["now"], true);
    let (delta, _) = oplog.read_with(&["--updates", "delta"]).await?;
    for ops in [&looked_up, &delta] {
        let [found, gone] = &ops.0[..] else {
            panic!("{:?}", ops.0);
        };
        let description = r#"{"updatedFields":{"a.b":{"$numberInt":"2"}},"removedFields":["old"],"truncatedArrays":[],"disambiguatedPaths":{}}"#;
        assert_eq!(found["updateDescription"].to_string(), description);
        let n = &gone["updateDescription"]["updatedFields"]["n"];
        assert_eq!(n["$numberInt"], "1");
        assert_eq!(gone.get("data"), None);
    }
    assert_eq!(delta.0[0].get("data"), None);
    Ok(())
}

#[tokio::test]
async fn a14_a_difference_is_described_by_dotted_paths() -> Result<()> {
    let scene = Scene::shared("a14").await?;
    let collection = scene.collection("c");
    let document = doc! {
        "_id": 1, "c": 1, "n": 1, "s": "x".repeat(200),
        "a": { "b": [1, { "x": 1, "y": "y".repeat(200) }, 3, 4], "keep": "z".repeat(200) },
    };
    collection.insert_one(document).await?;
    let shorter = doc! { "$slice": ["$a.b", 2] };
    let first = doc! { "$concatArrays": [[9], [{ "$mergeObjects": [{ "$arrayElemAt": ["$a.b", 1] }, { "x": 5 }] }]] };
    let stages = vec![
        doc! { "$unset": "c" },
        doc! { "$set": { "n": 2, "new": 7, "a": { "b": shorter } } },
        doc! { "$set": { "a": { "b": first } } },
    ];
    collection.update_one(doc! {}, stages).await?;
    let watched = scene.namespace("c");
    let delta = [watched.as_str(), "--updates", "delta"];
    let ops = scene.ops("oplog", &delta).await?;
    let update = &ops.0[1];
    let expected = r#"{"updatedFields":{"n":{"$numberInt":"2"},"new":{"$numberInt":"7"},"a.b.0":{"$numberInt":"9"},"a.b.1.x":{"$numberInt":"5"}},"removedFields":["c"],"truncatedArrays":[{"field":"a.b","newSize":{"$numberInt":"2"}}],"disambiguatedPaths":{}}"#;
    assert_eq!(update["updateDescription"].to_string(), expected);
    assert_eq!((update.get("data"), update.get("pending")), (None, None));
    Ok(())
}

#[tokio::test]
async fn a15_a_document_that_is_gone_leaves_its_update_without_data() -> Result<()> {
    let scene = Scene::shared("a15").await?;
    scene.insert("c", [1, 2]).await?;
    let collection = scene.collection("c");
    let change = doc! { "$set": { "n": 1 } };
    collection.update_many(doc! {}, change).await?;
    collection.delete_one(doc! { "_id": 1 }).await?;
    for source in SOURCES {
        let ops = scene.ops(source, &[&scene.namespace("c")]).await?;
        assert_eq!(ops.ids(), [1, 2, 1, 2, 1], "{source}");
        let (gone, left) = (&ops.0[2], &ops.0[3]);
        assert_eq!(gone["operation"], "u");
        let n = &gone["updateDescription"]["updatedFields"]["n"];
        assert_eq!(n["$numberInt"], "1");
        assert_eq!(gone.get("data"), None, "{source}");
        assert_eq!(gone.get("pending"), None, "{source}");
        assert_eq!(left["data"]["n"]["$numberInt"], "1", "{source}");
    }
    Ok(())
}

#[tokio::test]
async fn a16_an_update_comes_with_the_document_as_it_is_now_or_as_it_left_it() -> Result<()> {
    let scene = Scene::shared("a16").await?;
    let keep = doc! { "enabled": true };
    let create = doc! { "create": "c", "changeStreamPreAndPostImages": keep };
    scene.database.run_command(create).await?;
    scene.insert("c", [1]).await?;
    for n in 1..=3 {
        let change = doc! { "$set": { "n": n } };
        scene.collection("c").update_one(doc! {}, change).await?;
    }
    let watched = scene.namespace("c");
    let exact = [
        ("oplog", "--updates", "apply"),
        ("change-stream", "--full-document", "required"),
    ];
    for (source, flag, choice) in exact {
        let now = scene.ops(source, &[&watched]).await?;
        let then = scene.ops(source, &[&watched, flag, choice]).await?;
        for ((now, then), n) in now.0[1..].iter().zip(&then.0[1..]).zip(["1", "2", "3"]) {
            let changed = &now["updateDescription"]["updatedFields"]["n"];
            assert_eq!(changed["$numberInt"], n, "{source}");
            assert_eq!(now["data"]["n"]["$numberInt"], "3", "{source}");
            assert_eq!(then["data"]["n"]["$numberInt"], n, "{source}");
        }
    }
    Ok(())
}

/// Inserts documents of those ids, changes each of them once, in one command, and looks at the
/// documents that the updates in the oplog come with.
async fn each_has_its_own(hint: &str, ids: &[Bson]) -> Result<()> {
    let scene = Scene::shared(hint).await?;
    let updates = lookup::updates(&scene, ids).await?;
    assert_eq!(updates.len(), ids.len());
    for ((update, id), place) in updates.iter().zip(ids).zip(0..) {
        let expected = doc! { "_id": id, "place": place, "changed": true };
        let expected = Bson::Document(expected).into_canonical_extjson();
        assert_eq!(update["data"].to_string(), expected.to_string());
    }
    Ok(())
}

#[tokio::test]
async fn a17_ids_that_look_alike_each_have_their_own_document() -> Result<()> {
    let ids = [
        Bson::Int32(1),
        Bson::String("1".into()),
        Bson::Boolean(true),
        Bson::Null,
        Bson::ObjectId(bson::oid::ObjectId::new()),
        Bson::DateTime(bson::DateTime::from_millis(1)),
        Bson::Int64(1 << 40),
        Bson::Double(0.5),
    ];
    each_has_its_own("a17", &ids).await
}

#[tokio::test]
async fn a18_a_document_of_many_fields_is_found_as_an_id() -> Result<()> {
    let many = || (0..9).map(|field| (format!("f{field}"), Bson::Int32(field)));
    let long: Document = many().collect();
    let turned: Document = many().rev().collect();
    let ids = [
        long.into(),
        turned.into(),
        doc! { "a": 1, "b": 2 }.into(),
        doc! { "b": 2, "a": 1 }.into(),
        doc! { "a": 1 }.into(),
    ];
    each_has_its_own("a18", &ids).await
}

/// Each source has its own word for the documents of updates.
#[tokio::test]
async fn what_a_source_cannot_give_is_refused_with_the_other_word() -> Result<()> {
    for (source, flag, choice, words) in [
        (
            "change-stream",
            "--updates",
            "delta",
            "`--full-document` says it for a change stream",
        ),
        (
            "oplog",
            "--full-document",
            "none",
            "`--updates` says it for the oplog",
        ),
    ] {
        let tail = oplet().args(["tail", "--uri", NOWHERE, "--source", source, flag, choice]);
        let tail = tail.start()?;
        assert_eq!(tail.wait_exit(DEADLINE).await?, 2, "{flag}");
        let said = said(&tail);
        assert!(said.contains(words), "{said}");
    }
    Ok(())
}
