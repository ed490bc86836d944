//! Values as they are written in flags, the environment and files, each refused with the nearest valid spelling.

use std::{fmt, net::SocketAddr, time::Duration};

use bson::Bson;
use oplet::{
    control::{ListDocument, OnPositionLost},
    flow::workers::WorkerList,
    op::{Namespace, Since, SourceKind},
};

use super::{problem::unknown, secret::without_secrets};

/// One setting of the modules' configuration.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) key: String,
    pub(crate) value: serde_json::Value,
}

pub(crate) fn namespace(text: &str) -> Result<Namespace, String> {
    text.parse::<Namespace>()
        .map_err(|error| with_nearest(&error.reason, error.nearest.as_deref()))
}

/// A collection or view, as in `db.coll`.
pub(crate) fn collection(text: &str) -> Result<Namespace, String> {
    match namespace(text)? {
        collection @ Namespace::Collection { .. } => Ok(collection),
        Namespace::Deployment | Namespace::Database(_) => {
            Err("a collection or view is named, as in `shop.orders`".to_owned())
        }
    }
}

/// A grant to look up: `db.collection`, or `db.*`.
pub(crate) fn lookup_grant(text: &str) -> Result<String, String> {
    match namespace(text)? {
        Namespace::Deployment => Err("databases are granted one by one, as in `shop.*`".to_owned()),
        Namespace::Database(database) if text == database => Err(with_nearest(
            "a whole database is granted with its star",
            Some(&format!("{database}.*")),
        )),
        _ => Ok(text.to_owned()),
    }
}

pub(crate) fn since(text: &str) -> Result<Since, String> {
    text.parse::<Since>().map_err(|error| match error.nearest {
        Some(nearest) => with_nearest(&error.reason, Some(&nearest)),
        None => format!(
            "{}; positions are written `now`, `oldest`, `1700000001:7`, `2026-01-02T10:00:00Z`, `90m` or `token:JSON`",
            error.reason
        ),
    })
}

pub(crate) fn until(text: &str) -> Result<Since, String> {
    match since(text)? {
        Since::Oldest => {
            Err("everything lies behind the oldest entry; a run would end at once".into())
        }
        until => Ok(until),
    }
}

pub(crate) fn span(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| {
        let nearest = text.parse::<u64>().map(|seconds| format!("{seconds}s"));
        with_nearest(&error.to_string(), nearest.ok().as_deref())
    })
}

pub(crate) fn count(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| "a whole number is expected".to_owned())
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) usize);

/// Units of sizes, the largest first.
const UNITS: [(&str, usize); 7] = [
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1_000),
    ("B", 1),
];

/// In the largest unit that leaves no rest, as it can be written.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binary = UNITS.iter().filter(|(name, _)| name.ends_with("iB"));
        let mut fitting = binary.filter(|(_, unit)| self.0 != 0 && self.0.is_multiple_of(*unit));
        match fitting.next() {
            Some((name, unit)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}B", self.0),
        }
    }
}

/// Reads a size: `64MiB`, `2 MB`, or bytes.
pub(super) fn size(text: &str) -> Result<Size, String> {
    const FORM: &str = "a size is a whole number with a unit, as in `64MiB`";
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '_');
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let number: usize = number.replace('_', "").parse().map_err(|_| FORM)?;
    let unit = unit.trim();
    let found = UNITS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit));
    let factor = match (unit, found) {
        ("", _) => 1,
        (_, Some((_, factor))) => *factor,
        (_, None) => {
            let first = unit.chars().next().map(|c| c.to_ascii_uppercase());
            let nearest = UNITS.iter().find(|(name, _)| name.chars().next() == first);
            let nearest = nearest.map_or("MiB", |(name, _)| name);
            return Err(with_nearest(FORM, Some(&text.replace(unit, nearest))));
        }
    };
    number
        .checked_mul(factor)
        .map(Size)
        .ok_or_else(|| FORM.into())
}

/// A connection string as it was given. It is not read while settings are: what the parser of flags
/// refuses it shows, and this may hold a password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Uri(String);

impl From<String> for Uri {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl Uri {
    /// The text itself, for who reads it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

/// Connection strings of deployments that are read together; never none.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Uris(Vec<Uri>);

impl From<Uri> for Uris {
    fn from(uri: Uri) -> Self {
        Self(vec![uri])
    }
}

impl Uris {
    /// Those that stand in these texts: one in each, or several with blanks between, as a variable or a
    /// file has them. A blank inside a password, which has no business there, is no such blank.
    ///
    /// # Panics
    /// When there is no text.
    pub(crate) fn of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let uris = texts.into_iter().flat_map(|text| {
            let mut uris = Vec::new();
            for word in text.split_inclusive(char::is_whitespace) {
                let begins = word.starts_with("mongodb://") || word.starts_with("mongodb+srv://");
                match uris.last_mut() {
                    Some(uri) if !begins => *uri += word,
                    _ => uris.push(word.to_owned()),
                }
            }
            if uris.is_empty() {
                uris.push(String::new());
            }
            uris.into_iter()
                .map(|uri: String| Uri(uri.trim().to_owned()))
        });
        let uris: Vec<_> = uris.collect();
        assert!(!uris.is_empty(), "each text has one, be it empty");
        Self(uris)
    }

    /// The first, where the run keeps what it keeps.
    pub(crate) fn first(&self) -> &Uri {
        &self.0[0]
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[Uri] {
        &self.0
    }
}

impl fmt::Display for Uris {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&shown.join(", "))
    }
}

