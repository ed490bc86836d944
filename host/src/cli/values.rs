//! Values of flags, each refused with the nearest valid spelling.

use std::time::Duration;

use mongodb::options::ConnectionString;
use oplet::{
    mongo,
    op::{Namespace, Since},
};

use super::error::UserError;

/// One setting of the modules' configuration.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) key: String,
    pub(super) value: serde_json::Value,
}

pub(super) fn namespace(text: &str) -> Result<Namespace, String> {
    text.parse::<Namespace>()
        .map_err(|error| with_nearest(&error.reason, error.nearest.as_deref()))
}

pub(super) fn since(text: &str) -> Result<Since, String> {
    text.parse::<Since>().map_err(|error| match error.nearest {
        Some(nearest) => with_nearest(&error.reason, Some(&nearest)),
        None => format!(
            "{}; positions are written `now`, `oldest`, `1700000001:7`, `2026-01-02T10:00:00Z`, `90m` or `token:JSON`",
            error.reason
        ),
    })
}

pub(super) fn until(text: &str) -> Result<Since, String> {
    match since(text)? {
        Since::Oldest => {
            Err("everything lies behind the oldest entry; a run would end at once".into())
        }
        until => Ok(until),
    }
}

pub(super) fn span(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| {
        let nearest = text.parse::<u64>().map(|seconds| format!("{seconds}s"));
        with_nearest(&error.to_string(), nearest.ok().as_deref())
    })
}

pub(super) fn count(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| "a whole number is expected".to_owned())
}

/// A connection string as it was given. It is not read while the command line is: what the parser of
/// flags refuses it shows, and this may hold a password.
#[derive(Debug, Clone)]
pub(crate) struct Uri(String);

impl From<String> for Uri {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl Uri {
    /// Reads it, without opening anything.
    pub(super) fn parse(&self) -> Result<ConnectionString, UserError> {
        mongo::parse_uri(&self.0).map_err(|error| {
            let nearest = format!("mongodb://{}", self.0);
            let forgot_scheme = !self.0.contains("://") && mongo::parse_uri(&nearest).is_ok();
            let user_error = UserError::from(error);
            match forgot_scheme && !self.0.contains('@') {
                true => user_error.hint(format!("did you mean `{nearest}`?")),
                false => user_error.hint(
                    "it is written `mongodb://USER:PASSWORD@HOST:PORT/?replicaSet=NAME`; user and password may be \
                     left out, and their special characters are percent-encoded",
                ),
            }
        })
    }
}

pub(super) fn oplog_namespace(text: &str) -> Result<(String, String), String> {
    match text.split_once('.') {
        Some((database, collection)) if !database.is_empty() && !collection.is_empty() => {
            Ok((database.into(), collection.into()))
        }
        _ => Err("a collection is written `db.coll`, as in `local.oplog.rs`".into()),
    }
}

pub(super) fn setting(text: &str) -> Result<Setting, String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => {
            let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
            Ok(Setting {
                key: key.into(),
                value,
            })
        }
        _ => Err(with_nearest(
            "a setting is written `KEY=VALUE`",
            Some(&format!("{text}=true")),
        )),
    }
}

fn with_nearest(reason: &str, nearest: Option<&str>) -> String {
    match nearest {
        Some(nearest) => format!("{reason}; did you mean `{nearest}`?"),
        None => reason.to_owned(),
    }
}
