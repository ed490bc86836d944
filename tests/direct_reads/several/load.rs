//! Writers never rest while two deployments are read.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering::SeqCst},
    },
    time::Duration,
};

use bson::doc;
use oplet_testkit::RunningOplet;
use serde_json::Value;
use tokio::{task::JoinSet, time::sleep};

use super::{Versions, complete, is_read, ops, read_directly};
use crate::{
    delivery::pair::Pair,
    direct_reads::{
        load::{KEYS, id, write},
        scene::{end, killed, stop},
    },
    modules::Handwritten,
};

/// Documents of each deployment before it is read: of half of the keys that are written to.
const DOCUMENTS: usize = KEYS / 2;

/// A writer to each deployment.
struct Writers {
    tasks: JoinSet<()>,
    stop: Arc<AtomicBool>,
}

impl Writers {
    async fn begin(scene: &Pair) -> Self {
        let mut all = Self {
            tasks: JoinSet::new(),
            stop: Arc::default(),
        };
        let versions = Arc::new(AtomicI64::new(1));
        for (_, member) in scene.members() {
            let documents = (0..DOCUMENTS).map(|number| doc! { "_id": id(number), "v": 0_i64 });
            let documents: Vec<_> = documents.collect();
            member.things().insert_many(documents).await.unwrap();
            let (versions, stop) = (versions.clone(), all.stop.clone());
            all.tasks
                .spawn(write(member.things(), (0, 1), versions, stop));
        }
        all
    }

    async fn end(self) {
        self.stop.store(true, SeqCst);
        self.tasks.join_all().await;
    }
}

/// Replays what a process gave. It never goes back to an older version of a document.
fn replay(running: &RunningOplet, map: &mut Versions) {
    let mut newest = Versions::new();
    for op in ops(running) {
        let cluster = op["cluster"].as_str().expect("it tells its deployment");
        let key = (cluster.to_owned(), op["_id"].to_string());
        let Some(version) = op["data"]["v"].as_i64() else {
            map.remove(&key);
            continue;
        };
        let before = newest.entry(key.clone()).or_default();
        assert!(*before <= version, "{op} comes behind version {before}");
        *before = version;
        map.insert(key, version);
    }
}

/// Asserts that changes came in the order of their times; documents come between them.
fn assert_in_order(running: &RunningOplet) {
    let mut changes = ops(running);
    changes.retain(|op| !is_read(op));
    let time = |op: &Value| {
        let time = &op["timestamp"]["$timestamp"];
        (time["t"].as_u64(), time["i"].as_u64())
    };
    assert!(changes.is_sorted_by_key(time), "{changes:#?}");
}

/// Adds what a run has given to what was given before.
fn add(running: &RunningOplet, ordering: &str, map: &mut Versions) {
    replay(running, map);
    if ordering == "oplog" {
        assert_in_order(running);
    }
}

/// Everything that a run gives of both leads to what is in both, while it is written to.
async fn check(source: &str, ordering: &str, kills: usize) {
    check_beside(&[], source, ordering, kills).await;
}

/// The same beside other modules, which pass nothing on.
async fn check_beside(others: &[Handwritten], source: &str, ordering: &str, kills: usize) {
    let scene = Pair::start().await;
    let others: Vec<_> = others
        .iter()
        .enumerate()
        .map(|(number, module)| {
            let path = scene.folder.path().join(format!("other-{number}.wasm"));
            std::fs::write(&path, oplet_testkit::wat(&module.text()).unwrap()).unwrap();
            path
        })
        .collect();
    let writers = Writers::begin(&scene).await;
    let run = || {
        let read = scene.read(source).args(["--ordering", ordering]);
        read.args(&others)
            .args(["--direct-read-split", "20"])
            .args(["--direct-read-concurrency", "2"])
    };
    let mut map = Versions::new();
    for kill in 0..kills {
        let running = killed(run(), kill).await;
        add(&running, ordering, &mut map);
    }
    let running = run().start().unwrap();
    for cluster in ["eu", "us"] {
        complete(&running, cluster, "").await;
    }
    sleep(Duration::from_millis(300)).await;
    writers.end().await;
    stop(&running).await;
    add(&running, ordering, &mut map);
    // What the last one had not come to.
    let running = run().arg("--exit-when-idle").start().unwrap();
    end(&running).await;
    assert!(read_directly(&running).is_empty());
    add(&running, ordering, &mut map);
    let collections = scene.versions().await;
    assert_eq!(map.len(), collections.len());
    assert_eq!(map, collections);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_is_read_while_it_is_written_to() {
    check("change-stream", "document", 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_is_read_on_whoever_is_killed() {
    check("oplog", "document", 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_one_order_changes_stay_in_it_whatever_is_read() {
    check("oplog", "oplog", 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_one_order_of_change_streams_too() {
    check("change-stream", "oplog", 0).await;
}

/// Two modules share what is read, and see their changes by streams of their own: one that waits for
/// documents does not keep the other from being where these wait for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_one_order_of_several_streams_of_each() {
    let deletes = doc! { "$match": { "operationType": "delete" } };
    let other = Handwritten::new("")
        .without_handle()
        .filter("(i32.const 0)")
        .pipeline_of_changes(&[deletes]);
    check_beside(&[other], "change-stream", "oplog", 1).await;
}

/// The number of ops is that of those that are given of all: what a document contains does not count.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_ends_after_so_many_documents_and_changes_of_both() {
    const MOST: usize = 900;
    for ordering in ["document", "oplog"] {
        let scene = Pair::start().await;
        let writers = Writers::begin(&scene).await;
        let run = || scene.read("oplog").args(["--ordering", ordering]);
        let running = run()
            .args(["--max-ops", &MOST.to_string()])
            .args(["--direct-read-rate", "1000", "--direct-read-split", "9"])
            .start()
            .unwrap();
        end(&running).await;
        writers.end().await;
        assert_eq!(ops(&running).len(), MOST, "{ordering}");
        assert!(read_directly(&running).len() > MOST / 4, "{ordering}");
        let mut map = Versions::new();
        add(&running, ordering, &mut map);
        // Another run gives the rest.
        let rest = run().arg("--exit-when-idle").start().unwrap();
        end(&rest).await;
        add(&rest, ordering, &mut map);
        assert_eq!(map, scene.versions().await, "{ordering}");
    }
}
