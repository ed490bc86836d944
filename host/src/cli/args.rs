//! What can be written behind the verbs that read changes.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum, builder::PossibleValuesParser, builder::TypedValueParser as _};
use oplet::{
    control::{ListDocument, OnError, OnPositionLost, WhenOpen},
    flow::{OrderingGuarantee, workers::RingKind},
    op::{Namespace, Since, SourceKind},
    source::{Before, Commands, FullDocument, Updates},
};

use super::direct_read_args::DirectReadArgs;
use crate::config::{self, Begin, Secret, Setting, Uri};

// Headings of the help texts. A flag names its own, since a heading that is set for those that follow
// also catches the flags behind a flattened group.
const SOURCE: &str = "Source";
const MODULES: &str = "Modules";
const WORK: &str = "Work";
const CHECKPOINT: &str = "Checkpoint";
const FAILURES: &str = "Failures of modules";
const OUTPUT: &str = "Output";
const ADMIN: &str = "Admin API";

/// What a run is, apart from how it prints; `check` looks at the same.
#[derive(Debug, Args)]
pub(crate) struct SettingsArgs {
    /// WebAssembly modules to run; each sees every change, through its own filter
    #[arg(required_unless_present = "config", value_name = "MODULE.wasm")]
    pub(crate) modules: Vec<PathBuf>,
    /// Configuration file in TOML; flags and the environment win over it
    #[arg(
        long,
        value_name = "FILE",
        env = "OPLET_CONFIG",
        hide_env_values = true
    )]
    pub(crate) config: Option<PathBuf>,
    /// Identity of the checkpoint [default: the modules' names, joined by `+`]
    #[arg(long, value_name = "NAME", env = "OPLET_NAME", hide_env_values = true,
        value_parser = config::name)]
    pub(crate) name: Option<String>,
    /// Watch `db.coll`, `db` or `db.*`, or `*` for the deployment; may be repeated
    #[arg(long, value_name = "NS", default_value = "*", value_parser = config::namespace,
        help_heading = SOURCE)]
    pub(crate) watch: Vec<Namespace>,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    #[command(flatten)]
    pub(crate) direct: DirectReadArgs,
    /// Read the oplogs of the shards that the config servers at this connection string list; `--uri` is a
    /// mongos of that cluster, where documents are looked up, and is not read itself
    #[arg(long, value_name = "URI", env = "OPLET_CONFIG_URI", hide_env_values = true,
        help_heading = SOURCE)]
    pub(crate) config_uri: Option<Uri>,
    /// Where to begin: `checkpoint`, `now`, `oldest`, `90m` ago, a time as `2026-01-02T10:00:00Z`, a
    /// cluster time as `1700000001:7`, `token:JSON` [default: checkpoint, else now]
    ///
    /// A cluster time, in seconds and increment, means the first change after it. `oldest` is the
    /// oldest entry that the oplog still has. `token` is a resume token of a change stream.
    #[arg(long, value_name = "POSITION", value_parser = config::begin, help_heading = SOURCE)]
    pub(crate) since: Option<Begin>,
    /// What to do when the oplog no longer reaches back to the position: end with exit code 3, go on
    /// with the oldest change that is left (`skip`), or read the collections again and go on with what
    /// happens from now on (`resnapshot`)
    #[arg(long, value_name = "CHOICE", default_value = "fail",
        value_parser = config::on_position_lost, help_heading = SOURCE)]
    pub(crate) on_position_lost: OnPositionLost,
    /// Setting for the modules' configuration; VALUE is JSON, or else text; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = config::setting, help_heading = MODULES)]
    pub(crate) set: Vec<Setting>,
    /// Do not ask the modules for pipelines; they see every change through their filters
    #[arg(long, help_heading = MODULES)]
    pub(crate) ignore_pipeline: bool,
    /// Swap in modules whose files change; SIGHUP has them looked at once
    #[arg(long, help_heading = MODULES)]
    pub(crate) reload: bool,
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
    /// Be one of several processes that share the work: the one of this name in the list of workers
    #[arg(long, value_name = "NAME", env = "OPLET_WORKER", hide_env_values = true,
        value_parser = config::worker, help_heading = WORK)]
    pub(crate) worker: Option<String>,
    /// The file with the names of all workers, as `workers = ["a", "b"]` in TOML, or the same in JSON
    #[arg(long, value_name = "FILE", help_heading = WORK)]
    pub(crate) workers_file: Option<PathBuf>,
    /// The document with the names of all workers, as `{_id: ID, workers: ["a", "b"]}`; it may change
    #[arg(long, value_name = "DB.COLL:ID", value_parser = config::list_document,
        conflicts_with = "workers_file", help_heading = WORK)]
    pub(crate) workers_from: Option<ListDocument>,
    /// Which way documents are given to workers: evenly, or as gtm does
    #[arg(long, value_name = "RING", default_value = "oplet", value_parser = ring(),
        help_heading = WORK)]
    pub(crate) ring: RingKind,
    /// How long handlers may go on when the run is asked to stop
    #[arg(long, value_name = "SPAN", default_value = "10s", value_parser = config::span,
        help_heading = WORK)]
    pub(crate) grace_period: Duration,
    // Stores and sinks are read later: what the parser of flags refuses it shows, and a password may
    // have found its way in.
    /// Where positions are kept: `mongodb:db.collection`, `file:PATH`, or `none`
    #[arg(long, value_name = "STORE", env = "OPLET_CHECKPOINT",
        hide_env_values = true, default_value = "mongodb:oplet.checkpoints", help_heading = CHECKPOINT)]
    pub(crate) checkpoint: Secret,
    /// Wait while another process works under the same name, and take over when it ends
    #[arg(long, help_heading = CHECKPOINT)]
    pub(crate) standby: bool,
    /// What to do when a module fails on a change; `retry` ends in the dead letters
    #[arg(long, value_name = "POLICY", default_value = "retry", value_parser = on_error(),
        help_heading = FAILURES)]
    pub(crate) on_error: OnError,
    /// How often a change is tried, with `--on-error retry`
    #[arg(long, value_name = "N", default_value = "5",
        value_parser = clap::value_parser!(u32).range(1..=1_000), help_heading = FAILURES)]
    pub(crate) attempts: u32,
    /// Open a module's breaker after so many failed changes in a row; 0 for never
    #[arg(long, value_name = "N", default_value = "20",
        value_parser = clap::value_parser!(u32).range(..=1_000_000), help_heading = FAILURES)]
    pub(crate) breaker_failures: u32,
    /// What an open breaker does: pause the run, or send the module's changes to the dead letters
    #[arg(long, value_name = "CHOICE", default_value = "pause", value_parser = breaker(),
        help_heading = FAILURES)]
    pub(crate) breaker: WhenOpen,
    /// Where changes go that a module cannot handle: `mongodb:db.collection` or `file:PATH`
    #[arg(long, value_name = "STORE", env = "OPLET_DEAD_LETTERS",
        hide_env_values = true, default_value = "mongodb:oplet.dead_letters", help_heading = FAILURES)]
    pub(crate) dead_letters: Secret,
    /// Save changes that a module fails on to this folder, each as a file for `oplet replay`, up to a
    /// hundred
    #[arg(long, value_name = "DIR", help_heading = FAILURES)]
    pub(crate) save_failed: Option<PathBuf>,
    /// Where emitted documents go: `stdout`, `null`, `file:PATH`, `mongodb:db.collection`,
    /// `https://HOST/PATH`, with a name and settings as in `copies=mongodb:db.coll#mode=insert`; may be
    /// repeated [default: stdout]
    #[arg(long, value_name = "SINK", help_heading = OUTPUT)]
    pub(crate) sink: Vec<Secret>,
    /// Serve the admin API on this address, as in `127.0.0.1:9090` [default: off]
    #[arg(long, value_name = "ADDRESS", env = "OPLET_ADMIN", hide_env_values = true,
        value_parser = config::address, help_heading = ADMIN)]
    pub(crate) admin: Option<SocketAddr>,
    /// Ask callers of the admin API for the token in this file; needed on other addresses than this
    /// machine's own
    #[arg(long, value_name = "FILE", help_heading = ADMIN)]
    pub(crate) admin_token_file: Option<PathBuf>,
}

