//! What is answered: a document, or why not.

use std::time::Duration;

use axum::{
    Json,
    http::{
        HeaderValue, StatusCode,
        header::{CACHE_CONTROL, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::{
    control::{CommandError, ProfileError, RunState, SwapError},
    op::SinceError,
};

/// Why something is not told or done: an error as every route gives it.
///
/// ```json
/// {"code": "wrongState", "message": "cannot seek while the run is draining", "hints": []}
/// ```
#[derive(Debug, Serialize)]
pub(super) struct Refusal {
    #[serde(skip)]
    status: StatusCode,
    code: &'static str,
    message: String,
    /// All that is wrong with a module that was refused: a message each, and a hint.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    findings: Vec<serde_json::Value>,
    hints: Vec<String>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            findings: Vec::new(),
            hints: Vec::new(),
        }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    pub(super) fn unauthorized(message: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
            .hint("send `Authorization: Bearer TOKEN` with the token that `oplet run` was given")
    }

    pub(super) fn forbidden() -> Self {
        let message = "only programs of this machine may use the admin API";
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
            .hint("ask for it as `localhost` or `127.0.0.1`, or start `oplet run` with a token")
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "badRequest", message)
    }

    pub(super) fn too_slow(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "timeout", message)
    }

    /// A command that takes longer than a caller is kept waiting; `route` tells when it is done.
    pub(super) fn still_on_the_way(verb: &str, waited: Duration, route: &str) -> Self {
        Self::too_slow(format!(
            "the run is still on the way to `{verb}` after {} seconds",
            waited.as_secs()
        ))
        .hint(format!(
            "it goes on with it; `{route}` tells when it is done"
        ))
    }

    /// The run is not ready. Anybody may ask that, so no more than its state is told.
    pub(super) fn not_ready(state: RunState) -> Self {
        let message = match state {
            RunState::Streaming => "the run is streaming, and a part of it is not ready".to_owned(),
            state => format!("the run is {}", state.as_str()),
        };
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "notReady", message)
            .hint("`GET /status` tells why")
    }
}

impl From<CommandError> for Refusal {
    fn from(error: CommandError) -> Self {
        let (status, code) = match &error {
            CommandError::State { .. } => (StatusCode::CONFLICT, "wrongState"),
            CommandError::OutsideWindow { .. } => (StatusCode::CONFLICT, "outsideWindow"),
            CommandError::Failed { .. } => (StatusCode::BAD_GATEWAY, "failed"),
            CommandError::Ended => (StatusCode::CONFLICT, "ended"),
        };
        let refusal = Self::new(status, code, error.to_string());
        match &error {
            CommandError::OutsideWindow { oldest, newest, .. } => refusal.hint(format!(
                "choose a position from {oldest} to {newest}, or `oldest` or `now`"
            )),
            CommandError::Failed { .. } => {
                refusal.hint("the run goes on; where the reason may pass, try again")
            }
            CommandError::State { .. } | CommandError::Ended => refusal,
        }
    }
}

impl From<ProfileError> for Refusal {
    fn from(error: ProfileError) -> Self {
        let (status, code) = match error {
            ProfileError::Command(error) => return error.into(),
            ProfileError::NoSuchModule { .. } => (StatusCode::NOT_FOUND, "noSuchModule"),
            ProfileError::TooLong => (StatusCode::BAD_REQUEST, "badRequest"),
            ProfileError::Replaced { .. } => (StatusCode::CONFLICT, "replaced"),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<SwapError> for Refusal {
    fn from(error: SwapError) -> Self {
        let (status, code) = match &error {
            SwapError::NoSuchModule { .. } => (StatusCode::NOT_FOUND, "noSuchModule"),
            SwapError::Load(_) | SwapError::Plan(_) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "refused")
            }
            SwapError::Lane { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "undone"),
            SwapError::Late { .. } => (StatusCode::CONFLICT, "late"),
            SwapError::NoVersionBefore { .. } => (StatusCode::CONFLICT, "noVersionBefore"),
            SwapError::LastModule { .. } => (StatusCode::CONFLICT, "lastModule"),
            SwapError::Refused(_) => (StatusCode::CONFLICT, "notNow"),
            SwapError::Ended => (StatusCode::CONFLICT, "ended"),
        };
        let mut refusal = Self::new(status, code, error.summary());
        let findings = error.findings().iter().map(serde_json::to_value);
        refusal.findings = findings.filter_map(Result::ok).collect();
        refusal.hints = error.hints();
        if matches!(error, SwapError::NoSuchModule { .. }) {
            refusal =
                refusal.hint("`PUT /modules/NAME?add=true`, or `oplet swap --add`, adds a module");
        }
        refusal
    }
}

impl From<SinceError> for Refusal {
    fn from(error: SinceError) -> Self {
        let refusal = Self::new(StatusCode::BAD_REQUEST, "badPosition", error.to_string());
        refusal.hint(match error.nearest {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None => "positions are written `now`, `oldest`, `1700000001:7`, \
                     `2026-01-02T10:00:00Z`, `90m` or `token:JSON`"
                .to_owned(),
        })
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = self.status;
        let mut response = (status, Json(self)).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        fresh(response)
    }
}

/// A document.
pub(super) fn document(document: &impl Serialize) -> Response {
    fresh(Json(document).into_response())
}

/// Nothing here is true for long.
pub(super) fn fresh(mut response: Response) -> Response {
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(CACHE_CONTROL, no_store);
    response
}
