//! `oplet dead-letters`

mod args;
mod export;
mod list;
mod redrive;

use std::io::IsTerminal as _;

use anstream::eprintln;
use oplet::{
    dead_letters::{self, DeadLetter, Filter, Store},
    op::StoreSpec,
    sink::Stdout,
};
use tokio_util::sync::CancellationToken;

pub(crate) use args::DeadLettersArgs;
use args::{DropArgs, Verb};
use redrive::Job;

use super::{
    deployment::{LOCAL, home},
    error::UserError,
    settings, signals,
    talk::Talk,
};
use crate::config::{self, Uri};

/// How many ids are removed with one command.
const REMOVED_TOGETHER: usize = 1_000;

/// How many letters a beginning of an id may name until the rest is not listed.
const NAMED_MAX: u64 = 5;

pub(super) async fn dead_letters(args: DeadLettersArgs, talk: &Talk) -> Result<(), UserError> {
    let shutdown = signals::shutdown_token();
    // Everything that can be refused is, before anything is opened.
    if let Verb::Export(export) = &args.verb {
        export.recording.check()?;
    }
    let job = match &args.verb {
        Verb::Redrive(redrive) => Some(Job::prepare(&args, redrive)?),
        _ => None,
    };
    let (spec, uri) = match &job {
        Some(job) => (job.store.clone(), job.uri.clone()),
        None => (store_spec(&args)?, args.deployment.uri.clone()),
    };
    // A file needs no server but for what a redrive asks of one: documents of updates, and sinks.
    let uri = uri.unwrap_or_else(|| Uri::from(LOCAL.to_owned()));
    let uri = settings::parse_uri(&home(&uri))?;
    let needs_server =
        !matches!(spec, StoreSpec::File(_)) || job.as_ref().is_some_and(Job::needs_server);
    let server = match needs_server {
        true => tokio::select! {
            server = args.deployment.connect(&uri) => Some(server?),
            () = shutdown.cancelled() => return Ok(()),
        },
        false => None,
    };
    let store = match (&spec, &server) {
        (spec, Some(server)) => Store::open(spec, &server.client),
        (StoreSpec::File(path), None) => Store::file(path.clone()),
        (StoreSpec::Mongodb { .. }, None) => unreachable!("a collection is opened on a server"),
    };
    let client = server.as_ref().map(|server| &server.client);
    let done = match job {
        Some(job) => job.run(&store, client, &shutdown, talk).await,
        None => until(&shutdown, verb_of(&args.verb, &store, talk)).await,
    };
    if let Some(server) = server {
        server.shutdown().await;
    }
    done
}

async fn until(
    shutdown: &CancellationToken,
    verb: impl Future<Output = Result<(), UserError>>,
) -> Result<(), UserError> {
    tokio::select! {
        done = verb => done,
        () = shutdown.cancelled() => Ok(()),
    }
}

async fn verb_of(verb: &Verb, store: &Store, talk: &Talk) -> Result<(), UserError> {
    match verb {
        Verb::List(args) => list::list(args, store).await,
        Verb::Show(args) => show(&args.id, store).await,
        Verb::Export(args) => export::export(args, store, talk).await,
        Verb::Drop(args) => drop_letters(args, store, talk).await,
        Verb::Redrive(_) => unreachable!("a redrive brings its module"),
    }
}

/// Where the letters are.
fn store_spec(args: &DeadLettersArgs) -> Result<StoreSpec, UserError> {
    let Some(given) = &args.dead_letters else {
        return Ok(StoreSpec::own(dead_letters::COLLECTION));
    };
    let text = config::dead_letters(given.expose())
        .map_err(|reason| UserError::refused(format!("--dead-letters: {reason}")))?;
    Ok(settings::store(&text.text, dead_letters::COLLECTION))
}

/// The one letter that an id, or the beginning of one, names.
async fn find(id: &str, store: &Store) -> Result<DeadLetter, UserError> {
    if let Some(letter) = store.get(id).await? {
        return Ok(letter);
    }
    let mut letters = store.list(Filter {
        id_prefix: Some(id.to_owned()),
        limit: Some(NAMED_MAX),
        ..Filter::default()
    });
    let mut found = Vec::new();
    while let Some(letter) = letters.next().await? {
        found.push(letter);
    }
    match found.len() {
        0 => Err(UserError::failed(format!("there is no dead letter `{id}`"))
            .hint("`oplet dead-letters list` prints the ids")),
        1 => Ok(found.remove(0)),
        _ => {
            let ids: Vec<_> = found
                .iter()
                .map(|letter| format!("`{}`", letter.id))
                .collect();
            let error = UserError::failed(format!("several dead letters begin with `{id}`"));
            Err(error.hint(format!("give a whole id, such as {}", ids.join(", "))))
        }
    }
}

async fn show(id: &str, store: &Store) -> Result<(), UserError> {
    let letter = find(id, store).await?;
    let document = bson::Document::try_from(&*letter.to_document())
        .map_err(|error| UserError::failed("the dead letter cannot be printed").because(&error))?;
    let json = bson::Bson::Document(document).into_relaxed_extjson();
    Ok(Stdout.write(&format!("{json:#}\n"))?)
}

async fn drop_letters(args: &DropArgs, store: &Store, talk: &Talk) -> Result<(), UserError> {
    let mut dropped = 0;
    if args.ids.is_empty() {
        let filter = args.filter.filter();
        if !args.yes {
            let count = letters(store.count(&filter).await?);
            let error = UserError::refused(format!("{count} would be dropped for good"));
            return Err(error.hint("give --yes to drop them, or the ids of some"));
        }
        let mut list = store.list(filter);
        let mut ids = Vec::new();
        while let Some(letter) = list.next().await? {
            ids.push(letter.id);
            if ids.len() == REMOVED_TOGETHER {
                dropped += store.remove(&std::mem::take(&mut ids)).await?;
            }
        }
        dropped += store.remove(&ids).await?;
    } else {
        // All of them are looked for before the first is dropped: a misspelt one changes nothing.
        for id in &args.ids {
            if store.get(id).await?.is_none() {
                let error = UserError::failed(format!("there is no dead letter `{id}`"));
                return Err(
                    error.hint("`oplet dead-letters list` prints the ids; nothing was dropped")
                );
            }
        }
        dropped = store.remove(&args.ids).await?;
    }
    if !talk.quiet {
        eprintln!("dropped {}", letters(dropped));
    }
    Ok(())
}

/// A number of letters, for people.
fn letters(count: u64) -> String {
    match count {
        1 => "1 dead letter".to_owned(),
        count => format!("{count} dead letters"),
    }
}

/// Whether progress can be shown on standard error.
fn shows_progress(talk: &Talk) -> bool {
    std::io::stderr().is_terminal() && !talk.quiet
}
