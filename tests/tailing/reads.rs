//! What lies in collections, before their changes.

use std::collections::BTreeMap;

use oplet_testkit::Signal;

use super::*;
use crate::direct_reads::{self, Reading, Writers, read_directly, replay};

/// `oplet tail` of the database, which reads the collection.
fn tail(reading: &Reading, source: &str) -> Oplet {
    oplet()
        .args(["tail", &reading.database, "--uri", &reading.uri])
        .args(["--source", source, "--direct-read", &reading.namespace()])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_printed_leads_to_the_collection() -> Result<()> {
    for source in SOURCES {
        let reading = Reading::new("tail_printed").await;
        let writers = Writers::begin(&reading).await;
        let running = tail(&reading, source)
            .args(["--direct-read-split", "20", "--direct-read-rate", "4000"])
            .start()?;
        let line = direct_reads::said(&running, "the direct read is complete").await;
        assert!(line.contains(&reading.namespace()), "{line}");
        writers.end().await;
        // What is printed last of all is the last change.
        reading.insert(["last"]).await;
        let is_last = |line: &str| line.contains(r#""_id":"last""#);
        running.wait_for_line(is_last, DEADLINE).await?;
        running.signal(Signal::Terminate)?;
        assert_eq!(running.wait_exit(DEADLINE).await?, 0);
        let mut map = BTreeMap::new();
        replay(&running, &mut map);
        assert_eq!(map, reading.versions().await, "{source}");
    }
    Ok(())
}

#[tokio::test]
async fn a_view_and_what_is_not_there_end_when_they_are_read() -> Result<()> {
    let reading = Reading::new("tail_ends").await;
    reading.insert(0..1_000).await;
    let database = reading.client.database(&reading.database);
    let view = database.create_collection("even").view_on("things");
    let even = vec![doc! { "$match": { "_id": { "$mod": [2, 0] } } }];
    view.pipeline(even).await?;
    for source in SOURCES {
        let running = tail(&reading, source)
            .args(["--direct-read", &format!("{}.even", reading.database)])
            .args(["--direct-read", &format!("{}.nothing", reading.database)])
            .arg("--exit-when-idle")
            .start()?;
        let code = running.wait_exit(DEADLINE).await?;
        ensure!(code == 0, "{}", said(&running));
        let read = read_directly(&running);
        let of = |name: &str| {
            let namespace = format!("{}.{name}", reading.database);
            let ops = read.iter().filter(|op| op.namespace == namespace);
            direct_reads::ids(&ops.cloned().collect::<Vec<_>>())
        };
        assert!(of("things").into_iter().eq(0..1_000), "{source}");
        assert!(of("even").into_iter().eq((0..1_000).step_by(2)), "{source}");
        assert!(of("nothing").is_empty());
        let told = said(&running);
        let complete = told.matches("the direct read is complete").count();
        assert_eq!(complete, 3, "{told}");
    }
    Ok(())
}

#[tokio::test]
async fn a_number_of_changes_ends_a_read() -> Result<()> {
    let reading = Reading::new("tail_max").await;
    reading.insert(0..2_000).await;
    let running = tail(&reading, "change-stream")
        .args(["--direct-read-split", "9", "--max-ops", "777"])
        .start()?;
    let code = running.wait_exit(DEADLINE).await?;
    ensure!(code == 0, "{}", said(&running));
    assert_eq!(read_directly(&running).len(), 777);
    Ok(())
}
