//! `oplet record`

use std::{io::IsTerminal as _, time::Duration};

use anstream::eprintln;
use clap::Args;
use indicatif::{BinaryBytes, ProgressBar, ProgressStyle};
use oplet::{
    control::DirectReadOptions,
    mongo::Server,
    op::{Namespace, Since},
    replay::{Redaction, Writer},
    tail::Batch,
};
use tokio_util::sync::CancellationToken;

use super::{
    args::SourceArgs, error::UserError, recording::RecordingArgs, signals, tail, talk::Talk,
};
use crate::config;

pub(super) const EXAMPLES: &str = "Examples:
  oplet record shop.orders --out orders.bson --max-ops 100
      the next hundred changes of a collection; Ctrl-C ends it earlier
  oplet record shop --since 1h --exit-when-idle --out shop.jsonl
      the last hour of a database, as JSON lines
  oplet record crm --out crm.bson --redact email --redact address.street
      without what is not to leave the database; names and types stay
  oplet replay orders.wasm orders.bson";

/// `oplet record`
#[derive(Debug, Args)]
pub(crate) struct RecordArgs {
    /// What to record: `db.coll`, `db` or `db.*`, or `*` for the deployment
    #[arg(value_name = "NS", default_value = "*", value_parser = config::namespace)]
    pub(crate) watch: Vec<Namespace>,
    #[command(flatten)]
    pub(crate) recording: RecordingArgs,
    /// Leave out the values of this field, as in `email` or `customer.email`; may be repeated
    ///
    /// The field is met at any depth in documents, pre-images, updates and ids, also in arrays. In the place
    /// of its value stands one of the same type that tells nothing: `***`, 0, false, 1970, an empty document.
    #[arg(long, value_name = "FIELD", value_parser = field, help_heading = "Output")]
    pub(crate) redact: Vec<String>,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// Where to begin: `now`, `oldest`, `90m` ago, a time as `2026-01-02T10:00:00Z`, a cluster time as
    /// `1700000001:7`, `token:JSON`
    #[arg(long, value_name = "POSITION", default_value = "now", value_parser = config::since,
        help_heading = "Source")]
    pub(crate) since: Since,
}

fn field(text: &str) -> Result<String, String> {
    Redaction::new([text]).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

pub(super) async fn record(args: RecordArgs, talk: &Talk) -> Result<(), UserError> {
    args.recording.check()?;
    tail::reading(&args.source).check(args.source.kind)?;
    let shutdown = signals::shutdown_token();
    let Some(server) = tail::connect(&args.source, &shutdown).await? else {
        return Ok(());
    };
    let recorded = record_from(&server, &args, &shutdown, talk).await;
    server.shutdown().await;
    recorded
}

async fn record_from(
    server: &Server,
    args: &RecordArgs,
    shutdown: &CancellationToken,
    talk: &Talk,
) -> Result<(), UserError> {
    let direct = DirectReadOptions::default();
    let changes = tail::changes(server, &args.watch, &args.source, &args.since, direct);
    let mut changes = tokio::select! {
        changes = changes => changes?,
        () = shutdown.cancelled() => return Ok(()),
    };
    let mut recorder = Recorder {
        writer: args.recording.create()?,
        redaction: Redaction::new(&args.redact).expect("the parser of flags has read the fields"),
        bar: bar(talk),
        op: Vec::new(),
        redacted: Vec::new(),
        ops: 0,
    };
    let failed = |error| args.recording.failed(&error);
    // What came before an error, or the end, is kept.
    let ended = loop {
        let next = tokio::select! {
            next = changes.next() => next,
            () = shutdown.cancelled() => break Ok(()),
        };
        match next {
            Some(Ok(batch)) => recorder.take(&batch).map_err(failed)?,
            None => break Ok(()),
            Some(Err(error)) => break Err(UserError::of_tail(error)),
        }
    };
    tail::warn_of_undecodable(&changes);
    recorder.bar.finish_and_clear();
    let ops = recorder.ops;
    let bytes = recorder.writer.finish().map_err(failed)?;
    if !talk.quiet {
        eprintln!("recorded {}", args.recording.told(ops, bytes));
    }
    ended
}

/// What a recording is written with.
struct Recorder {
    writer: Writer,
    redaction: Redaction,
    bar: ProgressBar,
    op: Vec<u8>,
    redacted: Vec<u8>,
    ops: u64,
}

impl Recorder {
    /// Writes a batch, all of it: who looks at the file meanwhile sees whole ops.
    fn take(&mut self, batch: &Batch) -> std::io::Result<()> {
        for (op, document) in batch.ops() {
            self.op.clear();
            op.encode(document, &mut self.op);
            let redacted = match self.redaction.is_empty() {
                true => &self.op,
                false => {
                    self.redacted.clear();
                    let written = self.redaction.write(&self.op, &mut self.redacted);
                    written.map_err(std::io::Error::other)?;
                    &self.redacted
                }
            };
            self.writer.write(redacted)?;
            self.ops += 1;
        }
        self.writer.flush()?;
        self.bar.set_position(self.ops);
        let bytes = BinaryBytes(self.writer.written_bytes());
        self.bar.set_message(bytes.to_string());
        Ok(())
    }
}

fn bar(talk: &Talk) -> ProgressBar {
    if talk.quiet || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(Duration::from_millis(200));
    match ProgressStyle::with_template("{spinner} {pos} ops, {msg}, {elapsed}; Ctrl-C ends") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
