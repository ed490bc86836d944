//! A read goes on where it was, and what was read once is not read again.

use std::collections::BTreeSet;

use oplet_testkit::Signal;

use super::scene::{Reading, end, ids, read_directly, said, stop};
use crate::{DEADLINE, oplet};

const COUNT: i64 = 4_000;

#[tokio::test]
async fn a_killed_read_goes_on_from_there() {
    let reading = Reading::new("resumed").await;
    reading.insert(0..COUNT).await;
    let slow = || {
        reading.read().args([
            "--direct-read-split",
            "39",
            "--direct-read-concurrency",
            "1",
        ])
    };
    let first = slow().args(["--direct-read-rate", "400"]).start().unwrap();
    let most = COUNT as usize * 85 / 100;
    first.wait_for_lines(most, DEADLINE).await.unwrap();
    first.signal(Signal::Kill).unwrap();
    first.wait_exit(DEADLINE).await.unwrap();
    let ledger = reading.ledger().await;
    assert!(ledger.get("complete").is_none(), "{ledger}");
    let ranges = ledger.get_array("ranges").unwrap().len();
    // Those beyond the position that was saved are not yet one with the others.
    assert!(
        (1..=16).contains(&ranges),
        "ranges side by side are one: {ledger}"
    );

    let second = slow().arg("--exit-when-idle").start().unwrap();
    end(&second).await;
    let (before, after) = (ids(&read_directly(&first)), ids(&read_directly(&second)));
    let all: BTreeSet<_> = before.iter().chain(&after).copied().collect();
    assert_eq!(all, (0..COUNT).collect());
    let again = after.len();
    assert!(again < COUNT as usize / 2, "{again} were read again");
    let unique: BTreeSet<_> = after.iter().collect();
    assert_eq!(unique.len(), again, "each at most once");

    let ledger = reading.ledger().await;
    assert!(ledger.get("complete").is_some(), "{ledger}");
    assert_eq!(ledger.get_array("ranges").unwrap().len(), 1, "{ledger}");
    assert_eq!(ledger.get_i64("documents").unwrap(), COUNT);
    let shown = oplet()
        .args(["checkpoint", "show", &reading.database, "--format", "text"])
        .args(["--uri", &reading.uri])
        .args(["--checkpoint", "mongodb:oplet.checkpoints"])
        .start()
        .unwrap();
    end(&shown).await;
    let shown = shown.stdout().all().join("\n");
    assert!(shown.contains("complete since"), "{shown}");
    assert!(
        shown.contains(&format!("{COUNT} documents done")),
        "{shown}"
    );
}

#[tokio::test]
async fn what_is_complete_is_not_read_again_unless_it_is_another_collection() {
    let reading = Reading::new("complete").await;
    reading.insert(0..10).await;
    let run = || reading.read().arg("--exit-when-idle");
    let first = run().start().unwrap();
    end(&first).await;
    assert_eq!(ids(&read_directly(&first)), (0..10).collect::<Vec<_>>());
    let second = run().start().unwrap();
    end(&second).await;
    assert!(read_directly(&second).is_empty());
    said(&second, "complete already").await;
    // Made anew while nobody looked: its documents come as changes, and by a new read.
    reading.things().drop().await.unwrap();
    reading.insert(20..25).await;
    let third = run().start().unwrap();
    end(&third).await;
    said(&third, "another one than before").await;
    assert_eq!(ids(&read_directly(&third)), (20..25).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_paused_run_reads_nothing_more_and_goes_on() {
    let reading = Reading::new("paused").await;
    reading.insert(0..COUNT).await;
    let running = reading
        .read()
        .args(["--direct-read-rate", "1000", "--admin", "127.0.0.1:0"])
        .args(["--direct-read-split", "9", "--direct-read-concurrency", "2"])
        .start()
        .unwrap();
    running.wait_for_lines(500, DEADLINE).await.unwrap();
    let address = super::asked::admin(&running).await;
    super::asked::ask(&address, &["pause"]).await;
    // What was printed before the answer may still be on its way to us.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let before = running.stdout().all().len();
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    assert_eq!(running.stdout().all().len(), before, "it rests");
    reading.insert(COUNT..COUNT + 5).await;
    super::asked::ask(&address, &["resume"]).await;
    said(&running, "the direct read is complete").await;
    running
        .wait_for_lines(COUNT as usize + 5, DEADLINE)
        .await
        .unwrap();
    stop(&running).await;
    let lines = super::scene::emitted(&running);
    let all: BTreeSet<_> = ids(&lines).into_iter().collect();
    assert_eq!(all, (0..COUNT + 5).collect());
}
