//! Where a value came from.

use std::fmt;

use serde::{Serialize, Serializer, ser::SerializeMap as _};

/// Where a value came from. Later ones win over earlier ones.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// Nobody gave one.
    Default,
    /// The configuration file.
    File {
        /// Counted from 1.
        line: usize,
    },
    /// An environment variable.
    Environment(&'static str),
    /// A flag, or an argument.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { line } => write!(f, "file, line {line}"),
            Self::Environment(variable) => write!(f, "{variable}"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self {
            Self::Default => map.serialize_entry("from", "default")?,
            Self::File { line } => {
                map.serialize_entry("from", "file")?;
                map.serialize_entry("line", line)?;
            }
            Self::Environment(variable) => {
                map.serialize_entry("from", "environment")?;
                map.serialize_entry("variable", variable)?;
            }
            Self::Flag => map.serialize_entry("from", "flag")?,
        }
        map.end()
    }
}

/// A value and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sourced<T> {
    pub(crate) value: T,
    pub(crate) origin: Origin,
}

impl<T> Sourced<T> {
    pub(crate) fn new(value: T, origin: Origin) -> Self {
        Self { value, origin }
    }

    /// A value that nobody gave.
    pub(crate) fn by_default(value: T) -> Self {
        Self::new(value, Origin::Default)
    }
}