impl SettingsArgs {
    /// Where compiled modules are kept, if they are.
    pub(crate) fn cache_directory(&self) -> Option<PathBuf> {
        match self.no_module_cache {
            true => None,
            false => super::modules::cache_directory(self.module_cache.clone()),
        }
    }
}

/// `oplet run`
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
    /// How emitted documents are printed: relaxed or canonical Extended JSON
    #[arg(long, value_name = "FORMAT", default_value = "json", help_heading = OUTPUT)]
    pub(crate) format: JsonFormat,
}

/// `oplet check`
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
    /// How the plan is printed
    #[arg(long, value_name = "FORMAT", default_value = "text", help_heading = OUTPUT)]
    pub(crate) format: CheckFormat,
}

/// `oplet tail`
#[derive(Debug, Args)]
pub(crate) struct TailArgs {
    /// What to watch: `db.coll`, `db` or `db.*`, or `*` for the deployment
    #[arg(value_name = "NS", default_value = "*", value_parser = config::namespace)]
    pub(crate) watch: Vec<Namespace>,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    #[command(flatten)]
    pub(crate) direct: DirectReadArgs,
    /// Where to begin: `now`, `oldest`, `90m` ago, a time as `2026-01-02T10:00:00Z`, a cluster time as
    /// `1700000001:7`, `token:JSON`
    ///
    /// A cluster time, in seconds and increment, means the first change after it. `oldest` is the
    /// oldest entry that the oplog still has. `token` is a resume token of a change stream.
    #[arg(long, value_name = "POSITION", default_value = "now", value_parser = config::since,
        help_heading = SOURCE)]
    pub(crate) since: Since,
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
    /// Connection string of a replica set or a mongos; may be repeated, to read several deployments
    #[arg(
        long,
        value_name = "URI",
        env = "OPLET_URI",
        hide_env_values = true,
        default_value = "mongodb://localhost:27017"
    )]
    pub(crate) uri: Vec<Uri>,
    /// Which way to read changes; the oplog is several times faster, and runs no pipelines
    #[arg(long = "source", value_name = "SOURCE", env = "OPLET_SOURCE", hide_env_values = true,
        default_value = "change-stream", value_parser = source())]
    pub(crate) kind: SourceKind,
    /// Which commands are delivered: those after which documents are gone or elsewhere (`drop`,
    /// `dropDatabase`, `renameCollection`), or all
    #[arg(long, value_name = "CHOICE", default_value = "data", value_parser = commands())]
    pub(crate) commands: Commands,
    /// Which document an update comes with, from a change stream: looked up, as the change left it, or
    /// none
    ///
    /// `when-available` and `required` need collections that record it, from MongoDB 6.0 on:
    /// `collMod` with `changeStreamPreAndPostImages: {enabled: true}`.
    #[arg(long, value_name = "CHOICE", default_value = "lookup", value_parser = full_document())]
    pub(crate) full_document: FullDocument,
    /// Which document an update comes with, from the oplog: looked up, none (`delta`), or the one
    /// before it with the update applied, where the server keeps that
    #[arg(long, value_name = "CHOICE", default_value = "lookup", value_parser = one_of(&Updates::WORDS))]
    pub(crate) updates: Updates,
    /// Give the document as it was before the change, of collections that record that, as for
    /// --full-document
    #[arg(long, value_name = "CHOICE", default_value = "off", value_parser = before())]
    pub(crate) before: Before,
    /// Stop behind this position, written as for --since
    #[arg(long, value_name = "POSITION", value_parser = config::until)]
    pub(crate) until: Option<Since>,
    /// Stop after this many changes
    #[arg(long, value_name = "N", value_parser = config::count)]
    pub(crate) max_ops: Option<u64>,
    /// Stop when everything that had happened at the start has been read
    #[arg(long)]
    pub(crate) exit_when_idle: bool,
    /// Give up when no server answers for this long [default: never]
    #[arg(long, value_name = "SPAN", value_parser = config::span)]
    pub(crate) connect_timeout: Option<Duration>,
    /// Read this collection as the oplog, with --source oplog
    #[arg(long, value_name = "DB.COLL", default_value = "local.oplog.rs", value_parser = config::oplog_namespace)]
    pub(crate) oplog_namespace: (String, String),
}

