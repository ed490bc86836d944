//! The log, on standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use super::{
    command::Command,
    talk::{Color, Talk},
};

/// Starts logging. One-shot verbs are quieter than a run.
pub(super) fn init(talk: &Talk, command: &Command) {
    let default = match (talk.quiet, talk.verbose, command) {
        (true, ..) => "error",
        (_, 0, Command::Run(_)) => "warn,oplet=info",
        (_, 0, Command::Replay(_)) => "warn,oplet::module=info",
        (_, 0, Command::Tail(args)) if !args.direct.direct_read.is_empty() => {
            "warn,oplet::control::direct=info"
        }
        // Where an op is that a module failed on, for `replay`.
        (_, 0, Command::Dev(_)) => "warn,oplet::module=info,oplet::control::saved_ops=info",
        (_, 0, _) => "warn",
        (_, 1, _) => "info,oplet=debug",
        (_, _, _) => "debug,oplet=trace",
    };
    let filter = match &talk.log {
        Some(filter) => EnvFilter::builder().parse_lossy(filter),
        None => EnvFilter::new(default),
    };
    let colored = match talk.color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => {
            anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never
                && std::io::stderr().is_terminal()
        }
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colored)
        .with_target(false)
        .init();
}
