//! `oplet replay`

mod args;
mod expectation;
mod ops;
mod outcome;
mod play;

use std::{path::Path, sync::Arc};

use anstream::eprintln;
use oplet::{
    guest::{self, Engine, Limits, Module},
    op::{Format, Scope},
    replay::{self, Recording, Report, Setup},
    sink::Sinks,
};

pub(super) use args::EXAMPLES;
pub(crate) use args::ReplayArgs;
use expectation::Expectation;
use ops::Ops;
use play::{Output, Played};

use super::{args::JsonFormat, error::UserError, modules, settings, talk::Talk};
use crate::config::{self, CommandLine, Layer, Origin, Settings, Sourced};

/// What stands for standard input.
const STDIN: &str = "-";

pub(super) fn replay(args: &ReplayArgs, talk: &Talk) -> Result<(), UserError> {
    // Everything that can be refused is, before anything is replayed.
    let settings = load(args)?;
    let setup = setup(args, &settings)?;
    let mut expectation = match &args.expect {
        Some(path) if !args.bless => Some(Expectation::read(path)?),
        _ => None,
    };
    let recording = match args.ops.as_os_str() == STDIN {
        true => Recording::new("standard input", std::io::stdin()),
        false => Recording::open(&args.ops).map_err(|error| refused(error, &args.ops))?,
    };
    let ops = Ops::new(recording, Scope::new(settings.values.watch.value.clone()));
    let output = Output {
        format: match args.format {
            JsonFormat::Json => Format::Relaxed,
            JsonFormat::Canonical => Format::Canonical,
        },
        is_kept: args.expect.is_some(),
        flush_every: args.flush_every,
        tells_all: talk.verbose > 0,
        is_quiet: talk.quiet,
    };
    let Played {
        report,
        emitted,
        flush_failed,
        ended,
    } = play::play(ops, setup, output)?;
    if !talk.quiet {
        outcome::say_report(&report);
    }
    ended?;
    if let (Some(path), true) = (&args.expect, args.bless) {
        expectation::write(path, &emitted)?;
        if !talk.quiet {
            eprintln!("wrote {} to {}", lines(emitted.len()), path.display());
        }
    }
    if let Some(expectation) = &mut expectation {
        expectation.compare(&emitted)?;
        if !talk.quiet {
            eprintln!("as expected: {}", lines(emitted.len()));
        }
    }
    verdict(&report, flush_failed)
}

fn verdict(report: &Report, flush_failed: bool) -> Result<(), UserError> {
    let message = match (report.failed, flush_failed) {
        (0, false) => return Ok(()),
        (0, true) => "the module failed at a batch border".to_owned(),
        (1, _) => "the module failed on an op".to_owned(),
        (failed, _) => format!("the module failed on {failed} ops"),
    };
    Err(UserError::failed(message))
}

/// What holds, by flags and the run's configuration.
fn load(args: &ReplayArgs) -> Result<Settings, UserError> {
    let of_file = || config::module_name(&args.module);
    let name = args.name.clone().unwrap_or_else(of_file);
    let watch = match args.watch.is_empty() {
        true => None,
        false => Some(Sourced::new(args.watch.clone(), Origin::Flag)),
    };
    let command_line = CommandLine {
        file: args.config.clone(),
        layer: Layer {
            watch,
            ..Layer::default()
        },
        modules: vec![args.module.clone()],
        module: Some(name.clone()),
        set: args.set.clone(),
        ..CommandLine::default()
    };
    let settings = config::load(command_line, &config::environment)?;
    let is_of_file =
        |module: &config::ModuleSettings| matches!(module.name.origin, Origin::File { .. });
    match &args.config {
        Some(file) if !settings.modules.iter().any(is_of_file) => {
            let message = format!("{} has no module `{name}`", file.display());
            Err(UserError::refused(message).hint("`--name` says which of its modules this is"))
        }
        _ => Ok(settings),
    }
}

/// Loads the module, and starts it once: what it says to its configuration shows before the first op.
fn setup(args: &ReplayArgs, settings: &Settings) -> Result<Setup, UserError> {
    let module = settings.modules.first().expect("a module is given");
    let wasm = modules::read(&module.path.value)?;
    // The log of one who tries out a handler is not flooded by it: all is to be seen.
    let limits = Limits {
        log_lines_per_second: u32::MAX,
        ..Limits::default()
    };
    let engine = Engine::new(&guest::Options {
        cache_directory: modules::cache_directory(args.module_cache.clone()),
        limits: limits.clone(),
        instances_max: 2,
    })?;
    let mut guest_settings = module.guest.settings();
    guest_settings.limits.log_lines_per_second = u32::MAX;
    guest_settings.deterministic |= args.op_time;
    let name = &module.name.value;
    let loaded = Module::load(&engine, name, &wasm, guest_settings)?;
    let sinks: Arc<[String]> = match args.sink.is_empty() {
        true => Sinks::names(&settings::sinks(settings, args.format)),
        false => args.sink.clone().into(),
    };
    let setup = Setup {
        module: loaded,
        sinks,
        config: modules::config_of(module)?,
        attempts_max: args.attempts,
    };
    let started = setup
        .module
        .instantiate(&setup.sinks, setup.config.as_deref());
    match started {
        Ok(_) => Ok(setup),
        Err(error) => Err(
            UserError::refused(format!("the module `{name}` cannot be started")).because(&error),
        ),
    }
}

fn lines(count: usize) -> String {
    match count {
        1 => "1 document".to_owned(),
        count => format!("{count} documents"),
    }
}

/// A recording that is not even opened is usage.
fn refused(error: replay::Error, path: &Path) -> UserError {
    let message = format!("cannot read the recording {}", path.display());
    let refused = UserError::refused(message);
    match std::error::Error::source(&error) {
        Some(cause) => refused.because(cause),
        None => refused.because(&error),
    }
}

impl From<replay::Error> for UserError {
    fn from(error: replay::Error) -> Self {
        let user_error = Self::of(&error);
        match &error {
            replay::Error::Compressed { name } => user_error.hint(format!(
                "decompress it on the way: `gunzip -c {name} | oplet replay MODULE.wasm -`"
            )),
            replay::Error::Cut { .. } => user_error
                .hint("all that was whole before it was replayed; the rest is missing in the file"),
            replay::Error::NotAnOp { .. } => user_error.hint(
                "an op is written as `oplet tail` prints it; `operation` and `namespace` are the least, as in \
                 {\"operation\": \"i\", \"namespace\": \"db.coll\", \"data\": {...}}",
            ),
            _ => user_error,
        }
    }
}