/// How emitted documents are printed.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum JsonFormat {
    Json,
    Canonical,
}

/// How the plan is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CheckFormat {
    Text,
    Json,
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

fn commands() -> impl clap::builder::TypedValueParser<Value = Commands> {
    one_of(&Commands::WORDS)
}

fn full_document() -> impl clap::builder::TypedValueParser<Value = FullDocument> {
    one_of(&FullDocument::WORDS)
}

fn before() -> impl clap::builder::TypedValueParser<Value = Before> {
    one_of(&Before::WORDS)
}

/// One of a few words.
fn one_of<T: Copy + Send + Sync>(
    words: &'static [(&'static str, T)],
) -> impl clap::builder::TypedValueParser<Value = T> {
    PossibleValuesParser::new(words.iter().map(|(word, _)| *word)).map(move |word| {
        let found = words.iter().find(|(known, _)| *known == word);
        found.expect("clap has checked the word").1
    })
}

fn breaker() -> impl clap::builder::TypedValueParser<Value = WhenOpen> {
    PossibleValuesParser::new(WhenOpen::WORDS.map(|(word, _)| word))
        .map(|word| word.parse().expect("clap has checked the word"))
}

fn ring() -> impl clap::builder::TypedValueParser<Value = RingKind> {
    PossibleValuesParser::new(RingKind::WORDS.map(|(word, _)| word))
        .map(|word| word.parse().expect("clap has checked the word"))
}

pub(super) fn source() -> impl clap::builder::TypedValueParser<Value = SourceKind> {
    one_of(&config::SOURCES)
}
