//! Lists of workers that change while they work.

use std::time::Duration;

use bson::{Document, doc};
use oplet_testkit::{ReplicaSet, RunningOplet, Signal, database_name};
use serde_json::Value;

use super::workers::ints;
use crate::{
    DEADLINE,
    modules::{Handwritten, Scene},
};

/// Writes documents until it is told to stop, one every few milliseconds, and gives their number.
async fn write_on(scene: &Scene, stop: &tokio_util::sync::CancellationToken) -> i32 {
    let things = scene.collection("things");
    let mut n = 0;
    while !stop.is_cancelled() {
        things.insert_one(doc! {"_id": n, "n": n}).await.unwrap();
        n += 1;
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
    n
}

fn numbers(run: &RunningOplet) -> Vec<i64> {
    let lines = run.stdout().all();
    let documents = lines
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    documents
        .filter(|one| one["_id"] != -1)
        .map(|one| ints(&one).1)
        .collect()
}

/// One worker goes, and another comes, while all is written to.
#[tokio::test]
async fn a_list_in_a_document_changes_without_a_loss_or_a_repeat() {
    let scene = Scene::new("workers_change").await;
    let settings = scene.client.database(&format!("{}_ops", scene.database));
    let settings = settings.collection::<Document>("settings");
    let list = doc! {"_id": "workers", "workers": ["a", "b"], "other": 1};
    settings.insert_one(list).await.unwrap();
    let from = format!("{}_ops.settings:workers", scene.database);
    let module = scene.module("share", &Handwritten::new("share").text());
    let start = |worker: &str, source: &str| {
        let checkpoint = scene.folder().join(format!("{worker}.checkpoints"));
        let run = scene.run_from_now(&[&module]).args(["--source", source]);
        let run = run.args([
            "--name",
            "share",
            "--worker",
            worker,
            "--workers-from",
            &from,
        ]);
        let run = run
            .arg("--checkpoint")
            .arg(format!("file:{}", checkpoint.display()));
        run.start().unwrap()
    };
    let (a, b) = (start("a", "change-stream"), start("b", "oplog"));
    for run in [&a, &b] {
        run.wait_for_stderr(|line| line.contains("running"), DEADLINE)
            .await
            .unwrap();
    }
    let stop = tokio_util::sync::CancellationToken::new();
    let changes = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        for run in [&a, &b] {
            run.wait_for_lines(1, DEADLINE).await.unwrap();
        }
        let id = doc! {"_id": "workers"};
        // What others write of the document, and a list that is none, change nothing.
        settings
            .update_one(id.clone(), doc! {"$set": {"other": 2}})
            .await
            .unwrap();
        settings
            .update_one(id.clone(), doc! {"$push": {"workers": "b"}})
            .await
            .unwrap();
        settings
            .update_one(id, doc! {"$set": {"workers": ["c", "b"]}})
            .await
            .unwrap();
        // One that is stopped before the change and goes on after it: there where the list before held.
        b.signal(Signal::Kill).unwrap();
        b.wait_exit(DEADLINE).await.unwrap();
        // It ends by itself, as the new list begins to hold.
        assert_eq!(a.wait_exit(DEADLINE).await.unwrap(), 0);
        let words = "not in the list any more";
        assert!(a.stderr().all().iter().any(|line| line.contains(words)));
        // One that comes late.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (c, again) = (start("c", "change-stream"), start("b", "oplog"));
        tokio::time::sleep(Duration::from_secs(2)).await;
        stop.cancel();
        (c, again)
    };
    let (written, (c, again)) = tokio::join!(write_on(&scene, &stop), changes);
    let all = || -> Vec<i64> {
        let mut all = [&a, &b, &c, &again].map(numbers).concat();
        all.sort_unstable();
        all
    };
    let complete = async {
        let is_complete = |mut all: Vec<i64>| {
            all.dedup();
            all.len() == written as usize
        };
        while !is_complete(all()) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let is_complete = tokio::time::timeout(DEADLINE, complete).await;
    let counts = [&a, &b, &c, &again].map(|run| numbers(run).len());
    assert!(is_complete.is_ok(), "{written} were written: {counts:?}");
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    // What was killed may repeat what it did itself; nobody does what is another's.
    let [of_a, of_b, of_c, of_again] = [&a, &b, &c, &again].map(numbers);
    let own = |numbers: &[i64]| {
        numbers
            .iter()
            .copied()
            .collect::<std::collections::BTreeSet<_>>()
    };
    let of_both: Vec<i64> = own(&[of_b, of_again].concat()).into_iter().collect();
    let mut once = [of_a, of_both, of_c].concat();
    once.sort_unstable();
    assert_eq!(once, (0..i64::from(written)).collect::<Vec<_>>());
    for run in [c, again] {
        run.signal(Signal::Terminate).unwrap();
        assert_eq!(run.wait_exit(DEADLINE).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_list_in_a_file_holds_when_it_says() {
    // What others write there would end the run as well, before the next document is written.
    let set = ReplicaSet::start(Default::default()).await.unwrap();
    let scene = Scene::on(&set, database_name("workers_file")).await;
    let module = scene.module("file", &Handwritten::new("file").text());
    let list = scene.file("workers.toml", b"workers = ['a']");
    let run = scene
        .run(&[module])
        .args(["--worker", "a", "--workers-file"]);
    let run = run.arg(&list).start().unwrap();
    scene.insert((0..10).map(|n| doc! {"_id": n, "n": n})).await;
    run.wait_for_lines(10, DEADLINE).await.unwrap();
    scene.file("workers.toml", b"workers = ['b']");
    run.wait_for_stderr(|line| line.contains("does not say since when"), DEADLINE)
        .await
        .unwrap();
    scene
        .insert((10..20).map(|n| doc! {"_id": n, "n": n}))
        .await;
    // Later than all these, however long that took.
    let admin = scene.client.database("admin");
    let answer = admin.run_command(doc! {"ping": 1}).await.unwrap();
    let since = answer.get_timestamp("operationTime").unwrap().time + 4;
    let changed = format!("workers = ['b']\nbefore = ['a']\nsince = '{since}:0'");
    scene.file("workers.toml", changed.as_bytes());
    run.wait_for_stderr(
        |line| line.contains("another list of workers holds"),
        DEADLINE,
    )
    .await
    .unwrap();
    let later = async {
        let mut n = 20;
        while run.wait_exit(Duration::from_millis(1)).await.is_err() {
            let things = scene.collection("things");
            things.insert_one(doc! {"_id": n, "n": n}).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
            n += 1;
        }
        n
    };
    let written = tokio::time::timeout(DEADLINE, later).await.unwrap();
    assert_eq!(run.wait_exit(DEADLINE).await.unwrap(), 0);
    let mut handled = numbers(&run);
    // Lanes work side by side.
    handled.sort_unstable();
    assert!(
        handled.len() >= 20 && (handled.len() as i32) < written,
        "{written}: {handled:?}"
    );
    assert!(
        handled.iter().copied().eq(0..handled.len() as i64),
        "{handled:?}"
    );
}
