//! `oplet dead-letters redrive`

use anstream::eprintln;
use indicatif::{ProgressBar, ProgressStyle};
use mongodb::Client;
use oplet::{
    control::{FailurePolicy, ModuleSpec, Redrive, RedriveError, RedriveSummary, StdoutDelivery},
    dead_letters::{Filter, Store},
    guest::{self, Engine, Limits, Module},
    op::Format,
};
use tokio_util::sync::CancellationToken;

use super::{args::RedriveArgs, letters, shows_progress};
use crate::{
    cli::{
        args::{JsonFormat, Talk},
        error::UserError,
        modules,
    },
    config,
};

/// Reads, checks and compiles the module, under the name that the letters have.
pub(super) fn load(args: &RedriveArgs) -> Result<ModuleSpec, UserError> {
    let engine = Engine::new(&guest::Options {
        cache_directory: modules::cache_directory(args.module_cache.clone()),
        limits: Limits::default(),
        // The one that a failure ends is dropped only when the next one is there.
        instances_max: 2,
    })?;
    let config = config::configuration(&args.set).map_err(UserError::refused)?;
    let name = args.filter.module.clone();
    let name = name.unwrap_or_else(|| config::module_name(&args.wasm));
    let module = Module::load(&engine, &name, &modules::read(&args.wasm)?)?;
    Ok(ModuleSpec {
        module,
        config,
        policy: FailurePolicy::default(),
    })
}

pub(super) async fn redrive(
    args: &RedriveArgs,
    module: ModuleSpec,
    store: &Store,
    client: Option<&Client>,
    shutdown: &CancellationToken,
    talk: &Talk,
) -> Result<(), UserError> {
    let filter = Filter {
        module: Some(module.module.name().to_owned()),
        ..args.filter.filter()
    };
    let bar = match shows_progress(talk) {
        true => progress(store.count(&filter).await?),
        false => ProgressBar::hidden(),
    };
    let mut deliver = StdoutDelivery {
        format: match args.format {
            JsonFormat::Json => Format::Relaxed,
            JsonFormat::Canonical => Format::Canonical,
        },
    };
    let redrive = Redrive {
        store,
        filter,
        module,
        client,
        shutdown,
    };
    let on_step = |summary: &RedriveSummary| {
        bar.set_position(summary.seen());
        if summary.failed > 0 {
            bar.set_message(format!("{} failed", summary.failed));
        }
    };
    let (summary, ended) = redrive.run(&mut deliver, on_step).await;
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
            RedriveError::Output(broken) => broken.into(),
            error => Self::of(&error),
        }
    }
}
