//! Ops by namespace and operation, with a bound on how many namespaces are told apart.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard},
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
};

use super::OTHER;
use crate::op::Operation;

/// Namespaces with a label of their own: the first that are seen. A deployment can have any number,
/// and a monitoring system that is given them all breaks.
pub const NAMESPACES_MAX: usize = 200;

/// How far an op came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The source gave it.
    Read,
    /// A module handled it.
    Handled,
    /// A handler emitted documents for it: documents are counted.
    Emitted,
}

const STAGES: usize = 3;

const OPERATIONS: [Operation; 4] = [
    Operation::Insert,
    Operation::Update,
    Operation::Delete,
    Operation::Command,
];

/// The word of an operation in labels.
fn operation_label(operation: Operation) -> &'static str {
    match operation {
        Operation::Insert => "insert",
        Operation::Update => "update",
        Operation::Delete => "delete",
        Operation::Command => "command",
    }
}

/// The numbers of one namespace since the last merge.
#[derive(Debug, Default)]
struct Row {
    is_touched: bool,
    counts: [[u64; OPERATIONS.len()]; STAGES],
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct NamespaceLabels {
    namespace: Arc<str>,
    operation: &'static str,
}

/// One family for each stage.
pub(super) type StageFamilies = [Family<NamespaceLabels, Counter>; STAGES];

/// Which namespaces have a label, for all threads. The lock guards the list, and is taken when a
/// thread meets a namespace for the first time, or learns that the list is full.
#[derive(Debug)]
pub(super) struct Namespaces {
    labels: Mutex<Vec<Arc<str>>>,
    other: Arc<str>,
}

impl Default for Namespaces {
    fn default() -> Self {
        Self {
            labels: Mutex::default(),
            other: OTHER.into(),
        }
    }
}

impl Namespaces {
    fn labels(&self) -> MutexGuard<'_, Vec<Arc<str>>> {
        self.labels.lock().expect("no holder of this lock panics")
    }
}

/// Ops that one thread has counted and not yet merged: plain numbers. Made by
/// [`Metrics::namespace_counts`](super::Metrics::namespace_counts).
pub struct NamespaceCounts {
    namespaces: Arc<Namespaces>,
    /// The namespaces with a label that this thread has met, by their place in `rows`.
    known: HashMap<Arc<str>, usize>,
    /// Whether `known` has every label that there will ever be.
    knows_all: bool,
    /// The first is that of all others.
    rows: Vec<(Arc<str>, Row)>,
    /// Rows that were counted into since the last merge.
    touched: Vec<usize>,
    /// The namespace of the call before: ops of one namespace come in runs.
    last: (String, usize),
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
    pub(super) fn new(namespaces: Arc<Namespaces>) -> Self {
        Self {
            rows: vec![(namespaces.other.clone(), Row::default())],
            namespaces,
            known: HashMap::new(),
            knows_all: false,
            touched: Vec::new(),
            // No namespace is empty.
            last: (String::new(), OTHER_ROW),
        }
    }

    /// Counts `count` ops, or documents, of a namespace. Allocates when the namespace is new to it.
    pub fn count(&mut self, stage: Stage, namespace: &str, operation: Operation, count: u64) {
        if self.last.0 != namespace {
            let row = self.row_of(namespace);
            self.last.0.clear();
            self.last.0.push_str(namespace);
            self.last.1 = row;
        }
        let row = self.last.1;
        let numbers = &mut self.rows[row].1;
        if !numbers.is_touched {
            numbers.is_touched = true;
            self.touched.push(row);
        }
        numbers.counts[stage as usize][operation_index(operation)] += count;
    }

    fn row_of(&mut self, namespace: &str) -> usize {
        if let Some(row) = self.known.get(namespace) {
            return *row;
        }
        if self.knows_all {
            return OTHER_ROW;
        }
        let namespaces = self.namespaces.clone();
        let mut labels = namespaces.labels();
        let found = labels.iter().find(|label| ***label == *namespace).cloned();
        if let Some(label) = found {
            return self.learn(label);
        }
        if labels.len() < NAMESPACES_MAX {
            let label: Arc<str> = namespace.into();
            labels.push(label.clone());
            return self.learn(label);
        }
        // From here on, what is not known has no label, and no lock is needed to tell.
        for label in labels.iter().cloned() {
            self.learn(label);
        }
        self.knows_all = true;
        OTHER_ROW
    }

