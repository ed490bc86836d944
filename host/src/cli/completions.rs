//! `oplet completions`

use clap::CommandFactory as _;
use oplet::sink::Stdout;

use super::{command::Cli, error::UserError, project_args::CompletionsArgs};

pub(super) fn completions(args: &CompletionsArgs) -> Result<(), UserError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "oplet", &mut script);
    Ok(Stdout.write_bytes(&script)?)
}
