//! What can be written on the command line.

use std::{path::PathBuf, time::Duration};

use clap::{
    Args, Parser, Subcommand, ValueEnum, builder::PossibleValuesParser,
    builder::TypedValueParser as _,
};
use oplet::{
    control::OnError,
    flow::OrderingGuarantee,
    op::{Namespace, Since, SourceKind},
};

use super::{
    remote_args::{RemoteArgs, SeekArgs},
    values::{self, Setting, Uri},
};

/// Runs WebAssembly handlers on every change in MongoDB.
#[derive(Debug, Parser)]
#[command(
    name = "oplet",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 done; 1 failed; 2 usage or module refused; 3 position lost.\n\
        Start with: oplet tail mydb.mycollection"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) talk: Talk,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Tail MongoDB and run modules on every change
    #[command(after_help = RUN_EXAMPLES)]
    Run(Box<RunArgs>),
    /// Print changes as JSON lines; no module needed
    #[command(after_help = TAIL_EXAMPLES)]
    Tail(Box<TailArgs>),
    /// Show what a module exports and imports, and what would be refused
    Inspect(InspectArgs),
    /// Show how a run stands
    Status(Box<RemoteArgs>),
    /// Stop a run between two changes, until `resume`
    Pause(Box<RemoteArgs>),
    /// Let a run go on
    Resume(Box<RemoteArgs>),
    /// Let a run go on from another position
    Seek(Box<SeekArgs>),
    /// Let a run finish what it has read, save, and end
    Drain(Box<RemoteArgs>),
}

const RUN_EXAMPLES: &str = "Examples:
  oplet run welcome.wasm --watch users.users
      run one handler on one collection; what it emits is printed as JSON lines
  oplet run audit.wasm search.wasm --watch shop --since 90m
      two handlers on a whole database, beginning 90 minutes ago
  oplet run audit.wasm --source oplog --on-error retry
      read the oplog, which is several times faster than a change stream";

const TAIL_EXAMPLES: &str = "Examples:
  oplet tail                              every change of the deployment, from now on
  oplet tail shop.orders --format pretty  one collection, for people
  oplet tail shop --since oldest --exit-when-idle > changes.json
      all that the oplog still has of a database";

// Headings of the help texts. A flag names its own, since a heading that is set for those that follow
// also catches the flags behind a flattened group.
const SOURCE: &str = "Source";
const MODULES: &str = "Modules";
const WORK: &str = "Work";
const OUTPUT: &str = "Output";

/// `oplet run`
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// WebAssembly modules to run; each sees every change, through its own filter
    #[arg(required = true, value_name = "MODULE.wasm")]
    pub(crate) modules: Vec<PathBuf>,
    /// Watch `db.coll`, `db` or `db.*`, or `*` for the deployment; may be repeated
    #[arg(long, value_name = "NS", default_value = "*", value_parser = values::namespace,
        help_heading = SOURCE)]
    pub(crate) watch: Vec<Namespace>,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// Setting for the modules' configuration; VALUE is JSON, or else text; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = values::setting, help_heading = MODULES)]
    pub(crate) set: Vec<Setting>,
    /// Do not ask the modules for pipelines; they see every change through their filters
    #[arg(long, help_heading = MODULES)]
    pub(crate) ignore_pipeline: bool,
    /// Directory of compiled modules [default: `oplet/modules` in the user's cache directory]
    #[arg(long, value_name = "DIR", env = "OPLET_MODULE_CACHE", hide_env_values = true,
        help_heading = MODULES)]
    pub(crate) module_cache: Option<PathBuf>,
    /// Compile modules at each start
    #[arg(long, conflicts_with = "module_cache", help_heading = MODULES)]
    pub(crate) no_module_cache: bool,
    /// What is handled in the order in which it happened: the changes of each document, of each
    /// namespace, all of them, or any
    #[arg(long, value_name = "GUARANTEE", default_value = "document", value_parser = ordering(),
        help_heading = WORK)]
    pub(crate) ordering: OrderingGuarantee,
    /// Lanes that work side by side [default: cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256),
        help_heading = WORK)]
    pub(crate) workers: Option<u16>,
    /// What to do when a module fails on a change; `retry` tries up to 5 times, then stops
    #[arg(long, value_name = "POLICY", default_value = "stop", value_parser = on_error(),
        help_heading = WORK)]
    pub(crate) on_error: OnError,
    /// Where positions are kept; there is no store yet, so each start begins at --since
    #[arg(long, value_name = "STORE", default_value = "none", value_parser = ["none"],
        hide_possible_values = true, help_heading = WORK)]
    pub(crate) checkpoint: String,
    /// How long handlers may go on when the run is asked to stop
    #[arg(long, value_name = "SPAN", default_value = "10s", value_parser = values::span,
        help_heading = WORK)]
    pub(crate) grace_period: Duration,
    /// How emitted documents are printed: relaxed or canonical Extended JSON
    #[arg(long, value_name = "FORMAT", default_value = "json", help_heading = OUTPUT)]
    pub(crate) format: JsonFormat,
}

