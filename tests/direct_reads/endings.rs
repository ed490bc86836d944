//! Collections that end while they are read, and collections of another kind.

use bson::{Document, doc};

use super::scene::{Reading, emitted, end, ids, read_directly, said, stop};
use crate::DEADLINE;

#[tokio::test]
async fn a_collection_that_is_dropped_ends_its_read_and_the_drop_follows() {
    let reading = Reading::new("dropped").await;
    reading.insert(0..5_000).await;
    let running = reading
        .read()
        .args(["--direct-read-rate", "500", "--direct-read-split", "49"])
        .args(["--direct-read-concurrency", "1"])
        .start()
        .unwrap();
    running.wait_for_lines(300, DEADLINE).await.unwrap();
    reading.things().drop().await.unwrap();
    reading.insert(9_000..9_003).await;
    said(&running, "a direct read has ended").await;
    let is_last = |line: &str| line.contains("\"_id\":9002");
    running.wait_for_line(is_last, DEADLINE).await.unwrap();
    stop(&running).await;
    let ops = emitted(&running);
    let place = |wanted: &dyn Fn(&super::scene::Emitted) -> bool| ops.iter().rposition(wanted);
    let drop = place(&|op| op.operation == "c").expect("the drop is given");
    let last_read = place(&|op| op.source == "directRead").unwrap();
    assert!(last_read < drop, "documents come before the drop");
    let new: Vec<_> = ops[drop..]
        .iter()
        .filter(|op| op.operation == "i")
        .collect();
    assert_eq!(new.len(), 3, "what was made anew comes behind it: {new:?}");
    assert!(read_directly(&running).len() < 5_000);
}

/// Changes that wait for a segment which is not read to its end do not wait for ever, and do not count.
#[tokio::test]
async fn a_number_of_ops_ends_a_read_that_changes_wait_for() {
    for source in ["oplog", "change-stream"] {
        let reading = Reading::new("bound").await;
        reading.insert(0..2_000).await;
        let running = reading
            .read()
            .args(["--source", source, "--max-ops", "700"])
            .args(["--direct-read-rate", "300", "--direct-read-split", "-1"])
            .start()
            .unwrap();
        running.wait_for_lines(50, DEADLINE).await.unwrap();
        let change = doc! { "$inc": { "v": 1 } };
        reading.things().update_many(doc! {}, change).await.unwrap();
        end(&running).await;
        assert_eq!(emitted(&running).len(), 700, "{source}");
        assert_eq!(read_directly(&running).len(), 700, "{source}");
    }
}

#[tokio::test]
async fn a_collation_of_its_own_loses_nothing() {
    let reading = Reading::new("collation").await;
    let database = reading.client.database(&reading.database);
    let collation = mongodb::options::Collation::builder()
        .locale("en")
        .strength(mongodb::options::CollationStrength::Secondary)
        .build();
    database
        .create_collection("things")
        .collation(collation)
        .await
        .unwrap();
    let names = |from: i32, to: i32| {
        (from..to).map(|n| format!("{}{n}", ["a", "B", "c", "D"][n as usize % 4]))
    };
    reading.insert(names(0, 2_000)).await;
    let running = reading
        .read()
        .args(["--direct-read-rate", "1000", "--direct-read-split", "9"])
        .start()
        .unwrap();
    running.wait_for_lines(200, DEADLINE).await.unwrap();
    for n in (0..2_000).step_by(40) {
        let id = names(n, n + 1).next().unwrap();
        let second = doc! { "_id": &id, "v": 2 };
        let things = reading.things();
        things
            .replace_one(doc! { "_id": &id }, second)
            .await
            .unwrap();
        let id = names(n + 2, n + 3).next().unwrap();
        reading
            .things()
            .delete_one(doc! { "_id": &id })
            .await
            .unwrap();
    }
    said(&running, "the direct read is complete").await;
    stop(&running).await;
    let rest = reading.read().arg("--exit-when-idle").start().unwrap();
    end(&rest).await;
    let mut map = std::collections::BTreeMap::new();
    for op in emitted(&running).into_iter().chain(emitted(&rest)) {
        match op.version {
            Some(version) => drop(map.insert(op.id, version)),
            None => drop(map.remove(&op.id)),
        }
    }
    assert_eq!(map, reading.versions().await);
}

