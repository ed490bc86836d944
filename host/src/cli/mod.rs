//! The command line: one verb a file. Standard output carries data only; talk goes to standard error.

mod args;
mod build;
mod check;
mod checkpoint;
mod command;
mod completions;
mod dead_letters;
mod deployment;
mod dev;
mod direct_read_args;
mod error;
mod examples;
mod inspect;
mod logging;
mod man;
mod modules;
mod new;
mod plan;
mod pretty;
mod profile;
mod progress;
mod project_args;
mod record;
mod recording;
mod remote;
mod remote_args;
mod replay;
mod run;
mod settings;
mod signals;
mod status;
mod swap;
mod table;
mod tail;
mod talk;

use std::{process::ExitCode, time::Duration};

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};

use command::{Cli, Command};
use error::UserError;
use remote::Verb;

/// Parses the command line, does what it says, and returns the exit code.
pub(crate) fn main() -> ExitCode {
    let (cli, matches) = match parse() {
        Ok(parsed) => parsed,
        Err(error) => {
            // The only failure is that nobody reads it.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    cli.talk.color.write_global();
    logging::init(&cli.talk, &cli.command);
    let done = match cli.command {
        Command::New(args) => new::new(&args, &cli.talk),
        Command::Build(args) => build::build(&args, &cli.talk),
        Command::Dev(args) => block_on(dev::dev(*args)),
        Command::Run(args) => {
            let loaded = settings::load(&args.settings, &matches);
            loaded
                .map_err(UserError::from)
                .and_then(|settings| block_on(run::run(*args, settings, &cli.talk)))
        }
        Command::Check(args) => check::check(&args, &matches, &cli.talk),
        Command::Tail(args) => block_on(tail::tail(*args, &cli.talk)),
        Command::Record(args) => block_on(record::record(*args, &cli.talk)),
        Command::Checkpoint(args) => block_on(checkpoint::checkpoint(*args, &cli.talk)),
        Command::DeadLetters(args) => block_on(dead_letters::dead_letters(*args, &cli.talk)),
        Command::Replay(args) => replay::replay(&args, &cli.talk),
        Command::Inspect(args) => inspect::inspect(&args),
        Command::Status(args) => block_on(remote::status(&args)),
        Command::Pause(args) => block_on(remote::command(&args, &Verb::Pause)),
        Command::Resume(args) => block_on(remote::command(&args, &Verb::Resume)),
        Command::Snapshot(args) => {
            let verb = Verb::Snapshot(args.namespace.to_string());
            block_on(remote::command(&args.remote, &verb))
        }
        Command::Seek(args) => block_on(remote::command(&args.remote, &Verb::Seek(args.since))),
        Command::Modules(args) => block_on(swap::modules(&args)),
        Command::Swap(args) => block_on(swap::swap(*args)),
        Command::Rollback(args) => block_on(swap::rollback(&args)),
        Command::Remove(args) => block_on(swap::remove(&args)),
        Command::Profile(args) => block_on(profile::profile(*args, &cli.talk)),
        Command::Drain(args) => block_on(remote::command(&args, &Verb::Drain)),
        Command::Completions(args) => completions::completions(&args),
        Command::Man(args) => man::man(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.print(),
    }
}

/// Also gives what the verb was matched with, which tells what was given from what stands by default.
fn parse() -> Result<(Cli, ArgMatches), clap::Error> {
    let mut command = Cli::command();
    let mut matches = command.try_get_matches_from_mut(std::env::args_os())?;
    let cli = Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
    let (_, verb) = matches
        .remove_subcommand()
        .expect("the parser asks for a verb");
    Ok((cli, verb))
}

/// How long output that is being written may take when all else is at its end: nobody may read it.
const LAST_WRITE_TIME_MAX: Duration = Duration::from_secs(1);

fn block_on(verb: impl Future<Output = Result<(), UserError>>) -> Result<(), UserError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| UserError::failed("cannot start the runtime").because(&error))?;
    let done = runtime.block_on(verb);
    runtime.shutdown_timeout(LAST_WRITE_TIME_MAX);
    done
}
