//! `oplet dev`: a handler is built, run, and built again whenever somebody saves it.

mod args;
mod screen;
mod seeds;
mod server;
mod session;
mod standing;
mod workshop;

use std::path::Path;

use anstream::eprintln;
use oplet::{
    control::{self, FailurePolicy, Handle, OnError, Plan},
    guest::Limits,
    mongo::{Server, Topology},
    op::{Scope, SourceKind, StoreSpec},
    project::{BuildError, Built, Project},
    sink::Sinks,
    telemetry::Metrics,
};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

pub(crate) use args::DevArgs;
pub(super) use args::EXAMPLES;
use seeds::Seeds;
use session::Session;
use workshop::Workshop;

use super::{args::JsonFormat, error::UserError, modules, settings, signals};
use crate::config::{self, CommandLine, Settings};

/// How changes are read.
const SOURCE: SourceKind = SourceKind::ChangeStream;

pub(super) async fn dev(args: DevArgs) -> Result<(), UserError> {
    let shutdown = signals::shutdown_token();
    let project = Project::find(&args.folder).map_err(BuildError::from)?;
    // Everything that can be refused is, before anything is started.
    let seeds = args
        .seed
        .as_deref()
        .map(|path| Seeds::read(path, &args.seed_into));
    let seeds = seeds.transpose()?;
    let mut workshop = Workshop::new(project, args.toolchain);
    load(&args, workshop.wasm())?;
    let choice = server::Choice::of(&args)?;

    let made = async {
        let first = async {
            let first = first_version(&args, &mut workshop).await?;
            Ok::<_, UserError>(first)
        };
        tokio::try_join!(choice.open(), first)
    };
    let ((own, server), (built, settings, plan)) = tokio::select! {
        made = Box::pin(made) => made?,
        () = shutdown.cancelled() => return Ok(()),
    };
    say_server(&server, own.is_some());
    let scope = Scope::new(args.watch.clone());
    let ended = Box::pin(work(
        &server,
        plan,
        &settings,
        scope,
        shutdown,
        Session::new(workshop, built, seeds),
    ));
    let ended = ended.await;
    server.shutdown().await;
    // Kills the server, if it is its own, and removes its folder.
    drop(own);
    ended
}

/// Builds until something comes of it that can be run.
async fn first_version(
    args: &DevArgs,
    workshop: &mut Workshop,
) -> Result<(Built, Settings, Plan), UserError> {
    loop {
        if let Some(built) = workshop.build().await? {
            let settings = load(args, workshop.wasm())?;
            match plan(args, &settings) {
                Ok(plan) => return Ok((built, settings, plan)),
                Err(error) => {
                    error.print();
                }
            }
        }
        eprintln!("waiting  for the next save");
        workshop.changed().await;
    }
}

/// What holds, by the flags. There is no file, and no environment variable of a run counts.
fn load(args: &DevArgs, wasm: &Path) -> Result<Settings, UserError> {
    let command_line = CommandLine {
        modules: vec![wasm.to_owned()],
        sinks: args.sink.clone(),
        set: args.set.clone(),
        ..CommandLine::default()
    };
    Ok(config::load(command_line, &|_| None)?)
}

fn plan(args: &DevArgs, settings: &Settings) -> Result<Plan, UserError> {
    let cache = modules::cache_directory(args.module_cache.clone());
    let specs = modules::load(settings, cache, &Limits::default(), 1)?;
    let mut specs = specs.into_iter().collect::<Result<Vec<_>, _>>()?;
    for spec in &mut specs {
        spec.policy = FailurePolicy {
            on_error: OnError::Skip,
            ..spec.policy.clone()
        };
    }
    let sinks = Sinks::names(&settings::sinks(settings, JsonFormat::Json));
    let scope = Scope::new(args.watch.clone());
    let ordering = settings.values.ordering.value;
    Ok(control::prepare(
        specs, &sinks, &scope, SOURCE, ordering, false,
    )?)
}

/// Keeps nothing, and has one lane: what is shown is in order, and a swap has one instance to make.
fn options(settings: &Settings, wasm: &Path) -> control::Options {
    let folder = wasm.parent().unwrap_or(Path::new("."));
    control::Options {
        name: format!("dev-{}", settings.values.name.value),
        source: SOURCE,
        workers: 1,
        // Whoever tries something out looks at failures, and mends them.
        probation: std::time::Duration::ZERO,
        grace_period: std::time::Duration::from_secs(2),
        sinks: settings::sinks(settings, JsonFormat::Json),
        environment: config::environment,
        // Nothing comes there: what fails is skipped.
        dead_letters: StoreSpec::File(folder.join("dead-letters.jsonl")),
        save_failed: Some(folder.join("failed")),
        ..control::Options::default()
    }
}

/// Runs the module until the end is asked for, while versions of it take over.
async fn work(
    server: &Server,
    plan: Plan,
    settings: &Settings,
    scope: Scope,
    shutdown: CancellationToken,
    mut session: Session,
) -> Result<(), UserError> {
    let options = options(settings, session.workshop.wasm());
    let module = plan.modules[0].module.name().to_owned();
    let (handle, inbox) = Handle::new();
    let (metrics, limits) = (Metrics::new(), Limits::default());
    let (started, start) = oneshot::channel();
    let run = control::run(
        server,
        plan,
        &options,
        &limits,
        inbox,
        &metrics,
        &shutdown,
        |start| {
            let _ = started.send(start.clone());
        },
    );
    let mut run = Box::pin(run);
    let edits = Box::pin(session.work(server, scope, &handle, &module, start));
    let ended = tokio::select! {
        (_, ended) = &mut run => return Ok(ended?),
        ended = edits => ended,
    };
    shutdown.cancel();
    let (_, stopped) = run.await;
    ended?;
    Ok(stopped?)
}

fn say_server(server: &Server, is_own: bool) {
    let set = match &server.topology {
        Topology::ReplicaSet(name) => format!("/?replicaSet={name}"),
        Topology::Sharded => "/".into(),
    };
    let fate = if is_own { ", gone at the end" } else { "" };
    eprintln!(
        "server   mongodb://{}{set} (MongoDB {}{fate})",
        server.hosts, server.version
    );
}