/// `oplet tail`
#[derive(Debug, Args)]
pub(crate) struct TailArgs {
    /// What to watch: `db.coll`, `db` or `db.*`, or `*` for the deployment
    #[arg(value_name = "NS", default_value = "*", value_parser = values::namespace)]
    pub(crate) watch: Vec<Namespace>,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// How changes are printed: relaxed or canonical Extended JSON, or short and coloured for people
    #[arg(long, value_name = "FORMAT", default_value = "json", help_heading = OUTPUT)]
    pub(crate) format: TailFormat,
}

/// `oplet inspect`
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// The module
    #[arg(value_name = "MODULE.wasm")]
    pub(crate) module: PathBuf,
    /// Print one JSON document instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

/// Where changes come from, and which of them.
#[derive(Debug, Args)]
#[command(next_help_heading = "Source")]
pub(crate) struct SourceArgs {
    /// Connection string of a replica set or a mongos
    #[arg(
        long,
        value_name = "URI",
        env = "OPLET_URI",
        hide_env_values = true,
        default_value = "mongodb://localhost:27017"
    )]
    pub(crate) uri: Uri,
    /// Which way to read changes; the oplog is several times faster, and runs no pipelines
    #[arg(long = "source", value_name = "SOURCE", env = "OPLET_SOURCE", hide_env_values = true,
        default_value = "change-stream", value_parser = source())]
    pub(crate) kind: SourceKind,
    /// Where to begin: `now`, `oldest`, `90m` ago, a time as `2026-01-02T10:00:00Z`, a cluster time as
    /// `1700000001:7`, `token:JSON`
    ///
    /// A cluster time, in seconds and increment, means the first change after it. `oldest` is the
    /// oldest entry that the oplog still has. `token` is a resume token of a change stream.
    #[arg(long, value_name = "POSITION", default_value = "now", value_parser = values::since)]
    pub(crate) since: Since,
    /// Stop behind this position, written as for --since
    #[arg(long, value_name = "POSITION", value_parser = values::until)]
    pub(crate) until: Option<Since>,
    /// Stop after this many changes
    #[arg(long, value_name = "N", value_parser = values::count)]
    pub(crate) max_ops: Option<u64>,
    /// Stop when everything that had happened at the start has been read
    #[arg(long)]
    pub(crate) exit_when_idle: bool,
    /// Give up when no server answers for this long [default: never]
    #[arg(long, value_name = "SPAN", value_parser = values::span)]
    pub(crate) connect_timeout: Option<Duration>,
    /// Read this collection as the oplog, with --source oplog
    #[arg(long, value_name = "DB.COLL", default_value = "local.oplog.rs", value_parser = values::oplog_namespace)]
    pub(crate) oplog_namespace: (String, String),
}

/// How much is said, on standard error.
#[derive(Debug, Args)]
#[command(next_help_heading = "Talk")]
pub(crate) struct Talk {
    /// Say more; twice, say everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    pub(crate) verbose: u8,
    /// Say errors only
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// When to colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Color,
    /// What to log, as in `oplet=debug,mongodb=warn`; wins over -v and -q
    #[arg(
        long,
        global = true,
        value_name = "FILTER",
        env = "OPLET_LOG",
        hide = true
    )]
    pub(crate) log: Option<String>,
}

/// When to colour.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

impl Color {
    /// Sets the choice for everything that writes to a terminal.
    pub(crate) fn write_global(self) {
        match self {
            Self::Auto => anstream::ColorChoice::Auto,
            Self::Always => anstream::ColorChoice::Always,
            Self::Never => anstream::ColorChoice::Never,
        }
        .write_global();
    }
}

/// How emitted documents are printed.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum JsonFormat {
    Json,
    Canonical,
}

/// How changes are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TailFormat {
    Json,
    Canonical,
    Pretty,
}

fn ordering() -> impl clap::builder::TypedValueParser<Value = OrderingGuarantee> {
    PossibleValuesParser::new(OrderingGuarantee::WORDS.map(|(word, _)| word))
        .map(|word| word.parse().expect("clap has checked the word"))
}

fn on_error() -> impl clap::builder::TypedValueParser<Value = OnError> {
    PossibleValuesParser::new(OnError::WORDS.map(|(word, _)| word))
        .map(|word| word.parse().expect("clap has checked the word"))
}

fn source() -> impl clap::builder::TypedValueParser<Value = SourceKind> {
    PossibleValuesParser::new(["change-stream", "oplog"]).map(|word| match word.as_str() {
        "oplog" => SourceKind::Oplog,
        _ => SourceKind::ChangeStream,
    })
}
