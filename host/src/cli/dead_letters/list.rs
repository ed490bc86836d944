//! `oplet dead-letters list`

use std::io::IsTerminal as _;

use bson::{Bson, Document};
use oplet::{
    control::rfc3339,
    dead_letters::{DeadLetter, Store},
    sink::Stdout,
};

use super::args::{ListArgs, ListFormat};
use crate::cli::{error::UserError, table};

/// How many letters are gathered before they are printed: the columns of these are aligned.
const ROWS: usize = 200;

/// Time, kind, attempts, namespace, sink, id, message.
const COLUMNS: usize = 7;

/// How much of a message a row has, in characters.
const MESSAGE_CHARS: usize = 80;

/// What a list leaves out of a letter, and `show` has; of a refused output, also the document.
const LEFT_OUT: [&str; 3] = ["op", "stderr", "backtrace"];

pub(super) async fn list(args: &ListArgs, store: &Store) -> Result<(), UserError> {
    let format = args
        .format
        .unwrap_or(match std::io::stdout().is_terminal() {
            true => ListFormat::Table,
            false => ListFormat::Json,
        });
    let mut printer = Printer {
        format,
        rows: Vec::new(),
        has_header: false,
    };
    let mut letters = store.list(args.filter.filter());
    while let Some(letter) = letters.next().await? {
        printer.rows.push(letter);
        if printer.rows.len() == ROWS {
            printer.print()?;
        }
    }
    printer.print()
}

struct Printer {
    format: ListFormat,
    rows: Vec<DeadLetter>,
    has_header: bool,
}

impl Printer {
    fn print(&mut self) -> Result<(), UserError> {
        let text = match self.format {
            ListFormat::Table => self.table(),
            ListFormat::Json | ListFormat::Canonical => self.json()?,
        };
        self.rows.clear();
        if !text.is_empty() {
            Stdout.write(&text)?;
        }
        Ok(())
    }

    fn table(&mut self) -> String {
        let mut rows: Vec<[String; COLUMNS]> = Vec::new();
        if !self.has_header && !self.rows.is_empty() {
            rows.push(
                [
                    "LAST FAILED",
                    "KIND",
                    "ATTEMPTS",
                    "NAMESPACE",
                    "SINK",
                    "ID",
                    "MESSAGE",
                ]
                .map(str::to_owned),
            );
            self.has_header = true;
        }
        rows.extend(self.rows.iter().map(row));
        table::table(&rows)
    }

    fn json(&self) -> Result<String, UserError> {
        let mut text = String::new();
        for letter in &self.rows {
            let document = Document::try_from(&*letter.to_document());
            let mut document = document.map_err(|error| {
                UserError::failed(format!("`{}` cannot be printed", letter.id)).because(&error)
            })?;
            for field in LEFT_OUT {
                document.remove(field);
            }
            if let Ok(rejected) = document.get_document_mut("rejected") {
                rejected.remove("document");
            }
            let document = Bson::Document(document);
            let json = match self.format {
                ListFormat::Canonical => document.into_canonical_extjson(),
                _ => document.into_relaxed_extjson(),
            };
            text.push_str(&json.to_string());
            text.push('\n');
        }
        Ok(text)
    }
}

fn row(letter: &DeadLetter) -> [String; COLUMNS] {
    // Whole seconds: a table is for people.
    let seconds = letter.last_failed_ms / 1_000;
    let message: String = letter
        .message
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let message = match message.char_indices().nth(MESSAGE_CHARS) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message,
    };
    [
        rfc3339(seconds * 1_000),
        letter.kind.clone(),
        letter.attempts.to_string(),
        letter.namespace.clone(),
        // Which of the outputs it was, the id tells.
        match &letter.rejected {
            Some(rejected) => rejected.sink.clone(),
            None => "-".to_owned(),
        },
        letter.id.clone(),
        message,
    ]
}
