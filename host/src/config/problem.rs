//! What is wrong with a configuration, and where.

use std::{fmt, ops::Range, path::Path};

use super::secret::is_marked;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// What, with the nearest valid spelling where there is one.
    pub(crate) message: String,
    /// Where in a file.
    pub(crate) place: Option<Place>,
}

/// A place in a file, with what is shown of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The file as the user named it.
    pub(crate) file: String,
    /// Counted from 1.
    pub(crate) line: usize,
    /// In characters, counted from 1.
    pub(crate) column: usize,
    /// The line, without what may be secret.
    excerpt: String,
    /// How many characters are meant.
    width: usize,
}

impl Problem {
    /// Something that is wrong, but not in a file.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            place: None,
        }
    }

    pub(crate) fn at(message: impl Into<String>, place: Place) -> Self {
        Self {
            message: message.into(),
            place: Some(place),
        }
    }
}

impl Problem {
    /// Sorts problems as their places follow each other.
    pub(super) fn order(&self) -> Option<(usize, usize)> {
        self.place.as_ref().map(|place| (place.line, place.column))
    }
}

impl Place {
    /// The place of some bytes of a file's text.
    pub(crate) fn new(file: &Path, text: &str, span: &Range<usize>) -> Self {
        let start = floor(text, span.start.min(text.len()));
        let line_start = text[..start].rfind('\n').map_or(0, |end| end + 1);
        let line_end = text[start..]
            .find('\n')
            .map_or(text.len(), |end| start + end);
        let whole = text[line_start..line_end].trim_end_matches('\r');
        let end = floor(text, span.end.clamp(start, line_end));
        Self {
            file: file.display().to_string(),
            line: text[..start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            excerpt: match may_be_secret(whole) {
                true => masked(whole),
                false => whole.to_owned(),
            },
            width: text[start..end].chars().count().max(1),
        }
    }
}

impl Place {
    /// Without the value: what stands behind a misspelt key may be secret, whatever it is called.
    pub(crate) fn without_value(self) -> Self {
        Self {
            excerpt: masked(&self.excerpt),
            ..self
        }
    }

    /// A whole line, counted from 1.
    pub(crate) fn of_line(file: &Path, text: &str, line: usize) -> Self {
        let before = text.split_inclusive('\n').take(line.saturating_sub(1));
        let start: usize = before.map(str::len).sum();
        let whole = text[start..].lines().next().unwrap_or_default();
        let indent = whole.len() - whole.trim_start().len();
        Self::new(
            file,
            text,
            &(start + indent..start + whole.trim_end().len()),
        )
    }
}

/// The character border at or before a byte.
fn floor(text: &str, at: usize) -> usize {
    (0..=at)
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}

fn may_be_secret(line: &str) -> bool {
    let lower = line.to_lowercase();
    // The configuration of a module may be anything.
    let marks = ["config", "://", "uri"];
    is_marked(&lower) || marks.iter().any(|mark| lower.contains(mark))
}

/// The line with the same columns, but without its value.
fn masked(line: &str) -> String {
    match line.split_once('=') {
        Some((key, value)) => {
            let value: String = value
                .chars()
                .map(|c| match c {
                    '"' | '\'' | ' ' | '{' | '}' | '[' | ']' | ',' | '=' => c,
                    _ => '*',
                })
                .collect();
            format!("{key}={value}")
        }
        None => line.to_owned(),
    }
}

impl fmt::Display for Problem {
    /// As several lines where the problem has a place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(place) = &self.place else {
            return f.write_str(&self.message);
        };
        let Place {
            file,
            line,
            column,
            excerpt,
            width,
        } = place;
        writeln!(f, "{file}:{line}:{column}: {}", self.message)?;
        writeln!(f, "{line:5} | {excerpt}")?;
        let carets = "^".repeat(*width);
        write!(f, "      | {:indent$}{carets}", "", indent = column - 1)
    }
}

/// What is said of a word that is none of those expected.
pub(crate) fn unknown(what: &str, given: &str, known: &[&str]) -> String {
    let nearest = known
        .iter()
        .map(|word| {
            (
                strsim::damerau_levenshtein(&given.to_lowercase(), word),
                word,
            )
        })
        .filter(|(distance, word)| *distance <= 1 + word.len() / 3)
        .min();
    match nearest {
        Some((_, nearest)) => format!("{what} `{given}`; did you mean `{nearest}`?"),
        None => format!("{what} `{given}`; known are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_secret_is_not_shown() {
        for (line, expected) in [
            ("workers = 2", "workers = 2"),
            (
                "ur1 = \"mongodb://ann:s3cret@h\"",
                "ur1 = \"**********************\"",
            ),
            ("password = s3cret", "password = ******"),
            ("headers = [\"X: s\"]", "headers = [\"** *\"]"),
            ("apiKey = 'ä=1' ", "apiKey = '*=*' "),
        ] {
            let end = line.len()..line.len();
            let shown = Place::new(Path::new("x.toml"), line, &end).excerpt;
            assert_eq!(shown, expected);
            assert_eq!(shown.chars().count(), line.chars().count());
        }
    }

    #[test]
    fn places_are_counted_in_characters() {
        let text = "a = 1\r\nä = \"ö\" # x\n";
        let span = text.find("\"ö\"").map(|start| start..start + 4).unwrap();
        let place = Place::new(Path::new("x.toml"), text, &span);
        assert_eq!((place.line, place.column, place.width), (2, 5, 3));
        let end = Place::new(Path::new("x.toml"), text, &(99..120));
        assert_eq!((end.line, end.column, end.width), (3, 1, 1));
    }

    #[test]
    fn the_nearest_word_is_offered() {
        let known = ["ordering", "workers"];
        for (given, expected) in [
            ("worker", "unknown key `worker`; did you mean `workers`?"),
            ("Ordring", "unknown key `Ordring`; did you mean `ordering`?"),
            ("xyz", "unknown key `xyz`; known are ordering, workers"),
        ] {
            assert_eq!(unknown("unknown key", given, &known), expected);
        }
    }
}
