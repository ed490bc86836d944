//! The last row of a terminal, kept for how things stand, while all else scrolls above it.
//!
//! Whoever writes to the terminal need not know: it scrolls in a region that ends one row earlier.
//! A line that is drawn at the cursor, and drawn again, would be torn by the outputs, which the run
//! writes by itself.

use std::io::{IsTerminal as _, Write as _};

/// Below this nothing is taken away.
const ROWS_MIN: u16 = 6;

/// A terminal's last row. Dropping it gives the row back.
#[derive(Debug)]
pub(super) struct Screen {
    terminal: console::Term,
    /// Rows and columns.
    size: (u16, u16),
    shown: String,
}

impl Screen {
    /// Takes the row, if standard error is a terminal that has one to spare.
    pub(super) fn open() -> Option<Self> {
        let is_dumb = crate::config::environment("TERM").is_none_or(|term| term == "dumb");
        if is_dumb || !std::io::stderr().is_terminal() {
            return None;
        }
        let terminal = console::Term::stderr();
        let size = terminal.size_checked()?;
        if size.0 < ROWS_MIN {
            return None;
        }
        write(&reserve(size.0));
        Some(Self {
            terminal,
            size,
            shown: String::new(),
        })
    }

    /// Shows this line, as far as it fits.
    pub(super) fn show(&mut self, line: &str) {
        let size = self.terminal.size_checked().unwrap_or(self.size);
        if size == self.size && line == self.shown {
            return;
        }
        if size != self.size {
            self.size = size;
            write(&reserve(size.0));
        }
        line.clone_into(&mut self.shown);
        write(&draw(self.size, line));
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        write(&release(self.size.0));
    }
}

/// In one piece, so that nothing of others comes between. Nobody can be told that it failed.
fn write(sequence: &str) {
    let _ = std::io::stderr().write_all(sequence.as_bytes());
}

// The sequences are those of DEC's terminals: ESC 7 and ESC 8 save and restore the cursor, which is
// moved when the region (`r`) is set.

/// Lets all rows but the last scroll, and sees that the cursor is in one of them.
fn reserve(rows: u16) -> String {
    format!("\n\x1b7\x1b[1;{}r\x1b8\x1b[1A", rows - 1)
}

/// Writes the last row, in inverse colours.
fn draw((rows, columns): (u16, u16), line: &str) -> String {
    let line: String = line.chars().take(columns.into()).collect();
    format!("\x1b7\x1b[{rows};1H\x1b[2K\x1b[7m{line}\x1b[0m\x1b8")
}

/// Lets all rows scroll again.
fn release(rows: u16) -> String {
    format!("\x1b7\x1b[{rows};1H\x1b[2K\x1b[r\x1b8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_row_is_kept_and_given_back() {
        assert_eq!(reserve(24), "\n\x1b7\x1b[1;23r\x1b8\x1b[1A");
        let drawn = draw((24, 5), "grüße 🦀");
        assert_eq!(drawn, "\x1b7\x1b[24;1H\x1b[2K\x1b[7mgrüße\x1b[0m\x1b8");
        assert_eq!(release(24), "\x1b7\x1b[24;1H\x1b[2K\x1b[r\x1b8");
    }
}
