//! Real files, and a run that is a task of the test.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    sync::{Notify, mpsc},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{ModuleFile, Options, Outcome, file::digest_of, run};
use crate::control::{
    Command, Handle, ModuleStatus, Origin, RunState, ShownOps, ShownPosition, Status, SwapError,
    Swapped, Version,
};

/// Longer than anything takes on a machine that does a lot else.
const LONG: Duration = Duration::from_secs(60);

/// How long nothing must happen to be taken for nothing.
const WHILE: Duration = Duration::from_millis(700);

/// What became of files, as the tests tell it apart.
#[derive(Debug, PartialEq)]
enum Seen {
    Swapped(String),
    Same(String),
    Refused(String, bool),
    Unreadable,
}

struct Scene {
    folder: TempDir,
    asked: Arc<Notify>,
    /// What the run refuses at present, whatever it is.
    is_late: Arc<AtomicBool>,
    shutdown: CancellationToken,
    outcomes: mpsc::UnboundedReceiver<Seen>,
    task: JoinHandle<()>,
}

impl Scene {
    async fn watching(watch: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("release").join("audit.wasm");
        fs::create_dir(path.parent().unwrap()).unwrap();
        fs::write(&path, "\0asm one").unwrap();
        let digest = digest_of(b"\0asm one");
        let is_late = Arc::new(AtomicBool::new(false));
        let handle = working(digest.clone(), is_late.clone());
        let options = Options {
            files: vec![ModuleFile {
                module: "audit".into(),
                path,
                digest,
            }],
            watch,
            settle: Duration::from_millis(80),
            retry: Duration::from_millis(100),
            bytes_max: 1_000,
        };
        let asked = Arc::new(Notify::new());
        let shutdown = CancellationToken::new();
        let (told, outcomes) = mpsc::unbounded_channel();
        let task = run(
            options,
            handle,
            asked.clone(),
            shutdown.clone(),
            move |outcome| drop(told.send(seen(outcome))),
        );
        Self {
            folder,
            asked,
            is_late,
            shutdown,
            outcomes,
            task: tokio::spawn(task),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("release/audit.wasm")
    }

    fn write(&self, text: &str) {
        fs::write(self.path(), text).unwrap();
    }

    /// As editors and linkers do it.
    fn put(&self, text: &str) {
        let temporary = self.folder.path().join("next");
        fs::write(&temporary, text).unwrap();
        fs::rename(temporary, self.path()).unwrap();
    }

    async fn next(&mut self) -> Seen {
        let next = timeout(LONG, self.outcomes.recv()).await;
        next.expect("something comes of it").unwrap()
    }

    async fn nothing(&mut self) {
        self.nothing_for(WHILE).await;
    }

    async fn nothing_for(&mut self, span: Duration) {
        let next = timeout(span, self.outcomes.recv()).await;
        assert!(next.is_err(), "{next:?}");
    }

    async fn end(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }
}

fn swapped(text: &str) -> Seen {
    Seen::Swapped(digest_of(text.as_bytes()))
}

fn seen(outcome: &Outcome) -> Seen {
    match outcome {
        Outcome::Swapped { swapped, .. } => {
            Seen::Swapped(swapped.to.as_ref().unwrap().digest.clone())
        }
        Outcome::Same { digest, .. } => Seen::Same(digest.clone()),
        Outcome::Refused {
            digest,
            is_tried_again,
            ..
        } => Seen::Refused(digest.clone(), *is_tried_again),
        Outcome::Unreadable { .. } => Seen::Unreadable,
    }
}

/// A run that takes what begins as a module does.
fn working(mut digest: String, is_late: Arc<AtomicBool>) -> Handle {
    let (handle, mut commands) = Handle::new();
    tokio::spawn(async move {
        let mut generation = 1;
        while let Some(command) = commands.recv().await {
            match command {
                Command::Status(answer) => drop(answer.send(Box::new(status(&digest)))),
                Command::Swap(swap, answer) => {
                    assert_eq!(swap.origin, Origin::File);
                    let result = match () {
                        () if is_late.load(SeqCst) => Err(SwapError::Late { waited: LONG }),
                        () if !swap.wasm.starts_with(b"\0asm") => Err(SwapError::LastModule {
                            module: swap.module,
                        }),
                        () => {
                            digest = digest_of(&swap.wasm);
                            generation += 1;
                            Ok(Swapped {
                                module: swap.module,
                                from: None,
                                to: Some(Version {
                                    digest: digest.clone(),
                                    generation,
                                }),
                                trial: None,
                                reopened: false,
                                pause_us: 0,
                                lanes_without_state: 0,
                            })
                        }
                    };
                    drop(answer.send(result));
                }
                _ => unreachable!("nothing else is asked"),
            }
        }
    });
    handle
}

fn status(digest: &str) -> Status {
    let module = ModuleStatus {
        name: "audit".into(),
        digest: digest.into(),
        generation: 1,
        versions: Vec::new(),
        trial: None,
        grants: None,
        on_error: "skip",
        failures_in_a_row: 0,
        breaker_open_since: None,
        last_error: None,
        waiting_for_retry: 0,
    };
    Status {
        name: "audit".into(),
        state: RunState::Streaming,
        since: String::new(),
        reason: None,
        ready: true,
        source: "oplog",
        scope: "*".into(),
        position: ShownPosition::of_time(None),
        lag_seconds: None,
        oplog_window_hours: None,
        in_flight_ops: 0,
        in_flight_bytes: 0,
        oldest_unacknowledged_seconds: None,
        ops: ShownOps::default(),
        checkpoint: None,
        modules: vec![module],
        sinks: Vec::new(),
        direct_reads: vec![],
        deployments: Vec::new(),
        gap: None,
    }
}

#[tokio::test]
async fn a_file_is_swapped_in_however_it_is_written() {
    let mut scene = Scene::watching(true).await;
    // What it held when it was loaded is not news.
    scene.nothing().await;
    scene.put("\0asm two");
    assert_eq!(scene.next().await, swapped("\0asm two"));
    scene.write("\0asm three");
    assert_eq!(scene.next().await, swapped("\0asm three"));
    // Touched, or written again as it was: the same.
    scene.write("\0asm three");
    scene.nothing().await;
    // Gone, and there again, in a folder that was made anew, as a build does it.
    fs::remove_dir_all(scene.path().parent().unwrap()).unwrap();
    scene.nothing().await;
    fs::create_dir(scene.path().parent().unwrap()).unwrap();
    for n in 4..7 {
        let text = format!("\0asm {n}");
        scene.put(&text);
        assert_eq!(scene.next().await, swapped(&text));
    }
    scene.nothing().await;
    scene.end().await;
}

#[tokio::test]
async fn of_many_writes_the_last_is_swapped_in() {
    let mut scene = Scene::watching(true).await;
    // What begins as a module and is cut off is waited for longer than a machine under load may pause.
    let mut text = "\0asm\u{1}\0\0\0\u{1}".to_owned();
    for _ in 0..50 {
        scene.write(&text);
        text.push('x');
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let last = "\0asm\u{1}\0\0\0\u{1}\u{1}x";
    scene.put(last);
    assert_eq!(scene.next().await, swapped(last));
    scene.nothing().await;
    scene.end().await;
}

#[tokio::test]
async fn what_is_refused_is_told_once_and_what_mends_it_is_swapped_in() {
    let mut scene = Scene::watching(true).await;
    scene.put("text");
    assert_eq!(scene.next().await, Seen::Refused(digest_of(b"text"), false));
    scene.put("text");
    scene.nothing().await;
    scene.put("\0asm two");
    assert_eq!(scene.next().await, swapped("\0asm two"));
    fs::remove_file(scene.path()).unwrap();
    fs::create_dir(scene.path()).unwrap();
    assert_eq!(scene.next().await, Seen::Unreadable);
    scene.nothing().await;
    scene.end().await;
}

#[tokio::test]
async fn what_cannot_be_done_now_is_tried_again_and_told_once() {
    let mut scene = Scene::watching(true).await;
    scene.is_late.store(true, SeqCst);
    scene.put("\0asm two");
    let late = Seen::Refused(digest_of(b"\0asm two"), true);
    assert_eq!(scene.next().await, late);
    // Files are looked at every second: it is tried again meanwhile.
    scene.nothing_for(WHILE * 4).await;
    scene.is_late.store(false, SeqCst);
    assert_eq!(scene.next().await, swapped("\0asm two"));
    scene.nothing().await;
    scene.end().await;
}

#[tokio::test]
async fn files_that_are_not_watched_are_looked_at_when_that_is_asked_for() {
    let mut scene = Scene::watching(false).await;
    let same = |text: &str| Seen::Same(digest_of(text.as_bytes()));
    scene.asked.notify_one();
    assert_eq!(scene.next().await, same("\0asm one"));
    scene.put("\0asm two");
    scene.nothing().await;
    scene.asked.notify_one();
    assert_eq!(scene.next().await, swapped("\0asm two"));
    scene.asked.notify_one();
    assert_eq!(scene.next().await, same("\0asm two"));
    for _ in 0..2 {
        scene.put("text");
        scene.asked.notify_one();
        assert_eq!(scene.next().await, Seen::Refused(digest_of(b"text"), false));
    }
    fs::remove_file(scene.path()).unwrap();
    scene.asked.notify_one();
    assert_eq!(scene.next().await, Seen::Unreadable);
    scene.nothing().await;
    scene.end().await;
}
