//! `oplet build`

use std::{io::IsTerminal as _, path::PathBuf};

use anstream::eprintln;
use etcetera::BaseStrategy as _;
use oplet::{
    guest::{Inspection, Limits},
    project::{self, BuildError, BuildOptions},
};

use super::{error::UserError, inspect, modules, project_args::BuildArgs, talk::Talk};

pub(super) fn build(args: &BuildArgs, talk: &Talk) -> Result<(), UserError> {
    let options = BuildOptions {
        profile: args.profile(),
        out: args.out.clone(),
        toolchain: args.toolchain,
        cache_directory: cache_directory(),
        is_colored: std::io::stderr().is_terminal()
            && anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never,
    };
    // What a compiler says when it fails is not kept back.
    let mut held_back = Vec::new();
    let built = project::build(&args.folder, &options, &mut |line| match talk.quiet {
        true => held_back.push(line.to_owned()),
        false => eprintln!("{line}"),
    });
    if matches!(built, Err(BuildError::Failed { .. })) {
        for line in &held_back {
            eprintln!("{line}");
        }
    }
    let built = built?;
    if !talk.quiet {
        let change = if built.is_changed {
            ""
        } else {
            ", which is as it was"
        };
        eprintln!(
            "built {} with {} in {:.1} s{change}",
            built.wasm.display(),
            built.toolchain,
            built.took.as_secs_f64(),
        );
    }
    let wasm = modules::read(&built.wasm)?;
    inspect::tell(
        &built.wasm,
        &Inspection::new(&wasm, &Limits::default()),
        false,
    )
}

/// Where builds keep what all projects share.
pub(super) fn cache_directory() -> Option<PathBuf> {
    let base = etcetera::choose_base_strategy().ok()?;
    Some(base.cache_dir().join("oplet").join("build"))
}

impl From<BuildError> for UserError {
    fn from(error: BuildError) -> Self {
        let user_error = match error.is_usage() {
            true => Self::refused(error.to_string()),
            false => Self::failed(error.to_string()),
        };
        let user_error = match std::error::Error::source(&error) {
            Some(source) => user_error.because(source),
            None => user_error,
        };
        error.hints().into_iter().fold(user_error, Self::hint)
    }
}
