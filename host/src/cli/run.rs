//! `oplet run`

use std::io::IsTerminal as _;

use anstream::eprintln;
use oplet::{
    control::{self, End, Plan},
    flow::OrderingGuarantee,
    guest::Limits,
    mongo::{self, Server},
    op::{Format, Scope, SourceKind},
    source::Start,
};

use super::{
    args::{JsonFormat, RunArgs, Talk},
    error::UserError,
    modules, signals,
};

pub(super) async fn run(args: RunArgs, talk: &Talk) -> Result<(), UserError> {
    let shutdown = signals::shutdown_token();
    let limits = Limits::default();
    let mut options = options(&args);
    if options.ordering == OrderingGuarantee::Oplog {
        // One order over all leaves work for one lane only.
        options.workers = 1;
    }
    // Everything that can be refused is, before anything is opened.
    let uri = args.source.uri.parse()?;
    let specs = modules::load(&args, &limits, options.workers)?;
    let scope = Scope::new(args.watch.clone());
    let plan = control::prepare(
        specs,
        &scope,
        options.source,
        options.ordering,
        args.ignore_pipeline,
    )?;

    let connect = mongo::Options {
        connect_timeout: args.source.connect_timeout,
    };
    let server = tokio::select! {
        server = Server::connect(&uri, &connect) => server?,
        () = shutdown.cancelled() => return Ok(()),
    };
    let is_terminal = std::io::stderr().is_terminal() && !talk.quiet;
    let banner = is_terminal.then(|| banner(&server, &plan, &options, &limits));
    let on_start = |start: &Start| {
        let position = start.position();
        match banner {
            Some(banner) => say_start(&banner, &format!("{position} ({})", args.source.since)),
            None => {
                tracing::info!(%position, source = options.source.as_str(), scope = %scope, "running");
            }
        }
    };
    let (summary, ended) =
        control::run(&server, plan, &options, &limits, &shutdown, on_start).await;
    if !talk.quiet {
        say(&summary.to_string());
    }
    server.shutdown().await;
    Ok(ended?)
}

fn options(args: &RunArgs) -> control::Options {
    let default = control::Options::default();
    control::Options {
        source: args.source.kind,
        since: Some(args.source.since.clone()),
        end: End {
            until: args.source.until.clone(),
            max_ops: args.source.max_ops,
            when_idle: args.source.exit_when_idle,
        },
        oplog_namespace: args.source.oplog_namespace.clone(),
        ordering: args.ordering,
        workers: args.workers.map_or(default.workers, usize::from),
        format: match args.format {
            JsonFormat::Json => Format::Relaxed,
            JsonFormat::Canonical => Format::Canonical,
        },
        grace_period: args.grace_period,
        ..default
    }
}

/// What runs, before it does: a line each for the program, the server, what is read, each module.
fn banner(
    server: &Server,
    plan: &Plan,
    options: &control::Options,
    limits: &Limits,
) -> Vec<String> {
    let topology = match &server.topology {
        mongo::Topology::ReplicaSet(name) => format!("replica set {name}"),
        mongo::Topology::Sharded => "sharded cluster".into(),
    };
    let source = match options.source {
        SourceKind::Oplog => "oplog",
        SourceKind::ChangeStream => "change stream",
    };
    let mut lines = vec![
        format!("oplet    {}", env!("CARGO_PKG_VERSION")),
        format!(
            "server   {} (MongoDB {}, {topology})",
            server.hosts, server.version
        ),
    ];
    for stream in &plan.streams {
        let modules: Vec<_> = stream
            .modules
            .iter()
            .map(|module| plan.modules[*module].module.name())
            .collect();
        let narrowed = match stream.pipeline.len() {
            0 => String::new(),
            stages => format!(", narrowed by {stages} pipeline stage(s)"),
        };
        lines.push(format!(
            "source   {source} on {}{narrowed}, for {}",
            stream.scope,
            modules.join(", ")
        ));
    }
    for spec in &plan.modules {
        lines.push(format!(
            "module   {} {} ({} MiB memory, {} a call)",
            spec.module.name(),
            &spec.module.digest()[..12],
            limits.memory_bytes >> 20,
            humantime::format_duration(limits.call_time),
        ));
    }
    lines
}

fn say_start(banner: &[String], since: &str) {
    for line in banner {
        eprintln!("{line}");
    }
    eprintln!("since    {since}");
}

fn say(text: &str) {
    eprintln!("{text}");
}
