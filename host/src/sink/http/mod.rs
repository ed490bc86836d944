//! The sink that posts documents over HTTP.
//!
//! Enters: lines of Extended JSON. Leaves: one POST per document (`body=document`,
//! `application/json`) or per batch (`body=lines`, `application/x-ndjson`), one after the other over
//! connections that are kept. Promised: a document counts as delivered when a request with it was
//! answered with 2xx. Requests carry an `Idempotency-Key`: the output key, the same on every
//! redelivery; for a batch its first key, how many documents follow, and a hash over all keys, the
//! same on every attempt, but not after a restart, which may cut batches differently. `Oplet-Module`
//! names the versions that emitted the documents.
//!
//! The other side's word decides: 429, 408, 5xx, a network that fails and redirections to elsewhere
//! hold the documents back, as long as `Retry-After` says; so do 401 and 403, since credentials can be
//! mended. After a 401 the secret's file is read again. Any other 4xx rejects the document; of a
//! batch, the guilty ones are found by halving it.

mod answer;
mod credentials;
mod options;
mod progress;
mod secret;
mod tls;

use std::{
    error::Error as _,
    fmt::Write as _,
    ops::Range,
    time::{Duration, SystemTime},
};

use futures_util::future::BoxFuture;
use reqwest::{
    Client, Response, StatusCode,
    header::{CONTENT_TYPE, HeaderValue, USER_AGENT},
    redirect,
};

pub use options::{Body, Credentials, Options};
pub use secret::SecretPlace;

use self::{
    answer::{Meaning, excerpt, retry_after},
    credentials::Authorization,
    progress::{Progress, Settled},
    secret::Secret,
};
use super::{DeliverError, OutputBatch, Rejection, Sink};

/// How long a connection may take to be made.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// How long a connection is kept while nothing is posted.
const IDLE_TIME: Duration = Duration::from_secs(60);

/// How much of an answer's body is read: all of a normal one, so that its connection can be used
/// again.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Posts documents over HTTP. It takes
/// [`Encoding::JsonLines`](super::Encoding::JsonLines).
#[derive(Debug)]
pub struct HttpSink {
    client: Client,
    options: Options,
    authorization: Authorization,
    progress: Progress,
}

/// What the other side said to a request.
struct Answer {
    status: StatusCode,
    retry_after: Option<Duration>,
    location: Option<String>,
    body: Vec<u8>,
}

impl HttpSink {
    /// Opens the sink. Certificates and secrets are read, from files and, by `environment`, from
    /// variables; nothing is connected yet.
    ///
    /// # Errors
    /// [`DeliverError::Ended`] when one of them cannot be had.
    pub fn open(
        options: &Options,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, DeliverError> {
        let ended = |message: String| DeliverError::Ended {
            message,
            is_closed: false,
        };
        let tls = match options.url.scheme() {
            "https" => tls::config(options.ca_file.as_deref()),
            _ => tls::config_of_none(),
        };
        let client = Client::builder()
            .tls_backend_preconfigured(tls.map_err(ended)?)
            .connect_timeout(CONNECT_TIME)
            .pool_idle_timeout(IDLE_TIME)
            .tcp_nodelay(true)
            // The library does not read the environment.
            .no_proxy()
            .redirect(redirect::Policy::custom(follow))
            .build()
            .map_err(|error| ended(format!("cannot set up the HTTP client: {error}")))?;
        let authorization =
            Authorization::open(&options.credentials, environment).map_err(ended)?;
        Ok(Self {
            client,
            options: options.clone(),
            authorization,
            progress: Progress::default(),
        })
    }

    async fn post_all(&self, batch: &OutputBatch) -> Result<Vec<Rejection>, DeliverError> {
        let mut settled = self.progress.of(batch);
        // What is left, the next piece last.
        let mut pieces: Vec<_> = std::iter::once(settled.count..batch.len()).collect();
        while let Some(piece) = pieces.pop() {
            match piece.len() {
                0 => {}
                1 => {
                    self.post_piece(batch, piece, &mut pieces, &mut settled)
                        .await?
                }
                _ if self.options.body == Body::Document => {
                    pieces.push(piece.start + 1..piece.end);
                    pieces.push(piece.start..piece.start + 1);
                }
                _ => {
                    self.post_piece(batch, piece, &mut pieces, &mut settled)
                        .await?
                }
            }
        }
        self.progress.forget(batch);
        Ok(settled.rejections)
    }

    /// Posts the next documents. When they are refused, their halves become the next pieces.
    async fn post_piece(
        &self,
        batch: &OutputBatch,
        piece: Range<usize>,
        pieces: &mut Vec<Range<usize>>,
        settled: &mut Settled,
    ) -> Result<(), DeliverError> {
        let answer = self.post_with_credentials(batch, piece.clone()).await?;
        match Meaning::of(answer.status) {
            Meaning::Accepted => self.progress.advance(batch, settled, piece.len()),
            Meaning::Refused if piece.len() > 1 => {
                let middle = piece.start + piece.len() / 2;
                pieces.push(middle..piece.end);
                pieces.push(piece.start..middle);
            }
            Meaning::Refused => {
                settled.rejections.push(Rejection {
                    index: piece.start,
                    reason: self.told(&answer),
                });
                self.progress.advance(batch, settled, 1);
            }
            Meaning::Passing | Meaning::Unauthenticated => {
                return Err(DeliverError::Passing {
                    message: self.told(&answer),
                    retry_after: answer.retry_after,
                });
            }
        }
        Ok(())
    }

    /// Posts, and once more when the credentials are refused and there are new ones.
    async fn post_with_credentials(
        &self,
        batch: &OutputBatch,
        piece: Range<usize>,
    ) -> Result<Answer, DeliverError> {
        let used = self.authorization.get();
        let answer = self.post(batch, piece.clone(), used.as_ref()).await?;
        if Meaning::of(answer.status) != Meaning::Unauthenticated {
            return Ok(answer);
        }
        match self.authorization.renewed(used.as_ref()) {
            Ok(Some(new)) => self.post(batch, piece, Some(&new)).await,
            Ok(None) => Ok(answer),
            Err(reason) => Err(DeliverError::Passing {
                message: format!("{}; {reason}", self.told(&answer)),
                retry_after: answer.retry_after,
            }),
        }
    }

    async fn post(
        &self,
        batch: &OutputBatch,
        piece: Range<usize>,
        secret: Option<&Secret>,
    ) -> Result<Answer, DeliverError> {
        let (content_type, body) = match self.options.body {
            Body::Document => {
                let line = batch.document(piece.start);
                let document = line.strip_suffix(b"\n").unwrap_or(line);
                ("application/json", document.to_vec())
            }
            Body::Lines => {
                let lines = piece.clone().map(|index| batch.document(index));
                ("application/x-ndjson", lines.collect::<Vec<_>>().concat())
            }
        };
        let mut request = self.client.post(self.options.url.clone());
        for (name, value) in &self.options.headers {
            request = request.header(name, value);
        }
        if !self
            .options
            .headers
            .iter()
            .any(|(name, _)| name == USER_AGENT)
        {
            request = request.header(USER_AGENT, concat!("oplet/", env!("CARGO_PKG_VERSION")));
        }
        let request = self
            .authorization
            .apply(request, secret)
            .header(CONTENT_TYPE, content_type)
            .header("oplet-module", emitters(batch, piece.clone()))
            .header("idempotency-key", idempotency_key(batch, piece))
            .body(body);
        match request.send().await {
            Ok(response) => Ok(read_answer(response).await),
            Err(error) => Err(DeliverError::Passing {
                message: format!(
                    "cannot post to {}: {}",
                    self.options.shown_url(),
                    causes(error)
                ),
                retry_after: None,
            }),
        }
    }

    /// An answer, for people.
    fn told(&self, answer: &Answer) -> String {
        let mut text = format!("{} answered {}", self.options.shown_url(), answer.status);
        let body = excerpt(&answer.body);
        let is_written = match (&answer.location, body.as_str()) {
            (Some(to), _) => write!(text, ", and points to {to}"),
            (None, "") => Ok(()),
            (None, body) => write!(text, ": {body}"),
        };
        is_written.expect("writing to a string does not fail");
        text
    }
}

impl Sink for HttpSink {
    fn deliver<'a>(
        &'a self,
        batch: &'a OutputBatch,
    ) -> BoxFuture<'a, Result<Vec<Rejection>, DeliverError>> {
        Box::pin(self.post_all(batch))
    }
}

