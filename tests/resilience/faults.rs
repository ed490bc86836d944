//! Errors that a server answers with, one by one.

use bson::{Bson, Document, doc};
use oplet_testkit::{ReplicaSet, RunningOplet, database_name, guest};

use super::{
    SOURCES, fail_commands,
    load::{Load, writes},
    logged, modules, ops, run, started, tail,
};
use crate::DEADLINE;

/// The server fails so many commands, each in this way.
fn times(times: i32) -> Bson {
    doc! { "times": times }.into()
}

/// `oplet run` on one collection, whose commands can be made to fail.
fn start(set: &ReplicaSet, source: &str, database: &str) -> RunningOplet {
    let echo = guest("guest_echo").unwrap();
    let uri = format!("{}&appName={database}", set.uri());
    let run = crate::oplet()
        .arg("run")
        .arg(echo)
        .args(["--source", source, "--uri", &uri]);
    run.args(["--watch", &format!("{database}.c"), "--ordering", "oplog"])
        .start()
        .unwrap()
}

#[tokio::test]
async fn passing_errors_of_the_oplog_are_waited_out() {
    passing_errors_are_waited_out("oplog").await;
}

#[tokio::test]
async fn passing_errors_of_change_streams_are_waited_out() {
    passing_errors_are_waited_out("change-stream").await;
}

/// Twice for errors of the cursor; once for those of a server that is no primary any more, since the
/// driver then waits for the word of one that is.
async fn passing_errors_are_waited_out(source: &str) {
    let set = ReplicaSet::start(Default::default()).await.unwrap();
    let cursor = [43, 237].map(|code| (doc! { "errorCode": code }, 2));
    let server = [91, 10107, 11600].map(|code| (doc! { "errorCode": code }, 1));
    let closed = [(doc! { "closeConnection": true }, 1)];
    let database = database_name("passing");
    let oplet = start(&set, source, &database);
    started(&oplet).await;
    let load = Load::start(&set, &database, "c").await;
    let mut steps = 0;
    for (how, failures) in cursor.iter().chain(&server).chain(&closed) {
        fail_commands(
            &set,
            &database,
            &["getMore", "find", "aggregate"],
            how.clone(),
            times(*failures),
        )
        .await;
        steps += *failures as usize;
        let waited = |line: &str| line.contains(" WARN ");
        oplet.wait_for_stderr(waited, DEADLINE).await.unwrap();
        let reached =
            oplet_testkit::eventually(DEADLINE, async || logged(&oplet, " WARN ") >= steps);
        reached
            .await
            .unwrap_or_else(|error| panic!("{how}: {error}: {:#?}", oplet.stderr().all()));
        load.goes_on(10).await;
        // A stream that breaks before it has gone on waits longer each time.
        oplet
            .wait_for_lines(load.acknowledged(), DEADLINE)
            .await
            .unwrap();
        load.goes_on(100).await;
    }
    load.goes_on(10).await;
    let written = load.end().await;
    oplet.wait_for_lines(written.len(), DEADLINE).await.unwrap();
    let printed = ops(&oplet);
    assert_eq!(
        writes(&printed),
        written,
        "nothing is missing, nothing repeats"
    );
    assert!(
        printed.iter().all(|op| op["data"].is_object()),
        "no op is without its document"
    );
    // After an error of a primary that is none any more, the driver looks for one first.
    let warnings = logged(&oplet, " WARN ");
    assert!(
        warnings <= 2 * steps,
        "one line a step: {:#?}",
        oplet.stderr().all()
    );
}

