//! Why a sink's options are refused.

use std::fmt;

/// An option of a sink that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct OptionError {
    /// The option; none when it is the sink's URL.
    pub key: Option<String>,
    /// What is wrong with it. It never holds a secret.
    pub reason: String,
    /// The nearest valid spelling of its value.
    pub nearest: Option<String>,
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "`{key}`: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

impl OptionError {
    /// Of the option of that name.
    pub(super) fn new(key: &str, reason: impl Into<String>) -> Self {
        Self {
            key: Some(key.to_owned()),
            reason: reason.into(),
            nearest: None,
        }
    }

    /// Of the sink's URL.
    pub(super) fn of_url(reason: impl Into<String>) -> Self {
        Self {
            key: None,
            reason: reason.into(),
            nearest: None,
        }
    }

    /// A value that is none of those that there are.
    pub(super) fn one_of(key: &str, value: &str, choices: &[&str]) -> Self {
        let nearest = choices
            .iter()
            .map(|choice| (strsim::jaro_winkler(value, choice), *choice))
            .filter(|(similarity, _)| *similarity > 0.7)
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, choice)| choice.to_owned());
        Self {
            key: Some(key.to_owned()),
            reason: format!("`{value}` is none of {}", choices.join(", ")),
            nearest,
        }
    }
}

/// Takes the value of an option out of the pairs.
///
/// # Errors
/// When it is there twice.
pub(super) fn take(
    pairs: &mut Vec<(String, String)>,
    key: &str,
) -> Result<Option<String>, OptionError> {
    let mut values = pairs.extract_if(.., |(name, _)| name == key);
    let first = values.next().map(|(_, value)| value);
    match values.next() {
        Some(_) => Err(OptionError::new(key, "it is given twice")),
        None => Ok(first),
    }
}
