//! `oplet tail`

use std::{io::IsTerminal as _, sync::atomic::Ordering::Relaxed};

use oplet::{
    TailBuilder,
    control::{DirectReadOptions, End},
    mongo::{self, Server},
    op::{Format, Namespace, Since, write_json},
    sink::Stdout,
    source::Reading,
    tail::{Batch, Tail},
};
use tokio_util::sync::CancellationToken;

use super::{
    args::{SourceArgs, TailArgs, TailFormat},
    error::UserError,
    pretty, progress, settings, signals,
    talk::Talk,
};

/// How much is gathered before it is printed.
const OUTPUT_BYTES: usize = 64 << 10;

/// What the server knows the cursor by.
const COMMENT: &str = "oplet tail";

pub(super) async fn tail(args: TailArgs, talk: &Talk) -> Result<(), UserError> {
    reading(&args.source).check(args.source.kind)?;
    let shutdown = signals::shutdown_token();
    let Some(server) = connect(&args.source, &shutdown).await? else {
        return Ok(());
    };
    let printed = tokio::select! {
        printed = print(&server, &args, talk) => printed,
        () = shutdown.cancelled() => Ok(()),
    };
    server.shutdown().await;
    printed
}

/// Connects to the server that is read; `None` when the end is asked for first.
pub(super) async fn connect(
    source: &SourceArgs,
    shutdown: &CancellationToken,
) -> Result<Option<Server>, UserError> {
    let uri = settings::only_uri(&source.uri)?;
    let connect = mongo::Options {
        connect_timeout: source.connect_timeout,
    };
    tokio::select! {
        server = Server::connect(&uri, &connect) => Ok(Some(server?)),
        () = shutdown.cancelled() => Ok(None),
    }
}

/// The changes that are asked for.
pub(super) async fn changes(
    server: &Server,
    watch: &[Namespace],
    source: &SourceArgs,
    since: &Since,
    direct: DirectReadOptions,
) -> Result<Tail, UserError> {
    let SourceArgs {
        kind,
        oplog_namespace,
        ..
    } = source;
    let mut builder = TailBuilder::new(server).source(*kind).since(since.clone());
    let options = builder.options();
    options.watch = watch.to_vec();
    options.end = End {
        until: source.until.clone(),
        max_ops: source.max_ops,
        when_idle: source.exit_when_idle,
    };
    options.oplog_namespace = oplog_namespace.clone();
    options.reading = reading(source);
    options.direct = direct;
    builder.start().await.map_err(UserError::of_tail)
}

/// How the source is to read.
pub(super) fn reading(source: &SourceArgs) -> Reading {
    Reading {
        commands: source.commands,
        full_document: source.full_document,
        updates: source.updates,
        before: source.before,
        comment: Some(COMMENT.into()),
        ..Reading::default()
    }
}

/// Says at the end what was not given.
pub(super) fn warn_of_undecodable(changes: &Tail) {
    let undecodable = changes.handle().stats().undecodable.load(Relaxed);
    if undecodable > 0 {
        tracing::warn!(
            undecodable,
            "some of what was read could not be decoded, and was passed over"
        );
    }
}

async fn print(server: &Server, args: &TailArgs, talk: &Talk) -> Result<(), UserError> {
    let direct = args.direct.options();
    let is_shown = shows_progress(&direct, talk);
    let mut changes = changes(server, &args.watch, &args.source, &args.since, direct).await?;
    let handle = changes.handle();
    let progress = async {
        if is_shown {
            progress::show(|| std::future::ready(Some(handle.direct_reads()))).await;
        }
        std::future::pending().await
    };
    tokio::select! {
        printed = print_all(&mut changes, args) => printed,
        () = progress => Ok(()),
    }
}

/// Whether a bar is shown for what is read directly: where documents are not printed to the same place.
fn shows_progress(direct: &DirectReadOptions, talk: &Talk) -> bool {
    let is_terminal = std::io::stderr().is_terminal() && !std::io::stdout().is_terminal();
    is_terminal && !talk.quiet && !direct.namespaces.is_empty()
}

async fn print_all(changes: &mut Tail, args: &TailArgs) -> Result<(), UserError> {
    let mut printer = Printer {
        format: args.format,
        op: Vec::new(),
        lines: String::new(),
    };
    while let Some(batch) = changes.next().await {
        printer.print(&batch.map_err(UserError::of_tail)?).await?;
    }
    warn_of_undecodable(changes);
    Ok(())
}

struct Printer {
    format: TailFormat,
    op: Vec<u8>,
    lines: String,
}

impl Printer {
    async fn print(&mut self, batch: &Batch) -> Result<(), UserError> {
        for (op, document) in batch.ops() {
            self.op.clear();
            op.encode(document, &mut self.op);
            let written = match self.format {
                TailFormat::Json => write_json(&self.op, Format::Relaxed, &mut self.lines),
                TailFormat::Canonical => write_json(&self.op, Format::Canonical, &mut self.lines),
                TailFormat::Pretty => pretty::write(&self.op, &mut self.lines),
            };
            match written {
                Ok(()) => self.lines.push('\n'),
                Err(error) => tracing::error!(op_id = %op.id(), %error, "an op cannot be printed"),
            }
            if self.lines.len() > OUTPUT_BYTES {
                self.write().await?;
            }
        }
        self.write().await
    }

    /// Writes on a thread of its own: one that nobody reads must not keep a signal from being heard.
    async fn write(&mut self) -> Result<(), UserError> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let lines = std::mem::take(&mut self.lines);
        let write = tokio::task::spawn_blocking(move || (Stdout.write(&lines), lines));
        let (written, lines) = write.await.expect("writing does not panic");
        self.lines = lines;
        self.lines.clear();
        Ok(written?)
    }
}
