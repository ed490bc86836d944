//! A replica set of three members: another one takes over, under load, and writes are rolled back.

use std::time::{Duration, Instant};

use bson::{Document, doc};
use mongodb::{Client, Collection, options::WriteConcern};
use oplet::{
    mongo::{self, Server},
    op::{OpPoint, OpTime, Operation, Position, Scope, SourceKind, Timestamp},
    source::{self, Source, Start},
};
use oplet_testkit::{Cluster, ReplicaSet, RunningOplet, Signal, database_name, eventually, guest};

use super::{
    SOURCES, assert_quiet,
    load::{Load, writes},
    ops, run_at,
    server::{is_no_flood, is_whole},
    started, tail_at,
};
use crate::DEADLINE;

/// Both verbs, each on one of the sources: five processes are enough for two cores.
async fn watch(cluster: &Cluster, watched: &str) -> Vec<RunningOplet> {
    let echo = guest("guest_echo").unwrap();
    let uri = cluster.uri();
    let run = run_at(&uri, "oplog", watched, &echo).args(["--ordering", "oplog"]);
    let tail = tail_at(&uri, "change-stream", watched);
    let oplets = vec![run.start().unwrap(), tail.start().unwrap()];
    for oplet in &oplets {
        started(oplet).await;
    }
    oplets
}

#[tokio::test]
async fn nothing_is_missing_when_primaries_are_killed() {
    let cluster = Cluster::start(3).await.unwrap();
    let database = database_name("failover");
    let oplets = watch(&cluster, &format!("{database}.c")).await;
    let client = cluster.client().await.unwrap();
    let load = Load::through(client, &database, "c");
    let began = Instant::now();
    load.goes_on(20).await;
    for _ in 0..3 {
        let primary = cluster.primary().await.unwrap();
        cluster.member(primary).kill().await.unwrap();
        load.goes_on(20).await;
        cluster.member(primary).restart().await.unwrap();
    }
    cluster.step_down().await.unwrap();
    load.goes_on(20).await;
    let acknowledged = load.end().await;
    let last = *acknowledged.last().unwrap();
    for oplet in &oplets {
        let reached = eventually(DEADLINE, async || writes(&ops(oplet)).contains(&last)).await;
        reached.unwrap_or_else(|error| panic!("{error}: {:#?}", oplet.stderr().all()));
        is_whole(oplet, &acknowledged);
        is_no_flood(oplet, began.elapsed());
        oplet.signal(Signal::Terminate).unwrap();
        assert_eq!(oplet.wait_exit(DEADLINE).await.unwrap(), 0);
        assert_quiet(oplet);
    }
}

/// A collection whose writes are acknowledged by the majority, or by the primary alone.
fn collection(client: &Client, database: &str, concern: WriteConcern) -> Collection<Document> {
    let options = mongodb::options::CollectionOptions::builder()
        .write_concern(concern)
        .build();
    let database = client.database(database);
    database.collection_with_options("c", options)
}

/// How often a member has rolled back, as a number that changes with it.
async fn rollbacks(member: &ReplicaSet) -> Option<i32> {
    let client = member.client().await.ok()?;
    let admin = client.database("admin");
    let reply = admin.run_command(doc! { "replSetGetRBID": 1 }).await;
    client.shutdown().immediate(true).await;
    reply.ok()?.get_i32("rbid").ok()
}

