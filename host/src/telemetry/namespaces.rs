//! Ops by namespace and operation, with a bound on how many namespaces are told apart.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::{OTHER, names, samples::Samples};
use crate::op::{Op, Operation};

/// Namespaces with a label of their own: the first that are seen. A deployment can have any number,
/// and a monitoring system that is given them all breaks.
pub const NAMESPACES_MAX: usize = 200;

const OPERATIONS: [Operation; 4] = [
    Operation::Insert,
    Operation::Update,
    Operation::Delete,
    Operation::Command,
];

const fn operation_index(operation: Operation) -> usize {
    match operation {
        Operation::Insert => 0,
        Operation::Update => 1,
        Operation::Delete => 2,
        Operation::Command => 3,
    }
}

/// The word of an operation in labels.
const fn operation_label(operation: Operation) -> &'static str {
    match operation {
        Operation::Insert => "insert",
        Operation::Update => "update",
        Operation::Delete => "delete",
        Operation::Command => "command",
    }
}

/// What became of the ops of one namespace and operation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Ops that the source gave.
    pub read: u64,
    /// Ops that a module handled, per module.
    pub handled: u64,
    /// Documents that handlers emitted for them.
    pub emitted: u64,
}

/// The sums of one namespace over all threads: read, handled, emitted, by operation.
#[derive(Debug)]
struct Sums {
    label: Box<str>,
    by_operation: [[AtomicU64; 3]; OPERATIONS.len()],
}

impl Sums {
    fn new(label: &str) -> Arc<Self> {
        Arc::new(Self {
            label: label.into(),
            by_operation: Default::default(),
        })
    }

    fn add(&self, counted: &[Counts; OPERATIONS.len()]) {
        for (sums, counts) in self.by_operation.iter().zip(counted) {
            let counts = [counts.read, counts.handled, counts.emitted];
            for (sum, count) in sums.iter().zip(counts) {
                if count > 0 {
                    sum.fetch_add(count, Relaxed);
                }
            }
        }
    }
}

/// What became of ops, by namespace and operation; cheap to clone.
#[derive(Debug, Clone)]
pub struct Namespaces(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Those with a label of their own. The lock is taken when a thread meets a namespace for the first
    /// time, or learns that the list is full.
    known: Mutex<Vec<Arc<Sums>>>,
    other: Arc<Sums>,
}

impl Default for Namespaces {
    fn default() -> Self {
        Self(Arc::new(Inner {
            known: Mutex::default(),
            other: Sums::new(OTHER),
        }))
    }
}

impl Namespaces {
    fn known(&self) -> MutexGuard<'_, Vec<Arc<Sums>>> {
        self.0.known.lock().expect("no holder of this lock panics")
    }

    /// What one thread counts with.
    #[must_use]
    pub fn counts(&self) -> NamespaceCounts {
        NamespaceCounts {
            namespaces: self.clone(),
            known: HashMap::new(),
            knows_all: false,
            rows: vec![Row::new(self.0.other.clone())],
            touched: Vec::new(),
            // No namespace is empty.
            last: (Vec::new(), OTHER_ROW),
        }
    }

    /// Shows all sums.
    pub fn collect(&self, samples: &mut Samples) {
        let mut known = self.known().clone();
        known.push(self.0.other.clone());
        let metrics = [
            names::SOURCE_OPS,
            names::FLOW_HANDLED_OPS,
            names::FLOW_OUTPUTS,
        ];
        for (index, metric) in metrics.into_iter().enumerate() {
            for sums in &known {
                for (operation, by_stage) in OPERATIONS.into_iter().zip(&sums.by_operation) {
                    let sum = by_stage[index].load(Relaxed);
                    if sum > 0 {
                        samples.count(metric, &[&sums.label, operation_label(operation)], sum);
                    }
                }
            }
        }
    }
}

/// What one thread has counted of one namespace since it last told.
struct Row {
    sums: Arc<Sums>,
    is_touched: bool,
    by_operation: [Counts; OPERATIONS.len()],
}

impl Row {
    fn new(sums: Arc<Sums>) -> Self {
        Self {
            sums,
            is_touched: false,
            by_operation: Default::default(),
        }
    }
}

/// Ops that one thread has counted and not yet told: plain numbers. Made by [`Namespaces::counts`].
pub struct NamespaceCounts {
    namespaces: Namespaces,
    /// The namespaces with a label that this thread has met, by their place in `rows`.
    known: HashMap<Box<[u8]>, usize>,
    /// Whether `known` has every label that there will ever be.
    knows_all: bool,
    /// The first is that of all others.
    rows: Vec<Row>,
    /// Rows that were counted into since it last told.
    touched: Vec<usize>,
    /// The namespace of the call before: ops of one namespace come in runs.
    last: (Vec<u8>, usize),
}

impl fmt::Debug for NamespaceCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamespaceCounts")
            .field("known", &self.known.len())
            .field("touched", &self.touched.len())
            .finish_non_exhaustive()
    }
}

/// The row of all namespaces without a label.
const OTHER_ROW: usize = 0;

impl NamespaceCounts {
    /// The counts that an op belongs to.
    #[inline]
    pub fn of(&mut self, op: &Op<'_>) -> &mut Counts {
        self.counts(op.namespace_bytes(), op.operation())
    }

