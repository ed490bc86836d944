//! Where the checkout and its build output lie.

use std::env;
use std::path::{Path, PathBuf};

/// The root of the workspace this crate was built from.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("this crate lies two folders below the workspace root")
}

/// Cargo's target folder: `CARGO_TARGET_DIR` when set (relative to the root
/// of the workspace, where `make` runs), else `target`.
pub fn target_dir() -> PathBuf {
    let folder = env::var_os("CARGO_TARGET_DIR").filter(|value| !value.is_empty());
    root().join(folder.unwrap_or_else(|| "target".into()))
}
