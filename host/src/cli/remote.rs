//! `oplet status`, `pause`, `resume`, `seek`, `snapshot`, `drain`: clients of a run's admin API.

use std::{io::IsTerminal as _, path::Path, time::Duration};

use oplet::sink::Stdout;
use reqwest::{
    Client, Method, StatusCode,
    header::{CONTENT_TYPE, HeaderValue},
    redirect,
};
use serde_json::{Value, json};

use super::{
    error::UserError,
    remote_args::{RemoteArgs, RemoteFormat},
    status::{self, describe},
};

/// How long to wait for a connection.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// How long to wait for how a run stands; the run has 5 seconds.
const STATUS_TIME_MAX: Duration = Duration::from_secs(10);
/// How long to wait for a command; the run has 60 seconds, but for a drain, which ends with its grace
/// period.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(70);

/// The variable that holds the token.
const TOKEN_VARIABLE: &str = "OPLET_ADMIN_TOKEN";

/// What a run is asked to do.
#[derive(Debug)]
pub(super) enum Verb {
    Pause,
    Resume,
    Seek(String),
    Snapshot(String),
    Drain,
}

impl Verb {
    fn path(&self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Seek(_) => "seek",
            Self::Snapshot(_) => "snapshots",
            Self::Drain => "drain",
        }
    }

    fn body(&self) -> Option<Value> {
        match self {
            Self::Seek(since) => Some(json!({"since": since})),
            Self::Snapshot(namespace) => Some(json!({"namespace": namespace})),
            Self::Pause | Self::Resume | Self::Drain => None,
        }
    }

    fn time_max(&self) -> Option<Duration> {
        match self {
            Self::Drain => None,
            Self::Pause | Self::Resume | Self::Seek(_) | Self::Snapshot(_) => {
                Some(COMMAND_TIME_MAX)
            }
        }
    }
}

/// What a run is asked.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) method: Method,
    /// The parts of the path, as they are meant.
    pub(super) path: &'a [&'a str],
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) body: Body,
    /// How long to wait for the answer.
    pub(super) time_max: Option<Duration>,
}

/// What goes with it.
#[derive(Debug)]
pub(super) enum Body {
    None,
    Json(Value),
    Wasm(Vec<u8>),
}

impl<'a> Request<'a> {
    /// Asks how something stands.
    pub(super) fn get(path: &'a [&'a str]) -> Self {
        Self {
            method: Method::GET,
            path,
            query: Vec::new(),
            body: Body::None,
            time_max: Some(STATUS_TIME_MAX),
        }
    }
}

/// `oplet status`
pub(super) async fn status(args: &RemoteArgs) -> Result<(), UserError> {
    let status = ask(args, Request::get(&["status"]), has_state).await?;
    let default = match std::io::stdout().is_terminal() {
        true => RemoteFormat::Text,
        false => RemoteFormat::Json,
    };
    print(&status, args.format.unwrap_or(default), describe)
}

/// The others.
pub(super) async fn command(args: &RemoteArgs, verb: &Verb) -> Result<(), UserError> {
    let path = [verb.path()];
    let request = Request {
        method: Method::POST,
        path: &path,
        query: Vec::new(),
        body: verb.body().map_or(Body::None, Body::Json),
        time_max: verb.time_max(),
    };
    let answer = ask(args, request, has_state);
    let format = args.format.unwrap_or(RemoteFormat::Text);
    print(&answer.await?, format, status::reached)
}

/// Whether a document is one of a run's own routes, all of which tell the state.
fn has_state(answer: &Value) -> bool {
    answer["state"].is_string()
}

/// Prints what a run has answered.
pub(super) fn print(
    answer: &Value,
    format: RemoteFormat,
    describe: impl Fn(&Value) -> String,
) -> Result<(), UserError> {
    let text = match format {
        RemoteFormat::Text => describe(answer),
        RemoteFormat::Json => answer.to_string(),
    };
    Ok(Stdout.write(&format!("{text}\n"))?)
}

