//! `oplet checkpoint`: shown, set and cleared without a run, and kept from under one.

use bson::{Document, doc};
use oplet_testkit::{Oplet, Options, ReplicaSet, RunningOplet, Signal};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    DEADLINE,
    delivery::process::{Named, ids, wait_for},
    modules::{Ended, NOWHERE},
    oplet,
};

/// A name of its own, whose checkpoint lies in a file or in the collection.
struct Scene {
    named: Named,
    store: String,
    _folder: TempDir,
}

impl Scene {
    /// One for each kind of store.
    async fn both(hint: &str) -> [Self; 2] {
        let folder = tempfile::tempdir().unwrap();
        let file = format!("file:{}", folder.path().join("position").display());
        let scene = async |store: String| Self {
            named: Named::new(hint).await,
            store,
            _folder: tempfile::tempdir().unwrap(),
        };
        let mut scenes = [
            scene("mongodb:oplet.checkpoints".into()).await,
            scene(file).await,
        ];
        scenes[1]._folder = folder;
        scenes
    }

    fn name(&self) -> &str {
        &self.named.database
    }

    /// A run that keeps its position there.
    fn run(&self) -> Oplet {
        oplet()
            .arg("run")
            .arg(oplet_testkit::guest("guest_echo").unwrap())
            .args(["--uri", &self.named.uri, "--watch", self.name()])
            .args(["--name", self.name(), "--checkpoint", &self.store])
    }

    async fn checkpoint(&self, arguments: &[&str]) -> Ended {
        let command = oplet().arg("checkpoint").args(arguments);
        Ended::of(command.args(["--checkpoint", &self.store, "--uri", &self.named.uri])).await
    }

    /// What `show NAME` tells programs.
    async fn shown(&self) -> Value {
        let ended = self.checkpoint(&["show", self.name()]).await.with_code(0);
        let [document] = &ended.documents()[..] else {
            panic!("one document: {:?}", ended.stdout);
        };
        document.clone()
    }
}

async fn end(running: &RunningOplet) {
    running.signal(Signal::Terminate).unwrap();
    assert_eq!(running.wait_exit(DEADLINE).await.unwrap(), 0);
}

/// The newest cluster time, as the command line writes it.
async fn now(named: &Named) -> String {
    let admin = named.client.database("admin");
    let answer = admin.run_command(doc! {"ping": 1}).await.unwrap();
    let time = answer.get_timestamp("operationTime").unwrap();
    format!("{}:{}", time.time, time.increment)
}

#[tokio::test]
async fn a_run_goes_on_at_a_position_that_was_set() {
    for source in ["oplog", "change-stream"] {
        for scene in Scene::both("set").await {
            let named = &scene.named;
            named.insert(0..3).await;
            let middle = now(named).await;
            named.insert(3..5).await;
            let set = ["set", scene.name(), "--since", &middle, "--source", source];
            let ended = scene.checkpoint(&set).await.with_code(0);
            ended.says(&[&format!("goes on behind {middle}"), "nothing was stored"]);
            let shown = scene.shown().await;
            assert_eq!(shown["position"]["clusterTime"], middle.as_str());
            assert_eq!(shown["holder"], Value::Null);

            let run = || scene.run().args(["--source", source]);
            let first = named.start(run()).await;
            wait_for(&first, 2).await;
            end(&first).await;
            assert_eq!(ids(&first), [3, 4], "{source} {}", scene.store);

            // And back again, from where the run left it.
            let ended = scene.checkpoint(&set).await.with_code(0);
            ended.says(&["it stood at "]);
            let second = named.start(run()).await;
            wait_for(&second, 2).await;
            end(&second).await;
            assert_eq!(ids(&second), [3, 4], "{source} {}", scene.store);
        }
    }
}

