//! `oplet run`

use std::io::IsTerminal as _;

use anstream::eprintln;
use futures_util::future::try_join_all;
use mongodb::options::ConnectionString;
use oplet::{
    admin, checkpoint,
    control::{self, Deployment, Deployments, DirectReadOptions, End, Handle, Plan},
    dead_letters,
    flow::OrderingGuarantee,
    guest::Limits,
    mongo::{self, Server},
    op::{Scope, SourceKind},
    reload::{self, ModuleFile},
    sink::Sinks,
    source::{Reading, Start},
    telemetry::Metrics,
};
use tokio_util::sync::CancellationToken;

use super::{args::RunArgs, error::UserError, modules, progress, settings, signals, talk::Talk};
use crate::config::{self, Settings, Values};

pub(super) async fn run(args: RunArgs, settings: Settings, talk: &Talk) -> Result<(), UserError> {
    let shutdown = signals::shutdown_token();
    let limits = Limits::default();
    let share = settings::share(&settings)?;
    let options = control::Options {
        share,
        ..options(&args, &settings)
    };
    let values = &settings.values;
    // Everything that can be refused is, before anything is opened.
    options.reading.check(options.source)?;
    let uris = settings::parse_uris(&settings)?;
    let config_uri = settings::parse_config_uri(&settings)?;
    let cache_directory = args.settings.cache_directory();
    let specs = modules::load(&settings, cache_directory, &limits, options.workers)?;
    let specs = specs.into_iter().collect::<Result<_, _>>()?;
    let scope = Scope::new(values.watch.value.clone());
    let plan = control::prepare(
        specs,
        &Sinks::names(&options.sinks),
        &scope,
        options.source,
        options.ordering,
        values.ignore_pipeline.value,
    )
    .and_then(|plan| plan.with_direct_reads(&options.direct.namespaces))
    .map_err(|error| settings::refused_plan(&settings, error))?;

    let (handle, inbox) = Handle::new();
    let metrics = Metrics::new();
    // Bound before work starts.
    let admin = match values.admin.value {
        Some(address) => {
            let token = values.admin_token.value.as_ref();
            let options = admin::Options {
                address,
                token: token.map(|token| token.expose().to_owned()),
                module_bytes_max: limits.module_bytes,
            };
            let serving = admin::serve(
                &options,
                handle.clone(),
                metrics.clone(),
                CancellationToken::new(),
            );
            Some(serving.await?)
        }
        None => None,
    };
    let is_terminal = std::io::stderr().is_terminal() && !talk.quiet;
    let reads = {
        let handle = handle.clone();
        move || {
            let handle = handle.clone();
            async move { Some(handle.status().await.ok()?.direct_reads) }
        }
    };
    let progress = is_terminal.then(|| tokio::spawn(progress::show(reads)));
    let reloading = CancellationToken::new();
    let _reloading = reloading.clone().drop_guard();
    tokio::spawn(reload::run(
        reload_options(&settings, &plan, &limits),
        handle,
        signals::hangups(),
        reloading,
        reload::log,
    ));

    let connect = mongo::Options {
        connect_timeout: values.connect_timeout.value,
    };
    let deployments = tokio::select! {
        deployments = connect_all(&uris, config_uri.as_ref(), &connect) => deployments?,
        () = shutdown.cancelled() => return Ok(()),
    };
    let banner = is_terminal.then(|| banner(&deployments, &plan, &options));
    let granted = granted(&plan);
    let on_start = |start: &Start| {
        let position = start.position();
        match banner {
            Some(banner) => say_start(&banner, &format!("{position} ({})", values.since.value)),
            None => {
                granted
                    .iter()
                    .for_each(|(module, grants)| tracing::info!(module, grants, "granted"));
                tracing::info!(%position, source = options.source.as_str(), scope = %scope, "running");
            }
        }
    };
    let ended = control::run(
        deployments.clone(),
        plan,
        &options,
        &limits,
        inbox,
        &metrics,
        &shutdown,
        on_start,
    );
    // On the heap: it holds the opening of everything.
    let (summary, ended) = Box::pin(ended).await;
    if let Some(progress) = progress {
        // The run has ended, which ends it, too.
        let _ = progress.await;
    }
    if !talk.quiet {
        say(&summary.to_string());
    }
    deployments.shutdown().await;
    // Last: who asked for the end is still answered.
    if let Some(admin) = admin {
        admin.close().await;
    }
    Ok(ended?)
}

