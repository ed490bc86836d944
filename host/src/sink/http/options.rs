//! Where documents are posted, and how.

use std::{fmt, path::PathBuf};

use reqwest::header::{HeaderName, HeaderValue};
use url::Url;

use super::SecretPlace;
use crate::sink::{OptionError, option::take};

/// What one request holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// One document, as `application/json`.
    Document,
    /// A batch of documents, one a line, as `application/x-ndjson`.
    Lines,
}

/// How the other side knows who posts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// It does not ask.
    None,
    /// By a token.
    Bearer(SecretPlace),
    /// By a name and a password.
    Basic {
        /// The name.
        user: String,
        /// The password.
        password: SecretPlace,
    },
}

/// Where documents are posted, and how.
#[derive(Clone, PartialEq, Eq)]
pub struct Options {
    /// Where to.
    pub url: Url,
    /// What one request holds.
    pub body: Body,
    /// Headers to be sent along. Their values may be secrets.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Who posts.
    pub credentials: Credentials,
    /// Certificates (PEM) of the authorities that are trusted, instead of the system's.
    pub ca_file: Option<PathBuf>,
}

/// The options that are taken.
const KEYS: [&str; 8] = [
    "body",
    "header",
    "bearer-token-file",
    "bearer-token-env",
    "basic-user",
    "basic-password-file",
    "basic-password-env",
    "ca-file",
];

/// Headers that the sink writes itself.
const OWN_HEADERS: [&str; 6] = [
    "authorization",
    "content-length",
    "content-type",
    "host",
    "oplet-module",
    "idempotency-key",
];

impl Options {
    /// Reads a URL and takes the options `body`, `header` (`Name: value`) and `header.NAME`,
    /// `bearer-token-file`, `bearer-token-env`, `basic-user`, `basic-password-file`,
    /// `basic-password-env` and `ca-file` out of `pairs`; others are left there.
    ///
    /// Nothing is read yet: neither files nor the environment.
    ///
    /// # Errors
    /// [`OptionError`] for the first that cannot be.
    pub fn from_pairs(url: &str, pairs: &mut Vec<(String, String)>) -> Result<Self, OptionError> {
        let url = read_url(url)?;
        let headers = take_headers(pairs)?;
        let mut taken = KEYS.map(|_| None);
        for (key, value) in KEYS.iter().zip(&mut taken) {
            *value = take(pairs, key)?;
        }
        let [
            body,
            _,
            token_file,
            token_env,
            user,
            password_file,
            password_env,
            ca_file,
        ] = taken;
        let body = match body.as_deref() {
            None | Some("document") => Body::Document,
            Some("lines") => Body::Lines,
            Some(word) => {
                return Err(OptionError::one_of("body", word, &["document", "lines"]));
            }
        };
        let token = place("bearer-token", token_file, token_env)?;
        let password = place("basic-password", password_file, password_env)?;
        let credentials = match (token, user, password) {
            (None, None, None) => Credentials::None,
            (Some(token), None, None) => Credentials::Bearer(token),
            (None, Some(user), Some(password)) if !user.contains(':') => {
                Credentials::Basic { user, password }
            }
            (Some(_), ..) => {
                let reason = "a bearer token and a name with a password exclude each other";
                return Err(OptionError::new("basic-user", reason));
            }
            (None, None, Some(_)) => {
                return Err(OptionError::new("basic-user", "the password needs a name"));
            }
            (None, Some(_), None) => {
                let reason = "the name needs basic-password-file or basic-password-env";
                return Err(OptionError::new("basic-user", reason));
            }
            (None, Some(_), Some(_)) => {
                return Err(OptionError::new("basic-user", "a name holds no colon"));
            }
        };
        Ok(Self {
            url,
            body,
            headers,
            credentials,
            ca_file: ca_file.map(PathBuf::from),
        })
    }

    /// The URL without what may be secret in it.
    pub(super) fn shown_url(&self) -> String {
        let mut url = self.url.clone();
        if url.query().is_some() {
            url.set_query(Some("***"));
        }
        url.into()
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("Options")
            .field("url", &self.shown_url())
            .field("body", &self.body)
            .field("headers", &names)
            .field("credentials", &self.credentials)
            .field("ca_file", &self.ca_file)
            .finish()
    }
}

