//! What is asked, and what is answered, also at the end.

use super::*;

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
            "POST /snapshots",
            r#"{"namespace": "shop"}"#,
            400,
            "badRequest",
            "shop.orders",
        ),
        ("POST /snapshots", "", 400, "badRequest", "namespace"),
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
