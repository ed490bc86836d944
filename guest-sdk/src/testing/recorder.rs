//! The host's functions in a native test: they record what a handler does.

use std::{cell::RefCell, collections::BTreeMap};

use bson::{Document, RawDocument};

use super::{Output, lookups};
use crate::{
    Level,
    abi::{emitted, level},
    raw,
};

/// What was recorded since the last [`start`].
#[derive(Default)]
pub(super) struct Recording {
    pub(super) outputs: Vec<Output>,
    pub(super) logs: Vec<(Level, String)>,
    pub(super) counts: BTreeMap<String, i64>,
    pub(super) lookups: Vec<Document>,
    pub(super) reason: Option<String>,
    pub(super) retry_after_ms: Option<i64>,
}

#[derive(Default)]
struct Recorder {
    recording: Recording,
    /// Names of sinks by number, from 1; `0` is the default sink.
    sinks: Vec<String>,
    /// Whether `sinks` are all there are.
    closed: bool,
    /// The export that is running, if it may neither emit nor look up.
    silent: Option<&'static str>,
}

thread_local! {
    // One for each thread: tests run side by side.
    static RECORDER: RefCell<Recorder> = RefCell::default();
}

/// Begins a recording; `silent` names an export that may neither emit nor look up.
pub(super) fn start(silent: Option<&'static str>) {
    RECORDER.with_borrow_mut(|recorder| {
        recorder.recording = Recording::default();
        recorder.silent = silent;
    });
}

/// Lets the running op emit and look up from now on.
pub(super) fn let_emit() {
    RECORDER.with_borrow_mut(|recorder| recorder.silent = None);
}

pub(super) fn take() -> Recording {
    RECORDER.with_borrow_mut(|recorder| std::mem::take(&mut recorder.recording))
}

pub(super) fn set_sinks(names: &[&str]) {
    RECORDER.with_borrow_mut(|recorder| {
        recorder.sinks = names.iter().map(|&name| name.to_owned()).collect();
        recorder.closed = true;
    });
}

pub(crate) fn sink(name: &str) -> i32 {
    RECORDER.with_borrow_mut(|recorder| {
        if let Some(at) = recorder.sinks.iter().position(|known| known == name) {
            return at as i32 + 1;
        }
        if recorder.closed {
            return -1;
        }
        recorder.sinks.push(name.to_owned());
        recorder.sinks.len() as i32
    })
}

pub(crate) fn emit(sink: i32, document: &[u8]) -> i32 {
    RECORDER.with_borrow_mut(|recorder| {
        if let Some(export) = recorder.silent {
            panic!("`{export}` may not emit");
        }
        let sink = match usize::try_from(sink) {
            Ok(0) => None,
            Ok(number) if number <= recorder.sinks.len() => {
                Some(recorder.sinks[number - 1].clone())
            }
            _ => return emitted::NO_SUCH_SINK,
        };
        let decoded = raw::validate(document)
            .ok()
            .and_then(|()| RawDocument::from_bytes(document).ok());
        let Some(Ok(document)) = decoded.map(Document::try_from) else {
            return emitted::NOT_BSON;
        };
        recorder.recording.outputs.push(Output { sink, document });
        emitted::TAKEN
    })
}

pub(crate) fn log(level: i32, line: &str) {
    let level = match level {
        level::ERROR => Level::Error,
        level::WARN => Level::Warn,
        level::INFO => Level::Info,
        level::DEBUG => Level::Debug,
        _ => Level::Trace,
    };
    RECORDER.with_borrow_mut(|recorder| recorder.recording.logs.push((level, line.to_owned())));
}

pub(crate) fn fail(reason: &str) {
    RECORDER.with_borrow_mut(|recorder| recorder.recording.reason = Some(reason.to_owned()));
}

pub(crate) fn retry_after(ms: i64) {
    RECORDER.with_borrow_mut(|recorder| recorder.recording.retry_after_ms = Some(ms));
}

pub(crate) fn count(name: &str, delta: i64) {
    let fits = (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
    assert!(fits, "`{name}` is no name of a counter: [a-z0-9_]{{1,64}}");
    RECORDER.with_borrow_mut(|recorder| {
        *recorder
            .recording
            .counts
            .entry(name.to_owned())
            .or_default() += delta;
    });
}

pub(crate) fn lookup(query: &[u8]) -> Result<Vec<u8>, i32> {
    let query = RawDocument::from_bytes(query)
        .and_then(Document::try_from)
        .expect("the SDK asks with a document");
    RECORDER.with_borrow_mut(|recorder| {
        if let Some(export) = recorder.silent {
            panic!("`{export}` may not look up");
        }
        recorder.recording.lookups.push(query.clone());
    });
    lookups::answer(&query)
}
