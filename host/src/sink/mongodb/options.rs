//! How documents are written to a deployment.

use std::fmt;

use crate::{
    op::split_namespace,
    sink::{OptionError, option::take},
};

/// What is done with a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Inserted; one that is there already is left as it is.
    Insert,
    /// Put in the place of the document with its key, or inserted.
    Replace,
    /// Its fields are set in the document with its key, which is made when there is none. When all of
    /// them begin with `$`, they are update operators.
    Update,
    /// The document with its key is deleted, if there is one.
    Delete,
}

impl Mode {
    /// The words, as they are written.
    pub(super) const WORDS: [&str; 4] = ["insert", "replace", "update", "delete"];

    pub(super) fn from_word(word: &str) -> Option<Self> {
        match word {
            "insert" => Some(Self::Insert),
            "replace" => Some(Self::Replace),
            "update" => Some(Self::Update),
            "delete" => Some(Self::Delete),
            _ => None,
        }
    }
}

/// Which deployment is written to.
#[derive(Clone, PartialEq, Eq)]
pub enum Deployment {
    /// The one that the run reads.
    Own,
    /// The one of a connection string, which may hold a password.
    Uri(String),
}

impl fmt::Debug for Deployment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Own => "Own",
            Self::Uri(_) => "Uri(..)",
        })
    }
}

/// How documents are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Where to.
    pub deployment: Deployment,
    /// `db.coll` of documents that do not say it.
    pub namespace: Option<String>,
    /// The field in which a document says its `db.coll`; it is not written.
    pub namespace_field: Option<String>,
    /// What is done with documents that do not say it.
    pub mode: Mode,
    /// The field in which a document says its mode; it is not written.
    pub mode_field: Option<String>,
    /// The fields that tell which document is meant.
    pub key: Vec<String>,
    /// The documents and the checkpoint are to be written in one transaction.
    pub transactional: bool,
}

impl Options {
    /// Reads a URL (`mongodb:db.coll`, or a connection string) and takes the options `namespace`,
    /// `namespace-field`, `mode`, `mode-field`, `key` and `transactional` out of `pairs`; others are
    /// left there.
    ///
    /// # Errors
    /// [`OptionError`] for the first that cannot be.
    pub fn from_pairs(url: &str, pairs: &mut Vec<(String, String)>) -> Result<Self, OptionError> {
        let (deployment, in_url) = read_url(url)?;
        let namespace = match (in_url, take(pairs, "namespace")?) {
            (Some(_), Some(_)) => {
                let reason = "the URL names the collection already";
                return Err(OptionError::new("namespace", reason));
            }
            (Some(namespace), None) => {
                check_namespace(&namespace).map_err(OptionError::of_url)?;
                Some(namespace)
            }
            (None, Some(namespace)) => {
                check_namespace(&namespace)
                    .map_err(|reason| OptionError::new("namespace", reason))?;
                Some(namespace)
            }
            (None, None) => None,
        };
        let namespace_field = take_field(pairs, "namespace-field")?;
        if namespace.is_none() && namespace_field.is_none() {
            let mut error = OptionError::of_url("no collection is named to write to");
            error.nearest = Some(match deployment {
                Deployment::Own => "mongodb:db.coll".into(),
                Deployment::Uri(_) => "namespace=db.coll".into(),
            });
            return Err(error);
        }
        let mode = match take(pairs, "mode")? {
            None => Mode::Replace,
            Some(word) => Mode::from_word(&word)
                .ok_or_else(|| OptionError::one_of("mode", &word, &Mode::WORDS))?,
        };
        let mode_field = take_field(pairs, "mode-field")?;
        let key = match take(pairs, "key")? {
            None => vec!["_id".to_owned()],
            Some(fields) => fields
                .split(',')
                .map(|field| check_field("key", field.trim()))
                .collect::<Result<Vec<_>, _>>()?,
        };
        if key
            .iter()
            .enumerate()
            .any(|(at, field)| key[..at].contains(field))
        {
            return Err(OptionError::new("key", "a field is named twice"));
        }
        let transactional = match take(pairs, "transactional")?.as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(word) => {
                return Err(OptionError::one_of(
                    "transactional",
                    word,
                    &["true", "false"],
                ));
            }
        };
        Ok(Self {
            deployment,
            namespace,
            namespace_field,
            mode,
            mode_field,
            key,
            transactional,
        })
    }

    /// Whether a document is told by its `_id`, be it among other fields.
    pub(super) fn is_keyed_by_id(&self) -> bool {
        self.key.iter().any(|field| field == "_id")
    }
}

