//! A lane waits for its turn, and carries out what it is told between two ops.

use std::time::Instant;

use super::{
    orders::{LaneSwitched, Order},
    worker::LaneWorker,
};
use crate::flow::{Begun, Stop};

impl LaneWorker {
    /// Waits until the lane may work, between two ops with nothing to pass on. Orders are carried out
    /// meanwhile.
    pub(super) fn begin(&mut self) -> Result<(), Stop> {
        let shared = self.shared.clone();
        loop {
            match self.turn.begin_unless(shared.orders.come(self.lane)) {
                Begun::Yes => return Ok(()),
                Begun::Never => return Err(Stop),
                Begun::Interrupted => self.obey(),
            }
        }
    }

    /// Waits until the lane may go on, in the middle of an op.
    pub(super) fn go_on(&mut self) -> Result<(), Stop> {
        self.turn.begin().then_some(()).ok_or(Stop)
    }

    /// Carries out what the lane was told. There is nothing to pass on, and no module has gathered
    /// anything.
    pub(super) fn obey(&mut self) {
        while let Some(order) = self.shared.orders.take(self.lane) {
            match order {
                Order::Switch {
                    module,
                    fresh,
                    answer,
                } => {
                    let begun = Instant::now();
                    let calls = self.tally.calls(module);
                    let switched = self.instances.switch(module, *fresh, calls);
                    let switched = switched.map(|handover| LaneSwitched {
                        pause: begun.elapsed(),
                        handover,
                    });
                    // Who gave the order may wait no longer; then it is undone.
                    let _ = answer.send(switched);
                }
                Order::Try {
                    module,
                    fresh,
                    trial,
                    answer,
                } => {
                    let begun = Instant::now();
                    let begins = self.instances.begin_trial(module, *fresh, trial);
                    let _ = answer.send(begins.map(|handover| LaneSwitched {
                        pause: begun.elapsed(),
                        handover,
                    }));
                }
                Order::EndTrial(module) => self.instances.end_trial(module),
                Order::Undo(module) => self.instances.undo(module, self.tally.calls(module)),
                Order::Settle(module) => self.instances.settle(module),
                Order::BeginProfile(module) => self.instances.begin_profile(module),
                Order::EndProfile { module, answer } => {
                    let _ = answer.send(self.instances.end_profile(module));
                }
            }
        }
        self.segment.set_versions(self.instances.versions());
        // What the filters before have said ahead is theirs alone.
        self.window.end = 0;
    }
}