fn read_url(url: &str) -> Result<Url, OptionError> {
    // The text itself is not repeated: it may hold a password.
    let url = Url::parse(url)
        .map_err(|error| OptionError::of_url(format!("the URL cannot be read: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(OptionError::of_url("the URL is not one of http or https"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        let reason = "the URL holds a name or a password, which would be shown in places; \
            give `basic-user` and `basic-password-file` instead";
        return Err(OptionError::of_url(reason));
    }
    Ok(url)
}

/// The place of a secret that is given as `NAME-file` or `NAME-env`.
fn place(
    name: &str,
    file: Option<String>,
    variable: Option<String>,
) -> Result<Option<SecretPlace>, OptionError> {
    match (file, variable) {
        (None, None) => Ok(None),
        (Some(path), None) => Ok(Some(SecretPlace::File(path.into()))),
        (None, Some(variable)) => Ok(Some(SecretPlace::Environment(variable))),
        (Some(_), Some(_)) => {
            let reason = format!("{name}-file and {name}-env exclude each other");
            Err(OptionError::new(&format!("{name}-env"), reason))
        }
    }
}

fn take_headers(
    pairs: &mut Vec<(String, String)>,
) -> Result<Vec<(HeaderName, HeaderValue)>, OptionError> {
    let is_header = |key: &str| key == "header" || key.starts_with("header.");
    let mut headers = Vec::new();
    for (key, value) in pairs.extract_if(.., |(key, _)| is_header(key)) {
        let refuse = |reason: &str| OptionError::new(&key, reason);
        let (name, value) = match key.strip_prefix("header.") {
            Some(name) => (name, value.as_str()),
            None => value
                .split_once(':')
                .ok_or_else(|| refuse("it is not of the form `Name: value`"))?,
        };
        let name: HeaderName = name
            .trim()
            .parse()
            .map_err(|_| refuse("this cannot be the name of a header"))?;
        if OWN_HEADERS.contains(&name.as_str()) {
            return Err(refuse(&format!("the sink writes the header {name} itself")));
        }
        let mut value: HeaderValue = value
            .trim()
            .parse()
            .map_err(|_| refuse("this cannot be the value of a header"))?;
        value.set_sensitive(true);
        headers.push((name, value));
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str, pairs: &[(&str, &str)]) -> Result<(Options, usize), OptionError> {
        let mut pairs = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        Options::from_pairs(url, &mut pairs).map(|options| (options, pairs.len()))
    }

    #[test]
    fn options_are_read_and_secrets_hidden() {
        let pairs = [
            ("body", "lines"),
            ("header", "X-Key: hush"),
            ("header.X-Other", "hush"),
            ("basic-user", "me"),
            ("basic-password-env", "PASSWORD"),
            ("workers", "3"),
        ];
        let (options, left) = parse("https://h/p?code=hush", &pairs).unwrap();
        assert_eq!(
            (options.body, options.headers.len(), left),
            (Body::Lines, 2, 1)
        );
        let shown = format!("{options:?} {}", options.shown_url());
        assert!(!shown.contains("hush"), "{shown}");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (url, pairs, key) in [
            ("ftp://h", &[][..], None),
            ("http://", &[], None),
            ("http://me:hush@h", &[], None),
            ("http://h", &[("body", "batch")], Some("body")),
            ("http://h", &[("header", "X")], Some("header")),
            (
                "http://h",
                &[("header.Authorization", "x")],
                Some("header.Authorization"),
            ),
            ("http://h", &[("basic-user", "me")], Some("basic-user")),
            (
                "http://h",
                &[("basic-password-env", "P")],
                Some("basic-user"),
            ),
            (
                "http://h",
                &[("bearer-token-env", "T"), ("bearer-token-file", "t")],
                Some("bearer-token-env"),
            ),
        ] {
            let error = parse(url, pairs).unwrap_err();
            assert_eq!(error.key.as_deref(), key, "{url} {pairs:?}");
            assert!(!error.to_string().contains("hush"), "{error}");
        }
    }
}