fn read_url(url: &str) -> Result<(Deployment, Option<String>), OptionError> {
    if url.starts_with("mongodb://") || url.starts_with("mongodb+srv://") {
        // The error has the string without its password.
        crate::mongo::parse_uri(url).map_err(|error| OptionError::of_url(error.to_string()))?;
        return Ok((Deployment::Uri(url.to_owned()), None));
    }
    let Some(namespace) = url.strip_prefix("mongodb:") else {
        return Err(OptionError::of_url("it does not begin with `mongodb:`"));
    };
    let namespace = (!namespace.is_empty()).then(|| namespace.to_owned());
    Ok((Deployment::Own, namespace))
}

fn take_field(pairs: &mut Vec<(String, String)>, key: &str) -> Result<Option<String>, OptionError> {
    take(pairs, key)?
        .map(|field| check_field(key, &field))
        .transpose()
}

fn check_field(key: &str, field: &str) -> Result<String, OptionError> {
    if field.is_empty() {
        return Err(OptionError::new(key, "the field's name is empty"));
    }
    if field.contains('.') || field.starts_with('$') {
        let reason = format!("`{field}` is not the name of a field at the top of a document");
        return Err(OptionError::new(key, reason));
    }
    Ok(field.to_owned())
}

/// Whether a collection of that name can be written to, as far as can be told without the server.
pub(super) fn check_namespace(namespace: &str) -> Result<(), String> {
    let (database, collection) = split_namespace(namespace);
    let is_bad = |c: char| matches!(c, '/' | '\\' | ' ' | '"' | '$' | '\0');
    if database.is_empty() || collection.is_empty() {
        Err(format!("`{namespace}` is not of the form `db.coll`"))
    } else if database.contains(is_bad) || database.len() > 63 {
        Err(format!("`{database}` cannot be the name of a database"))
    } else if collection.contains(['$', '\0']) || namespace.len() > 255 {
        Err(format!("`{collection}` cannot be the name of a collection"))
    } else {
        Ok(())
    }
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
    fn options_are_read_and_others_left() {
        let (options, left) = parse("mongodb:shop.copy.of", &[("workers", "3")]).unwrap();
        assert_eq!(options.deployment, Deployment::Own);
        assert_eq!(options.namespace.as_deref(), Some("shop.copy.of"));
        assert_eq!(
            (options.mode, options.key),
            (Mode::Replace, vec!["_id".to_owned()])
        );
        assert_eq!((options.transactional, left), (false, 1));
        let pairs = [
            ("namespace", "a.b"),
            ("mode", "update"),
            ("mode-field", "how"),
            ("key", "a, b"),
            ("transactional", "true"),
        ];
        let (options, left) = parse("mongodb://u:secret@h/?w=1", &pairs).unwrap();
        assert_eq!(options.key, ["a", "b"]);
        assert_eq!((options.transactional, left), (true, 0));
        assert!(!format!("{options:?}").contains("secret"));
        assert!(parse("mongodb:", &[("namespace-field", "to")]).is_ok());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (url, pairs, key, nearest) in [
            ("mongodb:", &[][..], None, Some("mongodb:db.coll")),
            ("mongodb:shop", &[], None, None),
            ("mongodb://h", &[], None, Some("namespace=db.coll")),
            (
                "mongodb:a.b",
                &[("namespace", "a.b")],
                Some("namespace"),
                None,
            ),
            (
                "mongodb:a.b",
                &[("mode", "replcae")],
                Some("mode"),
                Some("replace"),
            ),
            ("mongodb:a.b", &[("key", "a.b")], Some("key"), None),
            ("mongodb:a.b", &[("key", "a,,b")], Some("key"), None),
            ("mongodb:a.b", &[("key", "a,a")], Some("key"), None),
            (
                "mongodb:a.b",
                &[("transactional", "yes")],
                Some("transactional"),
                None,
            ),
            (
                "mongodb:a.b",
                &[("mode", "insert"), ("mode", "delete")],
                Some("mode"),
                None,
            ),
            ("mongodb:sh op.c", &[], None, None),
        ] {
            let error = parse(url, pairs).unwrap_err();
            assert_eq!(
                (error.key.as_deref(), error.nearest.as_deref()),
                (key, nearest),
                "{url}"
            );
        }
        let error = parse("mongodb://u:secret@h:x", &[("namespace", "a.b")]).unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
