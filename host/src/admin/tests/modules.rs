//! The routes that change modules.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::*;
use crate::control::{Absent, Canary, Rollout, Shadow, Swap, Swapped, Version};

/// What the run was asked.
#[derive(Debug, Clone, Default)]
struct Asked(Arc<Mutex<Vec<Swap>>>);

fn swapped(module: &str) -> Swapped {
    let version = |digest: &str, generation| {
        Some(Version {
            digest: digest.into(),
            generation,
        })
    };
    Swapped {
        module: module.into(),
        from: version("9f", 1),
        to: version("2c", 2),
        trial: None,
        reopened: false,
        pause_us: 120,
        lanes_without_state: 0,
    }
}

/// A run that refuses what the module's name says, and does else what it is asked.
async fn serving() -> (Server, Asked) {
    let (handle, mut commands) = Handle::new();
    let asked = Asked::default();
    let seen = asked.clone();
    tokio::spawn(async move {
        while let Some(command) = commands.recv().await {
            match command {
                Command::Swap(swap, answer) => {
                    let result = outcome(&swap.module, &swap.wasm);
                    seen.0.lock().unwrap().push(swap);
                    drop(answer.send(result));
                }
                Command::Rollback(module, answer) | Command::Remove(module, answer) => {
                    drop(answer.send(outcome(&module, b"\0asm")));
                }
                _ => unreachable!("no other command is asked here"),
            }
        }
    });
    let at = options("127.0.0.1:0", None);
    let server = serve(&at, handle, Metrics::new(), CancellationToken::new());
    (server.await.unwrap(), asked)
}

fn outcome(module: &str, wasm: &[u8]) -> Result<Swapped, SwapError> {
    let name = || module.to_owned();
    match module {
        "absent" => Err(SwapError::NoSuchModule {
            module: name(),
            known: vec!["absend".into()],
        }),
        "only" => Err(SwapError::LastModule { module: name() }),
        "first" => Err(SwapError::NoVersionBefore { module: name() }),
        "busy" => Err(SwapError::Late {
            waited: Duration::from_secs(5),
        }),
        "now" => Err(SwapError::Refused("not while the run starts".into())),
        "ended" => Err(SwapError::Ended),
        _ if !wasm.starts_with(b"\0asm") => Err(SwapError::of_two_findings(module)),
        _ => Ok(swapped(module)),
    }
}

