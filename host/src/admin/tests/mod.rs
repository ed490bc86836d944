//! The routes, over real HTTP, answered by a run that is a task of the test.

mod modules;

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

#[tokio::test]
async fn the_run_is_shown_and_controlled() {
    let (server, run) = served(None).await;
    let to = server.local_addr();
    assert_ne!(to.port(), 0);
    assert_eq!(
        ask_json(to, "GET /live", "").await,
        (200, json!({"live": true}))
    );
    assert_eq!(
        ask_json(to, "GET /ready", "").await,
        (200, json!({"ready": true}))
    );
    assert_eq!(
        ask_json(to, "GET /modules", "").await,
        (200, json!({"modules": []}))
    );
    let (code, shown) = ask_json(to, "GET /status", "").await;
    assert_eq!((code, &shown["state"]), (200, &json!("streaming")));

    let reached = |state: &str| {
        let position = json!({"clusterTime": "1700000001:7", "time": "2023-11-14T22:13:21Z"});
        json!({"state": state, "position": position, "saved": true})
    };
    for _ in 0..2 {
        assert_eq!(
            ask_json(to, "POST /pause", "").await,
            (200, reached("paused"))
        );
    }
    let (status, code, hint) = refused(to, "GET /ready", "").await;
    assert_eq!((status, code.as_str()), (503, "notReady"));
    assert!(hint.contains("/status"), "{hint}");
    let seek = ask_json(to, "POST /seek", r#"{"since": "1600000000:1"}"#).await;
    assert_eq!(seek, (200, reached("paused")));
    assert_eq!(
        *run.seeks.lock().unwrap(),
        [Since::After(Timestamp::new(1_600_000_000, 1))]
    );
    assert_eq!(
        ask_json(to, "POST /resume", "").await,
        (200, reached("streaming"))
    );
    server.close().await;
    assert!(TcpStream::connect(to).await.is_err(), "the port is closed");
}

#[tokio::test]
async fn errors_have_their_status_and_a_way_out() {
    let (server, run) = served(None).await;
    let to = server.local_addr();
    for (request, body, status, code, hint) in [
        (
            "POST /seek",
            r#"{"since": "nowe"}"#,
            400,
            "badPosition",
            "`now`",
        ),
        (
            "POST /seek",
            r#"{"since": "!"}"#,
            400,
            "badPosition",
            "`90m`",
        ),
        ("POST /seek", r#"{"to": "now"}"#, 400, "badRequest", "since"),
        ("POST /seek", "", 400, "badRequest", "since"),
        (
            "POST /seek",
            r#"{"since": "oldest"}"#,
            409,
            "outsideWindow",
            "from 1:1 to 9:1",
        ),
        ("POST /seek", r#"{"since": "now"}"#, 409, "wrongState", ""),
        ("GET /statsu", "", 404, "notFound", "`GET /status`"),
        ("GET /", "", 404, "notFound", "`POST /drain`"),
        ("GET /pause", "", 405, "methodNotAllowed", "`POST /pause`"),
        ("POST /status", "", 405, "methodNotAllowed", "`GET /status`"),
    ] {
        let seen = refused(to, request, body).await;
        assert_eq!(
            (seen.0, seen.1.as_str()),
            (status, code),
            "{request} {body}"
        );
        assert!(seen.2.contains(hint), "{request} {body}: {}", seen.2);
    }
    let large = "x".repeat(65 * 1024);
    let (status, _, body) = ask(to, "POST /seek", "", &large).await;
    assert_eq!(status, 413, "{body}");
    assert!(run.seeks.lock().unwrap().is_empty());
    server.close().await;
}

#[tokio::test]
async fn a_token_is_required_for_all_that_tells_or_does_something() {
    let (server, _run) = served(Some("secret")).await;
    let to = server.local_addr();
    for path in ["/live", "/ready"] {
        assert_eq!(
            ask(to, &format!("GET {path}"), "", "").await.0,
            200,
            "{path}"
        );
    }
    for request in [
        "GET /status",
        "GET /metrics",
        "GET /modules",
        "PUT /modules/audit",
        "DELETE /modules/audit",
        "POST /modules/audit/rollback",
        "POST /pause",
        "POST /resume",
        "POST /seek",
        "POST /drain",
        "GET /nowhere",
        "GET /live/",
        "DELETE /status",
    ] {
        for headers in ["", "Authorization: Bearer secreT\r\n"] {
            let (status, head, body) = ask(to, request, headers, "").await;
            assert_eq!(status, 401, "{request}: {body}");
            assert!(head.contains("www-authenticate: bearer"), "{head}");
            assert!(!body.contains("secret"), "{body}");
        }
    }
    let (status, _, body) = ask(to, "GET /status", "Authorization: Bearer secret\r\n", "").await;
    assert_eq!(status, 200, "{body}");
    server.close().await;
}

#[tokio::test]
async fn web_pages_cannot_use_loopback() {
    let (server, _run) = served(None).await;
    let to = server.local_addr();
    let (status, _, body) = ask(to, "POST /pause", "Origin: http://evil.example\r\n", "").await;
    assert_eq!(status, 403, "{body}");
    server.close().await;
}

#[tokio::test]
async fn other_addresses_are_not_served_without_a_token() {
    for address in ["0.0.0.0:0", "[::]:0"] {
        let options = options(address, None);
        let (handle, _run) = run();
        let refused = serve(&options, handle, Metrics::new(), CancellationToken::new()).await;
        assert!(matches!(refused, Err(Error::NoToken { .. })), "{address}");
    }
    for token in ["", "two words", "line\n"] {
        let options = options("127.0.0.1:0", Some(token));
        let (handle, _run) = run();
        let refused = serve(&options, handle, Metrics::new(), CancellationToken::new()).await;
        assert!(matches!(refused, Err(Error::BadToken)), "{token:?}");
    }
    let (handle, _run) = run();
    let all = options("0.0.0.0:0", Some("secret"));
    let server = serve(&all, handle, Metrics::new(), CancellationToken::new()).await;
    server.unwrap().close().await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_at_once() {
    let (server, _run) = served(None).await;
    let taken = options(&server.local_addr().to_string(), None);
    let (handle, _run) = run();
    let refused = serve(&taken, handle, Metrics::new(), CancellationToken::new()).await;
    assert!(matches!(refused, Err(Error::Bind { .. })));
    server.close().await;
}

#[tokio::test]
async fn a_drain_is_answered_although_the_server_closes() {
    let (server, run) = served(None).await;
    let to = server.local_addr();
    let asked = tokio::spawn(async move { ask_json(to, "POST /drain", "").await });
    run.drains.notified().await;
    let closed = tokio::spawn(server.close());
    while TcpStream::connect(to).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    run.may_drain.notify_one();
    let (status, answer) = asked.await.unwrap();
    assert_eq!((status, &answer["state"]), (200, &json!("stopped")));
    closed.await.unwrap();
}

#[tokio::test]
async fn a_client_that_does_not_read_is_left() {
    let (server, _run) = served(None).await;
    // A connection that is served, and then a request that never ends.
    let mut idle = TcpStream::connect(server.local_addr()).await.unwrap();
    idle.write_all(b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    assert!(idle.read(&mut [0; 1024]).await.unwrap() > 0);
    idle.write_all(b"POST /pause HTTP/1.1\r\nHost: loc")
        .await
        .unwrap();
    let closed = tokio::time::timeout(Duration::from_secs(20), server.close());
    closed.await.expect("the server closes");
}

#[tokio::test]
async fn a_run_that_has_ended_is_told_so() {
    let (handle, commands) = Handle::new();
    drop(commands);
    let at = options("127.0.0.1:0", None);
    let server = serve(&at, handle, Metrics::new(), CancellationToken::new());
    let server = server.await.unwrap();
    let to = server.local_addr();
    assert_eq!(ask_json(to, "GET /live", "").await.0, 200);
    assert_eq!(ask_json(to, "GET /ready", "").await.0, 503);
    let (status, code, _) = refused(to, "POST /pause", "").await;
    assert_eq!((status, code.as_str()), (409, "ended"));
    let (status, _, text) = ask(to, "GET /metrics", "", "").await;
    assert_eq!(status, 200);
    assert!(text.contains("\noplet_control_ready 0.0\n"), "{text}");
    server.close().await;
}

#[tokio::test]
async fn metrics_are_those_of_the_moment_also_when_the_run_does_not_answer() {
    let (handle, _unanswered) = Handle::new();
    let metrics = Metrics::new();
    metrics.show(Arc::new(Looks::default()));
    let at = options("127.0.0.1:0", None);
    let server = serve(&at, handle, metrics, CancellationToken::new());
    let server = server.await.unwrap();
    let to = server.local_addr();
    for looks in 0..2 {
        let (status, head, text) = ask(to, "GET /metrics", "", "").await;
        assert_eq!(status, 200);
        assert!(
            head.contains("content-type: application/openmetrics-text"),
            "{head}"
        );
        let line = format!("\noplet_source_batches_total {looks}\n");
        assert!(text.contains(&line), "{line} in {text}");
    }
    server.close().await;
}
