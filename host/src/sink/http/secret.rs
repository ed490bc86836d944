//! Text that is never shown.

use std::{fmt, path::PathBuf};

/// Text that is never shown: neither in logs nor in errors.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(String);

impl Secret {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Where a secret is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretPlace {
    /// A file whose first line it is. It is read again when the other side refuses the secret, so
    /// that a new one can be put there while Oplet runs.
    File(PathBuf),
    /// An environment variable of that name.
    Environment(String),
}

impl SecretPlace {
    /// Fetches the secret; the error tells its place, for people.
    pub(super) fn fetch(
        &self,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Secret, String> {
        let text = match self {
            Self::File(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| format!("cannot read `{}`: {error}", path.display()))?;
                let line = text.lines().next().unwrap_or_default().trim().to_owned();
                if line.is_empty() {
                    return Err(format!("the first line of `{}` is empty", path.display()));
                }
                line
            }
            Self::Environment(name) => environment(name)
                .filter(|text| !text.is_empty())
                .ok_or_else(|| format!("the environment variable {name} is not set"))?,
        };
        Ok(Secret::new(text))
    }
}
