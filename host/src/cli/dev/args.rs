//! What can be written behind `oplet dev`.

use std::path::PathBuf;

use clap::Args;
use oplet::{op::Namespace, project::RustToolchain};

use crate::{
    cli::project_args::toolchain,
    config::{self, Secret, Setting, Uri},
};

// As with the other verbs, each flag names its heading itself.
const SERVER: &str = "Server";
const MODULE: &str = "Module";
const OUTPUT: &str = "Output";

pub(in crate::cli) const EXAMPLES: &str = "Examples:
  oplet dev invoices --seed invoices/ops.jsonl
      on a MongoDB of its own, which is gone at the end; the sample changes happen there
  oplet dev --watch shop.orders --uri mongodb://localhost:27017
      the handler in this folder, on a server that runs already

Save a source file, and the next version takes over; what is wrong with one that does not compile is
shown, and the version before goes on. Ctrl-C ends it.

Exit codes: 0 ended; 1 failed; 2 usage, or no handler.";

/// `oplet dev`
#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// Folder of the handler, with `Cargo.toml` or `asconfig.json`
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) folder: PathBuf,
    /// Watch `db.coll`, `db` or `db.*`, or `*` for the deployment; may be repeated
    #[arg(long, value_name = "NS", default_value = "*", value_parser = config::namespace,
        help_heading = SERVER)]
    pub(crate) watch: Vec<Namespace>,
    /// Connection string of a replica set that runs already, instead of one of its own; OPLET_URI does
    /// not count here
    #[arg(long, value_name = "URI", help_heading = SERVER)]
    pub(crate) uri: Option<Uri>,
    /// The server's program, for a replica set of its own [default: `mongod` on PATH, else
    /// `.tools/mongod/bin/mongod` in the folder or one above it]
    #[arg(long, value_name = "PATH", env = "OPLET_MONGOD", hide_env_values = true,
        help_heading = SERVER)]
    pub(crate) mongod: Option<PathBuf>,
    /// Sample changes to make when the handler is ready, as JSON lines: `{"ns": "db.coll", "doc": {...}}`,
    /// ops as `oplet record` and `oplet tail` write them, or plain documents
    #[arg(long, value_name = "FILE", help_heading = SERVER)]
    pub(crate) seed: Option<PathBuf>,
    /// Where plain documents of --seed go
    #[arg(long, value_name = "DB.COLL", default_value = "test.things", value_parser = config::oplog_namespace,
        help_heading = SERVER)]
    pub(crate) seed_into: (String, String),
    /// Setting for the module's configuration; VALUE is JSON, or else text; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = config::setting, help_heading = MODULE)]
    pub(crate) set: Vec<Setting>,
    /// How Rust is compiled [default: what is installed, rustup first]
    #[arg(long, value_name = "WAY", env = "OPLET_WASM_TOOLCHAIN", hide_env_values = true,
        value_parser = toolchain(), help_heading = MODULE)]
    pub(crate) toolchain: Option<RustToolchain>,
    /// Directory of compiled modules [default: `oplet/modules` in the user's cache directory]
    #[arg(long, value_name = "DIR", env = "OPLET_MODULE_CACHE", hide_env_values = true,
        help_heading = MODULE)]
    pub(crate) module_cache: Option<PathBuf>,
    /// Where emitted documents go, as with `oplet run`; may be repeated [default: stdout]
    #[arg(long, value_name = "SINK", help_heading = OUTPUT)]
    pub(crate) sink: Vec<Secret>,
}
