//! Where a run ends by itself while it reads, and what it shows until then.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use bson::doc;
use fastrand::Rng;
use oplet_testkit::{Oplet, Options, ReplicaSet, Signal, eventually};

use super::{
    asked::{admin, ask},
    scene::{Reading, emitted, end, ids, read_directly, said, stop},
};
use crate::{DEADLINE, segments};

const COUNT: i64 = 3_000;

/// The number of ops is that of those that are given: what a document contains does not count.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_ends_after_so_many_documents_and_changes() {
    for (source, most) in [("change-stream", 700), ("oplog", 1_500)] {
        let reading = Reading::new("max_ops").await;
        reading.insert(0..COUNT).await;
        let is_over = Arc::new(AtomicBool::new(false));
        let (things, stop) = (reading.things(), is_over.clone());
        let writer = tokio::spawn(async move {
            let mut version = 1;
            while !stop.load(SeqCst) {
                version += 1;
                let id = fastrand::i64(0..COUNT);
                let document = doc! { "_id": id, "v": version };
                let replaced = things.replace_one(doc! { "_id": id }, document).await;
                replaced.unwrap();
            }
        });
        let running = reading
            .read()
            .args(["--source", source, "--max-ops", &most.to_string()])
            .args(["--direct-read-rate", "1000", "--direct-read-split", "9"])
            .args(["--direct-read-concurrency", "3"])
            .start()
            .unwrap();
        end(&running).await;
        is_over.store(true, SeqCst);
        writer.await.unwrap();
        assert_eq!(emitted(&running).len(), most, "{source}");
        assert!(read_directly(&running).len() > most / 10, "{source}");
        // Another run gives the rest.
        let rest = reading.read().arg("--exit-when-idle").start().unwrap();
        end(&rest).await;
        let all = emitted(&running).into_iter().chain(emitted(&rest));
        let all: BTreeSet<_> = all.map(|op| op.id.parse::<i64>().unwrap()).collect();
        assert_eq!(all, (0..COUNT).collect(), "{source}");
    }
}

/// It ends the changes, and not what is read.
#[tokio::test]
async fn until_is_a_bound_of_changes_alone() {
    for source in ["change-stream", "oplog"] {
        let reading = Reading::new("until").await;
        reading.insert(0..COUNT).await;
        let running = reading
            .read()
            .args(["--source", source, "--until", "now"])
            .args(["--direct-read-rate", "1000", "--direct-read-split", "9"])
            .args(["--direct-read-concurrency", "1"])
            .start()
            .unwrap();
        running.wait_for_lines(600, DEADLINE).await.unwrap();
        // The first segment is read, so that these could only come as changes.
        reading.insert(-10..0).await;
        end(&running).await;
        let read = ids(&read_directly(&running));
        assert_eq!(read, (0..COUNT).collect::<Vec<_>>(), "{source}");
        assert_eq!(emitted(&running).len(), read.len(), "{source}");
        // They come with the next run, which reads nothing again.
        let rest = reading.read().arg("--exit-when-idle").start().unwrap();
        end(&rest).await;
        assert_eq!(ids(&emitted(&rest)), (-10..0).collect::<Vec<_>>());
        assert!(read_directly(&rest).is_empty());
    }
}

