//! The standard output.

use std::io::Write as _;

/// The standard output takes no more.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to the standard output")]
pub struct Broken(#[source] pub std::io::Error);

impl Broken {
    /// Whether nobody reads it any more, which is a normal end; else something is amiss, such as a
    /// full disk.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.kind() == std::io::ErrorKind::BrokenPipe
    }
}

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
