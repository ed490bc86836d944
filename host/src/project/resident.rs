//! An AssemblyScript compiler that stays, for who builds again and again.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// What the line begins with that ends a run.
const END: char = '\u{1}';

/// asc in a process of its own, which ends with this. It is faster the more often it has run.
#[derive(Debug)]
pub struct ResidentCompiler {
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl ResidentCompiler {
    /// Starts it in a project's folder; `asc` is the command there.
    ///
    /// # Errors
    /// When there is no node, or the compiler lies elsewhere than it does in its package.
    pub(super) fn start(folder: &Path, asc: &Path) -> io::Result<Self> {
        let library = library(asc).ok_or(io::ErrorKind::NotFound)?;
        let mut child = Command::new("node")
            .current_dir(folder)
            .args([
                "--input-type=module",
                "-e",
                include_str!("resident.mjs"),
                "--",
            ])
            .arg(library)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self {
            requests: child.stdin.take(),
            answers: BufReader::new(child.stdout.take().expect("stdout is a pipe")),
            child,
        })
    }

    /// Compiles with these arguments; tells whether that went well.
    ///
    /// # Errors
    /// When it has ended, or does.
    pub(super) fn run(
        &mut self,
        arguments: &[String],
        on_line: &mut dyn FnMut(&str),
    ) -> io::Result<bool> {
        let requests = self.requests.as_mut().expect("it is taken at the end");
        writeln!(requests, "{}", serde_json::Value::from(arguments))?;
        let mut line = Vec::new();
        // Blank lines within what it says are kept, the one before the end is ours.
        let mut blanks = 0;
        loop {
            line.clear();
            if self.answers.read_until(b'\n', &mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let text = String::from_utf8_lossy(&line);
            let text = text.trim_end_matches(['\n', '\r']);
            match text.strip_prefix(END) {
                Some(end) => return Ok(end == "done"),
                None if text.is_empty() => blanks += 1,
                None => {
                    (0..std::mem::take(&mut blanks)).for_each(|_| on_line(""));
                    on_line(text);
                }
            }
        }
    }
}

impl Drop for ResidentCompiler {
    fn drop(&mut self) {
        drop(self.requests.take());
        // It may be in the middle of a run that nobody waits for. Errors mean that it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The compiler as a library: `dist/asc.js` beside `bin/asc.js`, to which the command links.
fn library(asc: &Path) -> Option<PathBuf> {
    let command = asc.canonicalize().ok()?;
    let library = command.parent()?.parent()?.join("dist/asc.js");
    library.is_file().then_some(library)
}