#[tokio::test]
async fn writes_that_are_rolled_back_are_never_delivered() {
    let cluster = Cluster::start(3).await.unwrap();
    let old = cluster.primary().await.unwrap();
    let database = database_name("rollback");
    let watched = format!("{database}.c");
    // Through the set, and by itself the member whose writes are going to be rolled back.
    let mut oplets = Vec::new();
    for source in SOURCES {
        for uri in [cluster.uri(), cluster.member(old).uri()] {
            oplets.push(tail_at(&uri, source, &watched).start().unwrap());
        }
    }
    for oplet in &oplets {
        started(oplet).await;
    }
    let through_set = cluster.client().await.unwrap();
    let kept = collection(&through_set, &database, WriteConcern::majority());
    kept.insert_one(doc! { "_id": 0 }).await.unwrap();
    for oplet in &oplets {
        // The collection's creation is told by none of them, so this is the first op.
        oplet.wait_for_lines(1, DEADLINE).await.unwrap();
    }
    let rollbacks_before = rollbacks(cluster.member(old)).await.unwrap();
    // Connected before: alone, the member remains a primary for a second only.
    let by_itself = cluster.member(old).client().await.unwrap();
    newest_entry(&by_itself).await;

    // Suspended members would find the writes in their sockets later on.
    for other in cluster.others(old) {
        other.kill().await.unwrap();
    }
    let doomed = collection(&by_itself, &database, WriteConcern::nodes(1));
    let written: Vec<i32> = (1000..1005).collect();
    let documents = written.iter().map(|id| doc! { "_id": id });
    doomed.insert_many(documents).await.unwrap();
    let seen = doomed
        .count_documents(doc! { "_id": { "$gte": 1000 } })
        .await;
    assert_eq!(seen.unwrap(), written.len() as u64);
    let doomed_at = newest_entry(&by_itself).await;
    // Time in which they would be printed by a reader that waits for no majority.
    tokio::time::sleep(Duration::from_millis(500)).await;
    cluster.member(old).suspend().await.unwrap();
    for other in cluster.others(old) {
        other.restart().await.unwrap();
    }
    let new = cluster.primary().await.unwrap();
    assert_ne!(new, old);
    kept.insert_one(doc! { "_id": 1 }).await.unwrap();
    cluster.member(old).resume().await.unwrap();
    let rolled_back = eventually(DEADLINE * 2, async || {
        rollbacks(cluster.member(old)).await > Some(rollbacks_before)
    });
    rolled_back.await.unwrap_or_else(|error| {
        let log = cluster.member(old).log();
        let about: Vec<&str> = log
            .lines()
            .filter(|line| line.contains("ollback"))
            .collect();
        panic!("{error}; the member says: {about:#?}")
    });
    kept.insert_one(doc! { "_id": 2 }).await.unwrap();

    for oplet in &oplets {
        oplet.wait_for_lines(3, DEADLINE).await.unwrap();
        let printed: Vec<i32> = writes(&ops(oplet)).iter().map(|write| write.id).collect();
        assert_eq!(printed, [0, 1, 2], "{:#?}", oplet.stderr().all());
        oplet.signal(Signal::Terminate).unwrap();
        assert_eq!(oplet.wait_exit(DEADLINE).await.unwrap(), 0);
        assert_quiet(oplet);
    }
    goes_on_behind_the_common_entry(&cluster, &watched, doomed_at).await;
}

/// The newest entry of a member's own oplog, whether a majority has it or not.
async fn newest_entry(client: &Client) -> OpTime {
    let oplog = client.database("local").collection::<Document>("oplog.rs");
    let entry = oplog.find_one(doc! {}).sort(doc! { "$natural": -1 }).await;
    let entry = entry.unwrap().expect("an oplog is never empty");
    OpTime {
        timestamp: entry.get_timestamp("ts").unwrap().into(),
        term: entry.get_i64("t").unwrap(),
    }
}

/// Whoever was given an entry that was rolled back is given what is there instead, whole.
async fn goes_on_behind_the_common_entry(cluster: &Cluster, watched: &str, doomed: OpTime) {
    let uri = mongo::parse_uri(&cluster.uri()).unwrap();
    let server = Server::connect(&uri, &mongo::Options::default()).await;
    let server = server.unwrap();
    let options = source::Options {
        scope: Scope::new([watched.parse().unwrap()]),
        start: Start::After(Position::Oplog(doomed)),
        // Later than all that follows: nothing of another history may be passed over by it.
        behind: Some(OpPoint {
            timestamp: Timestamp::new(u32::MAX, 0),
            index: 0,
        }),
        pipeline: Vec::new(),
        batch_size: source::BATCH_SIZE,
        oplog_namespace: source::default_oplog_namespace(),
        reading: source::Reading::default(),
    };
    let mut source = Source::new(SourceKind::Oplog, &server, options, Default::default());
    let mut ids = Vec::new();
    while ids.len() < 2 {
        let batch = source.next().await.unwrap();
        for op in batch.ops().filter(|op| op.operation() == Operation::Insert) {
            let (_, id) = op.document_id().expect("an insert has an id");
            ids.push(i32::from_le_bytes(id.try_into().expect("it is an int")));
        }
    }
    assert_eq!(ids, [1, 2]);
    drop(source);
    server.shutdown().await;
}
