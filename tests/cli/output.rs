//! What goes where: data to standard output, talk to standard error.

use bson::doc;
use oplet_testkit::{RunningOplet, guest};

use crate::{
    DEADLINE,
    modules::{Ended, Scene},
};

/// A scene with a few documents.
async fn written(hint: &str) -> Scene {
    let scene = Scene::new(hint).await;
    scene.insert((0..5).map(|id| doc! {"_id": id})).await;
    scene
}

async fn run(scene: &Scene, flags: &[&str]) -> Ended {
    let echo = [guest("guest_echo").unwrap()];
    let ended = scene.run_over(&echo, flags).await.with_code(0);
    // Each line is a document, however much is said.
    assert_eq!(ended.documents().len(), 5);
    ended
}

#[tokio::test]
async fn talk_goes_to_standard_error() {
    let scene = written("talk").await;
    let normal = run(&scene, &[]).await;
    normal.says(&[
        "INFO connected",
        "INFO running",
        "ops: 5 read, 5 kept, 5 handled, 5 emitted, 0 failed",
    ]);
    assert!(!normal.stderr.contains("DEBUG"), "{}", normal.stderr);
    assert!(!normal.stderr.contains('\x1b'), "{}", normal.stderr);

    run(&scene, &["-v"])
        .await
        .says(&["DEBUG modules are ready"]);
    assert_eq!(run(&scene, &["-q"]).await.stderr, "");
    assert_eq!(
        run(&scene, &["--quiet", "--source", "oplog"]).await.stderr,
        ""
    );
    run(&scene, &["--color", "always"])
        .await
        .says(&["\x1b[32m INFO"]);
}

#[tokio::test]
async fn tail_says_nothing_unless_asked() {
    let scene = written("tail_talk").await;
    let ended = scene.tail_over("change-stream").await.with_code(0);
    assert_eq!(ended.documents().len(), 5);
    assert_eq!(ended.stderr, "");
}

#[tokio::test]
async fn colours_follow_the_flag() {
    let scene = written("colours").await;
    let pretty = |color: &'static str| scene.tail(&["--format", "pretty", "--color", color]);
    let colored = Ended::of(pretty("always")).await.with_code(0);
    assert_eq!(colored.stdout.len(), 5);
    assert!(colored.stdout[0].contains("\x1b["), "{:?}", colored.stdout);
    let plain = Ended::of(pretty("never")).await.with_code(0);
    assert!(!plain.stdout[0].contains('\x1b'), "{:?}", plain.stdout);
    let insert = format!("insert  {}.things 0", scene.database);
    assert!(plain.stdout[0].contains(&insert), "{:?}", plain.stdout);
}

/// That it ended quietly, when nobody read its output any more.
async fn assert_quiet_end(oplet: &RunningOplet) {
    assert_eq!(oplet.wait_exit(DEADLINE).await.unwrap(), 0);
    let stderr = oplet.stderr().all().join("\n");
    for word in ["error", "ERROR", "panicked", "WARN"] {
        assert!(!stderr.contains(word), "{stderr}");
    }
}

#[tokio::test]
async fn a_broken_pipe_is_a_quiet_end() {
    let scene = Scene::new("broken_pipe").await;
    // More than a pipe holds.
    let filler = "x".repeat(1_000);
    scene
        .insert((0..2_000).map(|id| doc! {"_id": id, "filler": &filler}))
        .await;
    for source in ["change-stream", "oplog"] {
        let run = scene
            .run(&[guest("guest_echo").unwrap()])
            .args(["--source", source]);
        assert_quiet_end(&run.close_stdout_after(3).start().unwrap()).await;
        let tail = scene.tail(&["--source", source]);
        assert_quiet_end(&tail.close_stdout_after(3).start().unwrap()).await;
    }
}
