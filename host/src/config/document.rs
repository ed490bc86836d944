//! A configuration file as it was read: sections whose keys are taken one by one, and what is left over.

use std::{
    collections::BTreeMap,
    fmt,
    ops::Range,
    path::{Path, PathBuf},
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    origin::{Origin, Sourced},
    problem::{Place, Problem, unknown},
    secret::Secret,
};

/// Environment variables, by name. Tests give a map instead of changing the process's own.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A file's text, and what it refers to.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) file: &'a Path,
    pub(super) text: &'a str,
    pub(super) environment: Environment<'a>,
}

impl<'a> Source<'a> {
    pub(super) fn parse(&self) -> Result<Spanned<DeTable<'a>>, Vec<Problem>> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        let mut problems: Vec<Problem> = Vec::new();
        for error in errors {
            let end = self.text.len();
            let place = self.place(&error.span().unwrap_or(end..end));
            // One slip makes several complaints on its line.
            let line = |problem: &Problem| problem.place.as_ref().map(|place| place.line);
            if problems.iter().all(|other| line(other) != Some(place.line)) {
                let message = error.message().replace('\n', ", ");
                problems.push(Problem::at(message, place));
            }
        }
        problems.sort_by_key(Problem::order);
        match problems.is_empty() {
            true => Ok(table),
            false => Err(problems),
        }
    }

    pub(super) fn place(&self, span: &Range<usize>) -> Place {
        Place::new(self.file, self.text, span)
    }

    fn origin(&self, span: &Range<usize>) -> Origin {
        let line = self.place(span).line;
        Origin::File { line }
    }

    /// A path of the file: relative to its folder, `~` for the user's home.
    pub(super) fn path(&self, text: &str) -> PathBuf {
        let home = || (self.environment)("HOME").map(PathBuf::from);
        match text
            .strip_prefix("~/")
            .and_then(|rest| Some(home()?.join(rest)))
        {
            Some(path) => path,
            None => self.file.parent().unwrap_or(Path::new("")).join(text),
        }
    }

    /// An address of the file: what follows `file:` is a path.
    pub(super) fn address(&self, text: &str) -> String {
        match text.strip_prefix("file:") {
            Some(path) if !path.starts_with("//") && !path.is_empty() => {
                format!("file:{}", self.path(path).display())
            }
            _ => text.to_owned(),
        }
    }
}

/// The sections of a file, by name; the one without a name holds the keys before the first.
pub(super) type Sections<'a> = BTreeMap<&'static str, Section<'a>>;

/// A table of the file. A key that was never taken is unknown.
pub(super) struct Section<'a> {
    source: Source<'a>,
    table: Option<&'a DeTable<'a>>,
    known: Vec<&'static str>,
    pub(super) problems: Vec<Problem>,
}

impl<'a> Section<'a> {
    pub(super) fn new(source: Source<'a>, table: Option<&'a DeTable<'a>>) -> Self {
        Self {
            source,
            table,
            known: Vec::new(),
            problems: Vec::new(),
        }
    }