#[tokio::test]
async fn what_is_ahead_or_rolled_off_is_refused_and_the_oldest_that_is_left_can_be_set() {
    let set = ReplicaSet::start(Options::tiny_oplog()).await.unwrap();
    let named = Named::on(&set, "outside").await;
    named.insert(0..1).await;
    let lost = now(&named).await;
    set.roll_oplog().await.unwrap();
    let checkpoint = |since: &str, source: &str| {
        let command = oplet().args(["checkpoint", "set", &named.database, "--since", since]);
        let command = command.args(["--source", source, "--uri", &named.uri]);
        Ended::of(command.env("OPLET_CHECKPOINT", "mongodb:oplet.checkpoints"))
    };
    for source in ["oplog", "change-stream"] {
        for since in [lost.as_str(), "4000000000:1", "52w"] {
            let ended = checkpoint(since, source).await.with_code(1);
            ended.says(&[
                "the oplog reaches from",
                "hint: choose a position from there",
            ]);
        }
        assert!(named.own("checkpoints").await.is_empty());
    }
    for source in ["oplog", "change-stream"] {
        // The oldest may roll off between the look and the run: of the newest writes only the last
        // is waited for.
        checkpoint("oldest", source).await.with_code(0);
        let run = named.run().args(["--source", source, "--exit-when-idle"]);
        Ended::of(run).await.with_code(0);
    }
}

#[tokio::test]
async fn nobody_moves_the_checkpoint_of_a_run_at_work() {
    for scene in Scene::both("held").await {
        let running = scene.named.start(scene.run()).await;
        scene.named.insert(0..1).await;
        wait_for(&running, 1).await;
        let holder = &scene.shown().await["holder"];
        assert_eq!(holder["pid"], running.id());
        assert_eq!(holder["live"], true);
        for arguments in [
            &["set", scene.name(), "--since", "now"][..],
            &["clear", scene.name()],
        ] {
            let ended = scene.checkpoint(arguments).await.with_code(1);
            let holder = format!("is held by process {} on ", running.id());
            ended.says(&[&holder, "hint: `oplet seek`"]);
        }
        scene.named.insert(1..2).await;
        wait_for(&running, 2).await;
        end(&running).await;
        assert_eq!(scene.shown().await["holder"], Value::Null);
        scene
            .checkpoint(&["set", scene.name(), "--since", "now"])
            .await
            .with_code(0);
    }
}

#[tokio::test]
async fn clear_says_what_is_gone() {
    for scene in Scene::both("clear").await {
        let ended = scene
            .checkpoint(&["clear", scene.name()])
            .await
            .with_code(1);
        ended.says(&["there is no checkpoint of"]);
        let at = now(&scene.named).await;
        scene
            .checkpoint(&["set", scene.name(), "--since", &at])
            .await
            .with_code(0);
        let misspelt = format!("{}x", scene.name());
        let expected = match scene.store.starts_with("file:") {
            true => format!("holds the checkpoint of `{}`", scene.name()),
            false => format!("did you mean `{}`?", scene.name()),
        };
        for verb in ["clear", "show"] {
            let ended = scene.checkpoint(&[verb, &misspelt]).await.with_code(1);
            ended.says(&[&expected]);
        }
        let ended = scene
            .checkpoint(&["clear", scene.name()])
            .await
            .with_code(0);
        ended.says(&["removed the checkpoint of", &format!("it stood at {at} (")]);
        scene
            .checkpoint(&["show", scene.name()])
            .await
            .with_code(1)
            .says(&["there is no checkpoint of"]);
    }
}

