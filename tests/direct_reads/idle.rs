//! A server on which nothing happens meanwhile.

use oplet_testkit::{Options, ReplicaSet};

use super::scene::{Reading, emitted, ids, said, stop};
use crate::DEADLINE;

/// For as long as nothing is written, the token of a stream stands for a time that the server has not
/// reached; documents cannot be asked for as they are then.
#[tokio::test]
async fn a_server_on_which_nothing_happens_is_read_at_once() {
    let options = Options {
        arguments: vec!["--setParameter=writePeriodicNoops=false".into()],
        ..Options::default()
    };
    let set = ReplicaSet::start(options).await.unwrap();
    let reading = Reading::on(&set, "idle").await;
    reading.insert(0..50).await;
    // The last segments are opened when the stream has waited for something, in vain.
    let running = reading
        .run()
        .args(["--source", "change-stream", "--checkpoint", "none"])
        .args(["--direct-read", &reading.namespace()])
        .args(["--direct-read-split", "5", "--direct-read-rate", "20"])
        .args(["--direct-read-concurrency", "1"])
        .start()
        .unwrap();
    said(&running, "the direct read is complete").await;
    running.wait_for_lines(50, DEADLINE).await.unwrap();
    // The first change is the one at the very time at which the stream begins.
    reading.insert(50..51).await;
    running.wait_for_lines(51, DEADLINE).await.unwrap();
    stop(&running).await;
    let said = running.stderr().all().join("\n");
    assert!(!said.contains("broke off"), "{said}");
    let all: Vec<_> = (0..51).collect();
    assert_eq!(ids(&emitted(&running)), all);
}
