//! `oplet checkpoint`: works on the store itself, without a run. While a process holds the lease of a
//! name, its checkpoint is only shown.

mod args;
mod show;
mod summary;

use anstream::eprintln;
use oplet::{
    checkpoint::{self, Checkpoint, Error, Store},
    mongo::Server,
    op::{Position, StoreSpec},
    source::{self, Window, default_oplog_namespace},
};

pub(crate) use args::CheckpointArgs;
use args::{SetArgs, Verb};
use summary::{Summary, shown_position};

use super::{error::UserError, settings, signals, talk::Talk};
use crate::config;

pub(super) async fn checkpoint(args: CheckpointArgs, talk: &Talk) -> Result<(), UserError> {
    let shutdown = signals::shutdown_token();
    // Everything that can be refused is, before anything is opened.
    let spec = store_spec(&args)?;
    let server = tokio::select! {
        server = connect(&args, &spec) => server?,
        () = shutdown.cancelled() => return Ok(()),
    };
    let store = match (spec, &server) {
        (spec, Some(server)) => Store::open(&spec, &server.client),
        (StoreSpec::File(path), None) => Store::file(path),
        (StoreSpec::Mongodb { .. }, None) => unreachable!("a collection is opened on a server"),
    };
    let work = async {
        match (&args.verb, &server) {
            (Verb::Show(show), _) => show::show(show, &store, talk).await,
            (Verb::Set(set), Some(server)) => set_position(set, &store, server, talk).await,
            (Verb::Set(_), None) => unreachable!("a position is looked up on a server"),
            (Verb::Clear(clear), _) => clear_name(&clear.name, &store, talk).await,
        }
    };
    let done = tokio::select! {
        done = work => done,
        () = shutdown.cancelled() => Ok(()),
    };
    if let Some(server) = server {
        server.shutdown().await;
    }
    done
}

fn store_spec(args: &CheckpointArgs) -> Result<StoreSpec, UserError> {
    let refused = |reason| UserError::refused(format!("--checkpoint: {reason}"));
    let text = config::checkpoint(args.checkpoint.expose())
        .map_err(refused)?
        .text;
    if text == "none" {
        let error = refused("a run with `none` keeps no position".to_owned());
        return Err(error.hint("name the store of the run: `mongodb:db.collection` or `file:PATH`"));
    }
    Ok(settings::store(&text, checkpoint::COLLECTION))
}

/// The deployment, unless a file is all there is to look at.
async fn connect(args: &CheckpointArgs, spec: &StoreSpec) -> Result<Option<Server>, UserError> {
    let uri = args.deployment.uri()?;
    if matches!(spec, StoreSpec::File(_)) && !matches!(args.verb, Verb::Set(_)) {
        return Ok(None);
    }
    Ok(Some(args.deployment.connect(&uri).await?))
}

async fn set_position(
    args: &SetArgs,
    store: &Store,
    server: &Server,
    talk: &Talk,
) -> Result<(), UserError> {
    let SetArgs {
        name,
        since,
        source,
    } = args;
    let oplog = default_oplog_namespace();
    let start = source::resolve(since, *source, server, &oplog).await?;
    let window = Window::ask(*source, server, &oplog).await?;
    if !window.contains(&start) {
        let error = UserError::failed(format!(
            "`{name}` cannot go on at {since}: the oplog reaches {window}"
        ));
        return Err(error.hint("choose a position from there, or `oldest` or `now`"));
    }
    let position = start.behind();
    if let Position::ChangeStream {
        cluster_time: None, ..
    } = position
    {
        let error =
            UserError::failed("the cluster time of that resume token cannot be told".to_owned());
        return Err(error.hint("give a time: `--since SECONDS:INCREMENT`"));
    }
    let before = Summary::of(name, store).await;
    let shown = shown_position(Some(&position));
    let checkpoint = Checkpoint::by_hand(name, *source, position);
    store
        .set(name, &checkpoint)
        .await
        .map_err(|error| refused_to(error, "set"))?;
    if !talk.quiet {
        let stood = match before {
            Ok(Some(summary)) => summary.stood(),
            Ok(None) => "nothing was stored before".to_owned(),
            Err(_) => "what was stored before could not be read".to_owned(),
        };
        eprintln!("`{name}` goes on behind {shown}; {stood}");
    }
    Ok(())
}

async fn clear_name(name: &str, store: &Store, talk: &Talk) -> Result<(), UserError> {
    let before = Summary::of(name, store).await;
    let was_there = store
        .clear(name)
        .await
        .map_err(|error| refused_to(error, "clear"))?;
    if !was_there {
        return Err(absent(name, store).await);
    }
    if !talk.quiet {
        let stood = match before.ok().flatten() {
            Some(summary) => summary.stood(),
            None => "it could not be read".to_owned(),
        };
        eprintln!(
            "removed the checkpoint of `{name}` in {}; {stood}",
            store.place()
        );
    }
    Ok(())
}

/// There is nothing under that name, but perhaps under others.
async fn absent(name: &str, store: &Store) -> UserError {
    let place = store.place();
    let error = UserError::failed(format!("there is no checkpoint of `{name}` in {place}"));
    let names = store.names().await.unwrap_or_default();
    let nearest = names
        .iter()
        .map(|known| (strsim::damerau_levenshtein(known, name), known))
        .filter(|(distance, _)| *distance <= 1 + name.chars().count() / 3)
        .min();
    match nearest {
        Some((_, nearest)) => error.hint(format!("did you mean `{nearest}`?")),
        None if names.is_empty() => {
            error.hint("nothing is stored there; does --checkpoint name the run's own store?")
        }
        None => error.hint("`oplet checkpoint show` lists the names"),
    }
}

/// A process at work keeps its checkpoint to itself: what is changed under it, it would write over.
fn refused_to(error: Error, verb: &str) -> UserError {
    match error {
        Error::Held { .. } => UserError::failed(format!("cannot {verb} the checkpoint"))
            .because(&error)
            .hint("`oplet seek` moves a run that is at work; else end it first, by `oplet drain` or a signal"),
        _ => error.into(),
    }
}