#[tokio::test]
async fn lookups_that_fail_are_waited_out() {
    let set = ReplicaSet::start(Default::default()).await.unwrap();
    let client = set.client().await.unwrap();
    let database = database_name("lookups");
    let collection = client.database(&database).collection::<Document>("c");
    collection.insert_one(doc! { "_id": 1 }).await.unwrap();
    let uri = format!("{}&appName={database}", set.uri());
    let oplet = start(&set, "oplog", &database);
    let tail = crate::oplet().args(["tail", &format!("{database}.c"), "-v", "--source", "oplog"]);
    let tail = tail.args(["--uri", &uri]).start().unwrap();
    for oplet in [&oplet, &tail] {
        started(oplet).await;
        // It has read something: what it finds from now on are documents.
        collection.insert_one(doc! {}).await.unwrap();
        oplet.wait_for_lines(1, DEADLINE).await.unwrap();
    }
    fail_commands(
        &set,
        &database,
        &["find"],
        doc! { "errorCode": 262 },
        times(4),
    )
    .await;
    collection
        .update_one(doc! { "_id": 1 }, doc! { "$set": { "a": 1 } })
        .await
        .unwrap();
    for oplet in [&oplet, &tail] {
        let updated = |line: &str| line.contains("\"operation\":\"u\"");
        let line = oplet.wait_for_line(updated, DEADLINE).await.unwrap();
        let op: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(op["data"], serde_json::json!({ "_id": 1, "a": 1 }));
    }
    let of_lookups = |oplet: &RunningOplet| logged(oplet, "could not be looked up");
    // The log comes by another pipe than the ops.
    oplet_testkit::eventually(DEADLINE, async || {
        of_lookups(&oplet) + of_lookups(&tail) > 0
    })
    .await
    .unwrap();
    assert!(
        of_lookups(&oplet) + of_lookups(&tail) <= 4,
        "{:#?} {:#?}",
        oplet.stderr().all(),
        tail.stderr().all()
    );
}

/// Starts with every opening of a stream failing; gives the exit code and what was said.
async fn refused(set: &ReplicaSet, source: &str, code: i32) -> (i32, String) {
    let database = database_name("refused");
    let all = Bson::from("alwaysOn");
    fail_commands(
        set,
        &database,
        &["find", "aggregate"],
        doc! { "errorCode": code },
        all,
    )
    .await;
    let oplet = start(set, source, &database);
    let exit = oplet.wait_exit(DEADLINE).await.unwrap();
    let said = oplet.stderr().all().join("\n");
    (exit, said)
}

#[tokio::test]
async fn a_user_who_may_not_read_is_told_at_once() {
    let set = ReplicaSet::start(Default::default()).await.unwrap();
    for (source, remedy) in [("oplog", "`local`"), ("change-stream", "`changeStream`")] {
        let (exit, said) = refused(&set, source, 13).await;
        assert_eq!(exit, 1, "{said}");
        assert!(
            said.contains("error: not allowed to read") && said.contains(remedy),
            "{said}"
        );
        assert!(!said.contains(" WARN "), "{said}");
    }
}

#[tokio::test]
async fn a_lost_position_has_an_exit_code_of_its_own() {
    let set = ReplicaSet::start(Default::default()).await.unwrap();
    // Those of a change stream are in `gtm::streams`.
    let (exit, said) = refused(&set, "oplog", 136).await;
    assert_eq!(exit, 3, "{said}");
    assert!(
        said.contains(" is lost: ") && said.contains("--on-position-lost skip"),
        "{said}"
    );
}

/// What is watched, and a module that asks for a part of the events.
async fn survives_a_drop(set: &ReplicaSet, oplet: &RunningOplet, database: &str) {
    let client = set.client().await.unwrap();
    let database = client.database(database);
    started(oplet).await;
    for round in 0..2 {
        database
            .collection("c")
            .insert_one(doc! { "_id": round })
            .await
            .unwrap();
        let inserted = format!("\"_id\":{round}");
        oplet
            .wait_for_line(|line| line.contains(&inserted), DEADLINE)
            .await
            .unwrap_or_else(|error| panic!("{error}: {:#?}", oplet.stderr().all()));
        database.drop().await.unwrap();
    }
}

#[tokio::test]
async fn a_drop_that_is_not_among_the_wanted_events_ends_nothing() {
    let set = ReplicaSet::shared().await.unwrap();
    for source in SOURCES {
        let database = database_name("dropped");
        let second = format!("{database}.d");
        let oplet = tail(set, source, &format!("{database}.c"))
            .arg(second)
            .start()
            .unwrap();
        survives_a_drop(set, &oplet, &database).await;
    }
}

#[tokio::test]
async fn a_drop_that_a_pipeline_hides_ends_nothing() {
    let set = ReplicaSet::shared().await.unwrap();
    let database = database_name("dropped");
    let module = modules::inserts_only();
    let oplet = run(set, "change-stream", &format!("{database}.c"), &module.path)
        .start()
        .unwrap();
    survives_a_drop(set, &oplet, &database).await;
}