    #[inline]
    fn counts(&mut self, namespace: &[u8], operation: Operation) -> &mut Counts {
        if self.last.0 != namespace {
            self.turn_to(namespace);
        }
        let at = self.last.1;
        let row = &mut self.rows[at];
        if !row.is_touched {
            row.is_touched = true;
            self.touched.push(at);
        }
        &mut row.by_operation[operation_index(operation)]
    }

    /// Another namespace than before. Allocates when it is new to the thread.
    fn turn_to(&mut self, namespace: &[u8]) {
        let row = self.row_of(namespace);
        self.last.0.clear();
        self.last.0.extend_from_slice(namespace);
        self.last.1 = row;
    }

    fn row_of(&mut self, namespace: &[u8]) -> usize {
        if let Some(row) = self.known.get(namespace) {
            return *row;
        }
        if self.knows_all {
            return OTHER_ROW;
        }
        let namespaces = self.namespaces.clone();
        let mut known = namespaces.known();
        let is_its = |sums: &&Arc<Sums>| sums.label.as_bytes() == namespace;
        if let Some(sums) = known.iter().find(is_its) {
            return self.learn(sums);
        }
        // One that is no text has no label.
        let label = std::str::from_utf8(namespace).ok();
        if let Some(label) = label.filter(|_| known.len() < NAMESPACES_MAX) {
            let sums = Sums::new(label);
            known.push(sums.clone());
            return self.learn(&sums);
        }
        if known.len() >= NAMESPACES_MAX {
            // From here on, what is not known has no label, and no lock is needed to tell.
            for sums in known.iter() {
                self.learn(sums);
            }
            self.knows_all = true;
        }
        OTHER_ROW
    }

    fn learn(&mut self, sums: &Arc<Sums>) -> usize {
        let next = self.rows.len();
        let row = *self
            .known
            .entry(sums.label.as_bytes().into())
            .or_insert(next);
        if row == next {
            self.rows.push(Row::new(sums.clone()));
        }
        row
    }

    /// Adds what was counted to the sums, and begins anew. Takes no lock.
    pub fn tell(&mut self) {
        for at in self.touched.drain(..) {
            let row = &mut self.rows[at];
            row.is_touched = false;
            row.sums.add(&std::mem::take(&mut row.by_operation));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(namespaces: &Namespaces, metric: &str) -> Vec<String> {
        let mut samples = Samples::default();
        namespaces.collect(&mut samples);
        let samples = samples.0.iter().filter(|sample| sample.metric == metric);
        let mut sums: Vec<_> = samples
            .map(|sample| {
                let labels: Vec<_> = sample
                    .labels
                    .iter()
                    .map(|(_, label)| label.as_str())
                    .collect();
                format!("{} {:?}", labels.join(" "), sample.value)
            })
            .collect();
        sums.sort_unstable();
        sums
    }

    #[test]
    fn operations_lie_where_their_index_says() {
        for (index, operation) in OPERATIONS.into_iter().enumerate() {
            assert_eq!(operation_index(operation), index);
        }
    }

    #[test]
    fn counts_of_several_threads_add_up() {
        let namespaces = Namespaces::default();
        let (mut first, mut second) = (namespaces.counts(), namespaces.counts());
        first.counts(b"a.b", Operation::Insert).read += 2;
        first.counts(b"a.c", Operation::Delete).read += 1;
        first.counts(b"a.b", Operation::Insert).read += 1;
        second.counts(b"a.b", Operation::Insert).read += 4;
        second.counts(b"a.b", Operation::Insert).emitted += 9;
        assert_eq!(sums(&namespaces, "oplet_source_ops_total"), [""; 0]);
        first.tell();
        first.tell();
        second.tell();
        assert_eq!(
            sums(&namespaces, "oplet_source_ops_total"),
            ["a.b insert Count(7)", "a.c delete Count(1)"]
        );
        let emitted = sums(&namespaces, "oplet_flow_emitted_documents_total");
        assert_eq!(emitted, ["a.b insert Count(9)"]);
        assert_eq!(sums(&namespaces, "oplet_flow_handled_ops_total"), [""; 0]);
    }

    #[test]
    fn namespaces_beyond_the_bound_are_others_to_every_thread() {
        let namespaces = Namespaces::default();
        let name = |n: usize| format!("shop.c{n}").into_bytes();
        let mut first = namespaces.counts();
        for n in 0..NAMESPACES_MAX + 50 {
            first.counts(&name(n), Operation::Update).read += 1;
        }
        // Knows none of them, and meets one without a label before one that has one.
        let mut second = namespaces.counts();
        second.counts(&name(NAMESPACES_MAX), Operation::Update).read += 1;
        second.counts(&name(7), Operation::Update).read += 1;
        first.tell();
        second.tell();
        let sums = sums(&namespaces, "oplet_source_ops_total");
        assert_eq!(sums.len(), NAMESPACES_MAX + 1);
        for sum in ["other update Count(51)", "shop.c7 update Count(2)"] {
            assert!(sums.iter().any(|shown| shown == sum), "{sum}");
        }
        assert!(first.known.len() <= NAMESPACES_MAX && second.known.len() <= NAMESPACES_MAX);
    }
}
