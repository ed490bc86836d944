//! What a module is expected to emit, and how that differs from what it did.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use oplet::sink::Stdout;
use serde_json::Value;
use similar::{Algorithm, DiffOp, capture_diff_slices_deadline, group_diff_ops};

use crate::cli::error::UserError;

/// Lines that are alike, shown around those that differ.
const CONTEXT: usize = 2;

/// How many groups of differing lines are shown.
const GROUPS_MAX: usize = 20;

/// How many fields are named that differ between two lines.
const FIELDS_MAX: usize = 5;

/// How long the least difference is looked for; then a larger one is shown.
const SEARCH: Duration = Duration::from_secs(5);

/// A document that a module emitted.
pub(super) struct Emitted {
    /// As it would be printed.
    pub(super) line: String,
    /// The op that it was emitted for, by number and name; none at a batch border.
    pub(super) from: Option<(u64, String)>,
}

/// The lines of a file.
pub(super) struct Expectation {
    path: PathBuf,
    lines: Vec<String>,
    /// Which line of the file each is.
    numbers: Vec<usize>,
}

/// Writes what was emitted, as an expectation.
pub(super) fn write(path: &Path, emitted: &[Emitted]) -> Result<(), UserError> {
    let lines = emitted.iter().map(|emitted| format!("{}\n", emitted.line));
    fs::write(path, lines.collect::<String>()).map_err(|error| {
        UserError::failed(format!("cannot write {}", path.display())).because(&error)
    })
}

impl Expectation {
    /// Reads a file. Blank lines do not count, nor does how JSON is spaced.
    pub(super) fn read(path: &Path) -> Result<Self, UserError> {
        let text = fs::read_to_string(path).map_err(|error| {
            UserError::refused(format!("cannot read the expectation {}", path.display()))
                .because(&error)
                .hint("`--bless` writes what the module emits to that file")
        })?;
        let lines = text.lines().map(str::trim).enumerate();
        let lines = lines.filter(|(_, line)| !line.is_empty());
        let (numbers, lines) = lines.map(|(at, line)| (at + 1, normal(line))).unzip();
        Ok(Self {
            path: path.to_owned(),
            lines,
            numbers,
        })
    }

    /// Compares it with what came, and prints the difference.
    ///
    /// # Errors
    /// When there is one.
    pub(super) fn compare(&self, emitted: &[Emitted]) -> Result<(), UserError> {
        let expected: Vec<&str> = self.lines.iter().map(String::as_str).collect();
        let got: Vec<String> = emitted
            .iter()
            .map(|emitted| normal(&emitted.line))
            .collect();
        let got: Vec<&str> = got.iter().map(String::as_str).collect();
        if expected == got {
            return Ok(());
        }
        let deadline = Instant::now() + SEARCH;
        let ops = capture_diff_slices_deadline(Algorithm::Myers, &expected, &got, Some(deadline));
        let (mut missing, mut unexpected) = (0, 0);
        for op in &ops {
            if !matches!(op, DiffOp::Equal { .. }) {
                missing += op.old_range().len();
                unexpected += op.new_range().len();
            }
        }
        let mut page = Page {
            text: String::new(),
            is_colored: !matches!(
                AutoStream::choice(&std::io::stdout()),
                anstream::ColorChoice::Never
            ),
        };
        let groups = group_diff_ops(ops, CONTEXT);
        for group in groups.iter().take(GROUPS_MAX) {
            page.group(self, group, &expected, &got, emitted);
        }
        if let more @ 1.. = groups.len().saturating_sub(GROUPS_MAX) {
            page.line("", &format!("and differences at {more} more places"));
        }
        Stdout.write(&page.text)?;
        let error = UserError::failed(format!(
            "what was emitted is not as expected: {missing} missing (-), {unexpected} unexpected (+)"
        ));
        Err(error.hint(format!(
            "if it is right, `--bless` writes it to {}",
            self.path.display()
        )))
    }

    /// Where an expected line stands; behind the last one, the line after that.
    fn number(&self, index: usize) -> usize {
        let last = self.numbers.last().copied().unwrap_or_default();
        self.numbers.get(index).copied().unwrap_or(last + 1)
    }
}

/// One spelling for all that is the same document.
fn normal(line: &str) -> String {
    match serde_json::from_str::<Value>(line) {
        Ok(value) => value.to_string(),
        Err(_) => line.to_owned(),
    }
}

/// The difference as it is printed.
struct Page {
    text: String,
    is_colored: bool,
}

