//! Every metric, declared once.

/// What kind of metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from 0 at the start of the process.
    Counter,
    /// Goes up and down; absent while it is not known.
    Gauge,
    /// How often values were how large.
    Histogram,
}

/// One metric, as it is documented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// The name by which it is asked for.
    pub name: &'static str,
    /// What kind.
    pub kind: Kind,
    /// In which unit.
    pub unit: &'static str,
    /// The labels that tell its series apart; one without a value is not shown.
    pub labels: &'static [&'static str],
    /// What it means: one sentence without a full stop.
    pub help: &'static str,
}

/// One line for each metric: a constant, and its place in [`ALL`].
macro_rules! metrics {
    ($($id:ident: $kind:ident $name:literal, $unit:literal, [$($label:literal),*], $help:literal;)*) => {
        $(pub(crate) const $id: Metric = Metric {
            name: $name,
            kind: Kind::$kind,
            unit: $unit,
            labels: &[$($label),*],
            help: $help,
        };)*

        /// Every metric, in the order in which they are documented and shown.
        pub const ALL: &[Metric] = &[$($id),*];
    };
}

metrics! {
    CONTROL_STATE: Gauge "oplet_control_state", "0 or 1", ["state"],
        "1 for the state that the run is in";
    CONTROL_READY: Gauge "oplet_control_ready", "0 or 1", [],
        "Whether the run can be relied on to handle what happens, as `GET /ready` tells";
    SOURCE_OPS: Counter "oplet_source_ops_total", "ops", ["namespace", "operation"],
        "Ops that the source gave";
    SOURCE_BATCHES: Counter "oplet_source_batches_total", "batches", [],
        "Batches that the server's cursors gave, also those that held nothing";
    SOURCE_BYTES: Counter "oplet_source_read_bytes_total", "bytes", [],
        "Bytes of these batches, as the server sent them";
    SOURCE_RECONNECTS: Counter "oplet_source_reconnects_total", "cursors", [],
        "Cursors that were opened again after a fault";
    SOURCE_UNDECODABLE: Counter "oplet_source_undecodable_entries_total", "entries", [],
        "Entries or events that could not be decoded";
    SOURCE_OVERSIZED: Counter "oplet_source_oversized_events_total", "events", [],
        "Events that came without some of their parts, since the server cannot send so large ones";
    SOURCE_GAPS: Counter "oplet_source_gaps_total", "gaps", ["cluster"],
        "Positions that were lost: what followed them was gone";
    SOURCE_OF_OTHERS: Counter "oplet_source_other_workers_ops_total", "ops", [],
        "Ops that were left out, since they belong to other workers of the list";
    SOURCE_LAG: Gauge "oplet_source_lag_seconds", "seconds", ["cluster"],
        "How far the position is behind the server's newest entry, by cluster time";
    SOURCE_POSITION: Gauge "oplet_source_position_timestamp_seconds", "seconds since 1970", ["cluster"],
        "Cluster time up to which everything is done";
    SOURCE_OPLOG_WINDOW: Gauge "oplet_source_oplog_window_hours", "hours", ["cluster"],
        "How long until the oplog no longer reaches back to the position, at its present size and age";
    DIRECT_READ_DOCUMENTS: Gauge "oplet_direct_read_documents", "documents", ["cluster", "namespace"],
        "Documents that were read directly, also by processes before";
    DIRECT_READ_EXPECTED: Gauge "oplet_direct_read_expected_documents", "documents", ["cluster", "namespace"],
        "How many there are to be read, by the server's estimate";
    DIRECT_READ_SEGMENTS: Gauge "oplet_direct_read_segments", "segments", ["cluster", "namespace"],
        "Segments that the collection was cut into";
    DIRECT_READ_SEGMENTS_READ: Gauge "oplet_direct_read_finished_segments", "segments", ["cluster", "namespace"],
        "Segments of these that were read";
    DIRECT_READ_SECONDS: Gauge "oplet_direct_read_seconds", "seconds", ["cluster", "namespace"],
        "How long reading the collection took, or takes until now";
    FLOW_HANDLED_OPS: Counter "oplet_flow_handled_ops_total", "ops", ["namespace", "operation"],
        "Ops that a module handled, each module counted by itself";
    FLOW_OUTPUTS: Counter "oplet_flow_emitted_documents_total", "documents", ["namespace", "operation"],
        "Documents that handlers emitted, by the op that led to them; what came from `flush`, by the last op before it";
    FLOW_IN_FLIGHT_OPS: Gauge "oplet_flow_in_flight_ops", "ops", [],
        "Ops that were read and are not done";
    FLOW_IN_FLIGHT_BYTES: Gauge "oplet_flow_in_flight_bytes", "bytes", [],
        "Bytes of batches that were read and are not done";
    GUEST_CALLS: Counter "oplet_guest_calls_total", "calls", ["module"],
        "Ops that the module was called for, `filter` and `handle` together; each further try counts";
    GUEST_CALL_SECONDS: Histogram "oplet_guest_call_seconds", "seconds", ["module"],
        "How long such a call took: one in 64 is timed, so `_count` is less than the calls";
    GUEST_FAILURES: Counter "oplet_guest_failures_total", "calls", ["module", "class"],
        "Calls that failed, by how: `trap`, `deadline`, `memory-limit`, ..., and `retry` and `reject` for the handler's own word; also those of `flush`";
    GUEST_OUTPUTS: Counter "oplet_guest_emitted_documents_total", "documents", ["module"],
        "Documents that the module emitted";
    GUEST_RETRIES: Counter "oplet_guest_retries_total", "calls", ["module"],
        "Calls for an op that was tried before";
    GUEST_DEAD_LETTERS: Counter "oplet_guest_dead_letters_total", "ops", ["module"],
        "Ops that were given to the dead letters after the module failed on them";
    GUEST_SKIPPED: Counter "oplet_guest_skipped_ops_total", "ops", ["module"],
        "Ops that were given up by the policy `skip`";
    GUEST_WAITING: Gauge "oplet_guest_waiting_ops", "ops", ["module"],
        "Ops that wait for another try, or behind one that does";
    GUEST_BREAKER: Gauge "oplet_guest_breaker_open", "0 or 1", ["module"],
        "Whether the module's breaker is open: it failed on one op after the other";
    MODULE_COUNT: Gauge "oplet_module_count", "the module's", ["module", "name"],
        "Counters of the module's own, from the import `count`";
    MODULE_GENERATION: Gauge "oplet_module_generation", "versions", ["module"],
        "Which version works, counted from the first that ran under the module's name";
    MODULE_SWAPS: Counter "oplet_module_swaps_total", "swaps", ["module", "outcome"],
        "Swaps by what they led to: `done`, `refused` (the version before went on), `rolled-back` (it took over again)";
    MODULE_SWAP_SECONDS: Histogram "oplet_module_swap_seconds", "seconds", ["module"],
        "For how long a lane stood still for a swap, each lane counted by itself";
    DEAD_LETTERS_WRITTEN: Counter "oplet_dead_letters_written_total", "letters", [],
        "Dead letters that were stored: failed ops, and documents that sinks rejected";
    DEAD_LETTERS_WAITING: Gauge "oplet_dead_letters_waiting", "letters", [],
        "Dead letters that wait to be stored, and hold their ops back";
    DEAD_LETTERS_FAILURES: Counter "oplet_dead_letters_failures_total", "attempts", [],
        "Attempts to store dead letters that failed; they are made again";
    SINK_DELIVERED: Counter "oplet_sink_delivered_documents_total", "documents", ["sink"],
        "Documents that the sink accepted";
    SINK_DELIVERED_BYTES: Counter "oplet_sink_delivered_bytes_total", "bytes", ["sink"],
        "Bytes of these documents";
    SINK_REJECTED: Counter "oplet_sink_rejected_documents_total", "documents", ["sink"],
        "Documents that the sink will never accept";
    SINK_FAILURES: Counter "oplet_sink_failures_total", "attempts", ["sink"],
        "Attempts to deliver that failed; they are made again";
    SINK_SECONDS: Histogram "oplet_sink_delivery_seconds", "seconds", ["sink"],
        "How long deliveries of a batch took that worked";
    SINK_QUEUED: Gauge "oplet_sink_queued_documents", "documents", ["sink"],
        "Documents that wait for the sink";
    SINK_QUEUED_BYTES: Gauge "oplet_sink_queued_bytes", "bytes", ["sink"],
        "Bytes that wait for the sink";
    SINK_READY: Gauge "oplet_sink_ready", "0 or 1", ["sink"],
        "Whether the sink took what it was given last";
    CHECKPOINT_UNACKNOWLEDGED: Gauge "oplet_checkpoint_unacknowledged_seconds", "seconds", [],
        "For how long the oldest op that is not done has been under way";
    CHECKPOINT_AGE: Gauge "oplet_checkpoint_age_seconds", "seconds", [],
        "How long ago the checkpoint was saved";
    CHECKPOINT_SAVES: Counter "oplet_checkpoint_saves_total", "saves", [],
        "Checkpoints that were saved";
    CHECKPOINT_FAILURES: Counter "oplet_checkpoint_failures_total", "saves", [],
        "Attempts to save a checkpoint that failed";
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOMS: [&str; 9] = [
        "source",
        "direct_read",
        "flow",
        "guest",
        "dead_letters",
        "sink",
        "checkpoint",
        "control",
        "module",
    ];

    #[test]
    fn names_follow_the_pattern() {
        for metric in ALL {
            let name = metric.name;
            let allowed = |c: char| c.is_ascii_lowercase() || c == '_';
            assert!(name.chars().all(allowed), "{name}");
            let noun = name.strip_prefix("oplet_").and_then(|name| {
                let noun = |room| name.strip_prefix(room)?.strip_prefix('_');
                ROOMS.iter().find_map(noun)
            });
            assert!(noun.is_some_and(|noun| noun != "total"), "{name}");
            let is_counter = metric.kind == Kind::Counter;
            assert_eq!(name.ends_with("_total"), is_counter, "{name}");
            for unit in ["seconds", "bytes", "hours"] {
                let stem = name.trim_end_matches("_total");
                let is_in_unit = metric.unit.split(' ').next() == Some(unit);
                assert_eq!(
                    stem.ends_with(unit),
                    is_in_unit,
                    "{name} in {}",
                    metric.unit
                );
            }
            assert!(!metric.help.ends_with('.'), "{name}: one is added");
        }
    }

    #[test]
    fn no_name_is_given_twice() {
        let mut names: Vec<_> = ALL.iter().map(|metric| metric.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }

    /// The table of the manual, line by line as it is written there.
    fn table() -> String {
        let mut lines = String::from("| metric | unit | labels | meaning |\n|---|---|---|---|\n");
        for metric in ALL {
            let labels: Vec<_> = metric.labels.iter().map(|l| format!("`{l}`")).collect();
            lines += &format!(
                "| `{}` | {} | {} | {} |\n",
                metric.name,
                metric.unit,
                labels.join(", "),
                metric.help
            );
        }
        lines
    }

    #[test]
    fn the_manual_lists_every_metric() {
        let manual = include_str!("../../../docs/operating.md");
        let table = table();
        assert!(manual.contains(&table), "docs/operating.md needs:\n{table}");
    }
}
