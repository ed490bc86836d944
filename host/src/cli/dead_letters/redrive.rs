//! `oplet dead-letters redrive`

use std::sync::Arc;

use anstream::eprintln;
use indicatif::{ProgressBar, ProgressStyle};
use mongodb::Client;
use oplet::{
    control::{ModuleSpec, PlanError, Redrive, RedriveError, RedriveSinks, RedriveSummary},
    dead_letters::{self, Filter, Store},
    guest::Limits,
    op::StoreSpec,
    sink::{Context, Kind, Sinks, Spec, mongodb::Deployment},
};
use tokio_util::sync::CancellationToken;

use super::{
    args::{DeadLettersArgs, RedriveArgs},
    letters, shows_progress,
};
use crate::{
    cli::{deployment::LOCAL, error::UserError, modules, settings, talk::Talk},
    config::{self, CommandLine, Layer, Origin, Settings, Sourced, Uri},
};

/// All that is known before anything is opened.
pub(super) struct Job {
    pub(super) store: StoreSpec,
    /// The deployment, where one is named.
    pub(super) uri: Option<Uri>,
    filter: Filter,
    module: ModuleSpec,
    sinks: Vec<Spec>,
}

impl Job {
    /// Reads settings, and loads and starts the module under the name that the letters have.
    pub(super) fn prepare(
        args: &DeadLettersArgs,
        redrive: &RedriveArgs,
    ) -> Result<Self, UserError> {
        let settings = load(args, redrive)?;
        let values = &settings.values;
        let sinks = settings::sinks(&settings, redrive.format);
        let cache_directory = modules::cache_directory(redrive.module_cache.clone());
        if settings.modules.len() > 1 {
            let names = settings.modules.iter();
            let names: Vec<_> = names.map(|m| format!("`{}`", m.name.value)).collect();
            let message = format!("the run has several modules: {}", names.join(", "));
            return Err(UserError::refused(message).hint("name one of them, by --module"));
        }
        let mut loaded = modules::load(&settings, cache_directory, &Limits::default(), 1)?;
        let module = loaded.pop().expect("settings have a module")?;
        // Whether it finds its sinks shows before anything is opened, as with a run.
        let started = module
            .module
            .instantiate(&Sinks::names(&sinks), module.config.as_deref());
        started.map_err(|source| PlanError::Guest {
            module: module.module.name().to_owned(),
            source,
        })?;
        let mut filter = redrive.filter.filter();
        filter.module = Some(module.module.name().to_owned());
        // Letters of other runs are for other sinks.
        if values.name.origin != Origin::Default {
            filter.name.get_or_insert_with(|| values.name.value.clone());
        }
        let Sourced { value: uri, origin } = &values.uri;
        Ok(Self {
            store: settings::store(&values.dead_letters.value.text, dead_letters::COLLECTION),
            uri: (*origin != Origin::Default).then(|| uri.first().clone()),
            filter,
            module,
            sinks,
        })
    }

    /// Whether there has to be a server, wherever the letters are.
    pub(super) fn needs_server(&self) -> bool {
        let is_own = |spec: &Spec| matches!(&spec.kind, Kind::Mongodb(options) if options.deployment == Deployment::Own);
        self.uri.is_some() || self.sinks.iter().any(is_own)
    }

    /// Runs the letters through the module. `client` is there where a server is needed, or was named.
    pub(super) async fn run(
        self,
        store: &Store,
        client: Option<&Client>,
        shutdown: &CancellationToken,
        talk: &Talk,
    ) -> Result<(), UserError> {
        let context = Context {
            client: match client {
                Some(client) => client.clone(),
                // No sink will ask it.
                None => oplet::mongo::connect_client(LOCAL, None).await?,
            },
            environment: Arc::new(config::environment),
            writer: None,
        };
        let mut sinks = tokio::select! {
            sinks = RedriveSinks::open(&self.sinks, &context) => {
                sinks.map_err(|error| UserError::of(&error))?
            }
            () = shutdown.cancelled() => return Ok(()),
        };
        let bar = match shows_progress(talk) {
            true => progress(store.count(&self.filter).await?),
            false => ProgressBar::hidden(),
        };
        let redrive = Redrive {
            store,
            filter: self.filter,
            module: self.module,
            client,
            shutdown,
        };
        let on_step = |summary: &RedriveSummary| {
            bar.set_position(summary.seen());
            if summary.failed > 0 {
                bar.set_message(format!("{} failed", summary.failed));
            }
        };
        let (summary, ended) = redrive.run(&mut sinks, on_step).await;
        bar.finish_and_clear();
        if !talk.quiet {
            eprintln!("{}", describe(&summary));
        }
        ended?;
        match summary.failed + summary.held_back {
            0 => Ok(()),
            left => Err(UserError::failed(format!("{} stay", letters(left)))
                .hint("`oplet dead-letters show ID` prints how one failed, and its traces")),
        }
    }
}

/// What holds, by flags and the run's configuration.
fn load(args: &DeadLettersArgs, redrive: &RedriveArgs) -> Result<Settings, UserError> {
    fn flag<T>(value: T) -> Sourced<T> {
        Sourced::new(value, Origin::Flag)
    }
    let name = redrive.filter.module.clone();
    let of_file = || redrive.wasm.as_deref().map(config::module_name);
    let command_line = CommandLine {
        file: redrive.config.clone(),
        layer: Layer {
            uri: args.deployment.uri.clone().map(|uri| flag(uri.into())),
            ..Layer::default()
        },
        dead_letters: args.dead_letters.clone().map(flag),
        modules: redrive.wasm.iter().cloned().collect(),
        module: name.or_else(of_file),
        sinks: redrive.sink.clone(),
        set: redrive.set.clone(),
        ..CommandLine::default()
    };
    Ok(config::load(command_line, &config::environment)?)
}

fn progress(count: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} letters, {eta} left {msg}");
    let bar = ProgressBar::new(count);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn describe(summary: &RedriveSummary) -> String {
    let RedriveSummary {
        succeeded,
        unwanted,
        failed,
        held_back,
        delivered,
    } = summary;
    format!(
        "letters: {succeeded} succeeded ({unwanted} of them not wanted any more), {failed} failed, \
         {held_back} held back behind a failed one; {delivered} documents delivered"
    )
}

impl From<RedriveError> for UserError {
    fn from(error: RedriveError) -> Self {
        match error {
            RedriveError::Store(error) => error.into(),
            RedriveError::SinkEnded {
                is_closed: true, ..
            } => Self::quiet(),
            error => Self::of(&error),
        }
    }
}
