//! `oplet dead-letters export`

use anstream::eprintln;
use clap::Args;
use oplet::{
    dead_letters::{DeadLetter, Store},
    replay::Writer,
};

use super::{args::FilterArgs, find};
use crate::cli::{error::UserError, recording::RecordingArgs, talk::Talk};

/// `oplet dead-letters export`
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Ids of letters, or beginnings of them; without any, the flags say which
    #[arg(value_name = "ID", conflicts_with_all = ["name", "module", "namespace", "kind", "since", "until", "limit"])]
    pub(crate) ids: Vec<String>,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    #[command(flatten)]
    pub(crate) recording: RecordingArgs,
}

pub(super) async fn export(args: &ExportArgs, store: &Store, talk: &Talk) -> Result<(), UserError> {
    // All are found before the file is made.
    let mut named = Vec::new();
    for id in &args.ids {
        named.push(find(id, store).await?);
    }
    let mut export = Export {
        args,
        writer: args.recording.create()?,
        last_op_id: String::new(),
        ops: 0,
    };
    for letter in &named {
        export.take(letter)?;
    }
    if args.ids.is_empty() {
        let mut letters = store.list(args.filter.filter());
        while let Some(letter) = letters.next().await? {
            export.take(&letter)?;
        }
    }
    let ops = export.ops;
    let bytes = export.writer.finish();
    let bytes = bytes.map_err(|error| args.recording.failed(&error))?;
    if !talk.quiet {
        eprintln!("exported {}", args.recording.told(ops, bytes));
    }
    Ok(())
}

struct Export<'a> {
    args: &'a ExportArgs,
    writer: Writer,
    last_op_id: String,
    ops: u64,
}

impl Export<'_> {
    fn take(&mut self, letter: &DeadLetter) -> Result<(), UserError> {
        // An op may have several letters, which follow each other: of modules, and of refused outputs.
        if self.last_op_id == letter.op_id {
            return Ok(());
        }
        if letter.truncated {
            tracing::warn!(id = letter.id, "parts of the op were too large to be kept");
        }
        let written = self.writer.write(letter.op.as_bytes());
        written.map_err(|error| self.args.recording.failed(&error))?;
        self.last_op_id.clone_from(&letter.op_id);
        self.ops += 1;
        Ok(())
    }
}