/// Looks for all deployments, side by side.
async fn connect_all(
    uris: &[ConnectionString],
    config_uri: Option<&ConnectionString>,
    options: &mongo::Options,
) -> Result<Deployments, UserError> {
    let servers = uris.iter().chain(config_uri);
    let servers = servers.map(|uri| Server::connect(uri, options));
    let mut servers = try_join_all(servers).await?.into_iter();
    let home = servers.next().expect("there is a connection string");
    Ok(match (config_uri, servers.next_back()) {
        (Some(uri), Some(config)) => Deployments::of_shards(home, config, uri, options).await?,
        (_, last) => Deployments::of(home, servers.chain(last).collect()).await?,
    })
}

/// The modules' files, as they were loaded.
fn reload_options(settings: &Settings, plan: &Plan, limits: &Limits) -> reload::Options {
    let loaded = settings.modules.iter().zip(&plan.modules);
    let files = loaded.map(|(module, spec)| ModuleFile {
        module: spec.module.name().to_owned(),
        path: module.path.value.clone(),
        digest: spec.module.digest().to_owned(),
    });
    reload::Options {
        files: files.collect(),
        watch: settings.values.reload.value,
        settle: reload::Options::SETTLE,
        retry: reload::Options::RETRY,
        bytes_max: limits.module_bytes,
    }
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
        reading: reading(values),
        ordering: values.ordering.value,
        // One order over all leaves work for one lane only.
        workers: match values.ordering.value {
            OrderingGuarantee::Oplog => 1,
            _ => values.workers.value,
        },
        grace_period: values.grace_period.value,
        queue_bytes: values.queue_bytes.value,
        window_ops: values.window_ops.value,
        save_every: values.save_every.value,
        standby: values.standby.value,
        lease: values.lease.value,
        probation: values.probation.value,
        checkpoint: match values.checkpoint.value.text.as_str() {
            "none" => None,
            text => Some(settings::store(text, checkpoint::COLLECTION)),
        },
        dead_letters: settings::store(&values.dead_letters.value.text, dead_letters::COLLECTION),
        save_failed: values.save_failed.value.clone(),
        share: None,
        direct: DirectReadOptions {
            namespaces: values.direct_read.value.clone(),
            split: values.direct_read_split.value,
            concurrency: values.direct_read_concurrency.value,
            bounded: values.direct_read_bounded.value,
            documents_per_second: values.direct_read_rate.value,
        },
        sinks: settings::sinks(settings, args.format),
        environment: config::environment,
    }
}

/// How the source is to read.
pub(super) fn reading(values: &Values) -> Reading {
    let comment = match values.comment.value.as_str() {
        "" => format!("oplet {}", values.name.value),
        comment => comment.to_owned(),
    };
    Reading {
        commands: values.commands.value,
        full_document: values.full_document.value,
        updates: values.updates.value,
        before: values.before.value,
        await_time: values.await_time.value,
        comment: Some(comment),
    }
}

/// Which modules may do more than every module may, and what.
fn granted(plan: &Plan) -> Vec<(String, String)> {
    let granted = plan.modules.iter().filter_map(|spec| {
        let module = &spec.module;
        Some((module.name().to_owned(), module.settings().grants()?))
    });
    granted.collect()
}

/// What runs, before it does: a line each for the program, the server, what is read, each module.
fn banner(deployments: &Deployments, plan: &Plan, options: &control::Options) -> Vec<String> {
    let source = match options.source {
        SourceKind::Oplog => "oplog",
        SourceKind::ChangeStream => "change stream",
    };
    let mut lines = vec![format!("oplet    {}", env!("CARGO_PKG_VERSION"))];
    lines.extend(deployments.read().iter().map(server_line));
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
    for read in &plan.reads {
        let modules: Vec<_> = read
            .modules
            .iter()
            .map(|module| plan.modules[*module].module.name())
            .collect();
        let then = match read.streams.is_empty() {
            true => "its changes are not watched",
            false => "then its changes",
        };
        lines.push(format!(
            "read     {} first, {then}, for {}",
            read.namespace,
            modules.join(", ")
        ));
    }
    for spec in &plan.modules {
        let limits = &spec.module.settings().limits;
        lines.push(format!(
            "module   {} {} ({} MiB memory, {} a call)",
            spec.module.name(),
            &spec.module.digest()[..12],
            limits.memory_bytes >> 20,
            humantime::format_duration(limits.call_time),
        ));
    }
    let granted = granted(plan).into_iter();
    lines.extend(granted.map(|(module, grants)| format!("granted  {module}: {grants}")));
    lines
}

fn server_line(deployment: &Deployment) -> String {
    let Deployment {
        cluster, server, ..
    } = deployment;
    let topology = match &server.topology {
        mongo::Topology::ReplicaSet(_) => format!("replica set {cluster}"),
        mongo::Topology::Sharded => "sharded cluster".into(),
    };
    let (hosts, version) = (&server.hosts, &server.version);
    format!("server   {hosts} (MongoDB {version}, {topology})")
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
