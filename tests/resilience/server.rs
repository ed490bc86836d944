//! Servers that die, restart, hang, and step down, under load.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use bson::{Document, doc};
use oplet_testkit::{ReplicaSet, RunningOplet, Signal, database_name, eventually, guest};

use super::{
    SOURCES, assert_quiet,
    load::{Load, Write, writes},
    logged, ops, run, started, tail,
};
use crate::DEADLINE;

/// Both verbs on both sources, on one collection under load.
struct Watched {
    set: ReplicaSet,
    oplets: Vec<RunningOplet>,
    load: Load,
    began: Instant,
}

impl Watched {
    async fn start(hint: &str) -> Self {
        let set = ReplicaSet::start(Default::default()).await.unwrap();
        let echo = guest("guest_echo").unwrap();
        let database = database_name(hint);
        let watch = format!("{database}.c");
        let mut oplets = Vec::new();
        for source in SOURCES {
            let run = run(&set, source, &watch, &echo).args(["--ordering", "oplog"]);
            oplets.push(run.start().unwrap());
            oplets.push(tail(&set, source, &watch).start().unwrap());
        }
        for oplet in &oplets {
            started(oplet).await;
        }
        let load = Load::start(&set, &database, "c").await;
        load.goes_on(20).await;
        Self {
            set,
            oplets,
            load,
            began: Instant::now(),
        }
    }

    /// Ends the load, and sees that each program printed everything that was acknowledged.
    async fn nothing_is_missing(self) {
        self.load.goes_on(20).await;
        let acknowledged = self.load.end().await;
        let last = *acknowledged.last().unwrap();
        for oplet in &self.oplets {
            let reached = eventually(DEADLINE, async || writes(&ops(oplet)).contains(&last)).await;
            reached.unwrap_or_else(|error| panic!("{error}: {:#?}", oplet.stderr().all()));
            is_whole(oplet, &acknowledged);
            is_no_flood(oplet, self.began.elapsed());
            oplet.signal(Signal::Terminate).unwrap();
            assert_eq!(oplet.wait_exit(DEADLINE).await.unwrap(), 0);
            assert_quiet(oplet);
        }
    }
}

/// Everything acknowledged is there, in order; what repeats is the same, by the same id.
pub(super) fn is_whole(oplet: &RunningOplet, acknowledged: &[Write]) {
    let mut by_id = HashMap::new();
    let mut distinct = Vec::new();
    for op in ops(oplet) {
        match by_id.get(&op["opId"].to_string()) {
            Some(before) => assert_eq!(*before, op, "what repeats is the same"),
            None => {
                distinct.push(op.clone());
                by_id.insert(op["opId"].to_string(), op);
            }
        }
    }
    let printed = writes(&distinct);
    let unique: HashSet<_> = printed.iter().copied().collect();
    assert_eq!(unique.len(), printed.len(), "one write has one id");
    // A write may be done that was never acknowledged.
    let wanted: HashSet<_> = acknowledged.iter().copied().collect();
    let printed: Vec<_> = printed
        .into_iter()
        .filter(|write| wanted.contains(write))
        .collect();
    assert_eq!(printed, acknowledged, "{:#?}", oplet.stderr().all());
}

/// A line for each step, and the steps become longer: far from one for each try of a busy loop.
pub(super) fn is_no_flood(oplet: &RunningOplet, time: Duration) {
    let warnings = logged(oplet, " WARN ");
    let steps_max = 10 + time.as_secs() as usize;
    assert!(
        warnings <= steps_max,
        "{warnings} in {time:?}: {:#?}",
        oplet.stderr().all()
    );
}

#[tokio::test]
async fn a_killed_server_is_waited_for() {
    let watched = Watched::start("killed").await;
    for _ in 0..2 {
        watched.set.kill().await.unwrap();
        let waiting = |line: &str| line.contains(" WARN ");
        for oplet in &watched.oplets {
            oplet.wait_for_stderr(waiting, DEADLINE).await.unwrap();
        }
        watched.set.restart().await.unwrap();
        watched.load.goes_on(40).await;
    }
    watched.nothing_is_missing().await;
}

#[tokio::test]
async fn a_server_that_is_restarted_is_waited_for() {
    let watched = Watched::start("restarted").await;
    watched.set.terminate().await.unwrap();
    watched.set.restart().await.unwrap();
    watched.nothing_is_missing().await;
}

#[tokio::test]
async fn a_server_that_hangs_is_waited_for() {
    let watched = Watched::start("suspended").await;
    watched.set.suspend().await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    watched.set.resume().await.unwrap();
    watched.nothing_is_missing().await;
}

#[tokio::test]
async fn a_primary_that_steps_down_is_waited_for() {
    let watched = Watched::start("stepped_down").await;
    let client = watched.set.client().await.unwrap();
    let admin = client.database("admin");
    for _ in 0..2 {
        let step_down =
            doc! { "replSetStepDown": 1, "secondaryCatchUpPeriodSecs": 0, "force": true };
        admin.run_command(step_down).await.unwrap();
        watched.load.goes_on(20).await;
    }
    watched.nothing_is_missing().await;
}

/// What each of the programs has under way on the server: the reply that it waits for.
async fn under_way(watched: &Watched) -> Vec<Document> {
    let client = watched.set.client().await.unwrap();
    let admin = client.database("admin");
    let stages = [
        doc! { "$currentOp": { "allUsers": true } },
        doc! { "$match": { "cursor.tailable": true, "op": "getmore", "appName": "oplet" } },
    ];
    let mut found = Vec::new();
    // Between two replies, a program is not there.
    let looked = eventually(DEADLINE, async || {
        let mut running = admin.aggregate(stages.clone()).await.unwrap();
        found.clear();
        while running.advance().await.unwrap() {
            found.push(running.deserialize_current().unwrap());
        }
        found.len() >= watched.oplets.len()
    });
    looked.await.unwrap();
    found
}

#[tokio::test]
async fn killed_cursors_are_opened_again() {
    let watched = Watched::start("cursors").await;
    let client = watched.set.client().await.unwrap();
    for _ in 0..3 {
        for operation in under_way(&watched).await {
            let (database, collection) = operation.get_str("ns").unwrap().split_once('.').unwrap();
            let cursor = operation
                .get_document("cursor")
                .unwrap()
                .get_i64("cursorId")
                .unwrap();
            let kill = doc! { "killCursors": collection, "cursors": [cursor] };
            client.database(database).run_command(kill).await.unwrap();
        }
        watched.load.goes_on(20).await;
    }
    watched.nothing_is_missing().await;
}

#[tokio::test]
async fn killed_sessions_and_operations_are_started_again() {
    let watched = Watched::start("operations").await;
    let client = watched.set.client().await.unwrap();
    let admin = client.database("admin");
    for _ in 0..3 {
        for operation in under_way(&watched).await {
            let kill = doc! { "killOp": 1, "op": operation.get("opid").unwrap() };
            admin.run_command(kill).await.unwrap();
        }
        watched.load.goes_on(20).await;
    }
    under_way(&watched).await;
    admin
        .run_command(doc! { "killAllSessions": [] })
        .await
        .unwrap();
    watched.nothing_is_missing().await;
}