    pub(super) fn source(&self) -> Source<'a> {
        self.source
    }

    fn find(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.known.push(key);
        self.table?.get(key)
    }

    /// Refuses a key, without showing its value. Its dots may be those of tables; tells whether there
    /// is such a key.
    pub(super) fn refuse_key(&mut self, key: &str, message: impl Into<String>) -> bool {
        let Some(span) = self.table.and_then(|table| key_span(table, key)) else {
            return false;
        };
        let place = self.source.place(&span).without_value();
        self.problems.push(Problem::at(message, place));
        true
    }

    pub(super) fn refuse(&mut self, span: &Range<usize>, message: impl Into<String>) {
        let place = self.source.place(span);
        self.problems.push(Problem::at(message, place));
    }

    /// Refuses the value of a key that is there.
    pub(super) fn refuse_value(&mut self, key: &'static str, message: impl fmt::Display) {
        if let Some(found) = self.find(key) {
            self.refuse(&found.span(), format!("`{key}`: {message}"));
        }
    }

    /// Says what is missing when the table has no such key.
    pub(super) fn require(&mut self, span: &Range<usize>, key: &'static str) {
        if !self.table.is_some_and(|table| table.contains_key(key)) {
            self.refuse(span, format!("`{key}` is missing"));
        }
    }

    /// Takes the value of a key; one that `read` refuses is a problem.
    pub(super) fn take<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&DeValue<'a>, &Source<'a>) -> Result<T, String>,
    ) -> Option<Sourced<T>> {
        let found = self.find(key)?;
        match read(found.get_ref(), &self.source) {
            Ok(value) => Some(Sourced::new(value, self.source.origin(&found.span()))),
            Err(reason) => {
                self.refuse(&found.span(), format!("`{key}`: {reason}"));
                None
            }
        }
    }

    /// Takes a list of texts; each that `read` refuses is a problem.
    pub(super) fn take_list<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Sourced<Vec<T>>> {
        self.take_list_as(key, read, |place| place)
    }

    /// The same, for a list among which somebody may have written a secret: it is not shown.
    pub(super) fn take_list_hidden<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Sourced<Vec<T>>> {
        self.take_list_as(key, read, Place::without_value)
    }

    fn take_list_as<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&str) -> Result<T, String>,
        shown: impl Fn(Place) -> Place,
    ) -> Option<Sourced<Vec<T>>> {
        let found = self.find(key)?;
        let items = match found.get_ref() {
            DeValue::Array(items) if !items.is_empty() => items.iter().collect(),
            // One text is a list of one.
            DeValue::String(_) => vec![found],
            other => {
                let what = match other {
                    DeValue::Array(_) => "an empty list",
                    other => described(other),
                };
                let reason = format!("`{key}`: a list of texts is expected, not {what}");
                let place = shown(self.source.place(&found.span()));
                self.problems.push(Problem::at(reason, place));
                return None;
            }
        };
        let mut values = Vec::new();
        let count = items.len();
        for item in items {
            match text_of(item.get_ref()).and_then(&read) {
                Ok(value) => values.push(value),
                Err(reason) => {
                    let place = shown(self.source.place(&item.span()));
                    let reason = format!("`{key}`: {reason}");
                    self.problems.push(Problem::at(reason, place));
                }
            }
        }
        let origin = self.source.origin(&found.span());
        (values.len() == count).then(|| Sourced::new(values, origin))
    }

    /// Takes a secret from one of three keys: itself, from a file, or from the environment.
    pub(super) fn take_secret(
        &mut self,
        inline: Option<&'static str>,
        file: &'static str,
        variable: &'static str,
    ) -> Option<Sourced<Secret>> {
        let found =
            inline.and_then(|key| self.take(key, |value, _| Ok(Secret::new(text_of(value)?))));
        let elsewhere = self.take_secret_elsewhere(inline, file, variable);
        found.or(elsewhere)
    }

    /// The same, where there may be a list in the file itself.
    pub(super) fn take_secrets(
        &mut self,
        inline: &'static str,
        file: &'static str,
        variable: &'static str,
    ) -> Option<Sourced<Vec<Secret>>> {
        let found = self.take_list_hidden(inline, |text| Ok(Secret::new(text)));
        let elsewhere = self.take_secret_elsewhere(Some(inline), file, variable);
        found.or(elsewhere.map(|found| Sourced::new(vec![found.value], found.origin)))
    }

    /// Takes a secret that is not in the file itself.
    fn take_secret_elsewhere(
        &mut self,
        inline: Option<&'static str>,
        file: &'static str,
        variable: &'static str,
    ) -> Option<Sourced<Secret>> {
        let found = [
            self.take(file, |value, source| {
                match text_of(value)? {
                    // Somebody took it for the key of the secret itself.
                    text if text.contains("://") => Err("the path of a file is expected".into()),
                    text => secret_file(&source.path(text)),
                }
            }),
            self.take(variable, |value, source| {
                let name = text_of(value)?;
                if !name.chars().all(|c| c.is_alphanumeric() || c == '_') {
                    return Err("the name of an environment variable is expected".into());
                }
                let value = (source.environment)(name);
                let value = value.ok_or_else(|| format!("the variable `{name}` is not set"))?;
                Ok(Secret::new(value))
            }),
        ];
        let given: Vec<_> = [inline, Some(file), Some(variable)]
            .into_iter()
            .flatten()
            .filter_map(|key| Some((key, self.table?.get_key_value(key)?.0.span())))
            .collect();
        if let [(first, _), (second, span), ..] = &given[..] {
            self.refuse(
                span,
                format!("`{second}` beside `{first}`; one of them is enough"),
            );
        }
        found.into_iter().flatten().next()
    }

    /// Takes an array of tables.
    pub(super) fn take_tables(&mut self, key: &'static str) -> Vec<(Range<usize>, Section<'a>)> {
        let Some(found) = self.find(key) else {
            return Vec::new();
        };
        let mut sections = Vec::new();
        let tables = found.get_ref().as_array();
        for entry in tables.into_iter().flat_map(|tables| tables.iter()) {
            if let Some(table) = entry.get_ref().as_table() {
                sections.push((entry.span(), Section::new(self.source, Some(table))));
            }
        }
        if tables.is_none_or(|tables| tables.len() != sections.len()) {
            let reason = format!("`{key}` is a list of tables: write `[[{key}]]` above each");
            self.refuse(&found.span(), reason);
        }
        sections
    }

    /// Takes a table of the file as a section of its own.
    pub(super) fn take_section(&mut self, key: &'static str) -> Section<'a> {
        let found = self.find(key);
        let table = found.and_then(|found| found.get_ref().as_table());
        if let (Some(found), None) = (found, table) {
            let reason = format!("`{key}` is a table: write `[{key}]` above its keys");
            self.refuse(&found.span(), reason);
        }
        Section::new(self.source, table)
    }

    /// The keys that nobody took, in the order in which they were written.
    pub(super) fn rest(&mut self) -> Vec<(&'a str, &'a Spanned<DeValue<'a>>)> {
        let table = self.table.into_iter().flat_map(|table| table.iter());
        let mut rest: Vec<_> = table
            .filter(|(key, _)| !self.known.contains(&key.get_ref().as_ref()))
            .collect();
        rest.sort_by_key(|(key, _)| key.span().start);
        let plain = |(key, value): (&'a Spanned<_>, _)| {
            let key: &'a std::borrow::Cow<'_, str> = key.get_ref();
            (key.as_ref(), value)
        };
        rest.into_iter().map(plain).collect()
    }

    /// What is wrong with it, keys that nobody took among that.
    pub(super) fn finish(mut self) -> Vec<Problem> {
        let rest: Vec<&str> = self.rest().into_iter().map(|(key, _)| key).collect();
        for key in rest {
            let found = self.table.and_then(|table| table.get_key_value(key));
            if let Some((spanned, _)) = found {
                let message = unknown("unknown key", key, &self.known);
                let place = self.source.place(&spanned.span()).without_value();
                self.problems.push(Problem::at(message, place));
            }
        }
        self.problems
    }
}

/// Where a key stands, which may have dots itself, or be in tables of which those are the path.
fn key_span(table: &DeTable<'_>, key: &str) -> Option<Range<usize>> {
    if let Some((spanned, _)) = table.get_key_value(key) {
        return Some(spanned.span());
    }
    let (outer, inner) = key.split_once('.')?;
    key_span(table.get(outer)?.get_ref().as_table()?, inner)
}

/// A secret from a file, without the line break at its end.
pub(crate) fn secret_file(path: &Path) -> Result<Secret, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(format!("{} is empty", path.display())),
        text => Ok(Secret::new(text)),
    }
}

/// A text, or what it is instead.
pub(super) fn text_of<'v>(value: &'v DeValue<'_>) -> Result<&'v str, String> {
    value
        .as_str()
        .ok_or_else(|| format!("a text is expected, not {}", described(value)))
}

/// What a value is, in words.
pub(super) fn described(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
