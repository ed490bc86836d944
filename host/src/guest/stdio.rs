//! What a guest writes to stdout and stderr.

use std::collections::VecDeque;
use std::mem;
use std::time::Duration;

use oplet_sdk::abi::level;

use super::log::{Log, escape};

/// Lines of a call that are kept for its failure record.
const TAIL_LINES: usize = 20;

/// Bytes of them, but for the last line: each failed op has its record, and none counts against the
/// log lines that a module may write.
const TAIL_BYTES: usize = 16 << 10;

/// One of the two outputs that a guest writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Out,
    Err,
}

impl Stream {
    fn level(self) -> i32 {
        match self {
            Self::Out => level::INFO,
            Self::Err => level::WARN,
        }
    }
}

/// Makes lines of what a guest writes to stdout and stderr, and keeps the last ones of a call.
#[derive(Default)]
pub(super) struct Stdio {
    partial: [Partial; 2],
    tail: VecDeque<String>,
    tail_bytes: usize,
}

#[derive(Default)]
struct Partial {
    bytes: Vec<u8>,
    /// The line was cut; what comes before the next line end is dropped.
    is_cut: bool,
}

impl Stdio {
    #[inline]
    pub(super) fn begin_call(&mut self) {
        if !self.tail.is_empty() {
            self.tail.clear();
            self.tail_bytes = 0;
        }
    }

    /// Takes what was written; returns the time spent on writing it to the log.
    pub(super) fn write(&mut self, stream: Stream, bytes: &[u8], log: &Log) -> Duration {
        let mut waited = Duration::ZERO;
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            let (text, is_end) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            let partial = &mut self.partial[stream as usize];
            if !partial.is_cut {
                // One byte more than the limit tells the log that there was more.
                let room = (log.line_bytes + 1).saturating_sub(partial.bytes.len());
                partial.is_cut = text.len() > room;
                partial
                    .bytes
                    .extend_from_slice(&text[..text.len().min(room)]);
            }
            if is_end {
                waited += self.end_line(stream, log);
            }
        }
        waited
    }

    /// Ends the lines that the guest left open, and takes the last lines of the call.
    pub(super) fn take_tail(&mut self, log: &Log) -> Vec<String> {
        for stream in [Stream::Out, Stream::Err] {
            if !self.partial[stream as usize].bytes.is_empty() {
                self.end_line(stream, log);
            }
        }
        self.tail_bytes = 0;
        mem::take(&mut self.tail).into()
    }

    fn keep(&mut self, line: String) {
        self.tail_bytes += line.len();
        self.tail.push_back(line);
        while self.tail.len() > 1 && (self.tail.len() > TAIL_LINES || self.tail_bytes > TAIL_BYTES)
        {
            let dropped = self.tail.pop_front();
            self.tail_bytes -= dropped.map_or(0, |line| line.len());
        }
    }

    fn end_line(&mut self, stream: Stream, log: &Log) -> Duration {
        let mut partial = mem::take(&mut self.partial[stream as usize]);
        if partial.bytes.last() == Some(&b'\r') {
            partial.bytes.pop();
        }
        if partial.bytes.is_empty() {
            return Duration::ZERO;
        }
        let line = log.readable(&partial.bytes);
        self.keep(escape(&line).into_owned());
        log.write(stream.level(), &partial.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::limits::Limits;
    use super::*;

    fn log(log_line_bytes: usize) -> Log {
        let limits = Limits {
            log_line_bytes,
            ..Limits::default()
        };
        Log::new("m".into(), &limits)
    }

    #[test]
    fn pieces_become_lines_and_the_last_are_kept() {
        let log = log(8 << 10);
        let mut stdio = Stdio::default();
        for number in 0..30 {
            stdio.write(Stream::Err, format!("line {number}\n").as_bytes(), &log);
        }
        stdio.write(Stream::Err, b"half ", &log);
        stdio.write(Stream::Out, b"other\r\n\n", &log);
        stdio.write(Stream::Err, b"whole", &log);
        let tail = stdio.take_tail(&log);
        assert_eq!(tail.len(), TAIL_LINES);
        assert_eq!(tail[0], "line 12");
        assert_eq!(tail[TAIL_LINES - 2..], ["other", "half whole"]);
        assert!(stdio.take_tail(&log).is_empty());
    }

    #[test]
    fn long_lines_leave_room_for_few() {
        let log = log(8 << 10);
        let mut stdio = Stdio::default();
        for _ in 0..30 {
            let line = format!("{}\n", "x".repeat(6 << 10));
            stdio.write(Stream::Err, line.as_bytes(), &log);
        }
        stdio.write(Stream::Err, b"last\n", &log);
        let tail = stdio.take_tail(&log);
        assert_eq!(tail.len(), 3);
        assert_eq!(tail[2], "last");
        stdio.write(Stream::Err, b"next\n", &log);
        assert_eq!(stdio.take_tail(&log), ["next"]);
    }

    #[test]
    fn endless_lines_take_no_memory() {
        let log = log(8);
        let mut stdio = Stdio::default();
        for _ in 0..1000 {
            stdio.write(Stream::Out, b"0123456789", &log);
        }
        assert!(stdio.partial[0].bytes.capacity() < 100);
        stdio.write(Stream::Out, b"\nnext\n", &log);
        assert_eq!(stdio.take_tail(&log), ["01234567…", "next"]);
    }
}
