//! What must not be shown.

use std::fmt;

/// A text that is never shown: neither by `Debug`, nor in errors, nor in a plan.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for who uses it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// What the key of something secret has in it, in lower case.
const MARKS: [&str; 7] = [
    "token",
    "pass",
    "secret",
    "auth",
    "key",
    "credential",
    "header",
];

/// Whether a text, in lower case, speaks of something that must not be shown.
pub(super) fn is_marked(text: &str) -> bool {
    MARKS.iter().any(|mark| text.contains(mark))
}

/// A connection string or address as it may be shown: with user and host, without password and without
/// the options behind `?`, some of which are secret.
pub(crate) fn without_secrets(url: &str) -> String {
    let (base, query) = match url.split_once('?') {
        // A question mark inside a password: there is no telling what is what.
        Some((base, query)) if query.contains('@') && !base.contains('@') => (base, None),
        Some((base, _)) => (base, Some("?***")),
        None => (url, Some("")),
    };
    let (scheme, rest) = base.split_once("://").unwrap_or(("", base));
    let (Some(query), false) = (query, scheme.is_empty() && rest.contains('@')) else {
        return "***".into();
    };
    // A password that was not percent-encoded may hold any of the separators.
    let rest = match rest.rsplit_once('@') {
        Some((credentials, host)) => match credentials.split_once(':') {
            Some((user, _)) => format!("{user}:***@{host}"),
            None => format!("***@{host}"),
        },
        None => rest.to_owned(),
    };
    match scheme {
        "" => format!("{rest}{query}"),
        _ => format!("{scheme}://{rest}{query}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_shown_without_secrets() {
        for (url, expected) in [
            ("mongodb://h:27017", "mongodb://h:27017"),
            ("mongodb://h/?replicaSet=rs0", "mongodb://h/?***"),
            ("mongodb://ann:s3cret@h/db", "mongodb://ann:***@h/db"),
            ("mongodb://ann:s3/c:r@et@h/db", "mongodb://ann:***@h/db"),
            ("https://t0ken@h/x?sig=1", "https://***@h/x?***"),
            ("mongodb://ann:s3?cret@h/db", "***"),
            ("ann:s3cret@h", "***"),
            ("mongodb:shop.copies", "mongodb:shop.copies"),
        ] {
            assert_eq!(without_secrets(url), expected);
        }
        assert_eq!(format!("{:?}", Secret::new("s3cret")), "Secret(***)");
    }
}
