//! `oplet checkpoint show`

use std::{fmt::Write as _, io::IsTerminal as _};

use anstream::eprintln;
use bson::Bson;
use oplet::{
    checkpoint::{Checkpoint, DirectRead, Error, Store},
    control::{ShownPosition, rfc3339},
    op::Cluster,
    sink::Stdout,
};

use super::{
    absent,
    args::ShowArgs,
    summary::{Summary, shown_position},
};
use crate::cli::{error::UserError, remote_args::RemoteFormat, status::clean, table, talk::Talk};

pub(super) async fn show(args: &ShowArgs, store: &Store, talk: &Talk) -> Result<(), UserError> {
    let format = args
        .format
        .unwrap_or(match std::io::stdout().is_terminal() {
            true => RemoteFormat::Text,
            false => RemoteFormat::Json,
        });
    let text = match &args.name {
        Some(name) => {
            let Some(summary) = Summary::of(name, store).await? else {
                return Err(absent(name, store).await);
            };
            match format {
                RemoteFormat::Text => whole(&summary, &store.place()),
                RemoteFormat::Json => {
                    let mut json = summary.as_json();
                    json["stored"] = Bson::Document(summary.stored).into_relaxed_extjson();
                    format!("{json}\n")
                }
            }
        }
        None => {
            let summaries = all(store).await?;
            if summaries.is_empty() && !talk.quiet {
                eprintln!("no checkpoints in {}", store.place());
            }
            match format {
                RemoteFormat::Text => rows(&summaries),
                RemoteFormat::Json => {
                    let lines = summaries.iter().map(|one| format!("{}\n", one.as_json()));
                    lines.collect()
                }
            }
        }
    };
    if !text.is_empty() {
        Stdout.write(&text)?;
    }
    Ok(())
}

async fn all(store: &Store) -> Result<Vec<Summary>, UserError> {
    let names = match store.names().await {
        Ok(names) => names,
        // A file with no document has no name either.
        Err(Error::Garbage { store, reason, .. }) => {
            let error = UserError::failed(format!(
                "what is stored in {store} cannot be read: {reason}"
            ));
            return Err(
                error.hint("`oplet checkpoint clear NAME` removes it, whatever the name was")
            );
        }
        Err(error) => return Err(error.into()),
    };
    let mut summaries = Vec::new();
    for name in names {
        // One that is gone by now was cleared just then.
        summaries.extend(Summary::of(&name, store).await?);
    }
    Ok(summaries)
}

/// A row for each name.
fn rows(summaries: &[Summary]) -> String {
    if summaries.is_empty() {
        return String::new();
    }
    let mut rows = vec![["NAME", "POSITION", "TIME", "SAVED", "HOLDER"].map(str::to_owned)];
    rows.extend(summaries.iter().map(row));
    table::table(&rows)
}

fn row(summary: &Summary) -> [String; 5] {
    let none = || "-".to_owned();
    let (position, time) = match (&summary.checkpoint, summary.position()) {
        (Err(_), _) => ("cannot be read".to_owned(), None),
        (_, Some(position)) => (position.to_string(), ShownPosition::of(position).time),
        (_, None) => (none(), None),
    };
    let saved = summary.readable().map(saved);
    [
        clean(&summary.name),
        position,
        time.unwrap_or_else(none),
        saved.unwrap_or_else(none),
        summary.held_by().unwrap_or_else(none),
    ]
}

/// How far a direct read is.
fn direct_read(read: &DirectRead, of: &str) -> String {
    let seconds = |ms: i64| rfc3339(ms / 1_000 * 1_000);
    let state = match (&read.ended, read.complete_ms) {
        (Some(ended), _) => ended.clone(),
        (None, Some(complete)) => format!("complete since {}", seconds(complete)),
        (None, None) => format!("begun {}", seconds(read.begun_ms)),
    };
    let (namespace, modules) = (&read.namespace, read.modules.join(", "));
    let documents = read.documents;
    format!("{namespace}{of}, for {modules}: {state}, {documents} documents done")
}

/// Whole seconds: this is for people.
fn saved(checkpoint: &Checkpoint) -> String {
    rfc3339(checkpoint.saved_ms / 1_000 * 1_000)
}

/// All that is stored under a name, a line for each thing.
fn whole(summary: &Summary, place: &str) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a text cannot fail.
        let _ = writeln!(text, "{name:<10} {}", clean(&value));
    };
    line("name", summary.name.clone());
    line("store", place.to_owned());
    if let Some(holding) = &summary.holding {
        let held_by = summary.held_by().unwrap_or_default();
        let (since, ago) = (rfc3339(holding.since_ms), holding.renewed_ago.as_secs_f64());
        line(
            "held by",
            format!("{held_by}, since {since}, last heard of {ago:.1} s ago"),
        );
    } else {
        line("held by", "nobody".to_owned());
    }
    match &summary.checkpoint {
        Ok(Some(checkpoint)) => {
            line("source", checkpoint.source.as_str().to_owned());
            line("position", shown_position(summary.position()));
            line(
                "saved",
                format!("{}, in epoch {}", saved(checkpoint), checkpoint.epoch),
            );
            for module in &checkpoint.modules {
                let digest: String = module.digest.chars().take(12).collect();
                line("module", format!("{} {digest}", module.name));
            }
            let mut clusters: Vec<_> = checkpoint
                .streams
                .iter()
                .filter_map(|stream| stream.cluster.as_ref())
                .collect();
            clusters.dedup();
            // Where several deployments are read.
            let of = |cluster: &Option<Cluster>| match (cluster, clusters.len()) {
                (Some(cluster), 2..) => format!(" of {cluster}"),
                _ => String::new(),
            };
            for stream in &checkpoint.streams {
                let of = of(&stream.cluster);
                let scope = match stream.digest.is_empty() {
                    true => "any, set by hand".to_owned(),
                    false => format!("{}{of}, for {}", stream.scope, stream.modules.join(", ")),
                };
                let position = shown_position(Some(&stream.frontier.position));
                let done = stream.frontier.done.map_or_else(String::new, |done| {
                    format!(", done up to op {} of {}", done.index, done.timestamp)
                });
                line("stream", format!("{scope}: {position}{done}"));
            }
            for read in &checkpoint.direct_reads {
                line("read", direct_read(read, &of(&read.cluster)));
            }
        }
        Ok(None) => line("position", "none yet".to_owned()),
        Err(error) => {
            line("error", error.to_string());
            let stored = Bson::Document(summary.stored.clone()).into_relaxed_extjson();
            line("stored", stored.to_string());
        }
    }
    text
}
