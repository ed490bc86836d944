//! What can be asked for, and by which path.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Bytes,
    extract::{ConnectInfo, Request, State},
    http::{Method, StatusCode, Uri, header::CONTENT_TYPE},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{get, post, put},
};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Semaphore;

use super::{
    access::Access,
    answer::{Refusal, document, fresh},
    connections::Busy,
    modules,
};
use crate::{
    control::{CommandError, Handle, Reached, Status},
    op::{Namespace, Since},
    telemetry::{self, Metrics},
};

/// The largest body: a resume token with room to spare.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// How long a body may take to arrive.
const BODY_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a module may take to arrive, and may wait until there is room for it.
const MODULE_TIME_MAX: Duration = Duration::from_secs(30);
/// How long the run may take to tell how it stands. It tells between two steps of its own, so more
/// means that it hangs.
const STATUS_TIME_MAX: Duration = Duration::from_secs(5);
/// How long a command may take: it waits for the ops under way, and for the checkpoint. A drain waits
/// as long as the run's grace period lets it.
pub(super) const COMMAND_TIME_MAX: Duration = Duration::from_secs(60);

/// Every route, with what it is asked by.
const ROUTES: [(&str, &str); 14] = [
    ("/live", "GET"),
    ("/ready", "GET"),
    ("/status", "GET"),
    ("/metrics", "GET"),
    ("/modules", "GET"),
    ("/modules/NAME", "PUT"),
    ("/modules/NAME", "DELETE"),
    ("/modules/NAME/rollback", "POST"),
    ("/modules/NAME/profile", "POST"),
    ("/pause", "POST"),
    ("/resume", "POST"),
    ("/seek", "POST"),
    ("/snapshots", "POST"),
    ("/drain", "POST"),
];

/// What may be asked without the token: a supervisor of processes has none.
const OPEN: [&str; 2] = ["/live", "/ready"];

/// What the routes answer from.
#[derive(Debug, Clone)]
pub(super) struct Face {
    pub(super) access: Access,
    pub(super) handle: Handle,
    pub(super) metrics: Metrics,
    pub(super) module_bytes_max: usize,
    /// How many modules may be in memory that are put.
    pub(super) uploads: Arc<Semaphore>,
}

pub(super) type Answer = Result<Response, Refusal>;

/// All routes.
pub(super) fn router(face: Face) -> Router {
    Router::new()
        .route("/live", get(live))
        .route("/ready", get(ready))
        .route("/status", get(status))
        .route("/metrics", get(metrics))
        .route("/modules", get(modules::list))
        .route(
            "/modules/{name}",
            put(modules::swap).delete(modules::remove),
        )
        .route("/modules/{name}/rollback", post(modules::rollback))
        .route("/modules/{name}/profile", post(modules::profile))
        .route("/pause", post(pause))
        .route("/resume", post(resume))
        .route("/seek", post(seek))
        .route("/snapshots", post(snapshot))
        .route("/drain", post(drain))
        .fallback(no_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(face.clone(), admit))
        .with_state(face)
}

/// Lets in who may use it, once the whole body is there.
async fn admit(
    State(face): State<Face>,
    ConnectInfo(busy): ConnectInfo<Busy>,
    request: Request,
    next: Next,
) -> Answer {
    let _busy = busy.begin();
    let path = request.uri().path();
    face.access.check(request.headers(), OPEN.contains(&path))?;
    let brings_module = modules::brings_module(request.method(), path);
    let (bytes_max, time_max) = match brings_module {
        true => (face.module_bytes_max, MODULE_TIME_MAX),
        false => (BODY_BYTES_MAX, BODY_TIME_MAX),
    };
    let (head, body) = request.into_parts();
    let read = async {
        // Kept until the request is answered.
        let permit = match brings_module {
            true => face.uploads.acquire().await.ok(),
            false => None,
        };
        let body = axum::body::to_bytes(body, bytes_max).await;
        body.map(|body| (permit, body))
    };
    let (_permit, body) = match tokio::time::timeout(time_max, read).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => {
            let message = format!("a body of at most {bytes_max} bytes is expected");
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            return Err(Refusal::new(status, "tooLarge", message));
        }
        Err(_) => {
            let message = "the body took too long to arrive";
            let status = StatusCode::REQUEST_TIMEOUT;
            return Err(Refusal::new(status, "timeout", message));
        }
    };
    Ok(next.run(Request::from_parts(head, body.into())).await)
}

async fn live() -> Response {
    document(&json!({"live": true}))
}

