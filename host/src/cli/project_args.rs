//! What can be written of verbs that need no run: about source code, and about the program itself.

use std::path::PathBuf;

use clap::{Args, ValueEnum, builder::PossibleValuesParser, builder::TypedValueParser as _};
use oplet::project::{Language, Profile, RustToolchain};

/// `oplet new`
#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// Folder to make it in
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// What it is written in
    #[arg(long, value_name = "LANGUAGE", default_value = "rust", value_parser = language())]
    pub(crate) lang: Language,
    /// What it is called [default: as its folder]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Folder `guest-sdk` of a copy of Oplet's sources, to use instead of the published SDK
    #[arg(long, value_name = "DIR")]
    pub(crate) sdk: Option<PathBuf>,
}

/// `oplet build`
#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// Folder of the handler, with `Cargo.toml` or `asconfig.json`
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) folder: PathBuf,
    /// What the module is made for
    #[arg(long, value_name = "AIM", default_value = "speed")]
    pub(crate) optimize: Optimize,
    /// Build for a try: sooner ready, larger, and traps name lines of the source
    #[arg(long, conflicts_with = "optimize")]
    pub(crate) dev: bool,
    /// Where the module goes [default: build/NAME.wasm in the folder]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// How Rust is compiled [default: what is installed, rustup first]
    #[arg(long, value_name = "WAY", env = "OPLET_WASM_TOOLCHAIN", hide_env_values = true,
        value_parser = toolchain())]
    pub(crate) toolchain: Option<RustToolchain>,
}

/// What a module is made for.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Optimize {
    Speed,
    Size,
}

impl BuildArgs {
    /// As the library has it.
    pub(crate) fn profile(&self) -> Profile {
        match (self.dev, self.optimize) {
            (true, _) => Profile::Development,
            (false, Optimize::Speed) => Profile::Speed,
            (false, Optimize::Size) => Profile::Size,
        }
    }
}

/// `oplet completions`
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

/// `oplet man`
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// The page of this verb [default: of oplet itself]
    #[arg(value_name = "VERB", conflicts_with = "out")]
    pub(crate) verb: Vec<String>,
    /// Write all pages into this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

fn language() -> impl clap::builder::TypedValueParser<Value = Language> {
    PossibleValuesParser::new(Language::WORDS.map(|(word, _)| word)).map(|word| {
        let found = Language::WORDS.iter().find(|(known, _)| *known == word);
        found.expect("clap has checked the word").1
    })
}

pub(super) fn toolchain() -> impl clap::builder::TypedValueParser<Value = RustToolchain> {
    PossibleValuesParser::new(RustToolchain::WORDS.map(|(word, _)| word)).map(|word| {
        let found = RustToolchain::WORDS
            .iter()
            .find(|(known, _)| *known == word);
        found.expect("clap has checked the word").1
    })
}
