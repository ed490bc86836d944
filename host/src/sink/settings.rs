//! Settings of a sink, as text.

use std::{fmt, time::Duration};

use super::{Encoding, OptionError, option};
use crate::op::Format;

/// How documents can be written.
pub(super) const FORMATS: [(&str, Encoding); 3] = [
    ("json", Encoding::JsonLines(Format::Relaxed)),
    ("canonical", Encoding::JsonLines(Format::Canonical)),
    ("bson", Encoding::Bson),
];

/// A sink that cannot be set up like that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct SpecError {
    /// The sink, by its name, or by its URL without secrets.
    pub sink: String,
    /// The setting that is wrong, where it is one.
    pub key: Option<String>,
    /// What is wrong.
    pub reason: String,
    /// The nearest valid spelling: of the key where that is unknown, else of the value.
    pub nearest: Option<String>,
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "sink `{}`, `{key}`: {}", self.sink, self.reason),
            None => write!(f, "sink `{}`: {}", self.sink, self.reason),
        }
    }
}

/// Settings that are taken out one by one; what is left in the end is unknown.
pub(super) struct Settings {
    pub(super) sink: String,
    pub(super) pairs: Vec<(String, String)>,
}

impl Settings {
    pub(super) fn refuse(
        &self,
        key: Option<&str>,
        reason: String,
        nearest: Option<String>,
    ) -> SpecError {
        SpecError {
            sink: self.sink.clone(),
            key: key.map(str::to_owned),
            reason,
            nearest,
        }
    }

    /// The same for what an option's own reader says.
    pub(super) fn refused(&self, error: OptionError) -> SpecError {
        SpecError {
            sink: self.sink.clone(),
            key: error.key,
            reason: error.reason,
            nearest: error.nearest,
        }
    }

    pub(super) fn take(&mut self, key: &str) -> Result<Option<String>, SpecError> {
        option::take(&mut self.pairs, key).map_err(|error| self.refused(error))
    }

    /// A whole number from `least` to `most`.
    pub(super) fn number(
        &mut self,
        key: &str,
        least: u64,
        most: u64,
    ) -> Result<Option<u64>, SpecError> {
        let Some(value) = self.take(key)? else {
            return Ok(None);
        };
        // The fault that is made most often: `1_000_000`, `64 MiB`.
        let digits: String = value.chars().filter(char::is_ascii_digit).collect();
        let nearest = |number: u64| Some(number.clamp(least, most).to_string());
        match value.parse::<u64>() {
            Ok(number) if (least..=most).contains(&number) => Ok(Some(number)),
            Ok(number) => Err(self.refuse(
                Some(key),
                format!("{number} is not from {least} to {most}"),
                nearest(number),
            )),
            Err(_) => Err(self.refuse(
                Some(key),
                format!("`{value}` is not a whole number"),
                digits.parse().ok().and_then(nearest),
            )),
        }
    }

    pub(super) fn count(
        &mut self,
        key: &str,
        most: u64,
        place: &mut usize,
    ) -> Result<(), SpecError> {
        if let Some(number) = self.number(key, 1, most)? {
            *place = usize::try_from(number).unwrap_or(usize::MAX);
        }
        Ok(())
    }

    pub(super) fn milliseconds(
        &mut self,
        key: &str,
        least: u64,
    ) -> Result<Option<Duration>, SpecError> {
        const DAY: u64 = 24 * 3600 * 1000;
        Ok(self.number(key, least, DAY)?.map(Duration::from_millis))
    }

    pub(super) fn format(&mut self) -> Result<Encoding, SpecError> {
        let Some(word) = self.take("format")? else {
            return Ok(FORMATS[0].1);
        };
        match FORMATS.iter().find(|(known, _)| *known == word) {
            Some((_, format)) => Ok(*format),
            None => {
                let words = FORMATS.map(|(known, _)| known);
                Err(self.refused(OptionError::one_of("format", &word, &words)))
            }
        }
    }
}

/// The known word that was probably meant.
pub(super) fn nearest(word: &str, known: impl IntoIterator<Item = &'static str>) -> Option<String> {
    known
        .into_iter()
        .map(|known| (strsim::jaro_winkler(&word.to_lowercase(), known), known))
        .filter(|(similarity, _)| *similarity > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known.to_owned())
}
