//! Recordings that are written, for verbs that do.

use std::{
    io,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use oplet::{
    op::Format,
    replay::{Encoding, Writer},
};

use super::error::UserError;

/// Where a recording goes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct RecordingArgs {
    /// File to write the ops to
    #[arg(long, short, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// How ops are written: BSON, or Extended JSON by the line, canonical or relaxed [default: by the name
    /// of the file; canonical for `.json`, `.jsonl` and `.ndjson`, else BSON]
    ///
    /// Relaxed Extended JSON (`json`) is pleasant to read and to edit, but loses some types of numbers.
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<RecordingFormat>,
    /// Replace the file if it is there
    #[arg(long)]
    pub(crate) force: bool,
}

/// How ops are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RecordingFormat {
    Bson,
    Json,
    Canonical,
}

impl RecordingArgs {
    /// Looks whether the file could be made, before anything is opened.
    pub(super) fn check(&self) -> Result<(), UserError> {
        if self.out.exists() && !self.force {
            return Err(self.exists());
        }
        let folder = self
            .out
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        match folder {
            Some(folder) if !folder.is_dir() => {
                let message = format!("there is no folder {}", folder.display());
                Err(UserError::refused(message))
            }
            _ => Ok(()),
        }
    }

    /// Makes the file.
    pub(super) fn create(&self) -> Result<Writer, UserError> {
        let encoding = match self.format.unwrap_or_else(|| format_of(&self.out)) {
            RecordingFormat::Bson => Encoding::Bson,
            RecordingFormat::Json => Encoding::Json(Format::Relaxed),
            RecordingFormat::Canonical => Encoding::Json(Format::Canonical),
        };
        Writer::create(&self.out, encoding, self.force).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => self.exists(),
            _ => self.failed(&error),
        })
    }

    fn exists(&self) -> UserError {
        let message = format!("{} is there already", self.out.display());
        UserError::refused(message).hint("`--force` replaces it")
    }

    /// The file cannot be written.
    pub(super) fn failed(&self, error: &io::Error) -> UserError {
        UserError::failed(format!("cannot write {}", self.out.display())).because(error)
    }

    /// What was written, for people.
    pub(super) fn told(&self, ops: u64, bytes: u64) -> String {
        let ops = match ops {
            1 => "1 op".to_owned(),
            ops => format!("{ops} ops"),
        };
        let size = indicatif::BinaryBytes(bytes);
        format!("{ops}, {size}, to {}", self.out.display())
    }
}

fn format_of(path: &Path) -> RecordingFormat {
    let extension = path.extension().and_then(|extension| extension.to_str());
    match extension {
        Some("json" | "jsonl" | "ndjson") => RecordingFormat::Canonical,
        _ => RecordingFormat::Bson,
    }
}
