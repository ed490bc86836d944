//! A real handler that panics, loops and eats memory when it is told to: it costs its own op, and nothing else.

use bson::{Document, doc};
use oplet_testkit::{Signal, guest};

use crate::{
    DEADLINE,
    modules::{Ended, Handwritten, Scene},
};

const DOCUMENTS: i32 = 200;

/// The ids of the documents that ask `guest_faulty` for something bad, with what its failure record
/// says then.
const BAD: [(i32, &str, &str, &str); 3] = [
    (50, "panic", "trap", "told to panic by"),
    (100, "loop", "deadline", "took longer than 1s"),
    (150, "grow", "memory-limit", "memory"),
];

fn documents() -> impl Iterator<Item = Document> {
    (0..DOCUMENTS).map(|id| match BAD.iter().find(|(bad, ..)| *bad == id) {
        Some((_, wish, ..)) => doc! {"_id": id, *wish: true},
        None => doc! {"_id": id, "n": id},
    })
}

/// The ids of the documents that this module emitted, sorted; `guest_faulty` does not name itself.
fn ids(ended: &Ended, by: Option<&str>) -> Vec<i64> {
    let mut ids: Vec<_> = ended
        .documents()
        .iter()
        .filter(|document| document["by"].as_str() == by)
        .map(|document| document["_id"].as_i64().unwrap())
        .collect();
    ids.sort_unstable();
    ids
}

fn all() -> Vec<i64> {
    (0..i64::from(DOCUMENTS)).collect()
}

fn all_but_the_bad() -> Vec<i64> {
    let is_bad = |id: &i64| BAD.iter().any(|(bad, ..)| i64::from(*bad) == *id);
    all().into_iter().filter(|id| !is_bad(id)).collect()
}

/// That there is one failure record for each bad document, naming module, op and reason.
#[track_caller]
fn assert_logged(ended: &Ended, database: &str) {
    let failures = ended.failures();
    assert_eq!(failures.len(), BAD.len(), "{}", ended.stderr);
    for (_, wish, class, reason) in BAD {
        let class = format!("class=\"{class}\"");
        let failure = failures.iter().find(|failure| failure.contains(&class));
        let failure = failure.unwrap_or_else(|| panic!("no {class} for {wish}: {failures:#?}"));
        let namespace = format!("namespace=\"{database}.things\"");
        for word in [
            "module=\"guest_faulty\"",
            "op_id=",
            "position=",
            &namespace,
            reason,
        ] {
            assert!(failure.contains(word), "{word}: {failure}");
        }
    }
}

#[tokio::test]
async fn a_trap_a_loop_and_a_gibibyte_cost_their_own_ops_only() {
    let scene = Scene::new("contained").await;
    scene.insert(documents()).await;
    for source in ["change-stream", "oplog"] {
        let flags = ["--source", source, "--on-error", "skip"];
        let faulty = guest("guest_faulty").unwrap();
        let ended = scene.run_over(&[faulty], flags).await.with_code(0);
        assert_eq!(ids(&ended, None), all_but_the_bad(), "{source}");
        assert_logged(&ended, &scene.database);
        assert_eq!(ended.counted("skipped"), BAD.len() as u64);
    }
}

#[tokio::test]
async fn a_module_beside_it_in_the_same_lane_gets_everything() {
    let scene = Scene::new("beside").await;
    scene.insert(documents()).await;
    let beside = scene.module("beside", &Handwritten::new("beside").text());
    let modules = [guest("guest_faulty").unwrap(), beside];
    let flags = ["--workers", "1", "--on-error", "skip"];
    let ended = scene.run_over(&modules, flags).await.with_code(0);
    assert_eq!(ids(&ended, Some("beside")), all());
    assert_eq!(ids(&ended, None), all_but_the_bad());
    assert_logged(&ended, &scene.database);
}

#[tokio::test]
async fn the_process_lives_on_and_takes_what_comes_later() {
    let scene = Scene::new("lives").await;
    scene.insert(documents()).await;
    let run = scene.run(&[guest("guest_faulty").unwrap()]);
    let oplet = run.args(["--on-error", "skip"]).start().unwrap();
    let handled = all_but_the_bad().len();
    oplet.wait_for_lines(handled, DEADLINE).await.unwrap();

    scene
        .insert([doc! {"_id": 1_000, "panic": true}, doc! {"_id": 1_001}])
        .await;
    let later = oplet.wait_for_line(|line| line.contains("1001"), DEADLINE);
    later.await.unwrap();
    oplet.signal(Signal::Terminate).unwrap();
    assert_eq!(oplet.wait_exit(DEADLINE).await.unwrap(), 0);
    assert_eq!(oplet.stdout().all().len(), handled + 1);
}