#[tokio::test]
async fn a_terminal_shows_a_bar_and_a_log_has_lines() {
    let reading = Reading::new("progress").await;
    reading.insert(0..COUNT).await;
    let flags = ["--direct-read-rate", "250", "--direct-read-split", "9"];
    let log = reading.read().args(flags).arg("--exit-when-idle");
    let log = log.start().unwrap();
    let module = oplet_testkit::guest("guest_echo").unwrap();
    let command = format!(
        "stty columns 120; exec {} run {} --uri '{}' --watch {} --direct-read {} {} --checkpoint none \
         --exit-when-idle >/dev/null",
        env!("CARGO_BIN_EXE_oplet"),
        module.display(),
        reading.uri,
        reading.database,
        reading.namespace(),
        flags.join(" ").replace("250", "1000"),
    );
    let terminal = Oplet::new("script")
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .start()
        .unwrap();
    end(&terminal).await;
    let shown = terminal.stdout().all().join("\n");
    assert!(shown.contains("/3,000 documents, "), "{shown}");
    let segments = format!("({}: ", reading.namespace());
    assert!(shown.contains(&segments), "{shown}");
    assert!(shown.contains(" of 10 segments)"), "{shown}");

    end(&log).await;
    let told = said(&log, "reading directly").await;
    for part in [&reading.namespace(), "expected=3000", "/10"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let all = log.stderr().all().join("\n");
    assert!(!all.contains("/3,000 documents"), "no bar: {all}");
    assert!(!all.contains("\x1b["), "{all}");
}

/// The streams stand still while others write, and the oplog goes on.
#[tokio::test]
async fn it_is_told_early_that_the_oplog_will_not_last() {
    let set = ReplicaSet::start(Options::tiny_oplog()).await.unwrap();
    let reading = Reading::on(&set, "forecast").await;
    reading.insert(0..COUNT).await;
    let running = reading
        .read()
        .args(["--direct-read-rate", "20", "--admin", "127.0.0.1:0"])
        .start()
        .unwrap();
    running.wait_for_lines(10, DEADLINE).await.unwrap();
    ask(&admin(&running).await, &["pause"]).await;
    // The stream stands before this change.
    reading.insert([COUNT]).await;
    let warned =
        running.wait_for_stderr(|line| line.contains("may outlast the oplog"), DEADLINE * 2);
    let rolling = async {
        loop {
            // It may look at an entry that is just thrown away.
            let _ = set.roll_oplog().await;
        }
    };
    let told = tokio::select! {
        warned = warned => warned.unwrap(),
        () = rolling => unreachable!("it goes on for ever"),
    };
    assert!(told.contains("documents are left"), "{told}");
    assert!(told.contains("replSetResizeOplog"), "{told}");
    running.signal(Signal::Kill).unwrap();
    running.wait_exit(DEADLINE).await.unwrap();
}

/// Two processes share what is read as they share changes.
#[tokio::test]
async fn each_document_is_read_for_one_worker() {
    let reading = Reading::new("workers").await;
    reading.insert(0..COUNT).await;
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("workers.json");
    std::fs::write(&list, r#"{"workers": ["a", "b"]}"#).unwrap();
    let start = |worker: &str| {
        reading
            .run()
            .args(["--direct-read", &reading.namespace()])
            .args(["--worker", worker, "--workers-file"])
            .arg(&list)
            .args(["--direct-read-rate", "2000", "--direct-read-split", "9"])
            .start()
            .unwrap()
    };
    let workers = ["a", "b"].map(start);
    for worker in &workers {
        worker.wait_for_lines(100, DEADLINE).await.unwrap();
    }
    for id in (0..COUNT).step_by(10) {
        let document = doc! { "_id": id, "v": 2 };
        let filter = doc! { "_id": id };
        reading
            .things()
            .replace_one(filter, document)
            .await
            .unwrap();
    }
    let expected: BTreeSet<i64> = (0..COUNT).step_by(10).collect();
    let updated = || -> BTreeSet<i64> {
        let ops = workers.iter().flat_map(emitted);
        let updated = ops.filter(|op| op.version == Some(2));
        updated.map(|op| op.id.parse().unwrap()).collect()
    };
    // One that came behind its document may still be on its way.
    let _ = eventually(DEADLINE, async || updated() == expected).await;
    let mut all = Vec::new();
    for worker in &workers {
        said(worker, "the direct read is complete").await;
        stop(worker).await;
        let read = read_directly(worker);
        let share = read.len() as i64;
        assert!((COUNT / 4..COUNT * 3 / 4).contains(&share), "{share}");
        let own: BTreeSet<_> = ids(&read).into_iter().collect();
        for op in emitted(worker) {
            let id: i64 = op.id.parse().unwrap();
            assert!(
                own.contains(&id),
                "its changes are of the same worker: {op:?}"
            );
        }
        all.extend(ids(&read));
    }
    all.sort_unstable();
    assert_eq!(all, (0..COUNT).collect::<Vec<_>>(), "each once");
    assert_eq!(updated(), expected);
}

#[tokio::test]
async fn every_type_of_id_is_read_once_at_every_split() {
    let reading = Reading::new("types").await;
    let all = segments::ids(&mut Rng::with_seed(5), 400);
    reading.insert(all.clone()).await;
    for split in ["-1", "0", "1", "9", "99"] {
        let running = reading
            .run()
            .args(["--direct-read", &reading.namespace()])
            .args(["--direct-read-split", split, "--exit-when-idle"])
            .start()
            .unwrap();
        end(&running).await;
        let lines = running.stdout().all();
        assert_eq!(lines.len(), all.len(), "{split}");
        let distinct: BTreeSet<_> = lines.iter().collect();
        assert_eq!(distinct.len(), all.len(), "{split}");
        let told = said(&running, "the direct read is complete").await;
        let told = told.contains(&format!("documents={}", all.len()));
        assert!(told, "{split}");
    }
}
