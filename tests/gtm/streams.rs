//! Change streams as a source.
//!
//! - here: what is told, of which scope
//! - `pipelines`: what a module has the server select
//! - `positions`: where a stream goes on

mod pipelines;
mod positions;

use anyhow::Result;
use bson::{Document, doc};
use oplet_testkit::{Options, ReplicaSet, database_name, guest};
use serde_json::{Value, json};

use crate::{
    DEADLINE,
    modules::Ended,
    tailing::{Ops, Scene, said},
};

/// What each op says in short: `i 1` for an insert of `_id` 1, `r 1` for a replacement, `drop` for a
/// command.
fn gist(ops: &Ops) -> Vec<String> {
    let gist = |op: &Value| match op["operation"].as_str() {
        Some("c") => {
            let command = op["data"].as_object().expect("a command is a document");
            command.keys().next().expect("it has a name").clone()
        }
        Some("u") if op["replace"] == true => format!("r {}", number(&op["_id"])),
        letter => format!("{} {}", letter.expect("it is text"), number(&op["_id"])),
    };
    ops.0.iter().map(gist).collect()
}

/// A 32-bit integer.
fn number(value: &Value) -> String {
    let text = value["$numberInt"].as_str();
    text.unwrap_or_else(|| panic!("{value} is no int")).into()
}

/// All that a change stream tells of the scene so far, with these flags.
async fn ops(scene: &Scene, watched: &str, flags: &[&str]) -> Result<Ops> {
    let tail = scene.tail("change-stream").arg(watched).args(flags);
    Ops::of(tail.args(["--since", &scene.before, "--exit-when-idle"])).await
}

/// Has a collection record documents as they were before and after changes.
async fn record_images(scene: &Scene, collection: &str) -> Result<()> {
    let images = doc! { "changeStreamPreAndPostImages": { "enabled": true } };
    let mut create = doc! { "create": collection };
    create.extend(images);
    scene.database.run_command(create).await?;
    Ok(())
}

#[tokio::test]
async fn a1_each_kind_of_write_is_told_in_order() -> Result<()> {
    // Nobody else may write there meanwhile.
    let server = ReplicaSet::start(Options::default()).await?;
    let scene = Scene::on(&server, "a1").await?;
    let c = scene.collection("c");
    let tail = scene
        .tail("change-stream")
        .args(["*", "--since", &scene.before]);
    let tail = tail.start()?;
    c.insert_one(doc! { "_id": 1, "n": 1 }).await?;
    c.update_one(doc! { "_id": 1 }, doc! { "$set": { "n": 2 } })
        .await?;
    // What is written next is not to be what is looked up.
    tail.wait_for_lines(2, DEADLINE).await?;
    c.replace_one(doc! { "_id": 1 }, doc! { "whole": true })
        .await?;
    c.delete_one(doc! { "_id": 1 }).await?;
    tail.wait_for_lines(4, DEADLINE).await?;
    let ops = Ops::printed(&tail)?;
    assert_eq!(gist(&ops), ["i 1", "u 1", "r 1", "d 1"]);
    let n = |n: i32| json!({ "$numberInt": n.to_string() });
    let data: Vec<_> = ops.0.iter().map(|op| op["data"].clone()).collect();
    let expected = [
        json!({ "_id": n(1), "n": n(1) }),
        json!({ "_id": n(1), "n": n(2) }),
        json!({ "_id": n(1), "whole": true }),
        Value::Null,
    ];
    assert_eq!(data, expected);
    for op in &ops.0 {
        assert_eq!(op["namespace"], scene.namespace("c"));
        assert_eq!(op["source"], "changeStream");
        let is_update = op["operation"] == "u" && op["replace"] != true;
        assert_eq!(op["updateDescription"].is_object(), is_update, "{op}");
    }
    Ok(())
}

#[tokio::test]
async fn a2_a_database_and_a_collection_hold_what_is_theirs_only() -> Result<()> {
    let scene = Scene::shared("a2").await?;
    let other = scene.client.database(&format!("{}_other", scene.name()));
    scene.insert("c", [1]).await?;
    scene.insert("d", [2]).await?;
    scene.insert("c.d", [3]).await?;
    let foreign = other.collection::<Document>("c");
    foreign.insert_one(doc! { "_id": 4 }).await?;
    scene.insert("c", [5]).await?;
    assert_eq!(ops(&scene, scene.name(), &[]).await?.ids(), [1, 2, 3, 5]);
    assert_eq!(ops(&scene, &scene.namespace("c"), &[]).await?.ids(), [1, 5]);
    assert_eq!(ops(&scene, other.name(), &[]).await?.ids(), [4]);
    Ok(())
}

#[tokio::test]
async fn a3_a_stream_outlives_the_drop_of_what_it_watches() -> Result<()> {
    let server = ReplicaSet::start(Options::default()).await?;
    let scene = Scene::on(&server, &database_name("a3")).await?;
    let namespace = scene.namespace("c");
    let mut tails = Vec::new();
    for watched in [namespace.as_str(), scene.name(), "*"] {
        let tail = scene.tail("change-stream").arg(watched);
        tails.push(tail.args(["--since", &scene.before]).start()?);
    }
    scene.insert("c", [1]).await?;
    scene.collection("c").drop().await?;
    scene.insert("c", [2]).await?;
    scene.database.drop().await?;
    scene.insert("c", [3]).await?;
    let of_collection = ["i 1", "drop", "i 2", "drop", "i 3"];
    let of_more = ["i 1", "drop", "i 2", "drop", "dropDatabase", "i 3"];
    for (tail, expected) in tails.iter().zip([&of_collection[..], &of_more, &of_more]) {
        tail.wait_for_lines(expected.len(), DEADLINE).await?;
        assert_eq!(gist(&Ops::printed(tail)?), expected, "{}", said(tail));
    }
    Ok(())
}

