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
    modules, settings, signals,
};
use crate::config::Settings;

pub(super) async fn run(args: RunArgs, settings: Settings, talk: &Talk) -> Result<(), UserError> {
    let shutdown = signals::shutdown_token();
    let limits = Limits::default();
    let options = options(&args, &settings);
    let values = &settings.values;
    // Everything that can be refused is, before anything is opened.
    let uri = settings::uri(&settings)?;
    let cache_directory = modules::cache_directory(&args.settings);
    let specs = modules::load(&settings, cache_directory, &limits, options.workers)?;
    let specs = specs.into_iter().collect::<Result<_, _>>()?;
    let scope = Scope::new(values.watch.value.clone());
    let plan = control::prepare(
        specs,
        &scope,
        options.source,
        options.ordering,
        values.ignore_pipeline.value,
    )?;

    let connect = mongo::Options {
        connect_timeout: values.connect_timeout.value,
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
            Some(banner) => say_start(&banner, &format!("{position} ({})", values.since.value)),
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

fn options(args: &RunArgs, settings: &Settings) -> control::Options {
    let values = &settings.values;
    let source = &args.settings.source;
    control::Options {
        name: values.name.value.clone(),
        source: values.kind.value,
        since: values.since.value.since(),
        on_position_lost: values.on_position_lost.value,
        end: End {
            until: source.until.clone(),
            max_ops: source.max_ops,
            when_idle: source.exit_when_idle,
        },
        batch_size: values.batch_size.value,
        oplog_namespace: values.oplog_namespace.value.clone(),
        ordering: values.ordering.value,
        // One order over all leaves work for one lane only.
        workers: match values.ordering.value {
            OrderingGuarantee::Oplog => 1,
            _ => values.workers.value,
        },
        format: match args.format {
            JsonFormat::Json => Format::Relaxed,
            JsonFormat::Canonical => Format::Canonical,
        },
        grace_period: values.grace_period.value,
        queue_bytes: values.queue_bytes.value,
        window_ops: values.window_ops.value,
        save_every: values.save_every.value,
        standby: values.standby.value,
        lease: values.lease.value,
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
