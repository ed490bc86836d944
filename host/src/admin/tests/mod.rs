//! The routes, over real HTTP, answered by a run that is a task of the test.

mod access;
mod modules;
mod routes;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Notify,
};
use tokio_util::sync::CancellationToken;

use super::{Error, Options, Server, serve};
use crate::{
    control::{
        Command, CommandError, Handle, Reached, RunState, ShownOps, ShownPosition, Status,
        SwapError,
    },
    op::{Since, Timestamp},
    telemetry::{Collect, Metrics, Samples, names},
};

fn position() -> ShownPosition {
    ShownPosition::of_time(Some(Timestamp::new(1_700_000_001, 7)))
}

fn status(state: RunState) -> Status {
    Status {
        name: "audit".into(),
        state,
        since: "2023-11-14T22:13:21Z".into(),
        reason: None,
        ready: state == RunState::Streaming,
        source: "oplog",
        scope: "*".into(),
        position: position(),
        lag_seconds: Some(0.5),
        oplog_window_hours: None,
        in_flight_ops: 0,
        in_flight_bytes: 0,
        oldest_unacknowledged_seconds: None,
        ops: ShownOps::default(),
        checkpoint: None,
        modules: Vec::new(),
        sinks: Vec::new(),
        direct_reads: vec![],
        deployments: Vec::new(),
        gap: None,
    }
}

/// What the run of these tests was asked, and when it may go on with a drain.
#[derive(Debug, Default)]
struct Run {
    seeks: Mutex<Vec<Since>>,
    may_drain: Notify,
    drains: Notify,
}

/// A run that reaches what it is asked for; it refuses to seek to the oldest.
fn run() -> (Handle, Arc<Run>) {
    let (handle, mut commands) = Handle::new();
    let run = Arc::new(Run::default());
    let task = run.clone();
    tokio::spawn(async move {
        let mut state = RunState::Streaming;
        let reached = |state| Reached {
            state,
            position: position(),
            saved: true,
        };
        while let Some(command) = commands.recv().await {
            match command {
                Command::Status(answer) => drop(answer.send(Box::new(status(state)))),
                Command::Pause(answer) => {
                    state = RunState::Paused;
                    drop(answer.send(Ok(reached(state))));
                }
                Command::Resume(answer) => {
                    state = RunState::Streaming;
                    drop(answer.send(Ok(reached(state))));
                }
                Command::Seek(Since::Oldest, answer) => {
                    drop(answer.send(Err(CommandError::OutsideWindow {
                        to: "oldest".into(),
                        oldest: "1:1".into(),
                        newest: "9:1".into(),
                    })))
                }
                Command::Seek(Since::Now, answer) => {
                    let verb = "seek";
                    drop(answer.send(Err(CommandError::State { verb, state })));
                }
                Command::Snapshot(_, answer) => drop(answer.send(Ok(reached(state)))),
                Command::Seek(to, answer) => {
                    task.seeks.lock().unwrap().push(to);
                    drop(answer.send(Ok(reached(state))));
                }
                Command::Swap(_, answer)
                | Command::Rollback(_, answer)
                | Command::Remove(_, answer) => drop(answer.send(Err(SwapError::Ended))),
                Command::Profile(_, _, answer) => {
                    drop(answer.send(Err(CommandError::Ended.into())));
                }
                Command::Drain(answer) => {
                    task.drains.notify_one();
                    task.may_drain.notified().await;
                    drop(answer.send(Ok(reached(RunState::Stopped))));
                    return;
                }
            }
        }
    });
    (handle, run)
}

/// More than other bodies may have.
const MODULE_BYTES_MAX: usize = 256 * 1024;

fn options(address: &str, token: Option<&str>) -> Options {
    Options {
        address: address.parse().unwrap(),
        token: token.map(str::to_owned),
        module_bytes_max: MODULE_BYTES_MAX,
    }
}

/// A number that grows with each look.
#[derive(Debug, Default)]
struct Looks(AtomicU64);

impl Collect for Looks {
    fn collect(&self, samples: &mut Samples) {
        let looks = self.0.fetch_add(1, SeqCst);
        samples.count(names::SOURCE_BATCHES, &[], looks);
    }
}

async fn served(token: Option<&str>) -> (Server, Arc<Run>) {
    let (handle, run) = run();
    let options = options("127.0.0.1:0", token);
    let server = serve(&options, handle, Metrics::new(), CancellationToken::new());
    (server.await.unwrap(), run)
}

/// One request on a connection of its own: status, head and body of the answer.
async fn ask(to: SocketAddr, request: &str, headers: &str, body: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let text = format!(
        "{request} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    );
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_lowercase(), body.to_owned())
}

async fn ask_json(to: SocketAddr, request: &str, body: &str) -> (u16, Value) {
    let (status, head, body) = ask(to, request, "", body).await;
    assert!(head.contains("content-type: application/json"), "{head}");
    assert!(head.contains("cache-control: no-store"), "{head}");
    (status, serde_json::from_str(&body).unwrap())
}

/// Asks for what is refused: status, code and the first hint.
async fn refused(to: SocketAddr, request: &str, body: &str) -> (u16, String, String) {
    let (status, answer) = ask_json(to, request, body).await;
    assert!(answer["message"].as_str().is_some_and(|m| !m.is_empty()));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (status, text(&answer["code"]), text(&answer["hints"][0]))
}
