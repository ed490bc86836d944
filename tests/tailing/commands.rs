//! Commands that change what a collection is.

use anyhow::Result;
use bson::doc;
use serde_json::json;

use super::*;

/// The commands that a source tells of the scene, without what the server makes up.
async fn commands(scene: &Scene, source: &str, watched: &str) -> Result<Vec<Value>> {
    let tail = oplet().args(["tail", watched, "--uri", &scene.uri, "--source", source]);
    let tail = tail.args(["--commands", "all", "--since", &scene.before]);
    let ops = Ops::of(tail.arg("--exit-when-idle")).await?.0.into_iter();
    let mut commands: Vec<_> = ops.filter(|op| op["operation"] == "c").collect();
    for command in &mut commands {
        let data = command["data"].as_object_mut().expect("it is a document");
        for made_up in ["idIndex", "stateBeforeChange", "dropTarget", "stayTemp"] {
            data.shift_remove(made_up);
        }
    }
    Ok(commands)
}

/// One of each kind that a replica set has.
async fn run_everything(scene: &Scene) -> Result<()> {
    let run = async |command| scene.database.run_command(command).await;
    run(doc! { "create": "c", "capped": true, "size": 4096 }).await?;
    scene.insert("d", [1]).await?;
    let index = |field: &str| doc! { "key": { field: 1 }, "name": field };
    run(doc! { "createIndexes": "c", "indexes": [index("a")] }).await?;
    // On a collection that is not empty an index is built in two phases.
    run(doc! { "createIndexes": "d", "indexes": [index("a"), index("b")] }).await?;
    run(doc! { "collMod": "d", "validationLevel": "moderate" }).await?;
    run(doc! { "dropIndexes": "d", "index": "b" }).await?;
    let rename = doc! { "renameCollection": scene.namespace("d"), "to": scene.namespace("e") };
    scene.client.database("admin").run_command(rename).await?;
    scene.collection("c").drop().await?;
    Ok(())
}

#[tokio::test]
async fn all_commands_come_when_they_are_asked_for() -> Result<()> {
    let scene = Scene::shared("commands").await?;
    run_everything(&scene).await?;
    let told = commands(&scene, "change-stream", scene.name()).await?;
    let index = |field: &str| json!({ "v": 2, "key": { field: 1 }, "name": field });
    let (c, d) = (scene.namespace("c"), scene.namespace("d"));
    let expected = [
        (&c, json!({ "create": "c", "capped": true, "size": 4096 })),
        (&d, json!({ "create": "d" })),
        (&c, json!({ "createIndexes": "c", "indexes": [index("a")] })),
        (
            &d,
            json!({ "createIndexes": "d", "indexes": [index("a"), index("b")] }),
        ),
        (&d, json!({ "collMod": "d", "validationLevel": "moderate" })),
        (&d, json!({ "dropIndexes": "d", "indexes": [index("b")] })),
        (
            &d,
            json!({ "renameCollection": d, "to": scene.namespace("e") }),
        ),
        (&c, json!({ "drop": "c" })),
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (told, (namespace, data)) in told.iter().zip(expected) {
        assert_eq!(
            (&told["namespace"], &told["data"]),
            (&json!(namespace), &data)
        );
    }
    // By default those alone after which documents are gone or elsewhere.
    let tail = scene.ops("change-stream", &[scene.name()]).await?;
    let by_default = tail.0.iter().filter(|op| op["operation"] == "c").count();
    assert_eq!(by_default, 2);
    Ok(())
}
