//! The examples, through the real host.

use bson::doc;
use oplet_testkit::guest;
use serde_json::json;

use super::{Ended, NOWHERE, SOURCES, Scene};
use crate::oplet;

#[tokio::test]
async fn inserts_into_users_become_welcome_mails_and_nothing_else_does() {
    let scene = Scene::in_database("users".into()).await;
    let ann = doc! {"_id": 1, "username": "Ann", "email": "ann@example.com"};
    let users = scene.collection("users");
    users.insert_one(&ann).await.unwrap();
    scene.collection("sessions").insert_one(&ann).await.unwrap();
    let rename = doc! {"$set": {"username": "Anna"}};
    users.update_one(doc! {"_id": 1}, rename).await.unwrap();
    users.replace_one(doc! {"_id": 1}, &ann).await.unwrap();
    users.delete_one(doc! {"_id": 1}).await.unwrap();
    let zoe = doc! {"username": "Zoë", "email": "zoe@example.com", "plan": {"username": "free"}};
    users.insert_one(&zoe).await.unwrap();

    for source in SOURCES {
        let ended = scene
            .run_over(&[guest("new_users").unwrap()], ["--source", source])
            .await
            .with_code(0);
        let mut mails = ended.documents();
        mails.sort_by_key(|mail| mail["to"].to_string());
        let mail = |index: usize, to: &str, name: &str| {
            json!({
                // Each mail has the id of its op, whatever that is.
                "_id": mails[index]["_id"],
                "to": to,
                "subject": format!("Welcome, {name}!"),
                "body": format!("Hello {name},\n\nyour account is ready.\n"),
            })
        };
        let expected = [
            mail(0, "ann@example.com", "Ann"),
            mail(1, "zoe@example.com", "Zoë"),
        ];
        assert_eq!(mails, expected, "{source}");
        assert!(mails[0]["_id"].is_string());
        assert_ne!(mails[0]["_id"], mails[1]["_id"]);
        let counts = ["read", "kept", "emitted"].map(|word| ended.counted(word));
        assert_eq!(counts, [6, 2, 2], "{source}");
    }
}

/// A document with `field1` that is written five times, three of them to that field.
async fn watched_field() -> Scene {
    let scene = Scene::new("field_watch").await;
    scene
        .insert([doc! {"_id": 1, "field1": "a", "field2": 0}])
        .await;
    for n in 1..20 {
        scene.update([1], |_| doc! {"$set": {"field2": n}}).await;
    }
    scene.update([1], |_| doc! {"$set": {"field1": "b"}}).await;
    scene.update([1], |_| doc! {"$unset": {"field1": 1}}).await;
    scene.update([1], |_| doc! {"$inc": {"field2": 1}}).await;
    scene
}

#[tokio::test]
async fn the_server_decides_which_updates_reach_field_watch() {
    let scene = watched_field().await;
    let field_watch = [guest("field_watch").unwrap()];

    let ended = scene
        .run_over(&field_watch, ["--workers", "1"])
        .await
        .with_code(0);
    assert_eq!(ended.documents().len(), 3);
    assert_eq!(
        ended.counted("read"),
        3,
        "the insert, the update and the removal of `field1`"
    );
    let removal = &ended.documents()[2];
    assert_eq!(
        (&removal["document"], removal.get("field1")),
        (&json!(1), None)
    );

    // The module itself would have taken them all.
    let ended = scene
        .run_over(&field_watch, ["--ignore-pipeline"])
        .await
        .with_code(0);
    assert_eq!((ended.counted("read"), ended.documents().len()), (23, 23));
}

#[tokio::test]
async fn a_pipeline_and_the_oplog_exclude_each_other_unless_it_is_ignored() {
    let field_watch = guest("field_watch").unwrap();
    let refused = oplet()
        .args([
            "run", "--uri", NOWHERE, "--watch", "a.b", "--source", "oplog",
        ])
        .arg(&field_watch);
    Ended::of(refused).await.is_refused(&[
        "the module `field_watch` has a pipeline for a.b, and the oplog cannot run one",
        "hint: read with `--source change-stream`, or give `--ignore-pipeline`",
    ]);

    let scene = watched_field().await;
    let flags = ["--source", "oplog", "--ignore-pipeline"];
    let ended = scene.run_over(&[field_watch], flags).await.with_code(0);
    assert_eq!((ended.counted("read"), ended.documents().len()), (23, 23));
}

#[tokio::test]
async fn inserts_are_counted_in_c() {
    let scene = Scene::new("c_counter").await;
    let other = scene.collection("größen");
    scene.insert([doc! {"_id": 1}]).await;
    // Larger than the region that the module begins with, and than the next.
    for size in [100_000, 1_000_000] {
        let large = doc! {"_id": size, "text": "x".repeat(size as usize)};
        other.insert_one(large).await.unwrap();
    }
    scene.update([1], |_| doc! {"$set": {"n": 1}}).await;
    scene.insert([doc! {"_id": 2}]).await;
    other.insert_one(doc! {"_id": 3}).await.unwrap();

    for source in SOURCES {
        let flags = ["--source", source, "--workers", "1"];
        let ended = scene
            .run_over(&[guest("c_counter").unwrap()], flags)
            .await
            .with_code(0);
        let counted: Vec<_> = ended
            .documents()
            .iter()
            .map(|output| (output["namespace"].clone(), output["count"].clone()))
            .collect();
        let things = format!("{}.things", scene.database);
        let other = format!("{}.größen", scene.database);
        let expected = [
            (&things, 1),
            (&other, 1),
            (&other, 2),
            (&things, 2),
            (&other, 3),
        ];
        let expected = expected.map(|(namespace, count)| (json!(namespace), json!(count)));
        assert_eq!(counted, expected, "{source}");
        let counts = ["read", "kept", "emitted"].map(|word| ended.counted(word));
        assert_eq!(counts, [6, 5, 5], "{source}");
    }
}
