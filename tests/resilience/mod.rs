//! What outlasts trouble: signals under load, a closed output, servers that die, stop, or refuse,
//! members that take over from each other, and a backlog larger than memory should be.

mod drain;
mod dropped;
mod failover;
mod faults;
mod large_transaction;
mod load;
mod modules;
mod pipe;
mod resources;
mod server;
mod shutdown;
mod transactions;

use std::{path::Path, time::Duration};

use bson::{Document, doc};
use oplet_testkit::{Oplet, ReplicaSet, RunningOplet};
use serde_json::Value;

use crate::{DEADLINE, oplet};

/// Both ways to read changes, as the command line spells them.
const SOURCES: [&str; 2] = ["oplog", "change-stream"];

/// `oplet run` of one module.
fn run(set: &ReplicaSet, source: &str, watch: &str, module: &Path) -> Oplet {
    run_at(&set.uri(), source, watch, module)
}

fn run_at(uri: &str, source: &str, watch: &str, module: &Path) -> Oplet {
    let run = oplet().arg("run").arg(module);
    run.args(["--watch", watch, "--source", source, "--uri", uri])
}

/// `oplet tail`, which says when it is connected, as a run does by itself.
fn tail(set: &ReplicaSet, source: &str, watch: &str) -> Oplet {
    tail_at(&set.uri(), source, watch)
}

fn tail_at(uri: &str, source: &str, watch: &str) -> Oplet {
    oplet().args(["tail", watch, "--source", source, "-v", "--uri", uri])
}

/// Inserts documents into the collection `c` of a database.
async fn insert(set: &ReplicaSet, database: &str, documents: impl IntoIterator<Item = Document>) {
    let client = set.client().await.unwrap();
    let collection = client.database(database).collection("c");
    collection.insert_many(documents).await.unwrap();
}

/// Waits until what happens from now on is seen.
async fn started(oplet: &RunningOplet) {
    let is_started = |line: &str| line.contains(" connected ") || line.contains("\"connected\"");
    oplet
        .wait_for_stderr(
            |line| is_started(line) || line.contains(" running "),
            DEADLINE,
        )
        .await
        .unwrap();
}

/// The ops that were printed; every line is whole.
fn ops(oplet: &RunningOplet) -> Vec<Value> {
    let parse = |line: &String| {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in the line {line}"))
    };
    oplet.stdout().all().iter().map(parse).collect()
}

/// The numbers of a run's last words.
#[derive(Debug, PartialEq, Eq)]
struct Summary {
    handled: usize,
    emitted: usize,
}

fn summary(oplet: &RunningOplet) -> Summary {
    let lines = oplet.stderr().all();
    let line = lines
        .iter()
        .rev()
        .find_map(|line| line.strip_prefix("ops: "))
        .unwrap_or_else(|| panic!("no summary in {lines:#?}"));
    let number = |what: &str| {
        let part = line.split(", ").find_map(|part| part.strip_suffix(what));
        part.and_then(|part| part.trim().parse().ok())
            .unwrap_or_else(|| panic!("no number of{what} in {line}"))
    };
    Summary {
        handled: number(" handled"),
        emitted: number(" emitted"),
    }
}

/// How many lines of the log hold this.
fn logged(oplet: &RunningOplet, text: &str) -> usize {
    let lines = oplet.stderr().all();
    lines.iter().filter(|line| line.contains(text)).count()
}

/// Nothing that would alarm an operator was said.
fn assert_quiet(oplet: &RunningOplet) {
    for line in oplet.stderr().all() {
        let is_alarming = line.contains("panicked") || line.contains(" ERROR ");
        assert!(!is_alarming && !line.starts_with("error"), "{line}");
    }
}

/// Sets off the server's fail point for the commands of one application.
async fn fail_commands(
    set: &ReplicaSet,
    application: &str,
    commands: &[&str],
    how: Document,
    mode: bson::Bson,
) {
    let mut data = doc! { "failCommands": commands, "appName": application };
    data.extend(how);
    let command = doc! { "configureFailPoint": "failCommand", "mode": mode, "data": data };
    let client = set.client().await.unwrap();
    client.database("admin").run_command(command).await.unwrap();
}

/// How long something short may take on a busy machine.
const SOON: Duration = Duration::from_secs(30);
