//! Documents as they were before and after a change.

use anyhow::Result;
use bson::doc;

use super::*;

/// A collection in which an update was made that has no documents on record, and one that has.
async fn half_recorded(hint: &str) -> Result<Scene> {
    let scene = Scene::shared(hint).await?;
    let update = async |n: i32| {
        let changes = doc! { "$set": { "n": n } };
        scene.collection("c").update_one(doc! {}, changes).await
    };
    scene.insert("c", [1]).await?;
    update(1).await?;
    let images = doc! { "collMod": "c", "changeStreamPreAndPostImages": { "enabled": true } };
    scene.database.run_command(images).await?;
    update(2).await?;
    Ok(scene)
}

#[tokio::test]
async fn what_is_required_and_not_on_record_ends_the_tail_with_the_way_to_record_it() -> Result<()>
{
    let scene = half_recorded("required").await?;
    let namespace = scene.namespace("c");
    for flag in ["--before", "--full-document"] {
        let tail = scene.tail("change-stream").arg(&namespace);
        let tail = tail.args([flag, "required", "--since", &scene.before]);
        let tail = tail.start()?;
        assert_eq!(tail.wait_exit(DEADLINE).await?, 1, "{flag}");
        let said = said(&tail);
        let command = format!(
            "db.getSiblingDB(\"{}\").runCommand({{collMod: \"c\", changeStreamPreAndPostImages: {{enabled: true}}}})",
            scene.name()
        );
        for words in [
            "has no document on record, which is required",
            &command,
            &format!("{flag} when-available"),
        ] {
            assert!(said.contains(words), "{words}: {said}");
        }
        assert!(!said.contains(" WARN "), "once is enough: {said}");
        assert_eq!(Ops::printed(&tail)?.ids(), [1], "what came before it came");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_on_record_comes_where_it_is_available() -> Result<()> {
    let scene = half_recorded("available").await?;
    let tail = scene.tail("change-stream").arg(scene.namespace("c"));
    let tail = tail.args(["--before", "when-available"]);
    let tail = tail.args(["--full-document", "when-available"]);
    let ops = Ops::of(tail.args(["--since", &scene.before, "--exit-when-idle"])).await?;
    let n = |op: &Value, part: &str| op[part]["n"]["$numberInt"].as_str().map(str::to_owned);
    let documents = |part| ops.0.iter().map(|op| n(op, part)).collect::<Vec<_>>();
    let some = |n: &str| Some(n.to_owned());
    assert_eq!(documents("data"), [None, None, some("2")]);
    assert_eq!(documents("before"), [None, None, some("1")]);
    assert!(ops.0[1].get("data").is_none() && ops.0[1].get("before").is_none());
    Ok(())
}

#[tokio::test]
async fn every_kind_of_change_comes_with_the_document_before_it() -> Result<()> {
    let scene = Scene::shared("before").await?;
    let create = doc! { "create": "c", "changeStreamPreAndPostImages": { "enabled": true } };
    scene.database.run_command(create).await?;
    let c = scene.collection("c");
    c.insert_one(doc! { "_id": 1, "n": 1 }).await?;
    c.replace_one(doc! {}, doc! { "n": 2 }).await?;
    c.update_one(doc! {}, doc! { "$set": { "n": 3 } }).await?;
    c.delete_one(doc! {}).await?;
    let tail = scene.tail("change-stream").arg(scene.namespace("c"));
    let tail = tail.args(["--before", "required", "--full-document", "none"]);
    let ops = Ops::of(tail.args(["--since", &scene.before, "--exit-when-idle"])).await?;
    let before = ops
        .0
        .iter()
        .map(|op| op["before"]["n"]["$numberInt"].as_str());
    let before: Vec<_> = before.collect();
    assert_eq!(before, [None, Some("1"), Some("2"), Some("3")]);
    let has_data = ops.0.iter().map(|op| op.get("data").is_some());
    assert_eq!(has_data.collect::<Vec<_>>(), [true, true, false, false]);
    Ok(())
}
