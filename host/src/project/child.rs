//! A compiler as a child process, with its output by the line.

use std::{
    io::{BufRead as _, BufReader, Read},
    process::{Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
};

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

/// Runs a command without input until it ends, and hands over each line as it comes.
///
/// # Errors
/// When it cannot be started.
pub(super) fn run(
    command: &mut Command,
    on_line: &mut dyn FnMut(Stream, &str),
) -> std::io::Result<ExitStatus> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let stdout = child.stdout.take().expect("stdout is a pipe");
    let stderr = child.stderr.take().expect("stderr is a pipe");
    // The bound keeps a caller that prints slowly from piling lines up.
    let (sender, lines) = mpsc::sync_channel(64);
    thread::scope(|scope| {
        let other = sender.clone();
        scope.spawn(move || pass_on(stdout, Stream::Stdout, &other));
        scope.spawn(move || pass_on(stderr, Stream::Stderr, &sender));
        for (stream, line) in lines {
            on_line(stream, &line);
        }
    });
    child.wait()
}

/// Reads lines until the end; bytes that are no text are replaced.
fn pass_on(from: impl Read, stream: Stream, lines: &mpsc::SyncSender<(Stream, String)>) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    loop {
        line.clear();
        match from.read_until(b'\n', &mut line) {
            Ok(1..) => {}
            // A pipe that breaks is a child that ended; its status tells more.
            Ok(0) | Err(_) => return,
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches(['\n', '\r']).to_owned();
        if lines.send((stream, text)).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_outputs_come_by_the_line_and_the_status_at_the_end() {
        let mut lines = Vec::new();
        let script = "echo one; echo talk >&2; printf '\\377two'; exit 3";
        let mut shell = Command::new("sh");
        let status = run(shell.args(["-c", script]), &mut |stream, line| {
            lines.push((stream, line.to_owned()));
        });
        assert_eq!(status.unwrap().code(), Some(3));
        lines.sort_by_key(|(stream, _)| *stream == Stream::Stderr);
        let expected = [
            (Stream::Stdout, "one".to_owned()),
            (Stream::Stdout, "\u{fffd}two".to_owned()),
            (Stream::Stderr, "talk".to_owned()),
        ];
        assert_eq!(lines, expected);
        let nowhere = run(&mut Command::new("/nowhere/compiler"), &mut |_, _| {});
        assert_eq!(nowhere.unwrap_err().kind(), std::io::ErrorKind::NotFound);
    }
}
