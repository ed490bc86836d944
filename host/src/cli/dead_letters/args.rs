//! What can be written behind `oplet dead-letters`.

use std::path::PathBuf;

use bson::DateTime;
use clap::{Args, Subcommand, ValueEnum};
use oplet::{dead_letters::Filter, op::Since};

use super::export::ExportArgs;
use crate::{
    cli::{args::JsonFormat, deployment::DeploymentArgs},
    config::{self, Secret, Setting},
};

// As with the other verbs, each flag names its heading itself.
const STORE: &str = "Store";
const FILTER: &str = "Which letters";
const MODULE: &str = "Module";

const LIST_EXAMPLES: &str = "Examples:
  oplet dead-letters list --module audit --since 1h
  oplet dead-letters list --format json | jq -r .message | sort | uniq -c";

const SHOW_EXAMPLES: &str = "Examples:
  oplet dead-letters show audit/audit/1700000001:7:0";

const EXPORT_EXAMPLES: &str = "Examples:
  oplet dead-letters export audit/audit/1700000001:7:0 --out failed.bson
  oplet dead-letters export --module audit --kind trap --out traps.bson
  oplet replay audit.wasm traps.bson";

const REDRIVE_EXAMPLES: &str = "Examples:
  oplet dead-letters redrive audit.wasm
      all letters of the module `audit`
  oplet dead-letters redrive audit.wasm --kind reject --limit 1
      one of them, to see whether the module is mended
  oplet dead-letters redrive --config oplet.toml --module audit
      with the sinks and all else that the run has";

const DROP_EXAMPLES: &str = "Examples:
  oplet dead-letters drop audit/audit/1700000001:7:0
  oplet dead-letters drop --kind reject --until 30d --yes";

/// `oplet dead-letters`
#[derive(Debug, Args)]
pub(crate) struct DeadLettersArgs {
    #[command(subcommand)]
    pub(crate) verb: Verb,
    /// Where dead letters are kept: `mongodb:db.collection`, or `file:PATH`
    /// [default: `mongodb:oplet.dead_letters`]
    #[arg(long, global = true, value_name = "STORE", env = "OPLET_DEAD_LETTERS", hide_env_values = true,
        help_heading = STORE)]
    pub(crate) dead_letters: Option<Secret>,
    #[command(flatten)]
    pub(crate) deployment: DeploymentArgs,
}

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// List dead letters, in the order of their ops
    #[command(after_help = LIST_EXAMPLES)]
    List(ListArgs),
    /// Print all that is known of one letter, its op and traces among it
    #[command(after_help = SHOW_EXAMPLES)]
    Show(ShowArgs),
    /// Write the ops of dead letters to a file, for `oplet replay`
    #[command(after_help = EXPORT_EXAMPLES)]
    Export(Box<ExportArgs>),
    /// Run dead letters through a module again, and remove those that succeed
    ///
    /// They run in the order of their ops. One that fails, or whose output a sink refuses, stays, and
    /// holds back the later ones of its document. A letter that the module's filter does not want any
    /// more counts as done.
    #[command(after_help = REDRIVE_EXAMPLES)]
    Redrive(Box<RedriveArgs>),
    /// Remove dead letters for good
    #[command(after_help = DROP_EXAMPLES)]
    Drop(DropArgs),
}

/// Which letters are meant.
#[derive(Debug, Args)]
pub(crate) struct FilterArgs {
    /// Of the run of this name
    #[arg(long, value_name = "NAME", help_heading = FILTER)]
    pub(crate) name: Option<String>,
    /// Of the module of this name
    #[arg(long, value_name = "NAME", help_heading = FILTER)]
    pub(crate) module: Option<String>,
    /// Of ops in this namespace: `db.coll`, or `db`
    #[arg(long, value_name = "NS", help_heading = FILTER)]
    pub(crate) namespace: Option<String>,
    /// Of this class of failure: `trap`, `deadline`, `reject`, `retry`, `output`, `sink`, ...
    #[arg(long, value_name = "KIND", help_heading = FILTER)]
    pub(crate) kind: Option<String>,
    /// That failed last at this time or later: `2026-01-02T10:00:00Z`, or `90m` ago
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = FILTER)]
    pub(crate) since: Option<i64>,
    /// That failed last before this time
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = FILTER)]
    pub(crate) until: Option<i64>,
    /// The first so many, in the order of their ops
    #[arg(long, value_name = "N", value_parser = config::count, help_heading = FILTER)]
    pub(crate) limit: Option<u64>,
}

