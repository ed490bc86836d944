//! Direct reads as a whole run sees them.

use std::collections::BTreeSet;

use bson::{Document, doc};

use crate::{
    DEADLINE,
    direct_reads::{Emitted, Reading, end, ids, read_directly, said, stop},
};

/// All documents once, and then an event that says how many there were. `OPLET_DOCUMENTS` is one more number to be
/// tried.
#[tokio::test]
async fn a5_a_direct_read_gives_everything_once_and_tells_its_end() {
    let more = std::env::var("OPLET_DOCUMENTS").ok();
    let more = more.map(|count| count.parse().expect("OPLET_DOCUMENTS is a number"));
    for count in [0, 1, 49_999].into_iter().chain(more) {
        let reading = Reading::new("a5").await;
        reading.insert(0..count).await;
        let running = reading.read().arg("--exit-when-idle").start().unwrap();
        end(&running).await;
        let read = ids(&read_directly(&running));
        assert_eq!(read.len() as i64, count);
        assert!(read.into_iter().eq(0..count), "each once");
        let told = said(&running, "the direct read is complete").await;
        assert!(told.contains(&format!("documents={count}")), "{told}");
        assert!(told.contains(&reading.namespace()), "{told}");
    }
}

#[tokio::test]
async fn a5_a_view_is_read_directly() {
    let reading = Reading::new("a5_view").await;
    reading.insert(0..100).await;
    let database = reading.client.database(&reading.database);
    let view = database.create_collection("even").view_on("things");
    let even = vec![doc! { "$match": { "_id": { "$mod": [2, 0] } } }];
    view.pipeline(even).await.unwrap();
    let running = reading
        .run()
        .args(["--direct-read", &format!("{}.even", reading.database)])
        .arg("--exit-when-idle")
        .start()
        .unwrap();
    end(&running).await;
    let even: Vec<_> = (0..100).step_by(2).collect();
    assert_eq!(ids(&read_directly(&running)), even);
    said(&running, "it is a view").await;
    let told = said(&running, "the direct read is complete").await;
    assert!(told.contains("documents=50"), "{told}");
}

/// As soon as one cursor is at its end the next collection begins: nobody waits for a slow one.
#[tokio::test]
async fn a41_two_cursors_slide_over_23_collections() {
    const LARGE: i64 = 50_000;
    const SMALL: i64 = 10;
    let reading = Reading::new("a41").await;
    reading.insert(0..LARGE).await;
    let database = reading.client.database(&reading.database);
    let names: Vec<_> = (1..23).map(|number| format!("small{number}")).collect();
    for name in &names {
        let documents = (0..SMALL).map(|id| doc! { "_id": id });
        let collection = database.collection::<Document>(name);
        collection.insert_many(documents).await.unwrap();
    }
    let mut run = reading.read();
    for name in &names {
        run = run.args(["--direct-read", &format!("{}.{name}", reading.database)]);
    }
    let running = run
        .args(["--direct-read-concurrency", "2", "--workers", "1"])
        .arg("--exit-when-idle")
        .start()
        .unwrap();
    end(&running).await;
    let read = read_directly(&running);
    let all = LARGE + SMALL * names.len() as i64;
    assert_eq!(read.len() as i64, all);
    let large = reading.namespace();
    let is_large = |op: &Emitted| op.namespace == large;
    let large_ends = read.iter().rposition(is_large).unwrap();
    // By twos, with a pause until both are done, there could be one.
    let meanwhile: BTreeSet<_> = read[..large_ends]
        .iter()
        .filter(|op| !is_large(op))
        .map(|op| &op.namespace)
        .collect();
    assert!(meanwhile.len() > 2, "{meanwhile:?}");
}

/// What is inserted beyond the largest key while it is read comes as a change, and only so.
#[tokio::test]
async fn a40_a_bounded_read_stops_where_the_collection_ended() {
    let reading = Reading::new("a40").await;
    reading.insert(0..2_000).await;
    let running = reading
        .read()
        .args(["--direct-read-bounded", "--direct-read-rate", "1000"])
        .args(["--direct-read-split", "9", "--direct-read-concurrency", "1"])
        .start()
        .unwrap();
    running.wait_for_lines(100, DEADLINE).await.unwrap();
    for first in (2_000..2_500).step_by(50) {
        reading.insert(first..first + 50).await;
    }
    said(&running, "the direct read is complete").await;
    running.wait_for_lines(2_500, DEADLINE).await.unwrap();
    stop(&running).await;
    let read = ids(&read_directly(&running));
    assert_eq!(read, (0..2_000).collect::<Vec<_>>());
    let all = ids(&crate::direct_reads::emitted(&running));
    let distinct: BTreeSet<_> = all.iter().copied().collect();
    assert_eq!(distinct, (0..2_500).collect());
}
