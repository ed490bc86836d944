//! State on its way from one version of a module to another, in a lane, and back.

use std::sync::Arc;

use tracing::{error, warn};

use super::orders::Served;
use crate::guest::{GuestError, Instance};

/// What became of the state of the version before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handover {
    /// The next version has all of it.
    Whole,
    /// One of the two knows nothing of handing over.
    None,
    /// It was lost before: the instance that had it has failed, and was not called since.
    Lost,
}

/// A lane could not switch; it goes on with the version that it has.
#[derive(Debug)]
pub(super) struct HandoverFailed {
    pub(super) what: &'static str,
    pub(super) source: GuestError,
}

/// A version that was replaced, until every lane has replaced it.
pub(super) struct Before {
    /// As it was when it was replaced.
    pub(super) served: Served,
    /// What became of its state.
    pub(super) handover: Handover,
    /// How many calls of the module were made before.
    pub(super) calls: u64,
}

/// Hands state from one version to the next. A version that could not be started again has none, and
/// must not stand in the way of the one that is to replace it.
pub(super) fn hand_over(from: &mut Served, to: &mut Served) -> Result<Handover, HandoverFailed> {
    if from.instance.is_dead() {
        return Ok(match from.instance.saves() {
            true => Handover::Lost,
            false => Handover::None,
        });
    }
    let state = from.instance.save().map_err(|source| HandoverFailed {
        what: failed_to_save(from),
        source,
    })?;
    if let Some(state) = state {
        let restored = to.instance.restore(&state);
        restored.map_err(|source| HandoverFailed {
            what: "the new version does not take over the state",
            source,
        })?;
        return Ok(match to.instance.restores() {
            true => Handover::Whole,
            false => Handover::None,
        });
    }
    // To have gathered nothing yet is a state, too.
    Ok(match from.instance.saves() {
        true => Handover::Whole,
        false => Handover::None,
    })
}

fn failed_to_save(from: &Served) -> &'static str {
    if !from.instance.is_dead() {
        return "the version before cannot hand over its state";
    }
    error!(
        module = from.spec.module.name(),
        "the state of a module is lost in a lane: its instance ended when it was to hand it over"
    );
    "the version before cannot hand over its state, and has lost it with that in one lane"
}

impl Before {
    /// Puts it in the place of the version that has replaced it. Where that one was called since, the
    /// version begins anew with its state, which has what was handled since, too; what cannot be handed
    /// back is lost, as it would be with any instance that ends.
    pub(super) fn put_back(self, served: &mut Served, calls: u64, sinks: &Arc<[String]>) {
        let Self {
            served: before,
            handover,
            calls: calls_before,
        } = self;
        let mut after = std::mem::replace(served, before);
        let knows_state = |instance: &Instance| instance.saves() || instance.restores();
        if calls == calls_before || !knows_state(&served.instance) {
            return;
        }
        let mut reason = None;
        if handover == Handover::Whole && served.instance.restores() && after.instance.saves() {
            let fresh = Served::fresh(&served.spec, sinks);
            match fresh.map(|mut fresh| hand_over(&mut after, &mut fresh).map(|done| (done, fresh)))
            {
                Ok(Ok((Handover::Whole, fresh))) => {
                    *served = fresh;
                    return;
                }
                Ok(Ok(_)) => {}
                Ok(Err(failed)) => reason = Some(failed.source),
                Err(source) => reason = Some(source),
            }
        }
        warn!(
            module = served.spec.module.name(),
            calls = calls - calls_before,
            error = reason.map(tracing::field::display),
            "a swap is undone in a lane, and the state is that from before it: what came of these calls \
             is not in it"
        );
    }
}