impl FilterArgs {
    pub(super) fn filter(&self) -> Filter {
        Filter {
            name: self.name.clone(),
            module: self.module.clone(),
            namespace: self.namespace.clone(),
            kind: self.kind.clone(),
            since_ms: self.since,
            until_ms: self.until,
            id_prefix: None,
            limit: self.limit,
        }
    }
}

/// `oplet dead-letters list`
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// How letters are printed: as a table, or as JSON lines without ops and traces [default: a table
    /// on a terminal, else JSON]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<ListFormat>,
}

/// How a list is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    Table,
    Json,
    Canonical,
}

/// `oplet dead-letters show`
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The letter's id, or the beginning of it
    #[arg(value_name = "ID")]
    pub(crate) id: String,
}

/// `oplet dead-letters drop`
#[derive(Debug, Args)]
pub(crate) struct DropArgs {
    /// Ids of letters; without any, the flags say which
    #[arg(value_name = "ID", conflicts_with_all = ["name", "module", "namespace", "kind", "since", "until", "limit"])]
    pub(crate) ids: Vec<String>,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// Drop all letters that the flags say
    #[arg(long)]
    pub(crate) yes: bool,
}

/// `oplet dead-letters redrive`
#[derive(Debug, Args)]
pub(crate) struct RedriveArgs {
    /// The module as it is now; it takes the letters of its name, or of --module [default: the
    /// module of --config]
    #[arg(value_name = "MODULE.wasm", required_unless_present = "config")]
    pub(crate) wasm: Option<PathBuf>,
    /// Configuration file of the run: sinks, store, deployment, name, and what the module is
    /// configured with are taken from it, where no flag says otherwise
    #[arg(
        long,
        value_name = "FILE",
        env = "OPLET_CONFIG",
        hide_env_values = true
    )]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// Where emitted documents go, written as for `run`, under the names that they had there; may be
    /// repeated [default: stdout]
    ///
    /// A transactional sink is written to like any other: there is no checkpoint to go with.
    #[arg(long, value_name = "SINK", help_heading = MODULE)]
    pub(crate) sink: Vec<Secret>,
    /// Setting for the module's configuration; VALUE is JSON, or else text; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = config::setting, help_heading = MODULE)]
    pub(crate) set: Vec<Setting>,
    /// Directory of compiled modules [default: `oplet/modules` in the user's cache directory]
    #[arg(long, value_name = "DIR", env = "OPLET_MODULE_CACHE", hide_env_values = true,
        help_heading = MODULE)]
    pub(crate) module_cache: Option<PathBuf>,
    /// How emitted documents are printed: relaxed or canonical Extended JSON
    #[arg(long, value_name = "FORMAT", default_value = "json", help_heading = MODULE)]
    pub(crate) format: JsonFormat,
}

/// A point in time, in milliseconds since 1970.
fn time(text: &str) -> Result<i64, String> {
    match config::since(text)? {
        Since::Now => Ok(DateTime::now().timestamp_millis()),
        Since::After(timestamp) => Ok(i64::from(timestamp.seconds) * 1_000),
        Since::Ago(span) => {
            let span = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
            Ok(DateTime::now().timestamp_millis().saturating_sub(span))
        }
        Since::Oldest | Since::Token(_) => {
            Err("a time is written `2026-01-02T10:00:00Z`, or `90m` ago".into())
        }
    }
}