/// Asks the run, and gives the document that it answers with, by which `is_answer` knows that it is one.
pub(super) async fn ask(
    args: &RemoteArgs,
    asked: Request<'_>,
    is_answer: impl Fn(&Value) -> bool,
) -> Result<Value, UserError> {
    let shown = shown_address(args);
    let foreign = || {
        UserError::failed(format!(
            "what listens at {shown} is not the admin API of a run"
        ))
        .hint("--admin or OPLET_ADMIN names the address that `oplet run --admin` was given")
    };
    let mut url = args.admin.clone();
    url.path_segments_mut()
        .map_err(|()| foreign())?
        .pop_if_empty()
        .extend(asked.path);
    if !asked.query.is_empty() {
        url.query_pairs_mut().extend_pairs(&asked.query);
    }
    let mut request = client()?.request(asked.method, url);
    if let Some(token) = token(args)? {
        request = request.header(reqwest::header::AUTHORIZATION, token);
    }
    request = match asked.body {
        Body::None => request,
        Body::Json(body) => request
            .header(CONTENT_TYPE, "application/json")
            .body(body.to_string()),
        Body::Wasm(wasm) => request.header(CONTENT_TYPE, "application/wasm").body(wasm),
    };
    if let Some(time_max) = asked.time_max {
        request = request.timeout(time_max);
    }
    let response = request
        .send()
        .await
        .map_err(|error| unreachable(&error, &shown))?;
    let status = response.status();
    let text = response
        .text()
        .await
        .map_err(|error| unreachable(&error, &shown))?;
    let answer: Value = serde_json::from_str(&text).map_err(|_| foreign())?;
    match status.is_success() {
        true if is_answer(&answer) => Ok(answer),
        true => Err(foreign()),
        false => Err(refusal(status, &answer).unwrap_or_else(foreign)),
    }
}

/// Where the admin API is looked for, as it is written.
fn shown_address(args: &RemoteArgs) -> String {
    let url = args.admin.as_str().trim_end_matches('/');
    url.strip_prefix("http://").unwrap_or(url).to_owned()
}

fn client() -> Result<Client, UserError> {
    // TLS has no provider of its own here; whoever was first has installed the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .connect_timeout(CONNECT_TIME_MAX)
        // The token goes to the address that was named, and nowhere else.
        .no_proxy()
        .redirect(redirect::Policy::none())
        .build()
        .map_err(|error| UserError::failed("cannot set up HTTP").because(&error))
}

/// The token as a header shows it, if there is one.
fn token(args: &RemoteArgs) -> Result<Option<HeaderValue>, UserError> {
    let token = match &args.admin_token_file {
        Some(file) => Some(read_token(file)?),
        None => crate::config::environment(TOKEN_VARIABLE),
    };
    let Some(token) = token.filter(|token| !token.is_empty()) else {
        return Ok(None);
    };
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| {
        UserError::refused(
            "the token of the admin API has characters that no HTTP header can carry",
        )
    })?;
    value.set_sensitive(true);
    Ok(Some(value))
}

fn read_token(file: &Path) -> Result<String, UserError> {
    let shown = file.display();
    let token = std::fs::read_to_string(file).map_err(|error| {
        UserError::refused(format!("cannot read the token from `{shown}`")).because(&error)
    })?;
    match token.trim() {
        "" => Err(UserError::refused(format!(
            "the file `{shown}` holds no token"
        ))),
        token => Ok(token.to_owned()),
    }
}

fn unreachable(error: &reqwest::Error, shown: &str) -> UserError {
    if error.is_timeout() {
        return UserError::failed(format!("the admin API at {shown} does not answer"))
            .hint("a command that the run has taken on goes on: `oplet status` tells");
    }
    if error.is_connect() && is_refused(error) {
        return UserError::failed(format!("nothing listens at {shown}"))
            .hint(format!("was `oplet run` started with `--admin {shown}`?"))
            .hint("--admin or OPLET_ADMIN names another address");
    }
    let user_error = UserError::failed(format!("cannot talk to the admin API at {shown}"));
    match std::error::Error::source(error) {
        Some(cause) => user_error.because(cause),
        None => user_error.because(error),
    }
}

/// Whether the system said that nobody listens there.
fn is_refused(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<std::io::Error>()
            && error.kind() == std::io::ErrorKind::ConnectionRefused
        {
            return true;
        }
        cause = error.source();
    }
    false
}

/// What the run refused, if that is what the document tells.
fn refusal(status: StatusCode, answer: &Value) -> Option<UserError> {
    answer["code"].as_str()?;
    let message = status::clean(answer["message"].as_str()?);
    let user_error = match status {
        // A module is refused, as it is where it is named on the command line.
        StatusCode::UNPROCESSABLE_ENTITY => UserError::refused(message),
        _ => UserError::failed(message),
    };
    let findings = answer["findings"].as_array().map_or(&[][..], Vec::as_slice);
    let user_error = match findings {
        // The message has it.
        [] | [_] => user_error,
        _ => findings
            .iter()
            .filter_map(|finding| finding["message"].as_str())
            .map(status::clean)
            .fold(user_error, UserError::point),
    };
    if status == StatusCode::UNAUTHORIZED {
        return Some(user_error.hint(format!(
            "name the file that holds the run's token by --admin-token-file, or set {TOKEN_VARIABLE}"
        )));
    }
    let hints = answer["hints"].as_array().into_iter().flatten();
    let hints = hints.filter_map(Value::as_str).map(status::clean);
    Some(hints.fold(user_error, UserError::hint))
}
