//! Modules that are told the time (`oplet_tick`).
//!
//! A lane ticks a module once that has had an op there: what it emits is given out as gathered up to
//! the last of them, behind what its flushes gave for that op. The ops that it gathered over ticks
//! were done long ago, so that what it has gathered and not emitted is lost with the process; state
//! that a swap hands over is not. Ticks go on when the stream is idle, wait while the run is paused,
//! and end when there will be no more ops.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    ModuleSpec, OnError, instances::Instances, options::Error, order::OrderKeys, segment::Segment,
    tally::Tally, worker::LaneWorker,
};
use crate::{
    flow::Stop,
    guest::Isolation,
    op::{Batch, BatchTicket},
    sink::Cause,
};

/// When the modules of a lane are told the time.
#[derive(Debug)]
pub(super) struct Ticks {
    /// By module: how often; none for those that are not told.
    every: Vec<Option<Duration>>,
    /// By module, once it has had an op.
    begun: Vec<Option<Begun>>,
}

#[derive(Debug)]
struct Begun {
    due: Instant,
    last: Last,
}

/// The op that a module had last, in this lane.
#[derive(Debug, Clone)]
struct Last {
    batch: Arc<Batch>,
    ticket: BatchTicket,
    place: u32,
    /// How many documents were given out as gathered up to it.
    emitted: u32,
}

impl Ticks {
    pub(super) fn new<'a>(modules: impl Iterator<Item = &'a ModuleSpec>) -> Self {
        let every: Vec<_> = modules
            .map(|spec| {
                let settings = spec.module.settings();
                settings
                    .tick
                    .filter(|_| settings.isolation == Isolation::Lane)
            })
            .collect();
        Self {
            begun: every.iter().map(|_| None).collect(),
            every,
        }
    }

    /// A module was flushed behind the op of that place, and gave so many documents.
    #[inline]
    pub(super) fn flushed(&mut self, module: usize, segment: &Segment, place: u32, emitted: u64) {
        let Some(every) = self.every[module] else {
            return;
        };
        let Some((batch, ticket)) = segment.of() else {
            return;
        };
        let due = self.begun[module].as_ref().map(|begun| begun.due);
        self.begun[module] = Some(Begun {
            due: due.unwrap_or_else(|| Instant::now() + every),
            last: Last {
                batch: batch.clone(),
                ticket,
                place,
                emitted: emitted as u32,
            },
        });
    }

    /// When the next tick is due, if any.
    pub(super) fn due(&self) -> Option<Instant> {
        self.begun.iter().flatten().map(|begun| begun.due).min()
    }

    /// A module whose tick is due. The next one is so long after now: what was missed is not made up
    /// for.
    fn take_due(&mut self, now: Instant) -> Option<(usize, Last)> {
        let is_due = |begun: &Option<Begun>| begun.as_ref().is_some_and(|begun| begun.due <= now);
        let module = self.begun.iter().position(is_due)?;
        let begun = self.begun[module].as_mut()?;
        begun.due = now + self.every[module]?;
        Some((module, begun.last.clone()))
    }

    fn emitted(&mut self, module: usize, emitted: u64) {
        if let Some(begun) = &mut self.begun[module] {
            begun.last.emitted = begun.last.emitted.saturating_add(emitted as u32);
        }
    }
}

impl LaneWorker {
    /// Tells the modules the time whose tick is due, and passes on what they emit. The segment is of
    /// no batch meanwhile but that of their last op.
    pub(super) fn tick_due(&mut self) -> Result<(), Stop> {
        let now = Instant::now();
        while let Some((module, last)) = self.instances.ticks.take_due(now) {
            self.segment.begin(&last.batch, last.ticket, 0);
            let (segment, keys) = (&mut self.segment, &mut self.keys);
            let ticked = self
                .instances
                .tick(module, &last, segment, keys, &mut self.tally);
            // No op waits for it.
            let sent = self.send(None);
            self.segment.end();
            ticked.and(sent)?;
        }
        Ok(())
    }
}

impl Instances {
    fn tick(
        &mut self,
        module: usize,
        last: &Last,
        segment: &mut Segment,
        keys: &mut OrderKeys,
        tally: &mut Tally,
    ) -> Result<(), Stop> {
        let now_ms = bson::DateTime::now().timestamp_millis();
        let ticked = self.get(module).tick(now_ms);
        self.count(module);
        let spec = self.spec(module).clone();
        let name = spec.module.name();
        let Err(source) = ticked else {
            let op = last.batch.op(last.place as usize);
            let from = (last.place, module, Cause::Flush);
            let instance = self.get(module);
            match segment.take_outputs_behind(last.emitted, instance, from, module, || keys.of(&op))
            {
                Ok(0) => {}
                Ok(emitted) => {
                    tally.flushed(module, &op, emitted);
                    self.ticks.emitted(module, emitted);
                }
                Err(error) => {
                    instance.clear_outputs();
                    tracing::error!(module = name, error, "an output cannot be written");
                }
            }
            return Ok(());
        };
        tally.failed(module, source.class.as_str());
        tracing::error!(module = name, error = %source, "a module failed at a tick");
        if spec.policy.on_error == OnError::Stop {
            let module = name.to_owned();
            return Err(self.stop(Error::Tick { module, source }));
        }
        // What it had gathered is gone, and a restart would not bring it back.
        self.revive(module);
        Ok(())
    }
}
