//! The verbs that talk to a run: what they print, and what they say of what does not answer.

use std::path::Path;

use oplet::{
    admin::{self, Server},
    control::{
        CheckpointStatus, Command, CommandError, DeploymentStatus, DirectReadStatus, Handle,
        ModuleStatus, Reached, RunState, ShownGap, ShownOps, ShownPosition, SinkStatus, Status,
        SwapError,
    },
    op::{Since, Timestamp},
    telemetry::Metrics,
};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;

use crate::{modules::Ended, oplet};

fn at(increment: u32) -> ShownPosition {
    ShownPosition::of_time(Some(Timestamp::new(1_700_000_001, increment)))
}

/// A run with something in every field.
fn status() -> Status {
    Status {
        name: "audit".into(),
        state: RunState::Paused,
        since: "2023-11-14T22:13:25Z".into(),
        reason: Some("the breaker of `audit` is open".into()),
        ready: false,
        source: "oplog",
        scope: "shop, crm.users".into(),
        position: at(7),
        lag_seconds: Some(4.25),
        oplog_window_hours: Some(36.0),
        in_flight_ops: 3,
        in_flight_bytes: 720,
        oldest_unacknowledged_seconds: Some(4.0),
        ops: ShownOps {
            read: 100,
            kept: 90,
            handled: 80,
            emitted: 70,
            failed: 25,
            skipped: 0,
            dead_lettered: 5,
        },
        checkpoint: Some(CheckpointStatus {
            store: "mongodb:oplet.checkpoints".into(),
            position: at(6),
            saved: Some("2023-11-14T22:13:24Z".into()),
            age_seconds: Some(0.5),
            epoch: 2,
            error: Some("no server answers".into()),
        }),
        modules: vec![ModuleStatus {
            name: "audit".into(),
            digest: "0123456789abcdef0123".into(),
            generation: 1,
            versions: Vec::new(),
            grants: Some("lookup shop.customers".into()),
            trial: None,
            on_error: "retry",
            failures_in_a_row: 20,
            breaker_open_since: Some("2023-11-14T22:13:25Z".into()),
            last_error: Some("trap: unreachable".into()),
            waiting_for_retry: 2,
        }],
        sinks: vec![SinkStatus {
            name: "search".into(),
            kind: "http",
            ready: false,
            delivered: 70,
            rejected: 1,
            failures: 4,
            queued: 9,
            queued_bytes: 900,
            last_error: Some("503 Service Unavailable".into()),
        }],
        direct_reads: vec![DirectReadStatus {
            cluster: Some("eu".into()),
            namespace: "crm.users".into(),
            modules: vec!["audit".into()],
            state: "reading",
            documents: 600,
            documents_expected: Some(1_000),
            segments: 10,
            segments_read: 5,
            seconds: Some(2.5),
            reason: None,
        }],
        deployments: vec![
            DeploymentStatus {
                cluster: "eu".into(),
                hosts: "eu1:27017".into(),
                position: at(7),
                lag_seconds: Some(4.25),
                oplog_window_hours: Some(36.0),
                holds_up_since: Some("2023-11-14T22:13:23Z".into()),
            },
            DeploymentStatus {
                cluster: "us".into(),
                hosts: "us1:27017".into(),
                position: at(8),
                lag_seconds: None,
                oplog_window_hours: None,
                holds_up_since: None,
            },
        ],
        gap: Some(ShownGap {
            cluster: Some("eu".into()),
            from: at(1),
            to: at(3),
            namespaces: vec!["shop".into()],
            reason: "the oplog rolled over".into(),
        }),
    }
}

/// A run that stands still: it answers that it is paused, and refuses to resume or to go to the oldest.
fn run() -> Handle {
    let (handle, mut commands) = Handle::new();
    tokio::spawn(async move {
        let reached = |increment| {
            Ok(Reached {
                state: RunState::Paused,
                position: at(increment),
                saved: true,
            })
        };
        while let Some(command) = commands.recv().await {
            match command {
                Command::Status(answer) => drop(answer.send(Box::new(status()))),
                Command::Pause(answer) => drop(answer.send(reached(7))),
                Command::Resume(answer) => drop(answer.send(Err(CommandError::Ended))),
                Command::Seek(Since::Oldest, answer) => {
                    let refused = CommandError::OutsideWindow {
                        to: "oldest".into(),
                        oldest: "1700000001:1".into(),
                        newest: "1700000009:1".into(),
                    };
                    drop(answer.send(Err(refused)));
                }
                Command::Seek(_, answer) | Command::Snapshot(_, answer) => {
                    drop(answer.send(reached(2)));
                }
                Command::Swap(_, answer)
                | Command::Rollback(_, answer)
                | Command::Remove(_, answer) => drop(answer.send(Err(SwapError::Ended))),
                Command::Profile(_, _, answer) => {
                    drop(answer.send(Err(CommandError::Ended.into())));
                }
                Command::Drain(answer) => drop(answer.send(Ok(Reached {
                    state: RunState::Stopped,
                    position: at(7),
                    saved: false,
                }))),
            }
        }
    });
    handle
}

async fn served(token: Option<&str>) -> (Server, String) {
    let options = admin::Options {
        address: "127.0.0.1:0".parse().unwrap(),
        token: token.map(str::to_owned),
        module_bytes_max: 10 << 20,
    };
    let shutdown = CancellationToken::new();
    let server = admin::serve(&options, run(), Metrics::new(), shutdown).await;
    let server = server.unwrap();
    let address = server.local_addr().to_string();
    (server, address)
}

