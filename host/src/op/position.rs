//! Where a source stands, and where it is to start.

use std::{fmt, str::FromStr, time::Duration};

use bson::RawDocumentBuf;

use super::Timestamp;

/// Cluster time and election term of one oplog entry; together they name it, even after a rollback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OpTime {
    /// The entry's `ts`.
    pub timestamp: Timestamp,
    /// The entry's `t`; -1 where the entry has none.
    pub term: i64,
}

/// Where a source stands: everything up to here is behind it.
#[derive(Debug, Clone, PartialEq)]
pub enum Position {
    /// Everything at or before this cluster time is behind.
    Time(Timestamp),
    /// This oplog entry and all before it are behind.
    Oplog(OpTime),
    /// This point of a change stream and all before it are behind.
    ChangeStream {
        /// The server's resume token, of an event or between events.
        token: RawDocumentBuf,
        /// The cluster time that the token stands for, when it can be told.
        cluster_time: Option<Timestamp>,
    },
}

impl Position {
    /// The position in cluster time, when it can be told.
    #[must_use]
    pub fn timestamp(&self) -> Option<Timestamp> {
        match self {
            Self::Time(timestamp) => Some(*timestamp),
            Self::Oplog(op_time) => Some(op_time.timestamp),
            Self::ChangeStream { cluster_time, .. } => *cluster_time,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.timestamp() {
            Some(timestamp) => write!(f, "{timestamp}"),
            None => f.write_str("a resume token"),
        }
    }
}

/// Where to start, or to stop, as a user writes it.
#[derive(Debug, Clone, PartialEq)]
pub enum Since {
    /// After everything that has happened by now.
    Now,
    /// At the oldest entry that the oplog still has.
    Oldest,
    /// With the first op after this cluster time.
    After(Timestamp),
    /// With the first op after this long ago, by the server's clock.
    Ago(Duration),
    /// After this point of a change stream.
    Token(RawDocumentBuf),
}

/// A position that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{input}` is not a position: {reason}")]
pub struct SinceError {
    /// What was given.
    pub input: String,
    /// What is wrong with it.
    pub reason: String,
    /// The nearest valid spelling.
    pub nearest: Option<String>,
}

/// The words that name a position.
const WORDS: [&str; 2] = ["now", "oldest"];

impl FromStr for Since {
    type Err = SinceError;

    fn from_str(input: &str) -> Result<Self, SinceError> {
        let refuse = |reason: String, nearest: Option<String>| SinceError {
            input: input.to_owned(),
            reason,
            nearest,
        };
        match input {
            "now" => return Ok(Self::Now),
            "oldest" => return Ok(Self::Oldest),
            _ => {}
        }
        if let Some(json) = input.strip_prefix("token:") {
            return parse_token(json)
                .map(Self::Token)
                .map_err(|reason| refuse(reason, None));
        }
        if let Ok(timestamp) = input.parse::<Timestamp>() {
            return Ok(Self::After(timestamp));
        }
        if input.contains('-') && input.starts_with(|c: char| c.is_ascii_digit()) {
            return parse_time(input)
                .map(Self::After)
                .map_err(|(reason, nearest)| refuse(reason, nearest));
        }
        if input.starts_with(|c: char| c.is_ascii_digit()) {
            if input.bytes().all(|byte| byte.is_ascii_digit()) {
                let reason = "a number alone has no meaning".to_owned();
                let nearest = if input.len() >= 10 {
                    format!("{input}:0")
                } else {
                    format!("{input}m")
                };
                return Err(refuse(reason, Some(nearest)));
            }
            return humantime::parse_duration(input)
                .map(Self::Ago)
                .map_err(|error| {
                    refuse(
                        format!("neither SECONDS:INCREMENT nor a time span ({error})"),
                        None,
                    )
                });
        }
        let nearest = WORDS
            .iter()
            .find(|word| strsim::damerau_levenshtein(word, &input.to_lowercase()) <= 2);
        Err(refuse(
            "it is none of the known forms".into(),
            nearest.map(|word| (*word).to_owned()),
        ))
    }
}

impl fmt::Display for Since {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now => f.write_str("now"),
            Self::Oldest => f.write_str("oldest"),
            Self::After(timestamp) => write!(f, "{timestamp}"),
            Self::Ago(span) => write!(f, "{} ago", humantime::format_duration(*span)),
            Self::Token(_) => f.write_str("a resume token"),
        }
    }
}

fn parse_token(json: &str) -> Result<RawDocumentBuf, String> {
    let value: serde_json::Value = serde_json::from_str(json)
        .map_err(|error| format!("what follows `token:` is not JSON ({error})"))?;
    // The bare `_data` text is what most tools print.
    let value = match value {
        serde_json::Value::String(data) => serde_json::json!({ "_data": data }),
        other => other,
    };
    let bson::Bson::Document(document) =
        bson::Bson::try_from(value).map_err(|error| error.to_string())?
    else {
        return Err("a resume token is a document such as `token:{\"_data\":\"82...\"}`".into());
    };
    if !document.contains_key("_data") {
        return Err("a resume token has the field `_data`".into());
    }
    RawDocumentBuf::try_from(&document).map_err(|error| error.to_string())
}

fn parse_time(input: &str) -> Result<Timestamp, (String, Option<String>)> {
    let parse = |text: &str| bson::DateTime::parse_rfc3339_str(text).ok();
    let Some(time) = parse(input) else {
        let nearest = [
            format!("{}Z", input.replacen(' ', "T", 1)),
            format!("{input}T00:00:00Z"),
        ]
        .into_iter()
        .find(|text| parse(text).is_some());
        return Err(("it looks like a time, but not of RFC 3339".into(), nearest));
    };
    let seconds = time.timestamp_millis().div_euclid(1000);
    match u32::try_from(seconds) {
        Ok(seconds) => Ok(Timestamp::new(seconds, 0)),
        Err(_) => Err(("cluster time begins in 1970 and ends in 2106".into(), None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_form() {
        let data = bson::rawdoc! { "_data": "82AB" };
        for (input, expected) in [
            ("now", Since::Now),
            ("oldest", Since::Oldest),
            (
                "1700000001:7",
                Since::After(Timestamp::new(1_700_000_001, 7)),
            ),
            ("1970-01-01T00:01:00Z", Since::After(Timestamp::new(60, 0))),
            (
                "1970-01-01T01:01:00.5+01:00",
                Since::After(Timestamp::new(60, 0)),
            ),
            ("90m", Since::Ago(Duration::from_secs(5400))),
            ("1h 30m", Since::Ago(Duration::from_secs(5400))),
            (r#"token:{"_data":"82AB"}"#, Since::Token(data.clone())),
            (r#"token:"82AB""#, Since::Token(data)),
        ] {
            assert_eq!(input.parse::<Since>().unwrap(), expected, "{input}");
        }
    }

    #[test]
    fn refuses_with_the_nearest_form() {
        for (input, nearest) in [
            ("nwo", Some("now")),
            ("Oldest", Some("oldest")),
            ("yesterday", None),
            ("1700000001", Some("1700000001:0")),
            ("90", Some("90m")),
            ("1700000001:", None),
            ("2026-01-02", Some("2026-01-02T00:00:00Z")),
            ("2026-01-02 10:00:00", Some("2026-01-02T10:00:00Z")),
            ("1960-01-02T00:00:00Z", None),
            ("90 parsecs", None),
            ("token:82AB", None),
            ("token:{}", None),
        ] {
            let error = input.parse::<Since>().unwrap_err();
            assert_eq!(error.nearest.as_deref(), nearest, "{input}: {error}");
        }
    }
}
