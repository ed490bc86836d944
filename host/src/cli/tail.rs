//! `oplet tail`

use std::sync::atomic::Ordering::Relaxed;

use oplet::{
    TailBatch, TailOptions,
    control::{Bounds, End},
    mongo::{self, Server},
    op::{Format, Scope, write_json},
    sink::Stdout,
    source,
};

use super::{
    args::{SourceArgs, TailArgs, TailFormat},
    error::UserError,
    pretty, settings, signals,
};

/// How much is gathered before it is printed.
const OUTPUT_BYTES: usize = 64 << 10;

pub(super) async fn tail(args: TailArgs) -> Result<(), UserError> {
    let shutdown = signals::shutdown_token();
    let uri = settings::parse_uri(&args.source.uri)?;
    let connect = mongo::Options {
        connect_timeout: args.source.connect_timeout,
    };
    let server = tokio::select! {
        server = Server::connect(&uri, &connect) => server?,
        () = shutdown.cancelled() => return Ok(()),
    };
    let printed = tokio::select! {
        printed = print(&server, &args) => printed,
        () = shutdown.cancelled() => Ok(()),
    };
    server.shutdown().await;
    printed
}

async fn print(server: &Server, args: &TailArgs) -> Result<(), UserError> {
    let SourceArgs {
        kind,
        oplog_namespace,
        ..
    } = &args.source;
    let start = source::resolve(&args.since, *kind, server, oplog_namespace).await?;
    let end = End {
        until: args.source.until.clone(),
        max_ops: args.source.max_ops,
        when_idle: args.source.exit_when_idle,
    };
    let mut options = TailOptions::new(*kind, Scope::new(args.watch.clone()), start);
    options.bounds = Bounds::resolve(&end, *kind, server, oplog_namespace).await?;
    options.oplog_namespace = oplog_namespace.clone();
    let mut changes = oplet::tail(server, options);
    let mut printer = Printer {
        format: args.format,
        op: Vec::new(),
        lines: String::new(),
    };
    while let Some(batch) = changes.next().await.map_err(UserError::of_tail)? {
        printer.print(&batch).await?;
    }
    let undecodable = changes.stats().undecodable.load(Relaxed);
    if undecodable > 0 {
        tracing::warn!(
            undecodable,
            "some of what was read could not be decoded, and was passed over"
        );
    }
    Ok(())
}

struct Printer {
    format: TailFormat,
    op: Vec<u8>,
    lines: String,
}

impl Printer {
    async fn print(&mut self, batch: &TailBatch) -> Result<(), UserError> {
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