impl Page {
    fn line(&mut self, mark: &str, rest: &str) {
        let color = match mark {
            "- " => Some(AnsiColor::Red),
            "+ " => Some(AnsiColor::Green),
            "@ " | "? " => Some(AnsiColor::Cyan),
            _ => None,
        };
        let style = Style::new().fg_color(color.filter(|_| self.is_colored).map(Into::into));
        self.text
            .push_str(&format!("{style}{mark}{rest}{style:#}\n"));
    }

    fn group(
        &mut self,
        of: &Expectation,
        group: &[DiffOp],
        expected: &[&str],
        got: &[&str],
        emitted: &[Emitted],
    ) {
        let is_change = |op: &&DiffOp| !matches!(op, DiffOp::Equal { .. });
        if let Some(change) = group.iter().find(is_change) {
            let line = of.number(change.old_range().start);
            let at = change.new_range();
            // What is missing was expected of the op of the line behind, or before.
            let near = emitted.get(at.start).or(emitted.last());
            let from = match near.and_then(|emitted| emitted.from.as_ref()) {
                Some((number, name)) if !at.is_empty() => format!(", op {number} ({name})"),
                Some((number, name)) => format!(", near op {number} ({name})"),
                None if near.is_some() => ", at a batch border".to_owned(),
                None => String::new(),
            };
            self.line("@ ", &format!("{}:{line}{from}", of.path.display()));
        }
        for op in group {
            let (old, new) = (&expected[op.old_range()], &got[op.new_range()]);
            match op {
                DiffOp::Equal { .. } => old.iter().for_each(|line| self.line("  ", line)),
                _ if old.len() == new.len() => {
                    for (old, new) in old.iter().zip(new) {
                        self.line("- ", old);
                        self.line("+ ", new);
                        self.fields(old, new);
                    }
                }
                _ => {
                    old.iter().for_each(|line| self.line("- ", line));
                    new.iter().for_each(|line| self.line("+ ", line));
                }
            }
        }
    }

    /// Names the fields in which two lines differ: long documents are hard to compare.
    fn fields(&mut self, old: &str, new: &str) {
        let parse = |line| serde_json::from_str::<Value>(line);
        let (Ok(old), Ok(new)) = (parse(old), parse(new)) else {
            return;
        };
        let mut fields = Vec::new();
        differing(&old, &new, "", &mut fields);
        match fields.len() {
            0 => self.line("? ", "the order of fields differs"),
            count => {
                let more = match count.saturating_sub(FIELDS_MAX) {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                fields.truncate(FIELDS_MAX);
                self.line("? ", &format!("{}{more}", fields.join(", ")));
            }
        }
    }
}

/// The paths at which two values differ.
fn differing(old: &Value, new: &Value, path: &str, found: &mut Vec<String>) {
    let below = |name: &str| match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    };
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for (name, value) in old {
                match new.get(name) {
                    Some(other) => differing(value, other, &below(name), found),
                    None => found.push(below(name)),
                }
            }
            let added = new.keys().filter(|name| !old.contains_key(*name));
            found.extend(added.map(|name| below(name)));
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (index, (old, new)) in old.iter().zip(new).enumerate() {
                differing(old, new, &below(&index.to_string()), found);
            }
        }
        (old, new) if old == new => {}
        _ => found.push(path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(old: &str, new: &str) -> String {
        let mut found = Vec::new();
        let parse = |text| serde_json::from_str(text).unwrap();
        differing(&parse(old), &parse(new), "", &mut found);
        found.join(" ")
    }

    #[test]
    fn differing_fields_are_named_by_their_path() {
        let old = r#"{"a": 1, "b": {"c": [1, {"d": 2}], "gone": 1}, "same": [1]}"#;
        let new = r#"{"a": 2, "b": {"c": [1, {"d": 3}], "new": 1}, "same": [1]}"#;
        assert_eq!(fields(old, new), "a b.c.1.d b.gone b.new");
        assert_eq!(fields(r#"{"a": [1]}"#, r#"{"a": [1, 2]}"#), "a");
        assert_eq!(fields(old, old), "");
    }

    #[test]
    fn spacing_does_not_count_and_order_does() {
        assert_eq!(
            normal(r#"{ "a" : 1,"b":"ü"}"#),
            normal(r#"{"a":1, "b":"\u00fc"}"#)
        );
        assert_ne!(normal(r#"{"a":1,"b":2}"#), normal(r#"{"b":2,"a":1}"#));
        assert_eq!(normal("not json"), "not json");
    }
}
