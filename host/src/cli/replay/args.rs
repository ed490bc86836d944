//! What can be written behind `oplet replay`.

use std::path::PathBuf;

use clap::Args;
use oplet::op::Namespace;

use crate::{
    cli::args::JsonFormat,
    config::{self, Setting},
};

// As with the other verbs, each flag names its heading itself.
const OPS: &str = "Ops";
const MODULE: &str = "Module";
const OUTPUT: &str = "Output";

pub(in crate::cli) const EXAMPLES: &str = "Examples:
  oplet record shop.orders --out ops.bson --max-ops 100
  oplet replay orders.wasm ops.bson
      what it emits is printed as JSON lines; what else became of the ops is said on standard error
  oplet replay orders.wasm ops.bson --expect expected.jsonl
      compare what it emits with a file, as a test; `--bless` writes the file
  oplet tail shop.orders | oplet replay orders.wasm -

Exit codes: 0 done, and as expected; 1 the module failed on an op, or emitted something else than expected;
2 usage, or module refused.";

/// `oplet replay`
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// The module
    #[arg(value_name = "MODULE.wasm")]
    pub(crate) module: PathBuf,
    /// Recorded ops, or `-` for standard input: JSON lines or BSON, as `record` and `tail` write them, or
    /// oplog entries, as in mongodump's `oplog.bson`
    #[arg(value_name = "OPS")]
    pub(crate) ops: PathBuf,
    /// Replay only what happened in `db.coll`, `db` or `db.*`; may be repeated [default: all]
    #[arg(long, value_name = "NS", value_parser = config::namespace, help_heading = OPS)]
    pub(crate) watch: Vec<Namespace>,
    /// How often an op is tried that the module answers `retry` to; nothing waits in between
    #[arg(long, value_name = "N", default_value = "1",
        value_parser = clap::value_parser!(u32).range(1..=1_000), help_heading = OPS)]
    pub(crate) attempts: u32,
    /// Let the module emit what it has gathered after every so many ops, as a run does at batch borders
    /// [default: once, at the end]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = OPS)]
    pub(crate) flush_every: Option<u64>,
    /// Let the module's clock show the time of the op, and its random numbers follow from the op's id
    #[arg(long, help_heading = OPS)]
    pub(crate) op_time: bool,
    /// Configuration file of a run: what the module of this name is configured with and granted, and the
    /// names of its sinks, are taken from it
    #[arg(long, value_name = "FILE", help_heading = MODULE)]
    pub(crate) config: Option<PathBuf>,
    /// Name of the module, also in --config [default: that of its file]
    #[arg(long, value_name = "NAME", value_parser = config::name, help_heading = MODULE)]
    pub(crate) name: Option<String>,
    /// Setting for the module's configuration; VALUE is JSON, or else text; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = config::setting, help_heading = MODULE)]
    pub(crate) set: Vec<Setting>,
    /// A sink that the module asks for by its name, the default one first; may be repeated
    /// [default: stdout]
    ///
    /// Nothing is delivered: all that is emitted is printed. What goes to another sink than the first is
    /// printed as `{"sink": NAME, "document": {...}}`.
    #[arg(long, value_name = "NAME", value_parser = config::name, help_heading = MODULE)]
    pub(crate) sink: Vec<String>,
    /// Directory of compiled modules [default: `oplet/modules` in the user's cache directory]
    #[arg(long, value_name = "DIR", env = "OPLET_MODULE_CACHE", hide_env_values = true,
        help_heading = MODULE)]
    pub(crate) module_cache: Option<PathBuf>,
    /// Compare what is emitted with the lines of this file, and print the difference instead
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    pub(crate) expect: Option<PathBuf>,
    /// Write what is emitted to the file of --expect
    #[arg(long, requires = "expect", help_heading = OUTPUT)]
    pub(crate) bless: bool,
    /// How emitted documents are printed: relaxed or canonical Extended JSON
    #[arg(long, value_name = "FORMAT", default_value = "json", help_heading = OUTPUT)]
    pub(crate) format: JsonFormat,
}