impl fmt::Debug for Uris {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uris({self})")
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_secrets(&self.0))
    }
}

impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uri({self})")
    }
}

/// Where a run begins.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Begin {
    /// At the checkpoint, and where there is none, now.
    Checkpoint,
    /// There, whatever the checkpoint says.
    At(Since),
}

impl Begin {
    /// As a run is told.
    pub(crate) fn since(&self) -> Option<Since> {
        match self {
            Self::Checkpoint => None,
            Self::At(since) => Some(since.clone()),
        }
    }
}

impl fmt::Display for Begin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checkpoint => f.write_str("checkpoint, else now"),
            Self::At(since) => since.fmt(f),
        }
    }
}

/// Reads where to begin.
pub(crate) fn begin(text: &str) -> Result<Begin, String> {
    match text {
        "checkpoint" => Ok(Begin::Checkpoint),
        _ if strsim::damerau_levenshtein(text, "checkpoint") <= 3 => Err(with_nearest(
            "it is none of the known forms",
            Some("checkpoint"),
        )),
        _ => since(text).map(Begin::At),
    }
}

/// What identifies a run to its checkpoint.
pub(crate) fn name(text: &str) -> Result<String, String> {
    match text {
        "" => Err("a name has at least one character".into()),
        _ if text.chars().any(char::is_control) => {
            Err("a name has no line breaks or other control characters".into())
        }
        _ => Ok(text.to_owned()),
    }
}

/// What tells one worker from another.
pub(crate) fn worker(text: &str) -> Result<String, String> {
    WorkerList::new(vec![text.to_owned()])
        .map(|_| text.to_owned())
        .map_err(|error| error.to_string())
}

/// Reads where a list of workers is: `db.coll:ID`.
pub(crate) fn list_document(text: &str) -> Result<ListDocument, String> {
    const FORM: &str = "a document is written `db.collection:ID`, as in `ops.settings:workers`";
    let (place, id) = text.split_once(':').ok_or(FORM)?;
    let Namespace::Collection {
        database,
        collection,
    } = namespace(place)?
    else {
        return Err(FORM.into());
    };
    let id = match id {
        "" => return Err(FORM.into()),
        // Extended JSON, for ids that are no text.
        _ if id.starts_with('{') => {
            let value: serde_json::Value =
                serde_json::from_str(id).map_err(|error| format!("the id is not JSON: {error}"))?;
            Bson::try_from(value).map_err(|error| format!("the id is not JSON: {error}"))?
        }
        _ => Bson::String(id.to_owned()),
    };
    Ok(ListDocument {
        database,
        collection,
        id,
    })
}

/// Reads the address of the admin API; a host name is not looked up, but for `localhost`.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    let numeric = text.replacen("localhost:", "127.0.0.1:", 1);
    numeric.parse().map_err(|_| {
        let port = text.rsplit(':').next().unwrap_or_default();
        let nearest = port.parse::<u16>().map(|port| format!("127.0.0.1:{port}"));
        with_nearest(
            "an address is written `IP:PORT`",
            Some(nearest.as_deref().unwrap_or("127.0.0.1:9090")),
        )
    })
}

/// Reads what follows a lost position.
pub(crate) fn on_position_lost(text: &str) -> Result<OnPositionLost, String> {
    let words = OnPositionLost::WORDS.map(|(word, _)| word);
    text.parse()
        .map_err(|()| unknown("unknown choice", text, &words))
}

pub(crate) fn oplog_namespace(text: &str) -> Result<(String, String), String> {
    match text.split_once('.') {
        Some((database, collection)) if !database.is_empty() && !collection.is_empty() => {
            Ok((database.into(), collection.into()))
        }
        _ => Err("a collection is written `db.coll`, as in `local.oplog.rs`".into()),
    }
}

pub(crate) fn setting(text: &str) -> Result<Setting, String> {
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

pub(super) fn with_nearest(reason: &str, nearest: Option<&str>) -> String {
    match nearest {
        Some(nearest) => format!("{reason}; did you mean `{nearest}`?"),
        None => reason.to_owned(),
    }
}

/// Ways to read changes, with the words that users write.
pub(crate) const SOURCES: [(&str, SourceKind); 2] = [
    ("change-stream", SourceKind::ChangeStream),
    ("oplog", SourceKind::Oplog),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_connection_strings_stand_in_one_text() {
        let read = |texts: &[&str]| {
            let uris = Uris::of(texts.iter().copied());
            uris.0.iter().map(|uri| uri.0.clone()).collect::<Vec<_>>()
        };
        assert_eq!(read(&["mongodb://a,b/"]), ["mongodb://a,b/"]);
        assert_eq!(
            read(&["mongodb://a  mongodb+srv://b\nmongodb://c\n", "d"]),
            ["mongodb://a", "mongodb+srv://b", "mongodb://c", "d"]
        );
        assert_eq!(read(&["mongodb://u:my word@h"]), ["mongodb://u:my word@h"]);
        assert_eq!(read(&[""]), [""]);
        let uris = Uris::of(["mongodb://u:one@h", "mongodb://u:two@i"]);
        assert_eq!(uris.to_string(), "mongodb://u:***@h, mongodb://u:***@i");
        assert_eq!(format!("{uris:?}"), format!("Uris({uris})"));
    }
}
