//! Errors as people read them: what failed, why, and what to do.

mod rooms;
mod sources;

use std::{error::Error as StdError, process::ExitCode};

use anstream::eprintln;
use anstyle::{AnsiColor, Style};
use oplet::{control, guest, mongo, source, tail};

use self::sources::goes_on;
/// Failed.
const FAILED: u8 = 1;
/// Usage, or a module refused.
const REFUSED: u8 = 2;
/// `check` found problems.
const FOUND: u8 = 4;
/// The position is lost.
const POSITION_LOST: u8 = 3;

/// An error for the user, with what to do about it.
#[derive(Debug)]
pub(crate) struct UserError {
    code: u8,
    message: String,
    causes: Vec<String>,
    /// What is wrong, where that is several things beside each other.
    points: Vec<String>,
    hints: Vec<String>,
    /// Nobody reads the output any more: a normal end, about which nothing is said.
    is_quiet: bool,
}

impl UserError {
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self {
            code: FAILED,
            message: message.into(),
            causes: Vec::new(),
            points: Vec::new(),
            hints: Vec::new(),
            is_quiet: false,
        }
    }

    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self {
            code: REFUSED,
            ..Self::failed(message)
        }
    }

    /// An end about which nothing is said.
    pub(super) fn quiet() -> Self {
        Self {
            code: 0,
            is_quiet: true,
            ..Self::failed("")
        }
    }

    /// As something that `check` found.
    pub(crate) fn found(self) -> Self {
        Self {
            code: FOUND,
            ..self
        }
    }

    /// The end of a check that has found something, all of which is told.
    pub(crate) fn all_found() -> Self {
        Self {
            is_quiet: true,
            ..Self::failed("").found()
        }
    }

    /// All that is said, as one text for programs.
    pub(crate) fn text(&self) -> String {
        let causes = self.causes.iter().map(String::as_str);
        let points = self.points.iter().map(String::as_str);
        let said = std::iter::once(self.message.as_str())
            .chain(causes)
            .chain(points);
        said.collect::<Vec<_>>().join(": ")
    }

    /// What is to be done about it.
    pub(crate) fn hints(&self) -> &[String] {
        &self.hints
    }

    /// Adds a cause, and what caused it.
    pub(crate) fn because(mut self, cause: &(dyn StdError + 'static)) -> Self {
        let mut cause = Some(cause);
        while let Some(error) = cause {
            self.causes.push(match error.downcast_ref() {
                Some(error) => mongo::describe(error),
                None => error.to_string(),
            });
            cause = error.source();
        }
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds one of several things that are wrong.
    pub(crate) fn point(mut self, point: impl Into<String>) -> Self {
        self.points.push(point.into());
        self
    }

    /// Adds what is wrong, thing by thing.
    pub(crate) fn points(mut self, points: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.points.extend(points.into_iter().map(Into::into));
        self
    }

    /// Adds the way out of each finding, once.
    pub(crate) fn hints_of(mut self, findings: &[guest::Finding]) -> Self {
        for hint in findings.iter().filter_map(guest::Finding::hint) {
            if !self.hints.contains(&hint) {
                self.hints.push(hint);
            }
        }
        self
    }

    /// Says it on standard error, and returns the exit code.
    pub(crate) fn print(&self) -> ExitCode {
        if !self.is_quiet {
            let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
            let cyan = Style::new().bold().fg_color(Some(AnsiColor::Cyan.into()));
            eprintln!("{red}error{red:#}: {}", self.message);
            for cause in &self.causes {
                eprintln!("  caused by: {cause}");
            }
            for point in &self.points {
                // What has several lines shows a place in a file.
                eprintln!("  - {}", point.replace('\n', "\n    "));
            }
            for hint in &self.hints {
                eprintln!("{cyan}hint{cyan:#}: {hint}");
            }
        }
        ExitCode::from(self.code)
    }

    /// Why `tail` ended, which keeps no position, and has no policy for a lost one.
    pub(crate) fn of_tail(error: tail::Error) -> Self {
        let error = match error {
            tail::Error::Source(error) => error,
            tail::Error::Lookup(source) => source::Error::Refused {
                what: "look up the documents of updates".into(),
                source,
            },
            tail::Error::DirectRead { namespace, source } => {
                return control::Error::DirectRead { namespace, source }.into();
            }
            other => return Self::of(&other),
        };
        let oldest = match &error {
            source::Error::PositionLost { oldest, .. } => *oldest,
            _ => return error.into(),
        };
        Self {
            code: POSITION_LOST,
            ..Self::of(&error).hint(goes_on("--since oldest", oldest))
        }
    }

    /// What an error says, and what caused it.
    pub(crate) fn of(error: &(dyn StdError + 'static)) -> Self {
        let user_error = Self::failed(error.to_string());
        match error.source() {
            Some(source) => user_error.because(source),
            None => user_error,
        }
    }
}
