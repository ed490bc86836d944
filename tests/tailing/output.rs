//! What is printed, and what never is.

use anyhow::Result;
use bson::doc;
use oplet_testkit::Oplet;

use super::*;

/// How long a line for people may be, whatever it is about.
const LINE_CHARS_MAX: usize = 300;

#[tokio::test]
async fn pretty_is_one_short_plain_line_an_op() -> Result<()> {
    let scene = Scene::shared("pretty").await?;
    let collection = scene.collection("c");
    let text = "two\nlines\x1b[31m ".repeat(1_000);
    collection
        .insert_one(doc! { "_id": 1, "text": &text })
        .await?;
    let change = doc! { "$set": { "n": 7 } };
    collection.update_one(doc! { "_id": 1 }, change).await?;
    let whole = doc! { "text": &text };
    collection.replace_one(doc! { "_id": 1 }, whole).await?;
    collection.delete_one(doc! { "_id": 1 }).await?;
    collection.insert_one(doc! { "_id": &text[..800] }).await?;
    collection.drop().await?;
    // Without what the other tests say against colours: a pipe is reason enough.
    let tail = Oplet::new(env!("CARGO_BIN_EXE_oplet"))
        .args(["tail", "--uri", &scene.uri, "--format", "pretty"])
        .args(["--since", &scene.before, "--exit-when-idle"])
        .args([scene.namespace("c")]);
    let tail = tail.start()?;
    assert_eq!(tail.wait_exit(DEADLINE).await?, 0);
    let lines = tail.stdout().all();
    let words = ["insert", "update", "replace", "delete", "insert", "command"];
    assert_eq!(lines.len(), words.len(), "{lines:#?}");
    for (line, word) in lines.iter().zip(words) {
        assert!(line.contains(word), "{line}");
        assert!(line.contains(&scene.namespace("c")), "{line}");
        assert!(line.chars().count() <= LINE_CHARS_MAX, "{line}");
        assert!(!line.contains(char::is_control), "{line:?}");
    }
    assert!(lines[1].contains(r#""n":7"#), "{}", lines[1]);
    Ok(())
}

#[tokio::test]
async fn oplets_own_database_is_never_delivered() -> Result<()> {
    let scene = Scene::shared("own").await?;
    let own = scene.client.database("oplet").collection("own_test");
    scene.insert("c", [1]).await?;
    own.insert_one(doc! { "_id": 1 }).await?;
    own.update_one(doc! {}, doc! { "$set": { "n": 1 } }).await?;
    let mut session = scene.client.start_session().await?;
    session.start_transaction().await?;
    own.insert_one(doc! { "_id": 2 })
        .session(&mut session)
        .await?;
    let collection = scene.collection("c");
    let insert = collection.insert_one(doc! { "_id": 2 });
    insert.session(&mut session).await?;
    session.commit_transaction().await?;
    own.drop().await?;
    scene.insert("c", [3]).await?;
    for source in SOURCES {
        let everything = scene.ops(source, &["*"]).await?;
        let namespace = |op: &&Value| op["namespace"].as_str().unwrap_or_default().to_owned();
        let own = everything.0.iter().map(|op| namespace(&op));
        assert!(
            own.clone()
                .all(|ns| ns != "oplet" && !ns.starts_with("oplet."))
        );
        let ours = scene.namespace("c");
        let ours = everything.0.iter().filter(|op| namespace(op) == ours);
        let ours = Ops(ours.cloned().collect());
        assert_eq!(ours.ids(), [1, 2, 3], "{source}");
        // It has its place in the transaction all the same.
        assert_eq!(ours.0[1]["txn"]["index"]["$numberLong"], "1", "{source}");
    }
    Ok(())
}