/// Follows what repeats the request on the same server; elsewhere our documents and credentials have
/// no business, and other redirections would turn a POST into a GET, whose 200 says nothing.
fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let repeats = matches!(attempt.status().as_u16(), 307 | 308);
    let is_same = |from: &url::Url| from.origin() == attempt.url().origin();
    let is_near = attempt.previous().last().is_some_and(is_same) && attempt.previous().len() <= 5;
    match repeats && is_near {
        true => attempt.follow(),
        false => attempt.stop(),
    }
}

async fn read_answer(mut response: Response) -> Answer {
    let status = response.status();
    let location = response.headers().get("location");
    let location = location
        .filter(|_| status.is_redirection())
        .map(|to| String::from_utf8_lossy(to.as_bytes()).into_owned());
    let retry_after = retry_after(response.headers(), SystemTime::now());
    let mut body = Vec::new();
    // An answer that breaks off has given its status all the same.
    while let Ok(Some(part)) = response.chunk().await {
        body.extend_from_slice(&part);
        if body.len() > ANSWER_BYTES_MAX {
            break;
        }
    }
    Answer {
        status,
        retry_after,
        location,
        body,
    }
}

/// Which versions of which modules emitted the documents, each once: `NAME@DIGEST`.
fn emitters(batch: &OutputBatch, piece: Range<usize>) -> HeaderValue {
    let mut emitters: Vec<String> = Vec::new();
    for index in piece {
        let emitter = batch.emitter(index);
        if !emitters.contains(&emitter) {
            emitters.push(emitter);
        }
    }
    // A module's name may hold what a header may not.
    let text: String = emitters
        .join(", ")
        .chars()
        .map(|letter| {
            if letter.is_ascii_graphic() || letter == ' ' {
                letter
            } else {
                '?'
            }
        })
        .collect();
    HeaderValue::from_str(&text).expect("printable ASCII can be in a header")
}

/// The same for the same documents, whenever they are posted together.
fn idempotency_key(batch: &OutputBatch, piece: Range<usize>) -> HeaderValue {
    let first = batch.key(piece.start);
    let key = match piece.len() {
        1 => first,
        len => {
            let mut hash = xxhash_rust::xxh3::Xxh3Default::new();
            for index in piece {
                hash.update(batch.key(index).as_bytes());
                hash.update(&[0]);
            }
            format!("{first}+{}-{:016x}", len - 1, hash.digest())
        }
    };
    // A module's name may hold what a header may not.
    HeaderValue::from_str(&key).unwrap_or_else(|_| {
        let hash = xxhash_rust::xxh3::xxh3_128(key.as_bytes());
        HeaderValue::from_str(&format!("{hash:032x}")).expect("digits can be in a header")
    })
}

/// An error with its causes, without the URL, which may hold secrets.
fn causes(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        write!(text, ": {error}").expect("writing to a string does not fail");
        cause = error.source();
    }
    text
}
