//! What lanes count.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use super::Stats;
use crate::{
    op::Op,
    telemetry::{NamespaceCounts, Namespaces},
};

/// One of so many calls is timed: the clock costs as much as a small handler.
const TIMED_EVERY: u64 = 64;

/// Upper bounds of the buckets that call times are counted in; longer ones are in one more.
pub(super) const TIME_BUCKETS: [Duration; 12] = [
    Duration::from_nanos(500),
    Duration::from_micros(1),
    Duration::from_micros(2),
    Duration::from_micros(5),
    Duration::from_micros(10),
    Duration::from_micros(50),
    Duration::from_micros(200),
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(25),
    Duration::from_millis(100),
    Duration::from_secs(1),
];

/// Counts of one module, over all lanes.
#[derive(Debug, Default)]
pub(super) struct ModuleStats {
    /// Ops that it was called for; each further try counts.
    pub(super) calls: AtomicU64,
    /// Documents emitted.
    pub(super) emitted: AtomicU64,
    /// Further tries of ops.
    pub(super) retries: AtomicU64,
    /// Ops put into the dead letters.
    pub(super) dead_lettered: AtomicU64,
    /// Ops given up.
    pub(super) skipped: AtomicU64,
    /// Ops that wait at present: for another try, or behind one that does.
    pub(super) parked: AtomicU64,
    /// Failed calls by [`Failure::class`](super::failure::Failure::class). The lock is held to add
    /// what a lane counted, where there was a failure.
    pub(super) failures: Mutex<BTreeMap<&'static str, u64>>,
    /// Timed calls, by [`TIME_BUCKETS`].
    pub(super) times: [AtomicU64; TIME_BUCKETS.len() + 1],
    /// What the timed calls took together, in nanoseconds.
    pub(super) time_ns: AtomicU64,
}

/// What a lane counted of one module since it last told.
#[derive(Debug, Default)]
struct ModuleTally {
    /// Calls since the start, to choose those that are timed.
    timer: u64,
    calls: u64,
    emitted: u64,
    retries: u64,
    dead_lettered: u64,
    skipped: u64,
    failures: Vec<&'static str>,
    times: Vec<Duration>,
}

/// What a lane counted since it last told.
#[derive(Debug)]
pub(super) struct Tally {
    kept: u64,
    handled: u64,
    namespaces: NamespaceCounts,
    modules: Vec<ModuleTally>,
    /// Whether there is anything to tell.
    is_empty: bool,
}

impl Tally {
    pub(super) fn new(modules: usize, namespaces: &Namespaces) -> Self {
        Self {
            kept: 0,
            handled: 0,
            namespaces: namespaces.counts(),
            modules: (0..modules).map(|_| ModuleTally::default()).collect(),
            is_empty: true,
        }
    }

    /// How many calls of a module there were, by this lane.
    pub(super) fn calls(&self, module: usize) -> u64 {
        self.modules[module].timer
    }

    /// A call begins; the answer goes to [`end_call`](Self::end_call).
    #[inline]
    pub(super) fn begin_call(&mut self, module: usize) -> Option<Instant> {
        self.is_empty = false;
        let tally = &mut self.modules[module];
        tally.calls += 1;
        // By module: of several that take turns, it would always be the same one's turn.
        tally.timer += 1;
        (tally.timer % TIMED_EVERY == 1).then(Instant::now)
    }

    #[inline]
    pub(super) fn end_call(&mut self, module: usize, begun: Option<Instant>) {
        if let Some(begun) = begun {
            self.modules[module].times.push(begun.elapsed());
        }
    }

    /// A module's filter was called for an op, and did not want it.
    pub(super) fn dropped_ahead(&mut self, module: usize) {
        self.is_empty = false;
        self.modules[module].calls += 1;
    }

    /// An op was kept by a filter, and given up by the handler.
    pub(super) fn kept(&mut self) {
        self.is_empty = false;
        self.kept += 1;
    }

    /// An op was kept and handled.
    #[inline]
    pub(super) fn handled(&mut self, module: usize, op: &Op<'_>, emitted: u64) {
        self.kept += 1;
        self.handled += 1;
        self.modules[module].emitted += emitted;
        let counts = self.namespaces.of(op);
        counts.handled += 1;
        counts.emitted += emitted;
    }

    /// An op that was handled since this was last told is to be handled again, and what was emitted for it
    /// was taken back.
    pub(super) fn lost(&mut self, module: usize, op: &Op<'_>, emitted: u64) {
        self.kept -= 1;
        self.handled -= 1;
        self.modules[module].emitted -= emitted;
        let counts = self.namespaces.of(op);
        counts.handled -= 1;
        counts.emitted -= emitted;
    }

    /// A module gave what it had gathered, the last of it from this op.
    pub(super) fn flushed(&mut self, module: usize, op: &Op<'_>, emitted: u64) {
        self.is_empty = false;
        self.modules[module].emitted += emitted;
        self.namespaces.of(op).emitted += emitted;
    }

    pub(super) fn failed(&mut self, module: usize, class: &'static str) {
        self.is_empty = false;
        self.modules[module].failures.push(class);
    }

