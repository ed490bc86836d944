//! What the other side's answers mean.

use std::time::{Duration, SystemTime};

use reqwest::{StatusCode, header::HeaderMap};

/// The longest wait that an answer can ask for at a time.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// What an answer's status means for the documents of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// They are accepted.
    Accepted,
    /// Something is amiss that may pass, or be mended: they wait.
    Passing,
    /// The credentials are not good (any more).
    Unauthenticated,
    /// At least one of them is not wanted, or they are too many.
    Refused,
}

impl Meaning {
    pub(super) fn of(status: StatusCode) -> Self {
        match status.as_u16() {
            200..=299 => Self::Accepted,
            401 => Self::Unauthenticated,
            // Forbidden and the proxy's 407 can be granted; time-outs, 421, 425 and 429 pass.
            403 | 407 | 408 | 421 | 425 | 429 => Self::Passing,
            400..=499 => Self::Refused,
            // Also redirections: what is followed never comes here.
            _ => Self::Passing,
        }
    }
}

/// How long the answer asks to wait: in seconds, or until a date.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get("retry-after")?.to_str().ok()?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let until = httpdate::parse_http_date(text).ok()?;
            until.duration_since(now).unwrap_or_default()
        }
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

/// The beginning of a body as one line of text.
pub(super) fn excerpt(body: &[u8]) -> String {
    const BYTES_MAX: usize = 200;
    let text = String::from_utf8_lossy(&body[..body.len().min(BYTES_MAX)]);
    let words: Vec<_> = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_mean_what_the_table_says() {
        for (status, meaning) in [
            (200, Meaning::Accepted),
            (204, Meaning::Accepted),
            (302, Meaning::Passing),
            (400, Meaning::Refused),
            (401, Meaning::Unauthenticated),
            (403, Meaning::Passing),
            (404, Meaning::Refused),
            (408, Meaning::Passing),
            (413, Meaning::Refused),
            (422, Meaning::Refused),
            (429, Meaning::Passing),
            (500, Meaning::Passing),
            (503, Meaning::Passing),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(Meaning::of(status), meaning, "{status}");
        }
    }

    #[test]
    fn waits_are_given_in_seconds_or_as_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        for (text, seconds) in [
            ("7", Some(7)),
            ("999999", Some(3_600)),
            ("Sun, 06 Nov 1994 08:50:00 GMT", Some(23)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("soon", None),
        ] {
            let headers =
                HeaderMap::from_iter([("retry-after".parse().unwrap(), text.parse().unwrap())]);
            let wait = retry_after(&headers, now);
            assert_eq!(wait.map(|wait| wait.as_secs()), seconds, "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn an_excerpt_is_one_short_line() {
        assert_eq!(excerpt(b"no\r\n such\x07 thing\n"), "no such thing");
        assert_eq!(excerpt("ä".repeat(300).as_bytes()).chars().count(), 100);
        assert_eq!(excerpt(b""), "");
    }
}