async fn ask(address: &str, arguments: &[&str]) -> Ended {
    Ended::of(oplet().args(arguments).args(["--admin", address])).await
}

#[tokio::test]
async fn status_is_text_for_people_and_a_document_for_programs() {
    let (server, address) = served(None).await;
    let ended = ask(&address, &["status", "--format", "text"])
        .await
        .with_code(0);
    insta::assert_snapshot!("status", ended.stdout.join("\n"));
    for arguments in [&["status"][..], &["status", "--format", "json"]] {
        let ended = ask(&address, arguments).await.with_code(0);
        let expected = serde_json::to_value(status()).unwrap();
        assert_eq!(ended.documents(), [expected]);
        assert_eq!(ended.stderr, "");
    }
    server.close().await;
}

#[tokio::test]
async fn commands_tell_what_was_reached() {
    let (server, address) = served(None).await;
    for (arguments, line) in [
        (
            &["pause"][..],
            "paused at 1700000001:7 (2023-11-14T22:13:21Z), saved",
        ),
        (
            &["seek", "--since", "90m"],
            "paused at 1700000001:2 (2023-11-14T22:13:21Z), saved",
        ),
        (
            &["drain"],
            "stopped at 1700000001:7 (2023-11-14T22:13:21Z), not saved",
        ),
    ] {
        let ended = ask(&address, arguments).await.with_code(0);
        assert_eq!(ended.stdout, [line]);
    }
    let ended = ask(&address, &["pause", "--format", "json"])
        .await
        .with_code(0);
    assert_eq!(ended.documents()[0]["state"], json!("paused"));
    // By the environment, as containers have it.
    let ended = Ended::of(oplet().arg("pause").env("OPLET_ADMIN", &address)).await;
    ended.with_code(0);
    server.close().await;
}

#[tokio::test]
async fn what_a_run_refuses_is_told_with_its_way_out() {
    let (server, address) = served(None).await;
    let ended = ask(&address, &["seek", "--since", "oldest"])
        .await
        .with_code(1);
    ended.says(&[
        "error: cannot go to oldest: the oplog reaches from 1700000001:1 to 1700000009:1",
        "hint: choose a position from 1700000001:1 to 1700000009:1",
    ]);
    assert_eq!(ended.stdout, [""; 0]);
    let ended = ask(&address, &["resume"]).await.with_code(1);
    ended.says(&["error: the run has ended"]);
    // Refused before anything is asked.
    let ended = ask(&address, &["seek", "--since", "1700000001"])
        .await
        .with_code(2);
    ended.says(&["did you mean `1700000001:0`?"]);
    ask(&address, &["seek"])
        .await
        .with_code(2)
        .says(&["--since"]);
    server.close().await;
}

#[tokio::test]
async fn the_token_comes_from_a_file_or_the_environment() {
    let (server, address) = served(Some("secret")).await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let with = |token: &Path| {
        let arguments = ["pause", "--admin", &address];
        let oplet = oplet().args(arguments).arg("--admin-token-file");
        Ended::of(oplet.arg(token))
    };
    with(&file("right", "secret\n")).await.with_code(0);
    let wrong = with(&file("wrong", "secreT")).await.with_code(1);
    wrong.says(&[
        "the token is not the right one",
        "--admin-token-file",
        "OPLET_ADMIN_TOKEN",
    ]);
    assert!(!wrong.stderr.contains("secre"), "{}", wrong.stderr);
    with(&file("empty", "\n"))
        .await
        .with_code(2)
        .says(&["holds no token"]);
    with(&folder.path().join("none"))
        .await
        .with_code(2)
        .says(&["cannot read the token"]);
    ask(&address, &["pause"])
        .await
        .with_code(1)
        .says(&["a token is required"]);
    let environment = oplet().args(["pause", "--admin", &address]);
    let environment = environment.env("OPLET_ADMIN_TOKEN", "secret");
    Ended::of(environment).await.with_code(0);
    server.close().await;
}

#[tokio::test]
async fn where_nothing_listens_the_flag_is_told() {
    let address = format!("127.0.0.1:{}", oplet_testkit::free_port().unwrap());
    for arguments in [&["status"][..], &["drain"]] {
        let ended = ask(&address, arguments).await.with_code(1);
        ended.says(&[
            &format!("error: nothing listens at {address}"),
            &format!("hint: was `oplet run` started with `--admin {address}`?"),
        ]);
    }
}

/// Answers each connection with this text.
async fn stranger(answer: &'static str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _some = stream.read(&mut request).await;
            let _sent = stream.write_all(answer.as_bytes()).await;
        }
    });
    address
}

#[tokio::test]
async fn strangers_are_not_taken_for_a_run() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
        "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
        "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    ] {
        let address = stranger(answer).await;
        let ended = ask(&address, &["status"]).await.with_code(1);
        ended.says(&["is not the admin API of a run"]);
        assert_eq!(ended.stdout, [""; 0]);
    }
    // No HTTP at all, and TLS where there is none.
    let address = stranger("220 mail.example ESMTP\r\n").await;
    ask(&address, &["status"])
        .await
        .with_code(1)
        .says(&["cannot talk to the admin API"]);
    let address = format!("https://{address}");
    ask(&address, &["status"])
        .await
        .with_code(1)
        .says(&["cannot talk to the admin API"]);
}
