//! A module's talk: what it says by `log`, and what it writes to stdout and stderr.
//!
//! All of it goes to `tracing` under the target `oplet::module`, with the module's name in the field
//! `module`: a line at a time, at most so many a second, none longer than the limit, control
//! characters escaped. So a guest can neither fill a disk nor fake a line nor drive a terminal.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use oplet_sdk::abi::level;

use super::limits::Limits;

/// Over how long lines are counted.
const WINDOW: Duration = Duration::from_secs(1);

/// What the instances of one module share: its name, its budget of log lines, its counters' names.
pub(super) struct Log {
    pub(super) module: Arc<str>,
    pub(super) line_bytes: usize,
    lines_per_second: u32,
    /// Guards the count of lines; held for some nanoseconds, never while writing.
    window: Mutex<Window>,
    suppressed: AtomicU64,
    counters_max: usize,
    /// Guards the names of counters; taken when an instance counts under a name for the first time.
    counter_names: Mutex<HashSet<Arc<str>>>,
    bad_counter_said: AtomicBool,
}

struct Window {
    start: Instant,
    lines: u32,
    suppressed: u64,
}

/// Whether a line may be written; if so, how many before it could not.
enum Admission {
    Granted { suppressed: u64 },
    Denied,
}

impl Log {
    pub(super) fn new(module: Arc<str>, limits: &Limits) -> Self {
        Self {
            module,
            line_bytes: limits.log_line_bytes,
            lines_per_second: limits.log_lines_per_second,
            window: Mutex::new(Window {
                start: Instant::now(),
                lines: 0,
                suppressed: 0,
            }),
            suppressed: AtomicU64::new(0),
            counters_max: limits.counters,
            counter_names: Mutex::new(HashSet::new()),
            bad_counter_said: AtomicBool::new(false),
        }
    }

    /// Lines suppressed since the module was loaded.
    pub(super) fn suppressed(&self) -> u64 {
        self.suppressed.load(Ordering::Relaxed)
    }

    /// Writes a text, each of its lines on its own, and returns how long the writing itself took:
    /// that is the host's time, a slow disk's or terminal's, and not the guest's.
    pub(super) fn write(&self, level: i32, text: &[u8]) -> Duration {
        if !is_enabled(level) {
            return Duration::ZERO;
        }
        let mut waited = Duration::ZERO;
        for line in self.readable(text).lines() {
            match self.admit(Instant::now()) {
                Admission::Denied => {}
                Admission::Granted { suppressed } => {
                    let start = Instant::now();
                    if suppressed > 0 {
                        self.say_suppressed(suppressed);
                    }
                    emit(level, &self.module, &escape(line));
                    waited += start.elapsed();
                }
            }
        }
        waited
    }

    /// Cuts a guest's text to the length of a line, and makes it UTF-8.
    pub(super) fn readable<'a>(&self, text: &'a [u8]) -> Cow<'a, str> {
        match text.get(..self.line_bytes) {
            Some(cut) if cut.len() < text.len() => {
                // A character cut in two would read as damage of the guest's.
                let end = (0..4)
                    .map(|back| cut.len().saturating_sub(back))
                    .find(|&end| std::str::from_utf8(&cut[..end]).is_ok())
                    .unwrap_or(cut.len());
                Cow::Owned(format!("{}…", String::from_utf8_lossy(&cut[..end])))
            }
            _ => String::from_utf8_lossy(text),
        }
    }

    /// The shared name of a counter, or none when the name cannot be used; that is said once.
    pub(super) fn counter(&self, name: &[u8]) -> Option<Arc<str>> {
        let legal = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
        let text = std::str::from_utf8(name).ok()?;
        if !(1..=64).contains(&name.len()) || !name.iter().all(legal) {
            self.say_bad_counter(text, "its name is not `[a-z0-9_]{1,64}`");
            return None;
        }
        let mut names = self
            .counter_names
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = names.get(text) {
            return Some(known.clone());
        }
        if names.len() >= self.counters_max {
            drop(names);
            self.say_bad_counter(text, "the module has as many counters as it may");
            return None;
        }
        let name: Arc<str> = text.into();
        names.insert(name.clone());
        Some(name)
    }

    fn say_bad_counter(&self, name: &str, reason: &str) {
        if self.bad_counter_said.swap(true, Ordering::Relaxed) {
            return;
        }
        let counter = escape(&self.readable(name.as_bytes())).into_owned();
        tracing::warn!(
            target: "oplet::module",
            module = &*self.module,
            counter,
            reason,
            "a counter is left out; later ones are not mentioned"
        );
    }

    fn admit(&self, now: Instant) -> Admission {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(window.start) >= WINDOW {
            window.start = now;
            window.lines = 0;
        }
        if window.lines >= self.lines_per_second {
            window.suppressed += 1;
            self.suppressed.fetch_add(1, Ordering::Relaxed);
            return Admission::Denied;
        }
        window.lines += 1;
        Admission::Granted {
            suppressed: mem::take(&mut window.suppressed),
        }
    }

    fn say_suppressed(&self, lines: u64) {
        tracing::warn!(
            target: "oplet::module",
            module = &*self.module,
            lines,
            "log lines of the module were suppressed"
        );
    }
}

