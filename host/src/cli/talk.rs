//! How much is said, and how coloured.

use clap::{Args, ValueEnum};

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
