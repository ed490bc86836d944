//! Finding the mongod binary, in the places where `scripts/setup-mongod` looks
//! and installs.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::workspace;

/// The mongod to run: `OPLET_MONGOD`, else the first on `PATH`, else the one
/// that the set-up installed.
///
/// # Errors
/// When there is none; the message names the set-up command.
pub(crate) fn find() -> Result<PathBuf> {
    if let Some(path) = env::var_os("OPLET_MONGOD").filter(|value| !value.is_empty()) {
        return PathBuf::from(&path).canonicalize().with_context(|| {
            format!(
                "OPLET_MONGOD is {}, which is no program",
                Path::new(&path).display()
            )
        });
    }
    let on_path = env::var_os("PATH").unwrap_or_default();
    let mut candidates: Vec<PathBuf> = env::split_paths(&on_path)
        .map(|folder| folder.join("mongod"))
        .collect();
    candidates.push(workspace::root().join(".tools/mongod/bin/mongod"));
    candidates
        .iter()
        .filter(|path| path.is_file())
        .find_map(|path| path.canonicalize().ok())
        .context("there is no mongod here: run scripts/setup-mongod, or set OPLET_MONGOD to one")
}