    pub(super) fn retried(&mut self, module: usize) {
        self.is_empty = false;
        self.modules[module].retries += 1;
    }

    pub(super) fn skipped(&mut self, module: usize) {
        self.is_empty = false;
        self.modules[module].skipped += 1;
    }

    pub(super) fn dead_lettered(&mut self, module: usize) {
        self.is_empty = false;
        self.modules[module].dead_lettered += 1;
    }

    /// Adds what was counted to the run's counters.
    pub(super) fn tell<'a>(
        &mut self,
        stats: &Stats,
        modules: impl Iterator<Item = &'a ModuleStats>,
    ) {
        if std::mem::replace(&mut self.is_empty, true) {
            return;
        }
        Stats::add(&stats.kept, std::mem::take(&mut self.kept));
        Stats::add(&stats.handled, std::mem::take(&mut self.handled));
        self.namespaces.tell();
        for (tally, module) in self.modules.iter_mut().zip(modules) {
            tally.tell(stats, module);
        }
    }
}

impl ModuleTally {
    fn tell(&mut self, stats: &Stats, module: &ModuleStats) {
        let Self {
            timer: _,
            calls,
            emitted,
            retries,
            dead_lettered,
            skipped,
            failures,
            times,
        } = self;
        let add = |count: &mut u64, to: &[&AtomicU64]| {
            let count = std::mem::take(count);
            to.iter().for_each(|to| Stats::add(to, count));
        };
        add(calls, &[&module.calls]);
        add(emitted, &[&module.emitted, &stats.emitted]);
        add(retries, &[&module.retries, &stats.retries]);
        add(
            dead_lettered,
            &[&module.dead_lettered, &stats.dead_lettered],
        );
        add(skipped, &[&module.skipped, &stats.skipped]);
        if !failures.is_empty() {
            Stats::add(&stats.failed, failures.len() as u64);
            let mut by_class = module
                .failures
                .lock()
                .expect("no holder of this lock panics");
            for class in failures.drain(..) {
                *by_class.entry(class).or_default() += 1;
            }
        }
        for time in times.drain(..) {
            let bucket = TIME_BUCKETS.partition_point(|bound| *bound < time);
            module.times[bucket].fetch_add(1, Relaxed);
            let time_ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
            module.time_ns.fetch_add(time_ns, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        op::{Batch, BatchBuilder, Operation, Position, Record, SourceKind, Timestamp},
        telemetry::{Samples, names},
    };

    /// An insert into `a.b`.
    fn batch() -> Batch {
        let mut builder = BatchBuilder::new(Vec::new().into());
        let namespace = builder.make(|extra| extra.extend_from_slice(b"a.b"));
        let at = Timestamp::new(1, 1);
        builder.push(Record::new(Operation::Insert, namespace, at));
        builder.finish(SourceKind::Oplog, Position::Time(at), true)
    }

    #[test]
    fn every_module_is_timed_when_several_take_turns() {
        let mut tally = Tally::new(2, &Namespaces::default());
        for _ in 0..65 {
            for module in 0..2 {
                let begun = tally.begin_call(module);
                tally.end_call(module, begun);
            }
        }
        let timed: Vec<_> = tally
            .modules
            .iter()
            .map(|module| module.times.len())
            .collect();
        assert_eq!(timed, [2, 2]);
    }

    #[test]
    fn what_was_counted_is_told_once() {
        let (stats, module) = (Stats::default(), ModuleStats::default());
        let mut tally = Tally::new(1, &stats.namespaces);
        let batch = batch();
        for _ in 0..130 {
            let begun = tally.begin_call(0);
            tally.handled(0, &batch.op(0), 2);
            tally.end_call(0, begun);
        }
        tally.flushed(0, &batch.op(0), 5);
        tally.dropped_ahead(0);
        tally.skipped(0);
        tally.failed(0, "trap");
        tally.retried(0);
        tally.dead_lettered(0);
        for _ in 0..2 {
            tally.tell(&stats, [&module].into_iter());
            assert_eq!(module.calls.load(Relaxed), 131);
            assert_eq!(stats.kept.load(Relaxed), 130);
            assert_eq!(stats.emitted.load(Relaxed), 265);
            assert_eq!(module.skipped.load(Relaxed), 1);
            assert_eq!(stats.skipped.load(Relaxed), 1);
            assert_eq!(stats.failed.load(Relaxed), 1);
            assert_eq!(stats.dead_lettered.load(Relaxed), 1);
            assert_eq!(module.failures.lock().unwrap()["trap"], 1);
            let timed: u64 = module.times.iter().map(|count| count.load(Relaxed)).sum();
            assert_eq!(timed, 3, "the 1st, the 65th and the 129th");
            let mut samples = Samples::default();
            stats.namespaces.collect(&mut samples);
            let mut expected = Samples::default();
            let labels = ["a.b", "insert"];
            expected.count(names::FLOW_HANDLED_OPS, &labels, 130);
            expected.count(names::FLOW_OUTPUTS, &labels, 265);
            assert_eq!(samples, expected);
        }
    }
}