#[tokio::test]
async fn a16_two_updates_have_the_last_document_unless_each_ones_own_is_asked_for() -> Result<()> {
    let scene = Scene::shared("a16").await?;
    record_images(&scene, "c").await?;
    let c = scene.collection("c");
    c.insert_one(doc! { "_id": 1, "n": 0 }).await?;
    for n in 1..=2 {
        let change = doc! { "$set": { "n": n } };
        c.update_one(doc! { "_id": 1 }, change).await?;
    }
    let read = async |flags: &[&str], field: &str| -> Result<Vec<Option<String>>> {
        let ops = ops(&scene, &scene.namespace("c"), flags).await?;
        let updates = ops.0.iter().filter(|op| op["operation"] == "u");
        let n = updates.map(|op| op.get(field).map(|document| number(&document["n"])));
        Ok(n.collect())
    };
    let some = |numbers: [i32; 2]| numbers.map(|n| Some(n.to_string())).to_vec();
    assert_eq!(read(&[], "data").await?, some([2, 2]));
    let looked_up = read(&["--full-document", "lookup"], "data").await?;
    assert_eq!(looked_up, some([2, 2]));
    for own in ["required", "when-available"] {
        let own = read(&["--full-document", own], "data").await?;
        assert_eq!(own, some([1, 2]));
    }
    let none = read(&["--full-document", "none"], "data").await?;
    assert_eq!(none, [None, None]);
    for before in ["required", "when-available"] {
        let before = read(&["--before", before], "before").await?;
        assert_eq!(before, some([0, 1]));
    }
    assert_eq!(read(&[], "before").await?, [None, None]);
    Ok(())
}

/// On a server that cannot split events, such as this one, the parts that make one too large are left
/// out: first what can be looked up.
#[tokio::test]
async fn a30_a_change_over_16_mb_comes_with_what_fits_and_ends_nothing() -> Result<()> {
    let server = ReplicaSet::start(Options::default()).await?;
    let scene = Scene::on(&server, "a30").await?;
    record_images(&scene, "c").await?;
    let c = scene.collection("c");
    // Three of them are too many for one event.
    const TEXT: usize = 11 << 19;
    let text = |letter: &str| letter.repeat(TEXT);
    c.insert_one(doc! { "_id": 1, "text": text("a") }).await?;
    let change = doc! { "$set": { "text": text("b") } };
    c.update_one(doc! { "_id": 1 }, change).await?;
    scene.insert("c", [2]).await?;
    c.insert_one(doc! { "_id": 3, "text": text("a") }).await?;
    let whole = doc! { "text": text("c"), "more": text("d") };
    c.replace_one(doc! { "_id": 3 }, whole).await?;
    scene.insert("c", [4]).await?;
    c.delete_one(doc! { "_id": 2 }).await?;
    let flags = [
        "--before",
        "required",
        "--since",
        &scene.before,
        "--exit-when-idle",
    ];
    let tail = scene.tail("change-stream").arg(scene.namespace("c"));
    let tail = tail.args(flags).start()?;
    let run = crate::oplet().arg("run").arg(guest("guest_count")?);
    let run = run.args(["--uri", &scene.uri, "--watch", &scene.namespace("c")]);
    let run = run.args(flags);
    // Side by side: it takes a while to write so much of it.
    let (code, run) = tokio::join!(tail.wait_exit(DEADLINE), Ended::of(run));
    assert_eq!(code?, 0, "{}", said(&tail));
    let ops = Ops::printed(&tail)?;
    assert_eq!(
        gist(&ops),
        ["i 1", "u 1", "i 2", "i 3", "r 3", "i 4", "d 2"]
    );
    let first = |op: &Value, part: &str| {
        let text = op[part]["text"].as_str();
        text.map(|text| (text[..1].to_owned(), text.len()))
    };
    // The update's document is asked for by itself.
    assert_eq!(first(&ops.0[1], "data"), Some(("b".into(), TEXT)));
    assert_eq!(first(&ops.0[1], "before"), Some(("a".into(), TEXT)));
    assert!(ops.0[1]["updateDescription"].is_object());
    // The replacement's document cannot be had elsewhere.
    assert_eq!(first(&ops.0[4], "data"), Some(("c".into(), TEXT)));
    assert_eq!(ops.0[4].get("before"), None);
    // Those behind it have theirs again.
    assert_eq!(ops.0[6]["before"]["_id"], ops.0[2]["_id"]);
    assert!(ops.0[6]["before"].is_object());
    let said = said(&tail);
    let told: Vec<_> = said
        .lines()
        .filter(|line| line.contains("too large for the server to send whole"))
        .collect();
    assert_eq!(told.len(), 2, "{said}");
    assert!(told[0].contains("left_out=\"fullDocument\""), "{said}");
    assert!(
        told[1].contains("left_out=\"fullDocumentBeforeChange\""),
        "{said}"
    );

    let run = run.with_code(0);
    assert_eq!((run.counted("handled"), run.counted("failed")), (7, 0));
    Ok(())
}
