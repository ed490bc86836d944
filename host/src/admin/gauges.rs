//! From how a run stands to the numbers that are measured.

use crate::{
    control::{RunState, ShownPosition, Status},
    op::Timestamp,
    telemetry::{Gauges, ModuleGauges, SinkGauges},
};

/// The numbers of a status.
pub(super) fn gauges(status: &Status) -> Gauges {
    Gauges {
        states: states(Some(status.state)),
        ready: Some(status.ready),
        lag_seconds: status.lag_seconds,
        position_seconds: seconds(&status.position),
        oplog_window_hours: status.oplog_window_hours,
        in_flight_ops: Some(status.in_flight_ops),
        in_flight_bytes: Some(status.in_flight_bytes),
        // Nothing under way is no age at all, which is a value: alerts compare with it.
        oldest_unacknowledged_seconds: Some(status.oldest_unacknowledged_seconds.unwrap_or(0.0)),
        checkpoint_age_seconds: status
            .checkpoint
            .as_ref()
            .and_then(|checkpoint| checkpoint.age_seconds),
        modules: status
            .modules
            .iter()
            .map(|module| ModuleGauges {
                name: module.name.clone(),
                waiting_ops: module.waiting_for_retry,
                is_breaker_open: module.breaker_open_since.is_some(),
            })
            .collect(),
        sinks: status
            .sinks
            .iter()
            .map(|sink| SinkGauges {
                name: sink.name.clone(),
                queued_documents: sink.queued,
                queued_bytes: sink.queued_bytes,
                is_ready: sink.ready,
            })
            .collect(),
    }
}

/// The numbers of a run that does not answer: what was true before is not shown any more. In no state
/// when that is not known.
pub(super) fn gauges_of_none(state: Option<RunState>) -> Gauges {
    Gauges {
        states: states(state),
        ready: Some(false),
        ..Gauges::default()
    }
}

fn states(present: Option<RunState>) -> Vec<(&'static str, bool)> {
    let states = RunState::ALL.iter();
    states
        .map(|state| (state.as_str(), Some(*state) == present))
        .collect()
}

fn seconds(position: &ShownPosition) -> Option<f64> {
    let timestamp: Timestamp = position.cluster_time.as_ref()?.parse().ok()?;
    Some(f64::from(timestamp.seconds))
}