    fn learn(&mut self, label: Arc<str>) -> usize {
        let next = self.rows.len();
        let row = *self.known.entry(label.clone()).or_insert(next);
        if row == next {
            self.rows.push((label, Row::default()));
        }
        row
    }

    /// Adds what was counted to the families, and begins anew.
    pub(super) fn merge(&mut self, families: &StageFamilies) {
        for row in self.touched.drain(..) {
            let (namespace, numbers) = &mut self.rows[row];
            for (family, by_operation) in families.iter().zip(std::mem::take(numbers).counts) {
                for (operation, count) in OPERATIONS.into_iter().zip(by_operation) {
                    if count > 0 {
                        let labels = NamespaceLabels {
                            namespace: namespace.clone(),
                            operation: operation_label(operation),
                        };
                        family.get_or_create(&labels).inc_by(count);
                    }
                }
            }
        }
    }
}

const fn operation_index(operation: Operation) -> usize {
    match operation {
        Operation::Insert => 0,
        Operation::Update => 1,
        Operation::Delete => 2,
        Operation::Command => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    fn series(text: &str) -> Vec<&str> {
        let prefix = "oplet_source_ops_total{";
        let mut series: Vec<_> = text.lines().filter(|l| l.starts_with(prefix)).collect();
        series.sort_unstable();
        series
    }

    #[test]
    fn operations_lie_where_their_index_says() {
        for (index, operation) in OPERATIONS.into_iter().enumerate() {
            assert_eq!(operation_index(operation), index);
        }
    }

    #[test]
    fn counts_of_several_threads_add_up() {
        let metrics = Metrics::new();
        let mut first = metrics.namespace_counts();
        let mut second = metrics.namespace_counts();
        first.count(Stage::Read, "a.b", Operation::Insert, 2);
        first.count(Stage::Read, "a.c", Operation::Delete, 1);
        first.count(Stage::Read, "a.b", Operation::Insert, 1);
        second.count(Stage::Read, "a.b", Operation::Insert, 4);
        second.count(Stage::Emitted, "a.b", Operation::Insert, 9);
        metrics.merge(&mut first);
        metrics.merge(&mut first);
        metrics.merge(&mut second);
        let text = metrics.encode();
        assert_eq!(
            series(&text),
            [
                r#"oplet_source_ops_total{namespace="a.b",operation="insert"} 7"#,
                r#"oplet_source_ops_total{namespace="a.c",operation="delete"} 1"#,
            ]
        );
        let emitted = r#"oplet_flow_emitted_documents_total{namespace="a.b",operation="insert"} 9"#;
        assert!(text.contains(emitted), "{text}");
    }

    #[test]
    fn namespaces_beyond_the_bound_are_others_to_every_thread() {
        let metrics = Metrics::new();
        let name = |n: usize| format!("shop.c{n}");
        let mut first = metrics.namespace_counts();
        for n in 0..NAMESPACES_MAX + 50 {
            first.count(Stage::Read, &name(n), Operation::Update, 1);
        }
        // Knows none of them, and meets one without a label before one that has one.
        let mut second = metrics.namespace_counts();
        second.count(Stage::Read, &name(NAMESPACES_MAX), Operation::Update, 1);
        second.count(Stage::Read, &name(7), Operation::Update, 1);
        metrics.merge(&mut first);
        metrics.merge(&mut second);
        let text = metrics.encode();
        let series = series(&text);
        assert_eq!(series.len(), NAMESPACES_MAX + 1);
        let has = |line: &str| assert!(series.contains(&line), "{line}");
        has(r#"oplet_source_ops_total{namespace="other",operation="update"} 51"#);
        has(r#"oplet_source_ops_total{namespace="shop.c7",operation="update"} 2"#);
        assert!(first.known.len() <= NAMESPACES_MAX && second.known.len() <= NAMESPACES_MAX);
    }
}