impl Drop for Log {
    /// A module that fell silent, or was replaced, still gets its suppressed lines told.
    fn drop(&mut self) {
        let window = self
            .window
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        let lines = window.suppressed;
        if lines > 0 {
            self.say_suppressed(lines);
        }
    }
}

/// Whether anybody listens at that level.
fn is_enabled(level: i32) -> bool {
    use tracing::Level;
    const TARGET: &str = "oplet::module";
    match level {
        i32::MIN..=level::ERROR => tracing::enabled!(target: TARGET, Level::ERROR),
        level::WARN => tracing::enabled!(target: TARGET, Level::WARN),
        level::INFO => tracing::enabled!(target: TARGET, Level::INFO),
        level::DEBUG => tracing::enabled!(target: TARGET, Level::DEBUG),
        _ => tracing::enabled!(target: TARGET, Level::TRACE),
    }
}

/// Levels are part of a call site, so each has its own.
fn emit(level: i32, module: &str, line: &str) {
    match level {
        i32::MIN..=level::ERROR => tracing::error!(target: "oplet::module", module, "{line}"),
        level::WARN => tracing::warn!(target: "oplet::module", module, "{line}"),
        level::INFO => tracing::info!(target: "oplet::module", module, "{line}"),
        level::DEBUG => tracing::debug!(target: "oplet::module", module, "{line}"),
        _ => tracing::trace!(target: "oplet::module", module, "{line}"),
    }
}

/// Whether a character only shows itself. Others drive a terminal, end a line, or turn the order in
/// which the rest of the line is shown.
fn is_harmless(c: char) -> bool {
    const LINE_ENDS: std::ops::RangeInclusive<char> = '\u{2028}'..='\u{2029}';
    const TURNS: [std::ops::RangeInclusive<char>; 3] = [
        '\u{200E}'..='\u{200F}',
        '\u{202A}'..='\u{202E}',
        '\u{2066}'..='\u{2069}',
    ];
    if c.is_control() {
        return c == '\t';
    }
    c.is_ascii() || !(LINE_ENDS.contains(&c) || TURNS.iter().any(|turns| turns.contains(&c)))
}

/// A name or message out of a module, fit to be shown: escaped, and cut after so many characters.
pub(super) fn shown(text: &str, characters_max: usize) -> String {
    match text.char_indices().nth(characters_max) {
        Some((end, _)) => format!("{}…", escape(&text[..end])),
        None => escape(text).into_owned(),
    }
}

/// Replaces by their escapes the characters that do more than show themselves; a tab stays.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_harmless) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_harmless(c) {
            escaped.push(c);
        } else {
            let _infallible = write!(escaped, "{}", c.escape_default());
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(limits: &Limits) -> Log {
        Log::new("m".into(), limits)
    }

    #[test]
    fn control_characters_are_escaped() {
        for (text, expected) in [
            ("plain\ttext", "plain\ttext"),
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
            ("a\rb\0", "a\\rb\\u{0}"),
            (
                "a\u{2028}b\u{202e}c\u{85}d",
                "a\\u{2028}b\\u{202e}c\\u{85}d",
            ),
            ("naïve 🙂 \u{200d}", "naïve 🙂 \u{200d}"),
        ] {
            assert_eq!(escape(text), expected);
        }
    }

    #[test]
    fn names_are_shown_escaped_and_cut() {
        assert_eq!(shown("naïve", 5), "naïve");
        assert_eq!(shown("naïve!", 5), "naïve…");
        assert_eq!(shown("\u{1b}[31m", 2), "\\u{1b}[…");
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        let limits = Limits {
            log_line_bytes: 5,
            ..Limits::default()
        };
        let log = log(&limits);
        assert_eq!(log.readable("abcde".as_bytes()), "abcde");
        assert_eq!(log.readable("abcdef".as_bytes()), "abcde…");
        assert_eq!(log.readable("abcd🙂".as_bytes()), "abcd…");
    }

    #[test]
    fn lines_over_the_budget_are_counted_and_told_with_the_next() {
        let limits = Limits {
            log_lines_per_second: 2,
            ..Limits::default()
        };
        let log = log(&limits);
        let start = Instant::now();
        let granted = |at| matches!(log.admit(at), Admission::Granted { .. });
        let answers: Vec<bool> = (0..5).map(|_| granted(start)).collect();
        assert_eq!(answers, [true, true, false, false, false]);
        assert_eq!(log.suppressed(), 3);
        let later = start + Duration::from_millis(1500);
        assert!(matches!(
            log.admit(later),
            Admission::Granted { suppressed: 3 }
        ));
        assert!(matches!(
            log.admit(later),
            Admission::Granted { suppressed: 0 }
        ));
    }

    #[test]
    fn counters_are_limited_in_name_and_number() {
        let limits = Limits {
            counters: 2,
            ..Limits::default()
        };
        let log = log(&limits);
        for name in ["", "Upper", "with space", "naïve", &"x".repeat(65)] {
            assert!(log.counter(name.as_bytes()).is_none(), "{name}");
        }
        assert!(log.counter(b"first").is_some());
        assert!(log.counter(b"second_2").is_some());
        assert!(log.counter(b"third").is_none());
        assert!(log.counter(b"first").is_some());
    }
}
