//! What is recorded is what happened, but for what is to be left out.

use bson::{Document, doc};
use oplet_testkit::Signal;
use serde_json::Value;

use super::{Folder, documents};
use crate::{
    DEADLINE,
    modules::{Ended, NOWHERE, Scene},
    oplet,
};

/// `oplet record` of what has happened in the scene, into that file of the folder.
async fn record(scene: &Scene, folder: &Folder, out: &str, more: &[&str]) -> Ended {
    let record = scene.verb("record").in_folder(folder.0.path());
    Ended::of(record.args(["--exit-when-idle", "--out", out]).args(more)).await
}

async fn written(hint: &str) -> Scene {
    let scene = Scene::new(hint).await;
    let document =
        |id: i32| doc! {"_id": id, "n": i64::from(id), "email": format!("{id}@secret.example")};
    scene.insert((0..20).map(document)).await;
    let change = |id| doc! {"$set": {"email": format!("{id}@secret.example.org"), "n": 70_i64}};
    scene.update(0..10, change).await;
    scene
}

#[tokio::test]
async fn what_was_recorded_is_replayed_as_it_ran() {
    let scene = written("record").await;
    let folder = Folder::new();
    for source in ["oplog", "change-stream"] {
        let tailed = scene.tail(&["--source", source, "--format", "canonical"]);
        let tailed = Ended::of(tailed).await.with_code(0).stdout;
        assert_eq!(tailed.len(), 30);
        for out in ["ops.bson", "ops.jsonl"] {
            let more = ["--source", source, "--force"];
            let recorded = record(&scene, &folder, out, &more).await.with_code(0);
            recorded.says(&["recorded 30 ops, ", &format!(" to {out}")]);
            assert_eq!(recorded.stdout, [""; 0]);
            let echo = ["echo.wasm", out, "--format", "canonical"];
            let replayed = folder.replay(&echo).await.with_code(0);
            assert_eq!(replayed.stdout, tailed, "{source} {out}");
        }
    }
    let first = documents(&folder.path("ops.bson")).remove(0);
    assert_eq!(first.get_document("data").unwrap().get_i64("n").unwrap(), 0);
}

#[tokio::test]
async fn a_file_that_is_there_is_left_alone() {
    let scene = written("overwrite").await;
    let folder = Folder::new();
    folder.write("ops.bson", "mine");
    let oplet = || oplet().in_folder(folder.0.path());
    let refused = oplet().args(["record", "--uri", NOWHERE, "--out", "ops.bson"]);
    Ended::of(refused)
        .await
        .is_refused(&["ops.bson is there already", "`--force`"]);
    assert_eq!(folder.read("ops.bson"), "mine");
    let refused = oplet().args(["record", "--uri", NOWHERE, "--out", "no/ops.bson"]);
    Ended::of(refused)
        .await
        .is_refused(&["there is no folder no"]);
    let refused = oplet().args(["record", "--uri", NOWHERE, "--out", "o", "--redact", "a..b"]);
    Ended::of(refused).await.is_refused(&["joined by dots"]);
    let more = ["--force", "--max-ops", "3"];
    record(&scene, &folder, "ops.bson", &more)
        .await
        .with_code(0);
    assert_eq!(documents(&folder.path("ops.bson")).len(), 3);
}

#[tokio::test]
async fn redacted_values_are_not_in_the_file() {
    let scene = written("redact").await;
    let folder = Folder::new();
    for source in ["oplog", "change-stream"] {
        for (out, format) in [("a.bson", "bson"), ("b", "json"), ("c", "canonical")] {
            let more = [
                "--source", source, "--force", "--format", format, "--redact", "email",
            ];
            record(&scene, &folder, out, &more).await.with_code(0);
            let bytes = std::fs::read(folder.path(out)).unwrap();
            let is_secret = |window: &[u8]| window == b"secret";
            assert!(!bytes.windows(6).any(is_secret), "{source} {format}");
            let echo = folder.replay(&["echo.wasm", out]).await.with_code(0);
            let ops = echo.documents();
            assert_eq!(ops.len(), 30);
            assert!(ops[..20].iter().all(|op| op["data"]["email"] == "***"));
            let updated = |op: &Value| op["updateDescription"]["updatedFields"].clone();
            assert!(
                ops[20..]
                    .iter()
                    .all(|op| updated(op)["email"] == "***" && updated(op)["n"] == 70)
            );
        }
    }
}

