//! The command line: one verb a file. Standard output carries data only; talk goes to standard error.

mod args;
mod error;
mod inspect;
mod logging;
mod modules;
mod pretty;
mod remote;
mod remote_args;
mod run;
mod signals;
mod status;
mod tail;
mod values;

use std::{process::ExitCode, time::Duration};

use clap::Parser as _;

use args::{Cli, Command};
use error::UserError;
use remote::Verb;

/// Parses the command line, does what it says, and returns the exit code.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // The only failure is that nobody reads it.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    cli.talk.color.write_global();
    logging::init(&cli.talk, &cli.command);
    let done = match cli.command {
        Command::Run(args) => block_on(run::run(*args, &cli.talk)),
        Command::Tail(args) => block_on(tail::tail(*args)),
        Command::Inspect(args) => inspect::inspect(&args),
        Command::Status(args) => block_on(remote::status(&args)),
        Command::Pause(args) => block_on(remote::command(&args, &Verb::Pause)),
        Command::Resume(args) => block_on(remote::command(&args, &Verb::Resume)),
        Command::Seek(args) => block_on(remote::command(&args.remote, &Verb::Seek(args.since))),
        Command::Drain(args) => block_on(remote::command(&args, &Verb::Drain)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.print(),
    }
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
