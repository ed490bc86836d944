//! What becomes of an op that a module failed on.

use bson::doc;
use oplet_testkit::guest;
use serde_json::{Value, json};

use super::{Ended, Handwritten, SOURCES, Scene};

/// Ten documents, the fifth of which asks `guest_faulty` for something.
async fn ten_with(hint: &str, wish: &str) -> Scene {
    let scene = Scene::new(hint).await;
    let documents = (0..10).map(|id| match id {
        4 => doc! {"_id": id, wish: true},
        _ => doc! {"_id": id},
    });
    scene.insert(documents).await;
    scene
}

/// Runs `guest_faulty` over them, one op after another.
async fn run_faulty(scene: &Scene, source: &str, on_error: &str) -> Ended {
    let flags = [
        "--source",
        source,
        "--ordering",
        "oplog",
        "--on-error",
        on_error,
    ];
    scene
        .run_over(&[guest("guest_faulty").unwrap()], flags)
        .await
}

fn ids(ended: &Ended) -> Vec<Value> {
    ended
        .documents()
        .iter()
        .map(|document| document["_id"].clone())
        .collect()
}

#[tokio::test]
async fn stop_ends_the_run_with_the_op_named() {
    let scene = ten_with("stop", "panic").await;
    for source in SOURCES {
        let ended = run_faulty(&scene, source, "stop").await.with_code(1);
        assert_eq!(
            ids(&ended),
            [0, 1, 2, 3],
            "what came before was handled, the rest not begun"
        );
        ended.says(&[
            "error: the module `guest_faulty` failed on the op ",
            "hint: the log above has the failure; `--on-error skip` passes such ops over",
        ]);
        let failures = ended.failures();
        assert_eq!(failures.len(), 1, "{}", ended.stderr);
        let namespace = format!("namespace=\"{}.things\"", scene.database);
        for word in [
            "module=\"guest_faulty\"",
            "class=\"trap\"",
            "told to panic by",
            &namespace,
        ] {
            assert!(failures[0].contains(word), "{word}: {}", failures[0]);
        }
    }
}

#[tokio::test]
async fn skip_passes_over_the_op_and_nothing_else() {
    let scene = ten_with("skip", "reject").await;
    for source in SOURCES {
        let ended = run_faulty(&scene, source, "skip").await.with_code(0);
        assert_eq!(ids(&ended), [0, 1, 2, 3, 5, 6, 7, 8, 9], "{source}");
        assert_eq!(ended.counted("skipped"), 1);
        ended.says(&["told to reject", "the op is skipped"]);
    }
}

#[tokio::test]
async fn retry_gives_an_op_up_after_five_attempts_and_goes_on() {
    let scene = ten_with("retry", "retry").await;
    let ended = run_faulty(&scene, "change-stream", "retry")
        .await
        .with_code(0);
    assert_eq!(
        ids(&ended),
        [0, 1, 2, 3, 5, 6, 7, 8, 9],
        "what comes after it waits for it, and keeps its order"
    );
    assert_eq!(ended.counted("dead-lettered"), 1);
    let failures = ended.failures();
    assert_eq!(failures.len(), 5, "{}", ended.stderr);
    for (attempt, failure) in (1..).zip(failures) {
        let next = if attempt < 5 {
            "tried again"
        } else {
            "the op goes into the dead letters"
        };
        for word in [&format!("attempt={attempt} "), "told to retry", next] {
            assert!(failure.contains(word), "{word}: {failure}");
        }
    }
}

#[tokio::test]
async fn retry_does_not_repeat_what_was_rejected() {
    let scene = ten_with("rejected", "reject").await;
    let ended = run_faulty(&scene, "oplog", "retry").await.with_code(0);
    assert_eq!(ended.failures().len(), 1, "{}", ended.stderr);
    assert_eq!(ended.counted("dead-lettered"), 1);
}

/// A module that answers so at its first two calls, and is done at the third; it emits each time.
fn done_at_the_third_call(answer: i32) -> Handwritten {
    Handwritten::new("third")
        .import("retry_after", "(param i64)")
        .with("(global $calls (mut i32) (i32.const 0))")
        .handle(&format!(
            "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
            (call $emit_one (local.get $op))
            (call $retry_after (i64.const 5))
            (select (i32.const 0) (i32.const {answer}) (i32.ge_s (global.get $calls) (i32.const 3)))"
        ))
}

#[tokio::test]
async fn an_op_that_succeeds_in_the_end_is_delivered_once() {
    let scene = Scene::new("third_call").await;
    scene.insert([doc! {"_id": 1, "n": 7}]).await;
    let out = [json!({"_id": 1, "n": 7, "by": "third"})];

    let retry = scene.module("retry", &done_at_the_third_call(1).text());
    let ended = scene
        .run_over(&[retry], ["--on-error", "retry"])
        .await
        .with_code(0);
    assert_eq!(ended.documents(), out);
    assert_eq!(ended.failures().len(), 2, "{}", ended.stderr);

    // Asking for time is no failure: it costs no attempt, and the policy is not asked.
    let later = scene.module("later", &done_at_the_third_call(3).text());
    let ended = scene
        .run_over(&[later], ["--on-error", "stop"])
        .await
        .with_code(0);
    assert_eq!(ended.documents(), out);
    assert_eq!((ended.failures().len(), ended.counted("failed")), (0, 0));
}
