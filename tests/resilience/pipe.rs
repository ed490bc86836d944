//! An output that takes no more.

use bson::doc;
use oplet_testkit::{Oplet, ReplicaSet, RunningOplet, Signal, database_name, guest};
use tempfile::TempDir;

use super::{SOON, SOURCES, assert_quiet, insert, load::Load, run, started, tail};
use crate::DEADLINE;

/// A shell script that runs `oplet tail` as `"$@"`.
fn script(script: &str, set: &ReplicaSet, watch: &str) -> Oplet {
    let uri = set.uri();
    let tail = [
        env!("CARGO_BIN_EXE_oplet"),
        "tail",
        watch,
        "-v",
        "--uri",
        &uri,
    ];
    Oplet::new("/bin/sh").args(["-c", script, "sh"]).args(tail)
}

/// `oplet run` or `oplet tail` under load, with an output that closes after three lines.
async fn ends_quietly(oplet: Oplet, set: &ReplicaSet, database: &str) {
    let oplet = oplet.close_stdout_after(3).start().unwrap();
    started(&oplet).await;
    let load = Load::start(set, database, "c").await;
    assert_eq!(
        oplet.wait_exit(DEADLINE).await.unwrap(),
        0,
        "{:#?}",
        oplet.stderr().all()
    );
    assert_eq!(oplet.stdout().all().len(), 3);
    assert_quiet(&oplet);
    load.end().await;
}

#[tokio::test]
async fn a_broken_pipe_ends_quietly() {
    let set = ReplicaSet::shared().await.unwrap();
    let echo = guest("guest_echo").unwrap();
    for source in SOURCES {
        let database = database_name("pipe");
        let watch = format!("{database}.c");
        ends_quietly(run(set, source, &watch, &echo), set, &database).await;
        let database = database_name("pipe");
        let watch = format!("{database}.c");
        ends_quietly(tail(set, source, &watch), set, &database).await;
    }
}

#[tokio::test]
async fn closed_outputs_of_both_kinds_end_quietly() {
    let set = ReplicaSet::shared().await.unwrap();
    let database = database_name("pipes");
    let watch = format!("{database}.c");
    let folder = TempDir::new().unwrap();
    let status = folder.path().join("status");
    let command = format!(
        "{{ \"$@\"; echo $? > {}; }} 2>&1 | {{ read -r line; echo \"$line\"; }}",
        status.display()
    );
    let oplet = script(&command, set, &watch).start().unwrap();
    oplet
        .wait_for_line(|line| line.contains("connected"), SOON)
        .await
        .unwrap();
    let load = Load::start(set, &database, "c").await;
    assert_eq!(oplet.wait_exit(DEADLINE).await.unwrap(), 0);
    load.end().await;
    let status = std::fs::read_to_string(status).unwrap();
    assert_eq!(status.trim(), "0", "{:#?}", oplet.stderr().all());
}

#[tokio::test]
async fn a_full_disk_is_an_error() {
    let set = ReplicaSet::shared().await.unwrap();
    let database = database_name("full");
    let watch = format!("{database}.c");
    let oplet = script("exec \"$@\" > /dev/full", set, &watch)
        .start()
        .unwrap();
    started(&oplet).await;
    let client = set.client().await.unwrap();
    client
        .database(&database)
        .collection("c")
        .insert_one(doc! {})
        .await
        .unwrap();
    assert_eq!(oplet.wait_exit(DEADLINE).await.unwrap(), 1);
    let said = oplet.stderr().all().join("\n");
    assert!(
        said.contains("error: cannot write to the standard output"),
        "{said}"
    );
}

/// A program whose output goes to somebody who reads nothing.
struct Unread {
    oplet: RunningOplet,
    _folder: TempDir,
}

impl Unread {
    fn start(set: &ReplicaSet, watch: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let pipe = folder.path().join("pipe");
        // The shell holds both ends, and passes the process id on to oplet.
        let command = format!(
            "mkfifo {0} && exec 3<>{0} && exec \"$@\" > {0}",
            pipe.display()
        );
        let oplet = script(&command, set, watch).start().unwrap();
        Self {
            oplet,
            _folder: folder,
        }
    }
}

#[tokio::test]
async fn an_output_that_nobody_reads_does_not_hold_up_the_end() {
    let set = ReplicaSet::shared().await.unwrap();
    let database = database_name("unread");
    let Unread { oplet, _folder } = Unread::start(set, &format!("{database}.c"));
    started(&oplet).await;
    let documents = (0..200).map(|id| doc! { "_id": id, "a": "x".repeat(4_000) });
    insert(set, &database, documents).await;
    // Until one of its threads waits for room in the pipe.
    let threads = format!("/proc/{}/task", oplet.id());
    oplet_testkit::eventually(SOON, async || {
        let threads = std::fs::read_dir(&threads).unwrap().flatten();
        let waits = |path: std::path::PathBuf| std::fs::read_to_string(path.join("wchan"));
        threads
            .map(|thread| waits(thread.path()))
            .any(|on| on.is_ok_and(|on| on.contains("pipe")))
    })
    .await
    .unwrap();
    oplet.signal(Signal::Terminate).unwrap();
    assert_eq!(oplet.wait_exit(SOON).await.unwrap(), 0);
}
