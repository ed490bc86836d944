//! What a process takes while it waits.

use std::{fs, time::Duration};

use bson::doc;
use oplet_testkit::{ReplicaSet, RunningOplet, database_name, guest};

use super::{SOURCES, modules, run, started, tail};
use crate::DEADLINE;

/// Clock ticks of processor time that it has taken; there are 100 in a second.
fn processor_ticks(oplet: &RunningOplet) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", oplet.id())).unwrap();
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
    // User and system time: the fields 14 and 15, of which two lie before the parenthesis.
    fields
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<u64>().unwrap())
        .sum()
}

/// The most memory that it has had at once, in megabytes.
fn memory_megabytes_max(oplet: &RunningOplet) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", oplet.id())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

#[tokio::test]
async fn waiting_takes_no_processor() {
    // What others write would be read along with the oplog.
    let set = ReplicaSet::start(Default::default()).await.unwrap();
    let echo = guest("guest_echo").unwrap();
    let mut oplets = Vec::new();
    for source in SOURCES {
        let watch = format!("{}.c", database_name("waiting"));
        oplets.push(run(&set, source, &watch, &echo).start().unwrap());
        let tail = tail(&set, source, &watch);
        oplets.push(tail.start().unwrap());
    }
    for oplet in &oplets {
        started(oplet).await;
    }
    let before: Vec<_> = oplets.iter().map(processor_ticks).collect();
    tokio::time::sleep(Duration::from_secs(3)).await;
    for (oplet, before) in oplets.iter().zip(before) {
        let ticks = processor_ticks(oplet) - before;
        assert!(ticks < 60, "{ticks} ticks in 3 seconds of waiting");
    }
}

#[tokio::test]
async fn a_backlog_does_not_fill_memory() {
    let set = ReplicaSet::start(Default::default()).await.unwrap();
    let module = modules::busy(100, 0);
    let client = set.client().await.unwrap();
    let database = database_name("memory");
    let mut oplets = Vec::new();
    for source in SOURCES {
        let run = run(&set, source, &format!("{database}.c"), &module.path);
        oplets.push(run.args(["--workers", "2"]).start().unwrap());
    }
    for oplet in &oplets {
        started(oplet).await;
    }
    let collection = client.database(&database).collection("c");
    let filler = "x".repeat(50_000);
    for _ in 0..40 {
        let documents = (0..200).map(|_| doc! { "a": &filler });
        collection
            .insert_many(documents)
            .ordered(false)
            .await
            .unwrap();
    }
    // 400 MB wait, of which the lanes hold 64. Reading on would show soon.
    let mut highest = Vec::new();
    oplet_testkit::eventually(DEADLINE, async || {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now: Vec<_> = oplets.iter().map(memory_megabytes_max).collect();
        // One that has not come to that yet may just be slow.
        let is_filled = now.iter().all(|megabytes| *megabytes >= 60);
        is_filled && std::mem::replace(&mut highest, now.clone()) == now
    })
    .await
    .unwrap();
    for oplet in &oplets {
        let megabytes = memory_megabytes_max(oplet);
        assert!((60..300).contains(&megabytes), "{megabytes} MB");
    }
}
