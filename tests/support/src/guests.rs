//! Wasm modules for tests: compiled from the examples, or written by hand.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::workspace;

/// The path of the guest `name` (`new_users`, `guest_count`, ...), as built by
/// `scripts/build-guests`.
///
/// # Errors
/// When it has not been built; the message names the command that does.
pub fn guest(name: &str) -> Result<PathBuf> {
    let file = format!("guest/{name}.wasm");
    let here = workspace::target_dir().join(&file);
    // The build of the guests has one place, wherever cargo was told to build the host.
    let path = if here.is_file() {
        here
    } else {
        workspace::root().join("target").join(file)
    };
    ensure!(
        path.is_file(),
        "the guest `{name}` is not at {}: run scripts/build-guests",
        path.display()
    );
    Ok(path)
}

/// Assembles a module from WebAssembly text.
///
/// # Errors
/// When the text does not parse, with line and column.
pub fn wat(text: &str) -> Result<Vec<u8>> {
    wat::parse_str(text).context("cannot assemble the WebAssembly text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_guest_names_the_command_that_builds_it() {
        let error = guest("no_such_guest").unwrap_err().to_string();
        assert!(
            error.contains("`no_such_guest`") && error.contains("scripts/build-guests"),
            "{error}"
        );
    }

    #[test]
    fn text_becomes_a_module() {
        assert!(wat("(module)").unwrap().starts_with(b"\0asm"));
        assert!(wat("(modul)").is_err());
    }
}