#[tokio::test]
async fn a_version_is_put_as_bytes_or_as_a_path_on_the_host() {
    let (server, asked) = serving().await;
    let to = server.local_addr();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("audit.wasm");
    std::fs::write(&file, "\0asm of a file").unwrap();
    let placed = json!({"path": file}).to_string();
    let json_type = "Content-Type: Application/JSON; charset=utf-8\r\n";
    let wasm_type = "Content-Type: application/wasm\r\n";
    let canary = |share, ops, failures_max| {
        Rollout::Canary(Canary {
            share,
            ops,
            failures_max,
        })
    };
    for (request, headers, body, absent, rollout) in [
        (
            "PUT /modules/audit",
            wasm_type,
            "\0asm",
            Absent::Refuse,
            Rollout::AtOnce,
        ),
        (
            "PUT /modules/audit?add=true",
            json_type,
            placed.as_str(),
            Absent::Add,
            Rollout::AtOnce,
        ),
        (
            "PUT /modules/audit?canary=5%25&ops=7&failures=2&add=false",
            "",
            "\0asm",
            Absent::Refuse,
            canary(0.05, 7, 2),
        ),
        (
            "PUT /modules/audit?canary=0.5",
            "",
            "\0asm",
            Absent::Refuse,
            canary(0.5, 1_000, 0),
        ),
        (
            "PUT /modules/audit?shadow=true&ops=9",
            "",
            "\0asm",
            Absent::Refuse,
            Rollout::Shadow(Shadow { ops: 9 }),
        ),
    ] {
        let (status, _, answer) = ask(to, request, headers, body).await;
        assert_eq!(status, 200, "{request}: {answer}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer, serde_json::to_value(swapped("audit")).unwrap());
        let swap = asked.0.lock().unwrap().pop().unwrap();
        assert_eq!((swap.absent, swap.rollout), (absent, rollout), "{request}");
        let expected = match headers == json_type {
            true => "\0asm of a file",
            false => "\0asm",
        };
        assert_eq!(&*swap.wasm, expected.as_bytes(), "{request}");
    }
    // A name as it is written in a path.
    let (status, _) = ask_json(to, "PUT /modules/a%2Fb%20c", "\0asm").await;
    assert_eq!(status, 200);
    assert_eq!(asked.0.lock().unwrap().pop().unwrap().module, "a/b c");
    for request in ["POST /modules/audit/rollback", "DELETE /modules/audit"] {
        let (status, answer) = ask_json(to, request, "").await;
        assert_eq!((status, &answer["to"]["digest"]), (200, &json!("2c")));
    }
    server.close().await;
}

#[tokio::test]
async fn what_is_refused_has_its_status_and_all_findings() {
    let (server, asked) = serving().await;
    let to = server.local_addr();
    for (request, body, status, code, hint) in [
        (
            "PUT /modules/absent",
            "\0asm",
            404,
            "noSuchModule",
            "`absend`",
        ),
        ("PUT /modules/audit", "text", 422, "refused", "filter"),
        ("DELETE /modules/only", "", 409, "lastModule", "drain"),
        (
            "POST /modules/first/rollback",
            "",
            409,
            "noVersionBefore",
            "",
        ),
        ("PUT /modules/busy", "\0asm", 409, "late", "try again"),
        ("PUT /modules/now", "\0asm", 409, "notNow", ""),
        ("PUT /modules/ended", "\0asm", 409, "ended", ""),
        ("PUT /modules/a%0Ab", "\0asm", 400, "badRequest", ""),
        ("PUT /modules/a?canary=7", "", 400, "badRequest", ""),
        (
            "PUT /modules/a?canary=1%25&shadow=true",
            "",
            400,
            "badRequest",
            "",
        ),
        ("PUT /modules/a?ops=7", "", 400, "badRequest", ""),
        (
            "PUT /modules/a?ops=many",
            "",
            400,
            "badRequest",
            "canary=5%25",
        ),
        ("PUT /modules/a?cannary=5", "", 400, "badRequest", "canary"),
        (
            "POST /modules/audit",
            "",
            405,
            "methodNotAllowed",
            "`PUT /modules/NAME`",
        ),
        (
            "GET /modules/audit/rollback",
            "",
            405,
            "methodNotAllowed",
            "rollback`",
        ),
        ("POST /modules/a/rolback", "", 404, "notFound", ""),
    ] {
        let seen = refused(to, request, body).await;
        assert_eq!((seen.0, seen.1.as_str()), (status, code), "{request}");
        assert!(seen.2.contains(hint), "{request}: {}", seen.2);
    }
    let (_, answer) = ask_json(to, "PUT /modules/audit", "text").await;
    assert_eq!(answer["message"], "the module `audit` is refused");
    let findings = answer["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 2);
    assert!(
        findings
            .iter()
            .all(|finding| finding["message"].is_string() && finding["hint"].is_string())
    );
    asked.0.lock().unwrap().clear();
    for (path, status, code) in [
        (json!({"path": "/nowhere/audit.wasm"}), 422, "unreadable"),
        (json!({"path": "/"}), 422, "unreadable"),
        (json!({"path": "/dev/zero"}), 422, "unreadable"),
        (json!({"file": "/x"}), 400, "badRequest"),
        (json!("/x"), 400, "badRequest"),
    ] {
        let body = path.to_string();
        let headers = "Content-Type: application/json\r\n";
        let (seen, _, answer) = ask(to, "PUT /modules/audit", headers, &body).await;
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!((seen, &answer["code"]), (status, &json!(code)), "{body}");
    }
    assert!(asked.0.lock().unwrap().is_empty(), "nothing was asked");
    server.close().await;
}

#[tokio::test]
async fn a_module_may_be_as_large_as_modules_may_and_not_larger() {
    let (server, asked) = serving().await;
    let to = server.local_addr();
    let mut wasm = "\0asm".to_owned();
    wasm.push_str(&"x".repeat(MODULE_BYTES_MAX - 4));
    let (status, _, body) = ask(to, "PUT /modules/audit", "", &wasm).await;
    assert_eq!(status, 200, "{body}");
    wasm.push('x');
    let (status, _, body) = ask(to, "PUT /modules/audit", "", &wasm).await;
    assert_eq!(status, 413, "{body}");
    // One that lies on the host is read no further than is needed to refuse it.
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "x".repeat(MODULE_BYTES_MAX + 10_000)).unwrap();
    let placed = json!({"path": file.path()}).to_string();
    let headers = "Content-Type: application/json\r\n";
    let (status, _, _) = ask(to, "PUT /modules/audit", headers, &placed).await;
    assert_eq!(status, 422);
    let swap = asked.0.lock().unwrap().pop().unwrap();
    assert_eq!(swap.wasm.len(), MODULE_BYTES_MAX + 1);
    server.close().await;
}