async fn ready(State(face): State<Face>) -> Answer {
    let status = ask_status(&face.handle).await.map_err(|_| {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Refusal::new(status, "notReady", "the run does not answer")
    })?;
    match status.ready {
        true => Ok(document(&json!({"ready": true}))),
        false => Err(Refusal::not_ready(status.state)),
    }
}

async fn status(State(face): State<Face>) -> Answer {
    Ok(document(&ask_status(&face.handle).await?))
}

async fn metrics(State(face): State<Face>) -> Response {
    // They are told also when the run does not answer, or has ended.
    let content_type = [(CONTENT_TYPE, telemetry::CONTENT_TYPE)];
    fresh((content_type, face.metrics.encode()).into_response())
}

async fn pause(State(face): State<Face>) -> Answer {
    command("pause", face.handle.pause()).await
}

async fn resume(State(face): State<Face>) -> Answer {
    command("resume", face.handle.resume()).await
}

/// The body of `POST /seek`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Seek {
    since: String,
}

async fn seek(State(face): State<Face>, body: Bytes) -> Answer {
    let seek: Seek = serde_json::from_slice(&body).map_err(|error| {
        Refusal::bad_request(format!("the body cannot be read: {error}"))
            .hint(r#"it is written `{"since": "1700000001:7"}`"#)
    })?;
    let to: Since = seek.since.parse()?;
    command("seek", face.handle.seek(to)).await
}

/// The body of `POST /snapshots`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Snapshot {
    namespace: String,
}

async fn snapshot(State(face): State<Face>, body: Bytes) -> Answer {
    let hint = r#"it is written `{"namespace": "shop.orders"}`"#;
    let snapshot: Snapshot = serde_json::from_slice(&body).map_err(|error| {
        Refusal::bad_request(format!("the body cannot be read: {error}")).hint(hint)
    })?;
    let name = snapshot.namespace;
    match name.parse() {
        Ok(namespace @ Namespace::Collection { .. }) => {
            command("snapshot", face.handle.snapshot(namespace)).await
        }
        Ok(_) => Err(Refusal::bad_request(format!("`{name}` names no collection")).hint(hint)),
        Err(error) => Err(Refusal::bad_request(error.to_string()).hint(hint)),
    }
}

async fn drain(State(face): State<Face>) -> Answer {
    tracing::info!(command = "drain", "a command came by the admin API");
    Ok(document(&face.handle.drain().await?))
}

async fn command(
    verb: &'static str,
    done: impl Future<Output = Result<Reached, CommandError>>,
) -> Answer {
    tracing::info!(command = verb, "a command came by the admin API");
    match tokio::time::timeout(COMMAND_TIME_MAX, done).await {
        Ok(reached) => Ok(document(&reached?)),
        Err(_) => Err(Refusal::still_on_the_way(
            verb,
            COMMAND_TIME_MAX,
            "GET /status",
        )),
    }
}

pub(super) async fn ask_status(handle: &Handle) -> Result<Status, Refusal> {
    match tokio::time::timeout(STATUS_TIME_MAX, handle.status()).await {
        Ok(status) => Ok(status?),
        Err(_) => Err(Refusal::too_slow(format!(
            "the run has not answered for {} seconds",
            STATUS_TIME_MAX.as_secs()
        ))),
    }
}

async fn no_route(uri: Uri) -> Refusal {
    let path = uri.path();
    let message = format!("there is no `{path}` here");
    let refusal = Refusal::new(StatusCode::NOT_FOUND, "notFound", message);
    let near = ROUTES
        .iter()
        .find(|(route, _)| strsim::damerau_levenshtein(route, path) <= 2);
    match near {
        Some((route, method)) => refusal.hint(format!("did you mean `{method} {route}`?")),
        None => refusal.hint(format!("there are {}", list(&ROUTES))),
    }
}

async fn wrong_method(method: Method, uri: Uri) -> Refusal {
    let path = uri.path();
    let message = format!("`{path}` does not answer {method}");
    let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "methodNotAllowed", message);
    let routes = ROUTES.iter().filter(|(route, _)| is_of(path, route));
    routes.fold(refusal, |refusal, (route, method)| {
        refusal.hint(format!("ask for `{method} {route}`"))
    })
}

/// Whether a path is one of a route, in which `NAME` stands for any.
fn is_of(path: &str, route: &str) -> bool {
    let mut parts = path.split('/').zip(route.split('/'));
    path.split('/').count() == route.split('/').count()
        && parts.all(|(part, of_route)| part == of_route || of_route == "NAME")
}

fn list(routes: &[(&str, &str)]) -> String {
    let routes: Vec<_> = routes
        .iter()
        .map(|(route, method)| format!("`{method} {route}`"))
        .collect();
    routes.join(", ")
}
