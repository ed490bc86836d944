//! Where a stream goes on.

use std::path::PathBuf;

use bson::{Bson, Document, doc};
use oplet_testkit::{ReplicaSet, RunningOplet, Signal, database_name, eventually};
use serde_json::Value;

use crate::{
    DEADLINE,
    delivery::process::{Named, wait_for},
    modules::{Handwritten, Scene},
    tailing::said,
};

/// What a server answers that cannot go on at a token: 280 and 260, and 50811 where the token's text
/// was spoilt; 286 once the oplog has rolled over; the others up to MongoDB 4.0.
const REFUSED: [i32; 7] = [286, 280, 260, 50811, 40576, 40585, 40615];

/// With `--on-position-lost skip` the run goes on with what is left: that is shown by
/// `delivery::lost`, with an oplog that has rolled over.
#[tokio::test]
async fn a27_a_token_that_is_too_old_ends_the_run_unless_a_policy_says_otherwise() {
    // A server has one failpoint of that name: a server of its own.
    let set = ReplicaSet::start(Default::default()).await.unwrap();
    let admin = set.client().await.unwrap().database("admin");
    for code in REFUSED {
        let database = database_name("a27");
        let data = doc! { "failCommands": ["aggregate"], "appName": &database, "errorCode": code };
        let fail = doc! { "configureFailPoint": "failCommand", "mode": "alwaysOn", "data": data };
        admin.run_command(fail).await.unwrap();
        let uri = format!("{}&appName={database}", set.uri());
        let echo = oplet_testkit::guest("guest_echo").unwrap();
        let run = crate::oplet().arg("run").arg(echo);
        let run = run.args(["--watch", &database, "--uri", &uri]);
        let run = run.start().unwrap();
        assert_eq!(run.wait_exit(DEADLINE).await.unwrap(), 3, "{code}");
        let said = said(&run);
        for word in [" is lost: ", "--on-position-lost skip"] {
            assert!(said.contains(word), "{code}: {said}");
        }
    }
}

/// Two modules with a stream each: inserts, and deletes.
fn modules(scene: &Scene) -> [PathBuf; 2] {
    [("inserts", "insert"), ("deletes", "delete")].map(|(name, kind)| {
        let stage = doc! { "$match": { "operationType": kind } };
        let module = Handwritten::new(name).pipeline(&[stage]);
        scene.module(name, &module.text())
    })
}

/// Which `_id`s each module emitted, in its order: the stream's.
fn emitted(running: &RunningOplet, by: &str) -> Vec<i64> {
    let lines = running.stdout().all();
    let documents = lines.iter().map(|line| serde_json::from_str(line).unwrap());
    let of_module = documents.filter(|document: &Value| document["by"] == by);
    of_module
        .map(|document| document["_id"].as_i64().unwrap())
        .collect()
}

/// The token that each stream's checkpoint holds.
async fn tokens(named: &Named) -> Vec<String> {
    let checkpoints = named.own("checkpoints").await;
    let streams = checkpoints.first().and_then(|checkpoint| {
        let checkpoint = checkpoint.get_document("checkpoint").ok()?;
        checkpoint.get_array("streams").ok()
    });
    let streams = streams.into_iter().flatten();
    streams.map(|stream| token(stream).to_owned()).collect()
}

fn token(stream: &Bson) -> &str {
    fn find(document: &Document) -> Option<&str> {
        document.iter().find_map(|(key, value)| match value {
            Bson::String(data) if key == "_data" => Some(data.as_str()),
            Bson::Document(inner) => find(inner),
            _ => None,
        })
    }
    let stream = stream.as_document().expect("a stream is a document");
    find(stream).unwrap_or_default()
}

#[tokio::test]
async fn a46_each_of_two_streams_goes_on_behind_its_own_token_and_an_idle_ones_moves() {
    let scene = Scene::new("a46").await;
    let named = Named::new("a46").await;
    let [inserts, deletes] = modules(&scene);
    let start = || {
        let run = crate::oplet().arg("run").args([&inserts, &deletes]);
        let run = run.args(["--uri", &named.uri, "--watch", &named.database]);
        let run = run.args(["--ordering", "namespace", "--name", &named.database]);
        named.start(run.args(["--checkpoint", "mongodb:oplet.checkpoints"]))
    };
    let first = start().await;
    named.insert(0..5).await;
    wait_for(&first, 5).await;
    assert_eq!(emitted(&first, "inserts"), [0, 1, 2, 3, 4]);
    // No delete has happened, and yet both positions move with what happens elsewhere.
    let before = tokens(&named).await;
    scene.insert([doc! {}]).await;
    let moved = eventually(DEADLINE, async || {
        let now = tokens(&named).await;
        now.len() == 2
            && now
                .iter()
                .all(|token| !token.is_empty() && !before.contains(token))
    });
    moved.await.unwrap();
    first.signal(Signal::Terminate).unwrap();
    assert_eq!(first.wait_exit(DEADLINE).await.unwrap(), 0);
    let things = named.client.database(&named.database);
    let things = things.collection::<Document>("things");
    named.insert(5..7).await;
    things.delete_one(doc! { "_id": 1 }).await.unwrap();
    let second = start().await;
    wait_for(&second, 3).await;
    things.delete_one(doc! { "_id": 2 }).await.unwrap();
    wait_for(&second, 4).await;
    assert_eq!(emitted(&second, "inserts"), [5, 6]);
    assert_eq!(emitted(&second, "deletes"), [1, 2]);
    second.signal(Signal::Terminate).unwrap();
    assert_eq!(second.wait_exit(DEADLINE).await.unwrap(), 0);
}
