//! Who may ask.

use super::*;

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
