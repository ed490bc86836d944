//! Transactions, when several lanes work on them and the process is killed in their middle.

use std::collections::BTreeMap;

use bson::{Document, doc};
use oplet_testkit::{RunningOplet, Signal, database_name, eventually};
use serde_json::Value;

use super::{SOURCES, modules, run, started};
use crate::DEADLINE;

/// Documents, and how often the transaction changes each.
const DOCUMENTS: i32 = 10;
const CHANGES: i32 = 20;

/// All changes of the documents in one transaction, document by document in turn.
async fn transact(set: &oplet_testkit::ReplicaSet, database: &str) {
    let client = set.client().await.unwrap();
    let c = client.database(database).collection::<Document>("c");
    let mut session = client.start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    for _ in 0..CHANGES {
        for id in 0..DOCUMENTS {
            let change = c.update_one(doc! { "_id": id }, doc! { "$inc": { "n": 1 } });
            change.session(&mut session).await.unwrap();
        }
    }
    session.commit_transaction().await.unwrap();
}

/// The indexes of each document's ops in the transaction, in the order in which they were handled.
fn handled(running: &RunningOplet) -> BTreeMap<i64, Vec<i64>> {
    let mut handled: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    let lines = running.stdout().all();
    // The last line of one that was killed may not be whole.
    let ops = lines
        .iter()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut transactions = std::collections::BTreeSet::new();
    for op in ops {
        transactions.insert(op["txn"]["lsid"].to_string() + &op["txn"]["txnNumber"].to_string());
        let index = op["txn"]["index"].as_i64().expect("it is in a transaction");
        let id = op["_id"].as_i64().expect("it is a number");
        handled.entry(id).or_default().push(index);
    }
    assert!(transactions.len() <= 1, "{transactions:?}");
    handled
}

#[tokio::test]
async fn a_kill_inside_a_transaction_loses_none_of_it_and_keeps_each_documents_order() {
    let set = oplet_testkit::ReplicaSet::shared().await.unwrap();
    let module = modules::busy(20, 1);
    for source in SOURCES {
        let database = database_name("inside");
        let documents = (0..DOCUMENTS).map(|id| doc! { "_id": id, "n": 0 });
        super::insert(set, &database, documents).await;
        let start = || {
            let run = run(set, source, &format!("{database}.c"), &module.path);
            let run = run.args(["--workers", "4", "--name", &database]);
            run.args(["--checkpoint", "mongodb:oplet.checkpoints"])
                .start()
                .unwrap()
        };
        let expected: BTreeMap<i64, Vec<i64>> = (0..i64::from(DOCUMENTS))
            .map(|id| (id, (0..i64::from(CHANGES)).map(|n| n * 10 + id).collect()))
            .collect();
        let all = |processes: &[RunningOplet]| {
            let mut all: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
            for (id, indexes) in processes.iter().flat_map(handled) {
                all.entry(id).or_default().extend(indexes);
            }
            for indexes in all.values_mut() {
                indexes.sort_unstable();
                indexes.dedup();
            }
            all
        };
        let mut processes = vec![start()];
        started(&processes[0]).await;
        transact(set, &database).await;
        for lines in [60, 60] {
            let last = processes.last().unwrap();
            // Where the kill before came late, there may be less left to do.
            let reached = eventually(DEADLINE, async || {
                last.stdout().all().len() >= lines || all(&processes) == expected
            });
            let reached = reached.await;
            assert!(reached.is_ok(), "{source}: {:#?}", last.stderr().all());
            last.signal(Signal::Kill).unwrap();
            processes.push(start());
        }
        let complete = eventually(DEADLINE, async || all(&processes) == expected).await;
        let said = processes.last().unwrap().stderr().all();
        assert!(
            complete.is_ok(),
            "{source}: {:?} {said:#?}",
            all(&processes)
        );
        for process in &processes {
            for (id, indexes) in handled(process) {
                assert!(indexes.is_sorted(), "{source}: {id}: {indexes:?}");
            }
        }
    }
}
