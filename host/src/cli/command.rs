//! The verbs of the command line.

use clap::{Parser, Subcommand};

use super::{
    args::{CheckArgs, InspectArgs, RunArgs, TailArgs},
    checkpoint::CheckpointArgs,
    dead_letters::DeadLettersArgs,
    dev::{self, DevArgs},
    examples,
    project_args::{BuildArgs, CompletionsArgs, ManArgs, NewArgs},
    record::{self, RecordArgs},
    remote_args::{NamedArgs, ProfileArgs, RemoteArgs, SeekArgs, SnapshotArgs, SwapArgs},
    replay::{self, ReplayArgs},
    talk::Talk,
};

/// Runs WebAssembly handlers on every change in MongoDB.
#[derive(Debug, Parser)]
#[command(
    name = "oplet",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 done; 1 failed; 2 usage, settings or module refused;\n\
        3 position lost; 4 problems found.\n\
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
    /// Make a new handler, in Rust or AssemblyScript
    #[command(after_help = examples::NEW)]
    New(NewArgs),
    /// Build a handler into a module
    #[command(after_help = examples::BUILD)]
    Build(BuildArgs),
    /// Run a handler on a throwaway MongoDB, and build it again whenever it is saved
    #[command(after_help = dev::EXAMPLES)]
    Dev(Box<DevArgs>),
    /// Tail MongoDB and run modules on every change
    #[command(after_help = examples::RUN)]
    Run(Box<RunArgs>),
    /// Print changes as JSON lines; no module needed
    #[command(after_help = examples::TAIL)]
    Tail(Box<TailArgs>),
    /// Validate settings and modules, and print the plan; nothing is opened, nothing changes
    #[command(after_help = examples::CHECK)]
    Check(Box<CheckArgs>),
    /// Show, set or clear where runs go on; works while they are at rest
    #[command(after_help = examples::CHECKPOINT)]
    Checkpoint(Box<CheckpointArgs>),
    /// Look at ops that modules failed on, run them again, or drop them
    #[command(after_help = examples::DEAD_LETTERS)]
    DeadLetters(Box<DeadLettersArgs>),
    /// Write changes to a file, for `replay`
    #[command(after_help = record::EXAMPLES)]
    Record(Box<RecordArgs>),
    /// Let a module handle recorded changes, without a server, and see what it makes of them
    #[command(after_help = replay::EXAMPLES)]
    Replay(Box<ReplayArgs>),
    /// Show what a module exports and imports, and what would be refused
    #[command(after_help = examples::INSPECT)]
    Inspect(InspectArgs),
    /// Show how a run stands
    #[command(after_help = examples::STATUS)]
    Status(Box<RemoteArgs>),
    /// Stop a run between two changes, until `resume`
    #[command(after_help = examples::PAUSE)]
    Pause(Box<RemoteArgs>),
    /// Let a run go on
    #[command(after_help = examples::RESUME)]
    Resume(Box<RemoteArgs>),
    /// Let a run go on from another position
    #[command(after_help = examples::SEEK)]
    Seek(Box<SeekArgs>),
    /// Let a run read a collection directly, from its beginning
    #[command(after_help = examples::SNAPSHOT)]
    Snapshot(Box<SnapshotArgs>),
    /// List the modules of a run
    #[command(after_help = examples::MODULES)]
    Modules(Box<RemoteArgs>),
    /// Let another version of a module take over while the run works
    #[command(after_help = examples::SWAP)]
    Swap(Box<SwapArgs>),
    /// Let the version before take over again
    #[command(after_help = examples::ROLLBACK)]
    Rollback(Box<NamedArgs>),
    /// Let go of a module while the run works
    #[command(after_help = examples::REMOVE)]
    Remove(Box<NamedArgs>),
    /// Find out where a module of a run spends its time
    #[command(after_help = examples::PROFILE)]
    Profile(Box<ProfileArgs>),
    /// Let a run finish what it has read, save, and end
    #[command(after_help = examples::DRAIN)]
    Drain(Box<RemoteArgs>),
    /// Print completions for a shell
    #[command(after_help = examples::COMPLETIONS)]
    Completions(CompletionsArgs),
    /// Print manual pages, or write them all into a folder
    #[command(after_help = examples::MAN)]
    Man(ManArgs),
}
