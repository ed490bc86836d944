//! What a lane has to write and to tell.

use std::time::{Duration, Instant};

use super::{Stats, pipeline::Error, shared::Shared};
use crate::{
    flow::Stop,
    guest::Instance,
    op::{Format, write_json},
    sink::Stdout,
};

/// How much output is gathered before it is written.
const OUTPUT_BYTES: usize = 64 << 10;

/// How long output waits at most while a lane goes on with its batch.
const OUTPUT_AGE: Duration = Duration::from_millis(20);

/// What a lane counted since it last told.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) kept: u64,
    pub(super) handled: u64,
    pub(super) emitted: u64,
    pub(super) failed: u64,
    pub(super) skipped: u64,
}

/// Lines that wait to be written, and what was counted meanwhile.
#[derive(Debug)]
pub(super) struct Output {
    sink: Stdout,
    pub(super) lines: String,
    since: Instant,
    pub(super) tally: Tally,
}

impl Output {
    pub(super) fn new() -> Self {
        Self {
            sink: Stdout,
            lines: String::new(),
            since: Instant::now(),
            tally: Tally::default(),
        }
    }

    /// Whether what waits is much, or has waited long.
    pub(super) fn is_due(&self) -> bool {
        let len = self.lines.len();
        len > OUTPUT_BYTES || (len > 0 && self.since.elapsed() > OUTPUT_AGE)
    }

    /// Writes what waits.
    pub(super) fn write(&mut self, shared: &Shared) -> Result<(), Stop> {
        self.since = Instant::now();
        if self.lines.is_empty() {
            return Ok(());
        }
        let written = self.sink.write(&self.lines);
        self.lines.clear();
        written.map_err(|broken| shared.stop(Error::Output(broken)))?;
        // Now, since a lane that is left behind will not come to it.
        self.tell(&shared.stats);
        Ok(())
    }

    /// Adds what was counted to the run's counters.
    pub(super) fn tell(&mut self, stats: &Stats) {
        let Tally {
            kept,
            handled,
            emitted,
            failed,
            skipped,
        } = std::mem::take(&mut self.tally);
        Stats::add(&stats.kept, kept);
        Stats::add(&stats.handled, handled);
        Stats::add(&stats.emitted, emitted);
        Stats::add(&stats.failed, failed);
        Stats::add(&stats.skipped, skipped);
    }
}

/// Appends what an instance emitted, one line each, and returns how many there were.
pub(super) fn write_outputs(
    instance: &mut Instance,
    format: Format,
    lines: &mut String,
) -> Result<u64, String> {
    let mut count = 0;
    for (_sink, document) in instance.outputs() {
        write_json(document, format, lines).map_err(|error| error.to_string())?;
        lines.push('\n');
        count += 1;
    }
    instance.clear_outputs();
    Ok(count)
}