#[tokio::test]
async fn a_capped_collection_is_read_and_it_is_said_that_this_is_less_exact() {
    let reading = Reading::new("capped").await;
    let database = reading.client.database(&reading.database);
    let capped = database
        .create_collection("things")
        .capped(true)
        .size(1 << 20);
    capped.await.unwrap();
    reading.insert(0..20).await;
    let running = reading.read().arg("--exit-when-idle").start().unwrap();
    end(&running).await;
    said(&running, "it is a capped collection").await;
    assert_eq!(ids(&read_directly(&running)), (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn outputs_that_are_written_with_the_checkpoint_lead_to_the_collection() {
    let reading = Reading::new("transactional").await;
    reading.insert(0..3_000).await;
    let copy = format!("{}_copy", reading.database);
    let sink =
        format!("mongodb:{copy}.things#namespace-field=_ns&mode-field=_mode&transactional=true");
    let run = || {
        crate::oplet()
            .arg("run")
            .arg(oplet_testkit::guest("guest_mirror").unwrap())
            .args(["--uri", &reading.uri, "--watch", &reading.database])
            .args([
                "--direct-read",
                &reading.namespace(),
                "--name",
                &reading.database,
            ])
            .args(["--checkpoint", "mongodb:oplet.checkpoints", "--sink", &sink])
            .args(["--direct-read-split", "9", "--direct-read-concurrency", "2"])
    };
    let copies = reading
        .client
        .database(&copy)
        .collection::<Document>("things");
    let first = run().args(["--direct-read-rate", "400"]).start().unwrap();
    let some = async || copies.count_documents(doc! {}).await.unwrap() > 600;
    oplet_testkit::eventually(DEADLINE, some).await.unwrap();
    reading
        .things()
        .delete_many(doc! { "_id": { "$lt": 900, "$mod": [3, 0] } })
        .await
        .unwrap();
    first.signal(oplet_testkit::Signal::Kill).unwrap();
    first.wait_exit(DEADLINE).await.unwrap();
    // Not faster: a transaction that takes longer than the lease is renewed finds that in its way.
    let second = run()
        .args(["--exit-when-idle", "--direct-read-rate", "800"])
        .start()
        .unwrap();
    end(&second).await;
    assert_eq!(copies.count_documents(doc! {}).await.unwrap(), 2_700);
    let gone = copies.count_documents(doc! { "_id": { "$lt": 900, "$mod": [3, 0] } });
    assert_eq!(gone.await.unwrap(), 0);
}

/// A document whose module asks for another try comes before the drop of its collection.
#[tokio::test]
async fn a_drop_waits_for_documents_that_are_tried_again() {
    use crate::modules::{Handwritten, Scene, failing};
    for ordering in ["document", "namespace", "any"] {
        let scene = Scene::new("drop_retry").await;
        scene
            .insert((0..30).map(|id| doc! { "_id": id, "n": id }))
            .await;
        let answer = "(if (i32.lt_u (global.get $tries) (i32.const 2)) (then
               (call $retry_after (i64.const 4000)) (return (i32.const 3))))";
        let module = failing(Handwritten::new("later"), answer);
        let module = scene.module("later", &module.text());
        let namespace = format!("{}.things", scene.database);
        let running = scene
            .run_from_now(&[module])
            .args(["--direct-read", &namespace, "--ordering", ordering])
            .args(["--workers", "3"])
            .start()
            .unwrap();
        // All but those that stay in order behind it.
        let before = if ordering == "namespace" { 7 } else { 29 };
        running.wait_for_lines(before, DEADLINE).await.unwrap();
        scene.collection("things").drop().await.unwrap();
        scene
            .insert((30..40).map(|id| doc! { "_id": id, "n": id }))
            .await;
        running.wait_for_lines(41, DEADLINE).await.unwrap();
        stop(&running).await;
        let numbers = running.stdout().all().into_iter().map(|line| {
            let document: serde_json::Value = serde_json::from_str(&line).unwrap();
            document["n"].as_i64().unwrap()
        });
        let numbers: Vec<_> = numbers.collect();
        let drop = numbers.iter().position(|n| *n == -1);
        assert_eq!(drop, Some(30), "{ordering}: {numbers:?}");
        assert!(numbers[..30].contains(&7), "{ordering}: {numbers:?}");
    }
}
