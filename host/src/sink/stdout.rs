//! The standard output.

use std::io::Write as _;

/// Nobody reads the standard output any more.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads the standard output any more")]
pub struct Broken(#[source] pub std::io::Error);

/// Writes lines to the standard output. Any number of lanes may share it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stdout;

impl Stdout {
    /// Writes whole lines, and passes them on at once: who pipes the output sees each op's documents
    /// when it was handled.
    ///
    /// # Errors
    /// [`Broken`], whatever the reason: a standard output that failed once does not come back.
    pub fn write(&self, lines: &str) -> Result<(), Broken> {
        let mut stdout = std::io::stdout().lock();
        stdout
            .write_all(lines.as_bytes())
            .and_then(|()| stdout.flush())
            .map_err(Broken)
    }
}