#[tokio::test]
async fn a_file_is_not_given_to_another_name_and_needs_no_server() {
    let [_, scene] = Scene::both("file").await;
    scene
        .checkpoint(&["set", scene.name(), "--since", "now"])
        .await
        .with_code(0);
    let other = scene.checkpoint(&["set", "other", "--since", "now"]).await;
    let holds = format!("holds the checkpoint of `{}`", scene.name());
    other.with_code(1).says(&[&holds]);
    for arguments in [
        &["show"][..],
        &["show", scene.name()],
        &["clear", scene.name()],
    ] {
        let command = oplet().arg("checkpoint").args(arguments);
        let command = command.args(["--checkpoint", &scene.store, "--uri", NOWHERE]);
        Ended::of(command).await.with_code(0);
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_shown_and_can_be_cleared() {
    let [scene, file] = Scene::both("unreadable").await;
    let checkpoints = scene.named.client.database("oplet");
    let checkpoints = checkpoints.collection::<Document>("checkpoints");
    let newer = doc! {"_id": scene.name(), "format": 9, "epoch": 1_i64, "inside": "s0mething"};
    checkpoints.insert_one(newer).await.unwrap();
    let shown = scene.shown().await;
    assert_eq!(shown["stored"]["inside"], "s0mething");
    assert!(
        shown["error"].as_str().unwrap().contains("format 9"),
        "{shown}"
    );
    let text = scene
        .checkpoint(&["show", scene.name(), "--format", "text"])
        .await
        .with_code(0);
    let text = text.stdout.join("\n");
    assert!(
        text.contains("format 9") && text.contains("s0mething"),
        "{text}"
    );
    // One that cannot be read does not hide the others.
    let list = scene.checkpoint(&["show"]).await.with_code(0).documents();
    assert!(
        list.iter()
            .any(|row| row["name"] == scene.name() && row["position"].is_null())
    );
    scene
        .checkpoint(&["set", scene.name(), "--since", "now"])
        .await
        .with_code(1)
        .says(&["has format 9", "oplet checkpoint clear"]);
    scene
        .checkpoint(&["clear", scene.name()])
        .await
        .with_code(0)
        .says(&["it could not be read"]);

    // A file that holds no document at all.
    let path = file.store.strip_prefix("file:").unwrap();
    std::fs::write(format!("{path}.a"), "rubbish").unwrap();
    for arguments in [&["show"][..], &["show", file.name()]] {
        let ended = file.checkpoint(arguments).await.with_code(1);
        ended.says(&["cannot be read", "oplet checkpoint clear"]);
    }
    file.checkpoint(&["clear", file.name()]).await.with_code(0);
    file.checkpoint(&["show"]).await.with_code(0);
}

#[tokio::test]
async fn names_are_listed_for_people_and_for_programs() {
    let named = Named::new("list").await;
    let store = format!("mongodb:{}.positions", named.database);
    let checkpoint = |arguments: &[&str]| {
        let command = oplet().arg("checkpoint").args(arguments);
        let command = command.args(["--checkpoint", &store, "--uri", &named.uri]);
        Ended::of(command)
    };
    let empty = checkpoint(&["show"]).await.with_code(0);
    assert_eq!(empty.stdout, [""; 0]);
    empty.says(&["no checkpoints in mongodb:"]);
    let at = now(&named).await;
    for (name, source) in [("b", "oplog"), ("a", "change-stream")] {
        let set = ["set", name, "--since", &at, "--source", source];
        checkpoint(&set).await.with_code(0);
    }
    let list = checkpoint(&["show"]).await.with_code(0).documents();
    let names: Vec<_> = list
        .iter()
        .map(|row| (&row["name"], &row["source"]))
        .collect();
    assert_eq!(
        names,
        [
            (&"a".into(), &"changeStream".into()),
            (&"b".into(), &"oplog".into())
        ]
    );
    assert_eq!(list[0]["position"]["clusterTime"], at.as_str());
    let table = checkpoint(&["show", "--format", "text"]).await.with_code(0);
    assert_eq!(table.stdout.len(), 3, "{:?}", table.stdout);
    let heads: Vec<_> = table.stdout[0].split_whitespace().collect();
    assert_eq!(heads, ["NAME", "POSITION", "TIME", "SAVED", "HOLDER"]);
    let cells: Vec<_> = table.stdout[1].split_whitespace().collect();
    assert_eq!((cells[0], cells[1], cells[4]), ("a", at.as_str(), "-"));
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_before_anything_is_opened() {
    let refused = async |arguments: &[&str], words: &[&str]| {
        let command = oplet().arg("checkpoint").args(arguments);
        let ended = Ended::of(command.args(["--uri", NOWHERE])).await;
        ended.is_refused(words);
        assert!(!ended.stderr.contains("s3cret"), "{}", ended.stderr);
    };
    refused(&[], &["Usage"]).await;
    refused(&["set", "x"], &["--since"]).await;
    refused(&["set", "x", "--since", "noww"], &["did you mean `now`?"]).await;
    refused(&["clear"], &["NAME"]).await;
    refused(&["show", ""], &["at least one character"]).await;
    // The environment of these tests says so.
    refused(&["show"], &["a run with `none` keeps no position"]).await;
    refused(
        &["show", "--checkpoint", "mongdb:a.b"],
        &["did you mean `mongodb:a.b`?"],
    )
    .await;
    refused(
        &["show", "--checkpoint", "mongo://ann:s3cret@h"],
        &["--checkpoint"],
    )
    .await;
}
