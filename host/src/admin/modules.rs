//! What is asked of a run about its modules.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use axum::{
    body::Bytes,
    extract::{Path, Query, State, rejection::QueryRejection},
    http::{HeaderMap, Method, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use serde_json::json;

use super::{
    answer::{Refusal, document, fresh},
    routes::{Answer, COMMAND_TIME_MAX, Face, ask_status},
};
use crate::control::{Absent, Origin, Rollout, RolloutWords, Swap, SwapError, Swapped, share};

/// Where a module's version is put.
const FOLDER: &str = "/modules/";

/// The query of `PUT /modules/NAME`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct SwapQuery {
    add: bool,
    canary: Option<String>,
    shadow: bool,
    ops: Option<u64>,
    failures: Option<u64>,
}

/// The body of `PUT /modules/NAME` where the bytes lie on the host.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Placed {
    path: PathBuf,
}

/// Whether a request brings a module, which may be larger than other bodies.
pub(super) fn brings_module(method: &Method, path: &str) -> bool {
    method == Method::PUT && path.starts_with(FOLDER)
}

/// `GET /modules`
pub(super) async fn list(State(face): State<Face>) -> Answer {
    let status = ask_status(&face.handle).await?;
    Ok(document(&json!({"modules": status.modules})))
}

/// `PUT /modules/NAME`
pub(super) async fn swap(
    State(face): State<Face>,
    Path(module): Path<String>,
    query: Result<Query<SwapQuery>, QueryRejection>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let Query(query) = query.map_err(|error| {
        Refusal::bad_request(format!("the query cannot be read: {}", error.body_text()))
            .hint("it may have `add=true`, `canary=5%25`, `shadow=true`, `ops=N`, `failures=N`")
    })?;
    let bad = |error: &dyn std::error::Error| Refusal::bad_request(error.to_string());
    let canary = query.canary.as_deref().map(share).transpose();
    let rollout = Rollout::try_from(RolloutWords {
        canary: canary.map_err(|error| bad(&error))?,
        shadow: query.shadow,
        ops: query.ops,
        failures: query.failures,
    });
    let rollout = rollout.map_err(|error| bad(&error))?;
    if module.chars().any(char::is_control) {
        let message = "a module's name has no line breaks or other control characters";
        return Err(Refusal::bad_request(message));
    }
    let wasm = match is_json(&headers) {
        true => read(&body, face.module_bytes_max).await?,
        false => Arc::from(&body[..]),
    };
    drop(body);
    tracing::info!(
        module,
        bytes = wasm.len(),
        ?rollout,
        "a version of a module came by the admin API"
    );
    let swap = Swap {
        module,
        wasm,
        origin: Origin::Request,
        absent: match query.add {
            true => Absent::Add,
            false => Absent::Refuse,
        },
        rollout,
    };
    answer("swap", face.handle.swap(swap)).await
}

/// `POST /modules/NAME/rollback`
pub(super) async fn rollback(State(face): State<Face>, Path(module): Path<String>) -> Answer {
    tracing::info!(
        command = "rollback",
        module,
        "a command came by the admin API"
    );
    answer("rollback", face.handle.rollback(&module)).await
}

/// The query of `POST /modules/NAME/profile`.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ProfileQuery {
    seconds: f64,
}

impl Default for ProfileQuery {
    fn default() -> Self {
        Self { seconds: 10.0 }
    }
}

/// `POST /modules/NAME/profile`
pub(super) async fn profile(
    State(face): State<Face>,
    Path(module): Path<String>,
    query: Result<Query<ProfileQuery>, QueryRejection>,
) -> Answer {
    let hint = "it may have `seconds=10`";
    let Query(query) = query.map_err(|error| {
        Refusal::bad_request(format!("the query cannot be read: {}", error.body_text())).hint(hint)
    })?;
    let time = Duration::try_from_secs_f64(query.seconds)
        .map_err(|_| Refusal::bad_request("`seconds` is a number above 0").hint(hint))?;
    tracing::info!(
        command = "profile",
        module,
        ?time,
        "a command came by the admin API"
    );
    let profile = face.handle.profile(&module, time).await?;
    let content_type = [(CONTENT_TYPE, "application/json")];
    Ok(fresh((content_type, profile.json).into_response()))
}

/// `DELETE /modules/NAME`
pub(super) async fn remove(State(face): State<Face>, Path(module): Path<String>) -> Answer {
    tracing::info!(
        command = "remove",
        module,
        "a command came by the admin API"
    );
    answer("remove", face.handle.remove(&module)).await
}

async fn answer(
    verb: &'static str,
    done: impl Future<Output = Result<Swapped, SwapError>>,
) -> Answer {
    match tokio::time::timeout(COMMAND_TIME_MAX, done).await {
        Ok(swapped) => Ok::<Response, _>(document(&swapped?)),
        Err(_) => Err(Refusal::still_on_the_way(
            verb,
            COMMAND_TIME_MAX,
            "GET /modules",
        )),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let kind = content_type.and_then(|value| value.split(';').next());
    kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// Reads a module that lies on the host.
async fn read(body: &[u8], bytes_max: usize) -> Result<Arc<[u8]>, Refusal> {
    let placed: Placed = serde_json::from_slice(body).map_err(|error| {
        Refusal::bad_request(format!("the body cannot be read: {error}"))
            .hint(r#"it is written `{"path": "/srv/audit.wasm"}`, or is the module itself"#)
    })?;
    let shown = placed.path.display().to_string();
    let unread = |error: &dyn std::fmt::Display| {
        let message = format!("cannot read `{shown}` on the host: {error}");
        Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "unreadable", message)
    };
    let path = placed.path;
    let read = tokio::task::spawn_blocking(move || read_bounded(&path, bytes_max)).await;
    match read {
        Ok(Ok(wasm)) => Ok(wasm.into()),
        Ok(Err(error)) => Err(unread(&error)),
        Err(error) => Err(unread(&error)),
    }
}

/// Reads a file, of which no more than a module may have is looked at, and one byte: what has more is
/// refused as a module that is too large.
fn read_bounded(path: &std::path::Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    use io::Read as _;
    // A pipe or a device could be waited for without end.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut wasm = Vec::new();
    let file = std::fs::File::open(path)?;
    file.take(bytes_max as u64 + 1).read_to_end(&mut wasm)?;
    Ok(wasm)
}
