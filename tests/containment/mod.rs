//! What hostile modules try, and that it costs them their own ops and nobody else anything.
//!
//! A row is a module written by hand, with what must become of it. The rows of a test run together in
//! one process, in one lane, beside a well-behaved module; that one must have handled every op, the
//! process must end as it would without them, and must not have grown. `docs/containment.md` has the
//! table of threats that names these tests.

mod faulty;
mod floods;
mod fuzz;
mod letters;
mod loading;
mod loops;
mod memory;
mod pointers;
mod starting;
mod system;

use std::{fs, path::PathBuf, time::Duration};

use bson::doc;
use oplet_testkit::RunningOplet;

use crate::{
    DEADLINE,
    modules::{Ended, Handwritten, Scene},
};

/// How many documents each run is about; their ids count from 0.
const DOCUMENTS: i32 = 8;

/// The one of them on which a module does what it is there for.
const BAD: i32 = 3;

/// What a process may have at most, in megabytes: about 100 are its own when it is built for tests,
/// and a module that eats all that it may has 64.
const MEGABYTES_MAX: u64 = 600;

/// A hostile module.
struct Hostile {
    name: &'static str,
    module: Handwritten,
    fate: Fate,
}

/// What must become of it.
#[derive(Clone, Copy)]
enum Fate {
    /// It fails on the bad op, with this class and a reason that has these words, and a fresh instance
    /// handles the rest.
    FailsOnce(&'static str, &'static str),
    /// It fails on every op.
    FailsAlways(&'static str, &'static str),
    /// What it tried had no effect, and it handles every op. It traps where it finds otherwise.
    Thwarted,
    /// It has only itself to blame.
    Whatever,
}

/// A module that does this on the bad op, and emits each.
fn on_bad(name: &'static str, body: &str, fate: Fate) -> Hostile {
    hostile(name, |module| module.handle(&when_bad(body)), fate)
}

/// A module as it is made here, which emits each op.
fn hostile(
    name: &'static str,
    make: impl FnOnce(Handwritten) -> Handwritten,
    fate: Fate,
) -> Hostile {
    Hostile {
        name,
        module: make(Handwritten::new(name)),
        fate,
    }
}

/// A `handle` that does this on the bad op, before it emits it as it does the others.
fn when_bad(body: &str) -> String {
    format!(
        "(if (i32.eq (call $int (local.get $op) {}) (i32.const {BAD})) (then {body}))
        (call $emit_one (local.get $op)) (i32.const 0)",
        Handwritten::name("_id")
    )
}

/// Instructions that trap unless the expression is 0.
fn traps_unless_zero(expression: &str) -> String {
    format!("(if {expression} (then (unreachable)))")
}

/// Instructions that trap unless the expression is that number.
fn traps_unless(number: i32, expression: &str) -> String {
    traps_unless_zero(&format!("(i32.ne (i32.const {number}) {expression})"))
}

/// A run of hostile modules, which has ended.
struct Contained {
    ended: Ended,
    megabytes: u64,
}

impl Contained {
    /// Runs the modules over the documents beside a well-behaved one, in one lane.
    async fn run(hint: &str, rows: &[Hostile], flags: &[&str]) -> Self {
        let scene = Scene::new(hint).await;
        scene
            .insert((0..DOCUMENTS).map(|id| doc! {"_id": id, "n": id}))
            .await;
        let mut modules: Vec<PathBuf> = rows
            .iter()
            .map(|row| scene.module(row.name, &row.module.text()))
            .collect();
        // In the middle: some come before it in the lane, and some after it.
        let beside = scene.module("beside", &Handwritten::new("beside").text());
        modules.insert(rows.len() / 2, beside);
        let run = scene.run(&modules).arg("--exit-when-idle").args(flags);
        let (ended, megabytes) = watched(run.args(["--workers", "1"]).start().unwrap()).await;
        Self { ended, megabytes }
    }

    /// That nothing happened to anybody else.
    #[track_caller]
    fn is_contained(&self) {
        let Ended { code, stderr, .. } = &self.ended;
        assert_eq!(*code, 0, "{stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
        assert!(!stderr.contains('\u{1b}'), "{stderr}");
        assert_eq!(self.ids("beside"), all(), "{stderr}");
        assert!(self.megabytes < MEGABYTES_MAX, "{} MB", self.megabytes);
    }

    /// The ids of what a module emitted, sorted.
    fn ids(&self, by: &str) -> Vec<i64> {
        let documents = self.ended.documents();
        let mine = documents.iter().filter(|document| document["by"] == by);
        let mut ids: Vec<_> = mine
            .map(|document| document["_id"].as_i64().unwrap())
            .collect();
        ids.sort_unstable();
        ids
    }

    /// That this became of a module.
    #[track_caller]
    fn meets(&self, row: &Hostile) {
        let Hostile { name, fate, .. } = row;
        let module = format!("module=\"{name}\"");
        let failures = self.ended.failures();
        let failures: Vec<_> = failures
            .iter()
            .filter(|line| line.contains(&module))
            .collect();
        let (class, reason, count, ids) = match *fate {
            Fate::FailsOnce(class, reason) => (class, reason, 1, all_but_bad()),
            Fate::FailsAlways(class, reason) => (class, reason, DOCUMENTS as usize, vec![]),
            Fate::Thwarted => ("", "", 0, all()),
            Fate::Whatever => return,
        };
        assert_eq!(failures.len(), count, "{name}: {failures:#?}");
        let class = format!("class=\"{class}\"");
        for failure in failures {
            assert!(failure.contains(&class), "{name}: {failure}");
            assert!(failure.contains(reason), "{name}: {reason}: {failure}");
        }
        assert_eq!(self.ids(name), ids, "{name}");
    }
}

/// Runs the rows, skipping the ops that they fail on, and holds each against its fate.
async fn check(hint: &str, rows: &[Hostile]) -> Contained {
    let contained = Contained::run(hint, rows, &["--on-error", "skip"]).await;
    contained.is_contained();
    rows.iter().for_each(|row| contained.meets(row));
    contained
}

fn all() -> Vec<i64> {
    (0..i64::from(DOCUMENTS)).collect()
}

fn all_but_bad() -> Vec<i64> {
    all()
        .into_iter()
        .filter(|id| *id != i64::from(BAD))
        .collect()
}

/// Waits for the end of a process, and tells the most memory that it was seen to have.
async fn watched(oplet: RunningOplet) -> (Ended, u64) {
    let mut megabytes = 0;
    let code = loop {
        // The kernel keeps the peak, so that looking now and then is enough.
        megabytes = megabytes.max(peak_megabytes(&oplet).unwrap_or(0));
        match tokio::time::timeout(Duration::from_millis(100), oplet.wait_exit(DEADLINE)).await {
            Ok(code) => break code.unwrap(),
            Err(_still_running) => {}
        }
    };
    let ended = Ended {
        code,
        stdout: oplet.stdout().all(),
        stderr: oplet.stderr().all().join("\n"),
    };
    (ended, megabytes)
}

/// The most memory that a process has had at once; none when it is gone.
fn peak_megabytes(oplet: &RunningOplet) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", oplet.id())).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? / 1024)
}

/// How long the document is that a module of that name emits.
fn named(by: &str) -> usize {
    crate::modules::bytes(&doc! {"_id": 0, "n": 0, "by": by}).len()
}