#[tokio::test]
async fn a_signal_ends_a_recording_that_is_whole() {
    let scene = written("record_signal").await;
    let folder = Folder::new();
    let record = scene.verb("record").in_folder(folder.0.path());
    let running = record.args(["--out", "ops.bson"]).start().unwrap();
    let path = folder.path("ops.bson");
    // How many there are; none as long as the last one is not whole.
    let recorded = || -> Option<usize> {
        let bytes = std::fs::read(&path).ok()?;
        let (mut rest, mut count) = (&bytes[..], 0);
        while !rest.is_empty() {
            Document::from_reader(&mut rest).ok()?;
            count += 1;
        }
        Some(count)
    };
    // They are in the file while it goes on.
    oplet_testkit::eventually(DEADLINE, async || recorded() == Some(30))
        .await
        .unwrap();
    running.signal(Signal::Interrupt).unwrap();
    assert_eq!(running.wait_exit(DEADLINE).await.unwrap(), 0);
    assert!(
        running
            .stderr()
            .all()
            .join("\n")
            .contains("recorded 30 ops")
    );
}

/// Ops of which the module fails on two, and rejects one.
async fn failing(hint: &str) -> Scene {
    let scene = Scene::new(hint).await;
    let documents = [
        doc! {"_id": 1},
        doc! {"_id": 2, "panic": true},
        doc! {"_id": 3, "reject": true},
        doc! {"_id": 4, "retry": true},
    ];
    scene.insert(documents).await;
    scene
}

#[tokio::test]
async fn ops_that_a_module_fails_on_are_saved() {
    let scene = failing("save_failed").await;
    let folder = Folder::new();
    let saved = folder.path("failed/ops");
    let module = [folder.path("faulty.wasm")];
    let letters = format!("file:{}", folder.path("letters").display());
    let files = || {
        let entries = std::fs::read_dir(&saved).unwrap();
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    };
    for policy in ["stop", "skip", "retry"] {
        let flags = [
            "--on-error",
            policy,
            "--dead-letters",
            &letters,
            "--save-failed",
        ];
        let run = scene
            .run(&module)
            .args(flags)
            .arg(&saved)
            .args(["--workers", "1"]);
        let ended = Ended::of(run.args(["--exit-when-idle", "--attempts", "2"])).await;
        // With the first failure the run stops; the others find some there already.
        let (code, count) = if policy == "stop" { (1, 1) } else { (0, 3) };
        let ended = ended.with_code(code);
        assert_eq!(files().len(), count, "{policy}: {}", ended.stderr);
        if policy != "retry" {
            ended.says(&["the op is saved; `oplet replay` takes it"]);
        }
    }
    let name = files()[0]
        .file_name()
        .unwrap()
        .to_owned()
        .into_string()
        .unwrap();
    assert!(
        name.ends_with("-0-faulty.bson") && !name.contains(':'),
        "{name}"
    );
    let replay = ["faulty.wasm", files()[0].to_str().unwrap()].map(str::to_owned);
    let replayed = folder.replay(&[&replay[0], &replay[1]]).await.with_code(1);
    replayed.says(&["things 2) failed in `handle` (trap): told to panic"]);
}

#[tokio::test]
async fn dead_letters_become_a_recording() {
    let scene = failing("export").await;
    let folder = Folder::new();
    let letters = format!("file:{}", folder.path("letters").display());
    let flags = ["--dead-letters", &letters, "--on-error", "dead-letter"];
    scene
        .run_over(&[folder.path("faulty.wasm")], flags)
        .await
        .with_code(0);
    let export = async |arguments: &[&str]| {
        let verb = oplet()
            .in_folder(folder.0.path())
            .args(["dead-letters", "export"]);
        Ended::of(verb.args(arguments).args(["--dead-letters", &letters])).await
    };
    let all = export(&["--out", "all.bson"]).await.with_code(0);
    all.says(&["exported 3 ops, ", "to all.bson"]);
    let replayed = folder
        .replay(&["faulty.wasm", "all.bson"])
        .await
        .with_code(1);
    replayed.says(&[
        "3 read, 3 kept, 0 handled, 0 emitted, 1 failed, 1 rejected, 1 left for another try",
    ]);
    let one = ["--kind", "reject", "--out", "one.jsonl"];
    export(&one).await.with_code(0).says(&["exported 1 op, "]);
    assert!(folder.read("one.jsonl").contains(r#""reject":true"#));
    export(&one)
        .await
        .is_refused(&["one.jsonl is there already"]);
    let unknown = export(&["nothing", "--out", "none.bson"])
        .await
        .with_code(1);
    unknown.says(&["there is no dead letter `nothing`"]);
    assert!(!folder.path("none.bson").exists());
}
