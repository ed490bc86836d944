//! Documents that handlers look up, in whole runs: the same in both languages.

use std::path::PathBuf;

use bson::{Document, doc};
use oplet_testkit::{ReplicaSet, database_name, guest};
use serde_json::{Value, json};

use super::parity::TWINS;
use crate::modules::{Ended, Scene};

/// A scene, and a namespace beside it with so many customers.
async fn shop(scene: Scene, customers: i32) -> (Scene, String) {
    let crm = format!("{}_crm", scene.database);
    let documents = (0..customers).map(|id| doc! {"_id": id, "name": format!("Zoë {id}")});
    let collection = scene.client.database(&crm).collection("customers");
    collection.insert_many(documents).await.unwrap();
    (scene, format!("{crm}.customers"))
}

/// Runs one of the twins over what was written.
async fn run(scene: &Scene, name: &str, customers: &str, on_error: &str) -> Ended {
    let module = guest(name).unwrap();
    let text = format!(
        "[[module]]\npath = '{}'\nlookup = ['{customers}']\n",
        module.display()
    );
    let configuration = scene.file("oplet.toml", text.as_bytes());
    let flags = ["--ordering", "oplog", "--on-error", on_error, "--config"];
    let flags = flags.map(PathBuf::from).into_iter().chain([configuration]);
    scene.run_over(&[] as &[PathBuf], flags).await
}

/// What was found for each op: the one, and all.
fn found(ended: &Ended) -> Vec<(Value, Value)> {
    let documents = ended.documents().into_iter();
    let answers = documents.filter(|document| document.get("all").is_some());
    answers
        .map(|answer| (answer["one"].clone(), answer["all"].clone()))
        .collect()
}

fn named(id: i32) -> Value {
    json!({"name": format!("Zoë {id}")})
}

fn first_three() -> Value {
    (0..3).map(named).collect()
}

#[tokio::test]
async fn lookups_find_the_same_in_both_languages() {
    let (scene, customers) = shop(Scene::new("twin_lookups").await, 10).await;
    let order = |id: i32, of: i32| doc! {"_id": id, "lookIn": &customers, "of": of};
    scene.insert([order(1, 7), order(2, 99)]).await;
    for name in TWINS {
        let ended = run(&scene, name, &customers, "stop").await.with_code(0);
        let expected = [(named(7), first_three()), (Value::Null, first_three())];
        assert_eq!(found(&ended), expected, "{name}");
    }
}

#[tokio::test]
async fn a_lookup_without_an_answer_is_the_handlers_choice_in_both_languages() {
    let (scene, customers) = shop(Scene::new("twin_failures").await, 1_001).await;
    let order = |id: i32, more: Document| {
        let mut order = doc! {"_id": id, "lookIn": &customers, "of": id};
        order.extend(more);
        order
    };
    let orders = [
        order(1, doc! {"whole": true}),
        order(2, doc! {"whole": true, "soft": true}),
        order(3, doc! {}),
    ];
    scene.insert(orders).await;
    for name in TWINS {
        let ended = run(&scene, name, &customers, "skip").await.with_code(0);
        let expected = [(named(2), json!(["no answer"])), (named(3), first_three())];
        assert_eq!(found(&ended), expected, "{name}: {}", ended.stderr);
        let failures = ended.failures();
        assert_eq!(failures.len(), 1, "{name}: {failures:?}");
        for words in ["class=\"lookup\"", "more than 1000 documents were found"] {
            assert!(failures[0].contains(words), "{name}: {}", failures[0]);
        }
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_waited_for_in_both_languages() {
    let set = ReplicaSet::start(Default::default()).await.unwrap();
    let scene = Scene::on(&set, database_name("twins_away")).await;
    let (scene, customers) = shop(scene, 10).await;
    scene
        .insert([doc! {"_id": 1, "lookIn": &customers, "of": 7}])
        .await;
    for name in TWINS {
        let away = doc! {"errorCode": 10107};
        scene.fail_finds(&customers, away, 3).await;
        let ended = run(&scene, name, &customers, "stop").await.with_code(0);
        assert_eq!(found(&ended), [(named(7), first_three())], "{name}");
        assert!(ended.counted("failed") > 0, "{name}: {}", ended.stderr);
        assert_eq!(ended.failures(), [""; 0], "{name}");
    }
}
