//! Where a guest spends its time: samples of its stack, taken while it runs.
//!
//! A sample is taken whenever the epoch moves on during a call, every 5 ms; calls are far shorter, but
//! how often a tick falls into a function shows how long it runs. An instance that is not profiled
//! pays nothing.

use std::fmt;
use std::time::Duration;

use wasmtime::{AsContext, GuestProfiler, UpdateDeadline};

use super::instance::Instance;
use super::runtime::TICK;
use super::state::State;

/// A profile that is being taken.
pub(super) struct Sampling {
    profiler: GuestProfiler,
    /// Samples so far.
    samples: u64,
    ticks_per_call: u64,
    /// What is left of the call's time: the deadline itself is the next tick.
    ticks_left: u64,
}

impl Sampling {
    #[inline]
    pub(super) fn begin_call(&mut self) {
        self.ticks_left = self.ticks_per_call;
    }

    /// Takes a sample, and tells whether the call may go on.
    pub(super) fn tick(&mut self, store: impl AsContext, given_back: u64) -> UpdateDeadline {
        self.profiler.sample(store, TICK);
        self.samples += 1;
        self.ticks_left = self.ticks_left.saturating_sub(1).saturating_add(given_back);
        match self.ticks_left {
            0 => UpdateDeadline::Interrupt,
            _ => UpdateDeadline::Continue(1),
        }
    }
}

impl fmt::Debug for Sampling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sampling")
            .field("samples", &self.samples)
            .finish_non_exhaustive()
    }
}

/// What was seen of an instance while it was profiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// In the Firefox profiler's processed format, JSON: <https://profiler.firefox.com> opens it.
    pub json: Vec<u8>,
    /// How many samples there are; none when the instance did not run, or for moments only.
    pub samples: u64,
}

/// Time between two samples, while the guest runs.
pub const SAMPLE_INTERVAL: Duration = TICK;

impl Instance {
    /// Begins to take samples of the calls that follow. A profile that was begun before is dropped.
    pub fn start_profile(&mut self) {
        let module = &self.caller.module;
        let compiled = module.instance_pre().module();
        let modules = [(module.name().to_owned(), compiled.clone())];
        let profiler = GuestProfiler::new(compiled.engine(), module.name(), TICK, modules)
            .expect("the engine debugs no guests, which alone would keep it from profiling them");
        let ticks_per_call = self.caller.ticks_per_call();
        self.caller.set_sampling(Some(Box::new(Sampling {
            profiler,
            samples: 0,
            ticks_per_call,
            ticks_left: ticks_per_call,
        })));
    }

    /// Ends the profile. `None` when none was begun, or another instance has taken the place of the
    /// one that it was begun on.
    pub fn finish_profile(&mut self) -> Option<Profile> {
        let Sampling {
            profiler, samples, ..
        } = *self.caller.set_sampling(None)?;
        let mut json = Vec::new();
        profiler
            .finish(&mut json)
            .expect("writing to memory does not fail");
        Some(Profile { json, samples })
    }

    /// Whether samples are taken.
    #[must_use]
    pub fn is_profiled(&self) -> bool {
        self.caller.store.data().sampling.is_some()
    }
}

/// What happens at the deadline of a call: its end, unless the host has kept it waiting, or it is
/// only time for a sample.
pub(super) fn at_deadline(
    mut context: wasmtime::StoreContextMut<'_, State>,
) -> wasmtime::Result<UpdateDeadline> {
    let state = context.data_mut();
    // Only here, at the deadline, is the time given back that the host spent waiting.
    let given_back = state.take_waited_ticks();
    if let Some(mut sampling) = state.sampling.take() {
        let update = sampling.tick(&context, given_back);
        context.data_mut().sampling = Some(sampling);
        return Ok(update);
    }
    Ok(match given_back {
        0 => UpdateDeadline::Interrupt,
        ticks => UpdateDeadline::Continue(ticks),
    })
}
