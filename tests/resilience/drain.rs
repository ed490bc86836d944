//! An end that is asked for under load: what has begun is finished, and nothing is left half done.

use std::time::Duration;

use oplet_testkit::{ReplicaSet, RunningOplet, database_name};

use super::{
    SOURCES, Summary,
    load::{Load, Write, writes},
    modules, ops, run,
    shutdown::{GRACE_PERIOD, drains_within},
    started, summary, tail,
};
use crate::DEADLINE;

/// Writes to a collection that is watched, and waits until the run is in the middle of it.
async fn loaded(oplet: &RunningOplet, set: &ReplicaSet, database: &str) -> Load {
    started(oplet).await;
    let load = Load::start(set, database, "c").await;
    oplet.wait_for_lines(400, DEADLINE).await.unwrap();
    load
}

#[tokio::test]
async fn a_run_under_load_finishes_what_it_has_begun() {
    let set = ReplicaSet::shared().await.unwrap();
    let module = modules::busy(0, 2);
    for source in SOURCES {
        let database = database_name("drained");
        let oplet = run(set, source, &format!("{database}.c"), &module.path)
            .args(["--ordering", "oplog"])
            .start()
            .unwrap();
        let load = loaded(&oplet, set, &database).await;
        drains_within(&oplet, GRACE_PERIOD).await;
        load.goes_on(1).await;
        let written = load.end().await;

        let printed = ops(&oplet);
        let printed: Vec<_> = printed
            .into_iter()
            .filter(|op| op["operation"] != "c")
            .collect();
        for pair in printed.chunks(2) {
            assert_eq!(
                pair.first(),
                pair.last(),
                "each op is emitted twice, or not at all"
            );
            assert_eq!(pair.len(), 2);
        }
        let seen: Vec<Write> = writes(&printed).into_iter().step_by(2).collect();
        assert_eq!(
            seen,
            written[..seen.len()],
            "no op is missing before the last one"
        );
        let lines = oplet.stdout().all().len();
        let expected = Summary {
            handled: lines / 2,
            emitted: lines,
        };
        assert_eq!(summary(&oplet), expected);
    }
}

#[tokio::test]
async fn many_lanes_under_load_finish_what_they_have_begun() {
    let set = ReplicaSet::shared().await.unwrap();
    let module = modules::busy(1, 2);
    for source in SOURCES {
        let database = database_name("drained_lanes");
        let oplet = run(set, source, &format!("{database}.c"), &module.path)
            .args(["--workers", "4"])
            .start()
            .unwrap();
        let load = loaded(&oplet, set, &database).await;
        drains_within(&oplet, GRACE_PERIOD).await;
        load.end().await;

        let mut times = std::collections::HashMap::<_, usize>::new();
        let mut newest = std::collections::HashMap::new();
        for op in ops(&oplet) {
            *times.entry(op["opId"].to_string()).or_default() += 1;
            let before = newest.insert(op["_id"].to_string(), op["operation"].to_string());
            assert!(
                op["operation"] == "u" || before.is_none_or(|before| before == "\"i\""),
                "a document's ops stay in order: {op}"
            );
        }
        assert!(
            times.values().all(|times| *times == 2),
            "each op is emitted twice, or not at all"
        );
        let expected = Summary {
            handled: times.len(),
            emitted: times.len() * 2,
        };
        assert_eq!(summary(&oplet), expected);
    }
}

#[tokio::test]
async fn a_tail_under_load_ends_with_a_whole_line() {
    let set = ReplicaSet::shared().await.unwrap();
    for source in SOURCES {
        let database = database_name("tail_drained");
        let oplet = tail(set, source, &format!("{database}.c")).start().unwrap();
        let load = loaded(&oplet, set, &database).await;
        drains_within(&oplet, Duration::from_secs(2)).await;
        let written = load.end().await;
        let seen = writes(&ops(&oplet));
        assert_eq!(
            seen,
            written[..seen.len()],
            "no op is missing before the last one"
        );
    }
}
