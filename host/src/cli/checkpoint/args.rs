//! What can be written behind `oplet checkpoint`.

use clap::{Args, Subcommand};
use oplet::op::{Since, SourceKind};

use crate::{
    cli::{args::source, deployment::DeploymentArgs, remote_args::RemoteFormat},
    config::{self, Secret},
};

const SHOW_EXAMPLES: &str = "Examples:
  oplet checkpoint show
      a line for each name: where it would go on, when that was saved, who is at work
  oplet checkpoint show orders
      all that is stored under a name, also what cannot be read
  oplet checkpoint show --format json | jq -r 'select(.holder == null) | .name'
      the names that nobody works under";

const SET_EXAMPLES: &str = "Examples:
  oplet checkpoint set orders --since 90m
      go on 90 minutes ago: what was handled since is handled again, with the same op ids
  oplet checkpoint set orders --since now
      pass over what is not handled yet
  oplet checkpoint set orders --since 1700000001:7 --checkpoint file:/var/lib/oplet/orders
      go on behind a cluster time, with a checkpoint that is kept in a file";

const CLEAR_EXAMPLES: &str = "Examples:
  oplet checkpoint clear orders
      the next run of that name begins at its --since, or else now";

// As with the other verbs, each flag names its heading itself.
const STORE: &str = "Store";

/// `oplet checkpoint`
#[derive(Debug, Args)]
pub(crate) struct CheckpointArgs {
    #[command(subcommand)]
    pub(crate) verb: Verb,
    // Read later: what the parser of flags refuses it shows, and a password may have found its way in.
    /// Where positions are kept: `mongodb:db.collection`, or `file:PATH`
    #[arg(long, global = true, value_name = "STORE", env = "OPLET_CHECKPOINT", hide_env_values = true,
        default_value = "mongodb:oplet.checkpoints", help_heading = STORE)]
    pub(crate) checkpoint: Secret,
    #[command(flatten)]
    pub(crate) deployment: DeploymentArgs,
}

/// What to do with checkpoints.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Show where runs would go on, and who is at work; with a name, all that is stored under it
    #[command(after_help = SHOW_EXAMPLES)]
    Show(ShowArgs),
    /// Set where the run of a name goes on
    ///
    /// The position has to be one that the oplog still has. While a process works under the name it is
    /// refused: `oplet seek` moves that.
    #[command(after_help = SET_EXAMPLES)]
    Set(SetArgs),
    /// Remove what is stored under a name, also what cannot be read
    ///
    /// While a process works under the name it is refused.
    #[command(after_help = CLEAR_EXAMPLES)]
    Clear(ClearArgs),
}

/// `oplet checkpoint show`
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Name of a run; without one, all names are listed
    #[arg(value_name = "NAME", value_parser = config::name)]
    pub(crate) name: Option<String>,
    /// Print text, or JSON, a line for each name [default: text on a terminal, else json]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<RemoteFormat>,
}

/// `oplet checkpoint set`
#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    /// Name of the run
    #[arg(value_name = "NAME", value_parser = config::name)]
    pub(crate) name: String,
    /// Where to go on: `now`, `oldest`, `90m` ago, a time as `2026-01-02T10:00:00Z`, a cluster time as
    /// `1700000001:7`, `token:JSON`
    #[arg(long, value_name = "POSITION", value_parser = config::since)]
    pub(crate) since: Since,
    /// Which way the run reads changes; a position that is a time is good for both
    #[arg(long, value_name = "SOURCE", env = "OPLET_SOURCE", hide_env_values = true,
        default_value = "change-stream", value_parser = source())]
    pub(crate) source: SourceKind,
}

/// `oplet checkpoint clear`
#[derive(Debug, Args)]
pub(crate) struct ClearArgs {
    /// Name of the run
    #[arg(value_name = "NAME", value_parser = config::name)]
    pub(crate) name: String,
}
