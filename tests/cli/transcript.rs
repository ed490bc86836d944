//! What a user sees: command lines and what came of them.

use std::{fmt::Write as _, path::Path};

use crate::{
    modules::{Ended, NOWHERE},
    oplet,
};

/// Command lines that were run in a folder, each with its output and exit code.
pub(super) struct Transcript<'a> {
    folder: &'a Path,
    uri: Option<&'static str>,
    text: String,
}

impl<'a> Transcript<'a> {
    pub(super) fn new(folder: &'a Path) -> Self {
        Self {
            folder,
            uri: Some(NOWHERE),
            text: String::new(),
        }
    }

    /// With no server named by the environment, for files that name one.
    pub(super) fn without_uri(folder: &'a Path) -> Self {
        Self {
            uri: None,
            ..Self::new(folder)
        }
    }

    /// Runs a command line that is to be refused: with exit 2, with nothing on standard output but
    /// what `inspect` found, and before anything is opened. There is no server: who looks for one
    /// does not come back.
    pub(super) async fn refused(&mut self, arguments: &[&str]) -> &mut Self {
        let ended = self.run(arguments).await;
        assert_eq!(ended.code, 2, "{arguments:?}: {}", ended.stderr);
        if arguments[0] != "inspect" {
            assert_eq!(ended.stdout, [""; 0], "{arguments:?}");
        }
        self
    }

    /// Runs a command line, and writes down what came of it.
    pub(super) async fn run(&mut self, arguments: &[&str]) -> Ended {
        let command = oplet()
            .env("COLUMNS", "100")
            .in_folder(self.folder)
            .args(arguments);
        let command = match self.uri {
            Some(uri) => command.env("OPLET_URI", uri),
            None => command,
        };
        let ended = Ended::of(command).await;
        let quoted =
            |argument: &&str| match argument.contains([' ', '?', '*']) || argument.is_empty() {
                true => format!("'{argument}'"),
                false => (*argument).to_owned(),
            };
        let line = arguments.iter().map(quoted).collect::<Vec<_>>().join(" ");
        let _infallible = writeln!(self.text, "$ oplet {line}");
        for output in ended
            .stdout
            .iter()
            .map(String::as_str)
            .chain(ended.stderr.lines())
        {
            let _infallible = writeln!(self.text, "{output}");
        }
        let _infallible = writeln!(self.text, "[exit {}]\n", ended.code);
        ended
    }

    /// All that was seen, but for the lines that depend on the compiler of a module: its digest, its
    /// sizes, and what its standard library wants of the system.
    pub(super) fn without_compiler(&self) -> String {
        let words = [
            "size ",
            "sha256 ",
            "memory ",
            "import   wasi_snapshot_preview1.",
        ];
        let is_compilers = |line: &&str| words.iter().any(|word| line.starts_with(word));
        let (dropped, kept): (Vec<_>, Vec<_>) = self.text().lines().partition(is_compilers);
        assert!(dropped.len() >= 2, "size and digest are told");
        kept.join("\n")
    }

    /// All that was seen.
    pub(super) fn text(&self) -> &str {
        self.text.trim_end()
    }
}
