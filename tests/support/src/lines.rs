//! The output of a child process, by the line.

use std::io::{BufRead, BufReader, Read};
use std::thread;

use tokio::sync::watch;

/// What a child has written to one of its outputs, by the line, kept from the
/// first on. Bytes that are not UTF-8 are replaced. A last line without an end,
/// as a killed child may leave one, is none.
#[derive(Clone, Debug)]
pub struct Lines(watch::Receiver<Written>);

#[derive(Debug, Default)]
struct Written {
    lines: Vec<String>,
    is_complete: bool,
}

impl Lines {
    /// Reads `output` to its end on a thread, or closes it after `lines_max`.
    pub(crate) fn read(output: impl Read + Send + 'static, lines_max: usize) -> Self {
        let (sender, receiver) = watch::channel(Written::default());
        thread::spawn(move || {
            let mut output = BufReader::new(output);
            for _ in 0..lines_max {
                let mut line = Vec::new();
                if output.read_until(b'\n', &mut line).is_err() || line.pop() != Some(b'\n') {
                    break;
                }
                let line = String::from_utf8_lossy(&line).into_owned();
                sender.send_modify(|written| written.lines.push(line));
            }
            // Before we say that we are complete: it is the child's pipe.
            drop(output);
            sender.send_modify(|written| written.is_complete = true);
        });
        Self(receiver)
    }

    /// All lines so far.
    pub fn all(&self) -> Vec<String> {
        self.0.borrow().lines.clone()
    }

    /// Waits for the line of this index, counted from 0; `None` when the output
    /// ends before it. Safe to cancel.
    pub async fn line(&self, index: usize) -> Option<String> {
        let mut receiver = self.0.clone();
        let written = receiver
            .wait_for(|written| written.is_complete || written.lines.len() > index)
            .await;
        written.ok()?.lines.get(index).cloned()
    }

    /// Waits for the end of the output.
    pub(crate) async fn complete(&self) {
        let mut receiver = self.0.clone();
        // An error means that the reading thread is gone, and so complete.
        let _ = receiver.wait_for(|written| written.is_complete).await;
    }
}
