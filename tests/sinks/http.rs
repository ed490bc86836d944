//! What the HTTP sink posts, and what it makes of the answers.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use bson::{Document, doc};
use oplet::sink::{
    DeliverError, Rejection, Sink as _,
    http::{HttpSink, Options},
};
use oplet_testkit::eventually;

use super::{
    http_server::{Reply, Server, status},
    lines, pairs,
};
use crate::DEADLINE;

fn sink(url: &str, options: &[(&str, &str)]) -> HttpSink {
    let environment = |name: &str| (name == "SECRET").then(|| "hush".to_owned());
    let options = Options::from_pairs(url, &mut pairs(options)).unwrap();
    HttpSink::open(&options, &environment).unwrap()
}

fn documents(count: i32) -> Vec<Document> {
    (0..count).map(|n| doc! { "n": n }).collect()
}

fn passing(result: Result<Vec<Rejection>, DeliverError>) -> (String, Option<Duration>) {
    match result {
        Err(DeliverError::Passing {
            message,
            retry_after,
        }) => {
            assert!(!message.contains("hush"), "{message}");
            (message, retry_after)
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn each_document_is_a_request_on_one_connection() {
    let server = Server::start(|_, _| Reply {
        body: "thanks".repeat(100),
        ..status(201)
    })
    .await;
    let sink = sink(
        &server.url(),
        &[("header", "X-From: here"), ("header.X-To", "there")],
    );
    let batch = lines(&documents(3));
    assert_eq!(sink.deliver(&batch).await.unwrap(), []);
    assert_eq!(server.bodies(), [r#"{"n":0}"#, r#"{"n":1}"#, r#"{"n":2}"#]);
    assert_eq!(server.connections(), 1);
    let request = &server.requests()[1];
    assert_eq!(request.header("content-type"), "application/json");
    assert_eq!(request.header("idempotency-key"), "1:2:0#m#0");
    assert_eq!(request.header("oplet-module"), "m@0123456789ab");
    assert_eq!(request.header("x-from"), "here");
    assert_eq!(request.header("x-to"), "there");
    assert_eq!(
        request.header("user-agent"),
        format!("oplet/{}", env!("CARGO_PKG_VERSION"))
    );
}

#[tokio::test]
async fn a_batch_is_one_request_of_lines_with_a_stable_key() {
    let server = Server::start(|_, before| status(if before == 0 { 503 } else { 200 })).await;
    let sink = sink(&server.url(), &[("body", "lines")]);
    let batch = lines(&documents(3));
    passing(sink.deliver(&batch).await);
    assert_eq!(sink.deliver(&batch).await.unwrap(), []);
    let [first, second] = &server.requests()[..] else {
        panic!("two requests")
    };
    assert_eq!(first.body, "{\"n\":0}\n{\"n\":1}\n{\"n\":2}\n");
    assert_eq!((&first.body, first.from), (&second.body, second.from));
    assert_eq!(first.header("content-type"), "application/x-ndjson");
    let key = first.header("idempotency-key");
    assert!(key.starts_with("1:1:0#m#0+2-"), "{key}");
    assert_eq!(key, second.header("idempotency-key"));
}

#[tokio::test]
async fn a_busy_server_says_when_to_come_again() {
    let server = Server::start(|_, before| Reply {
        headers: match before {
            0 => vec![("retry-after", "7".into())],
            _ => Vec::new(),
        },
        ..status(if before == 0 { 429 } else { 500 })
    })
    .await;
    let sink = sink(&server.url(), &[]);
    let batch = lines(&documents(1));
    let (message, retry_after) = passing(sink.deliver(&batch).await);
    assert!(message.contains("429"), "{message}");
    assert_eq!(retry_after, Some(Duration::from_secs(7)));
    let (message, retry_after) = passing(sink.deliver(&batch).await);
    assert!(message.contains("500"), "{message}");
    assert_eq!(retry_after, None);
}

#[tokio::test]
async fn the_next_attempt_goes_on_behind_what_was_accepted() {
    let server = Server::start(|request, before| match request.body.as_str() {
        r#"{"n":1}"# => status(422),
        r#"{"n":3}"# if before < 5 => status(503),
        _ => status(200),
    })
    .await;
    let sink = sink(&server.url(), &[]);
    let batch = lines(&documents(5));
    passing(sink.deliver(&batch).await);
    passing(sink.deliver(&batch).await);
    let rejections = sink.deliver(&batch).await.unwrap();
    assert_eq!(rejections.iter().map(|r| r.index).collect::<Vec<_>>(), [1]);
    let posted: String = server.bodies().iter().map(|body| &body[5..6]).collect();
    assert_eq!(posted, "0123334");
    assert_eq!(
        sink.deliver(&batch).await.unwrap().len(),
        1,
        "and then begins anew"
    );
    assert_eq!(server.requests().len(), 12);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_that_is_cut_off_is_gone_on_with() {
    let is_cut = Arc::new(AtomicBool::new(false));
    let cut = is_cut.clone();
    let server = Server::start(move |request, _| {
        let begun = Instant::now();
        // It answers the third request when the attempt is cut off.
        while request.body == r#"{"n":2}"# && !cut.load(SeqCst) && begun.elapsed() < DEADLINE {
            std::thread::sleep(Duration::from_millis(5));
        }
        status(200)
    })
    .await;
    let sink = sink(&server.url(), &[]);
    let batch = lines(&documents(4));
    tokio::select! {
        delivered = sink.deliver(&batch) => panic!("{delivered:?}"),
        third = eventually(DEADLINE, async || server.requests().len() == 3) => third.unwrap(),
    }
    is_cut.store(true, SeqCst);
    assert_eq!(sink.deliver(&batch).await.unwrap(), []);
    let posted: String = server.bodies().iter().map(|body| &body[5..6]).collect();
    assert_eq!(posted, "01223");
}

#[tokio::test]
async fn of_refused_lines_the_guilty_ones_are_found() {
    let server = Server::start(|request, _| {
        match request.body.contains("\"n\":5}") || request.body.contains("\"n\":6}") {
            true => Reply {
                body: format!("no\n {}", "!".repeat(300)),
                ..status(400)
            },
            false => status(200),
        }
    })
    .await;
    let sink = sink(&server.url(), &[("body", "lines")]);
    let rejections = sink.deliver(&lines(&documents(40))).await.unwrap();
    assert_eq!(
        rejections.iter().map(|r| r.index).collect::<Vec<_>>(),
        [5, 6]
    );
    let reason = &rejections[0].reason;
    assert!(
        reason.contains("400") && reason.contains(": no !!!"),
        "{reason}"
    );
    assert!(reason.len() < 300 && !reason.contains("hush"), "{reason}");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_batch_that_is_too_large_is_halved() {
    let server = Server::start(|request, _| {
        status(match request.body.lines().count() {
            0..=3 => 200,
            _ => 413,
        })
    })
    .await;
    let sink = sink(&server.url(), &[("body", "lines")]);
    assert_eq!(sink.deliver(&lines(&documents(10))).await.unwrap(), []);
    let mut accepted = server.bodies();
    accepted.retain(|body| body.lines().count() <= 3);
    let all: Vec<_> = accepted.iter().flat_map(|body| body.lines()).collect();
    let expected: Vec<_> = (0..10).map(|n| format!("{{\"n\":{n}}}")).collect();
    assert_eq!(all, expected, "each once, in order");
}

#[tokio::test]
async fn a_token_that_is_refused_is_read_again() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "old-hush\n").unwrap();
    let server = Server::start(|request, _| {
        status(match request.header("authorization") {
            "Bearer new-hush" => 200,
            _ => 401,
        })
    })
    .await;
    let sink = sink(
        &server.url(),
        &[("bearer-token-file", file.path().to_str().unwrap())],
    );
    let batch = lines(&documents(1));
    let (message, _) = passing(sink.deliver(&batch).await);
    assert!(message.contains("401"), "{message}");
    assert_eq!(
        server.requests().len(),
        1,
        "the same token is not tried twice"
    );
    std::fs::write(file.path(), "new-hush\n").unwrap();
    assert_eq!(sink.deliver(&batch).await.unwrap(), []);
    std::fs::remove_file(file.path()).unwrap();
    assert_eq!(
        sink.deliver(&batch).await.unwrap(),
        [],
        "a good one is not read again"
    );
}

#[tokio::test]
async fn a_name_and_a_password_are_sent() {
    let server = Server::start(|_, _| status(200)).await;
    let options = [("basic-user", "me"), ("basic-password-env", "SECRET")];
    let sink = sink(&server.url(), &options);
    assert_eq!(sink.deliver(&lines(&documents(1))).await.unwrap(), []);
    assert_eq!(
        server.requests()[0].header("authorization"),
        "Basic bWU6aHVzaA=="
    );
    assert!(!format!("{sink:?}").contains("hush"));
    assert!(!format!("{sink:?}").contains("bWU6"));
}

#[tokio::test]
async fn nobody_there_is_waited_for() {
    let port = oplet_testkit::free_port().unwrap();
    let url = format!("http://127.0.0.1:{port}/?code=hush");
    let (message, _) = passing(sink(&url, &[]).deliver(&lines(&documents(1))).await);
    assert!(message.to_lowercase().contains("refused"), "{message}");
}

#[tokio::test]
async fn redirections_are_followed_only_where_they_repeat_the_request() {
    let elsewhere = Server::start(|_, _| status(200)).await;
    let other = format!("http://{}/", elsewhere.address);
    let target = Mutex::new(vec![
        (307, "/moved".to_owned()),
        (302, "/moved".to_owned()),
        (308, other),
    ]);
    let server = Server::start(move |request, _| match request.path.as_str() {
        "/moved" => status(200),
        _ => {
            let (code, to) = target.lock().unwrap().remove(0);
            Reply {
                headers: vec![("location", to)],
                ..status(code)
            }
        }
    })
    .await;
    let sink = sink(&server.url(), &[("header.X-Key", "hush")]);
    let batch = lines(&documents(1));
    assert_eq!(sink.deliver(&batch).await.unwrap(), []);
    let followed = &server.requests()[1];
    assert_eq!(
        (followed.path.as_str(), followed.body.as_str()),
        ("/moved", r#"{"n":0}"#)
    );
    let (message, _) = passing(sink.deliver(&batch).await);
    assert!(
        message.contains("302") && message.contains("/moved"),
        "{message}"
    );
    passing(sink.deliver(&batch).await);
    assert_eq!(server.requests().len(), 4);
    assert_eq!(elsewhere.requests().len(), 0);
}

#[tokio::test]
async fn what_is_emitted_anew_is_posted_anew() {
    let server = Server::start(|request, before| match request.body.as_str() {
        r#"{"n":1}"# if before < 2 => status(503),
        _ => status(200),
    })
    .await;
    let sink = sink(&server.url(), &[]);
    // Given up after its first document; then the ops are read once more, as after a seek.
    passing(sink.deliver(&lines(&documents(2))).await);
    assert_eq!(sink.deliver(&lines(&documents(2))).await.unwrap(), []);
    let posted: String = server.bodies().iter().map(|body| &body[5..6]).collect();
    assert_eq!(posted, "0101");
}
