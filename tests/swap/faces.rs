//! Every way to ask for another version, as users ask: a file that changes, a signal, the command line.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use bson::{Document, doc};
use mongodb::Collection;
use oplet::reload::Options;
use oplet_testkit::{Oplet, ReplicaSet, RunningOplet, Signal, database_name, wat};
use tempfile::TempDir;

use crate::{DEADLINE, modules::Ended, oplet};

/// A run of one module from a file, whose version shows in what it emits.
struct Scene {
    folder: TempDir,
    things: Collection<Document>,
    running: RunningOplet,
    /// How many documents were inserted, each of which leads to a line.
    inserted: usize,
}

impl Scene {
    async fn start(hint: &str, flags: &[&str]) -> Self {
        let set = ReplicaSet::shared().await.unwrap();
        let database = database_name(hint);
        let client = set.client().await.unwrap();
        let things = client.database(&database).collection("things");
        // Now, so that the first op is the first document.
        things.insert_one(doc! {}).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        put(&folder.path().join("audit.wasm"), &module(1));
        let running = oplet()
            .in_folder(folder.path())
            .args(["run", "audit.wasm", "--admin", "127.0.0.1:0", "-v"])
            .args(["--uri", &set.uri(), "--watch", &database])
            .args(["--source", "oplog", "--workers", "2"])
            .args(flags)
            .start()
            .unwrap();
        let is_running = |line: &str| line.contains(" running ");
        running.wait_for_stderr(is_running, DEADLINE).await.unwrap();
        Self {
            folder,
            things,
            running,
            inserted: 0,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Waits until the log has said that for the `nth` time.
    async fn says(&self, what: &str, nth: usize) {
        let seen = std::sync::atomic::AtomicUsize::new(0);
        let is_it = |line: &str| {
            line.contains(what)
                && seen.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1 == nth
        };
        self.running.wait_for_stderr(is_it, DEADLINE).await.unwrap();
    }

    /// That the next op is handled by this version.
    async fn works(&mut self, version: u8) {
        self.things.insert_one(doc! {}).await.unwrap();
        self.inserted += 1;
        let lines = self.running.wait_for_lines(self.inserted, DEADLINE);
        let lines = lines.await.unwrap();
        assert_eq!(lines.len(), self.inserted);
        assert_eq!(lines.last().unwrap(), &format!("{{\"v\":{version}}}"));
    }

    /// Asks the run by the command line.
    async fn asks(&self, arguments: &[&str]) -> Ended {
        let is_served = |line: &str| line.contains("the admin API is served");
        let line = self.running.wait_for_stderr(is_served, DEADLINE).await;
        let line = line.unwrap();
        let address = line.split_once("address=").unwrap().1;
        let address = address.split_whitespace().next().unwrap();
        let client: Oplet = oplet().in_folder(self.folder.path()).args(arguments);
        Ended::of(client.args(["--admin", address.trim_matches('"')])).await
    }

    async fn end(self) {
        self.running.signal(Signal::Terminate).unwrap();
        assert_eq!(self.running.wait_exit(DEADLINE).await.unwrap(), 0);
    }
}

/// A handler that emits `{v: VERSION}` for each op.
fn module(version: u8) -> Vec<u8> {
    wat(&format!(
        r#"(module
            (import "oplet" "emit" (func $emit (param i32 i32 i32) (result i32)))
            (memory (export "memory") 2)
            (data (i32.const 16) "\0c\00\00\00\10v\00\{version:02x}\00\00\00\00")
            (func (export "oplet_abi_v1"))
            (func (export "oplet_alloc") (param i32) (result i32) (i32.const 1024))
            (func (export "handle") (param i32 i32) (result i32)
                (call $emit (i32.const 0) (i32.const 16) (i32.const 12))))"#
    ))
    .unwrap()
}

/// Puts a file in the place of another in one step, as linkers and editors do.
fn put(path: &Path, bytes: &[u8]) {
    let temporary = path.with_extension("new");
    fs::write(&temporary, bytes).unwrap();
    fs::rename(temporary, path).unwrap();
}

const TAKEN_OVER: &str = "its version has taken over";

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_is_swapped_in_and_one_that_is_broken_is_told() {
    let mut scene = Scene::start("reload", &["--reload"]).await;
    scene.works(1).await;
    put(&scene.file("audit.wasm"), &module(2));
    scene.says(TAKEN_OVER, 1).await;
    scene.works(2).await;
    // Over the file itself, in pieces.
    let begun = Instant::now();
    fs::write(scene.file("audit.wasm"), &module(3)[..40]).unwrap();
    fs::write(scene.file("audit.wasm"), module(3)).unwrap();
    // A machine with much else to do may leave the half of it alone for longer than that.
    let is_at_once = begun.elapsed() < Options::SETTLE;
    scene.says(TAKEN_OVER, 2).await;
    scene.works(3).await;
    put(&scene.file("audit.wasm"), b"no module");
    scene.says("not WebAssembly", 1).await;
    scene.works(3).await;
    // What is wrong with it can be several things.
    let bare = wat("(module (import \"env\" \"x\" (func)))").unwrap();
    put(&scene.file("audit.wasm"), &bare);
    scene.says("unknown import `env.x`", 1).await;
    scene.works(3).await;
    put(&scene.file("audit.wasm"), &module(4));
    scene.says(TAKEN_OVER, 3).await;
    scene.works(4).await;
    let told = scene.running.stderr().all();
    let refused = told
        .iter()
        .filter(|line| line.contains("the version before goes on"));
    let most = if is_at_once { 2 } else { 3 };
    let is_right = (2..=most).contains(&refused.count());
    assert!(is_right, "each is told once: {told:#?}");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_has_the_files_looked_at() {
    let mut scene = Scene::start("hangup", &[]).await;
    scene.running.signal(Signal::HangUp).unwrap();
    scene.says("holds the version that works", 1).await;
    put(&scene.file("audit.wasm"), &module(2));
    scene.works(1).await;
    scene.running.signal(Signal::HangUp).unwrap();
    scene.says(TAKEN_OVER, 1).await;
    scene.works(2).await;
    fs::remove_file(scene.file("audit.wasm")).unwrap();
    scene.running.signal(Signal::HangUp).unwrap();
    scene.says("the module's file cannot be read", 1).await;
    scene.works(2).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_swaps_lists_adds_and_goes_back() {
    let mut scene = Scene::start("command_line", &[]).await;
    scene.works(1).await;
    fs::write(scene.file("two.wasm"), module(2)).unwrap();
    let ended = scene.asks(&["swap", "audit=two.wasm"]).await.with_code(0);
    assert!(
        ended.stdout[0].contains("(generation 2) has taken over from"),
        "{:?}",
        ended.stdout
    );
    scene.works(2).await;
    let ended = scene.asks(&["swap", "audit=two.wasm"]).await.with_code(0);
    assert!(
        ended.stdout[0].ends_with("works already"),
        "{:?}",
        ended.stdout
    );
    let ended = scene.asks(&["rollback", "audit"]).await.with_code(0);
    assert!(
        ended.stdout[0].contains("(generation 3)"),
        "{:?}",
        ended.stdout
    );
    scene.works(1).await;

    let ended = scene.asks(&["modules"]).await.with_code(0);
    let listed = &ended.documents()[0]["modules"];
    assert_eq!(
        (&listed[0]["name"], &listed[0]["generation"]),
        (&"audit".into(), &3.into())
    );
    let ended = scene
        .asks(&["modules", "--format", "text"])
        .await
        .with_code(0);
    assert!(ended.stdout[0].starts_with("NAME "), "{:?}", ended.stdout);
    assert!(ended.stdout[1].starts_with("audit "), "{:?}", ended.stdout);

    fs::write(scene.file("text.wasm"), "no module").unwrap();
    let bare = wat("(module (import \"env\" \"x\" (func)))").unwrap();
    fs::write(scene.file("bare.wasm"), bare).unwrap();
    for (arguments, code, said) in [
        (
            &["swap", "audit=nowhere.wasm"][..],
            2,
            "cannot read the module nowhere.wasm",
        ),
        (&["swap", "audit=text.wasm"], 2, "not WebAssembly"),
        (
            &["swap", "audit=bare.wasm"],
            2,
            "  - unknown import `env.x`",
        ),
        (&["swap", "audti=two.wasm"], 1, "did you mean `audit`?"),
        (&["rollback", "audit"], 1, "no version before"),
        (&["remove", "audit"], 1, "the only module"),
        (&["swap", "audit"], 2, "`NAME=FILE.wasm`"),
        (
            &["swap", "audit=two.wasm", "--canary", "7"],
            2,
            "is no share",
        ),
        (&["swap", "audit=two.wasm", "--ops", "7"], 2, "--canary"),
    ] {
        let ended = scene.asks(arguments).await.with_code(code);
        assert!(
            ended.stderr.contains(said),
            "{arguments:?}: {}",
            ended.stderr
        );
    }
    scene.works(1).await;

    let ended = scene
        .asks(&["swap", "more=two.wasm", "--add"])
        .await
        .with_code(0);
    assert!(
        ended.stdout[0].starts_with("`more`: added"),
        "{:?}",
        ended.stdout
    );
    let ended = scene.asks(&["remove", "more"]).await.with_code(0);
    assert!(
        ended.stdout[0].starts_with("`more`: removed"),
        "{:?}",
        ended.stdout
    );
    scene.works(1).await;
    scene.end().await;
}
