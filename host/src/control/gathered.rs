//! Ops that a module has handled, and of which it has lost what it gathered.

use std::time::Instant;

use super::{
    parked::Key,
    put_off::{Parked, Tries},
    worker::LaneWorker,
};

impl LaneWorker {
    /// Makes the present instance of a module fit for another call.
    pub(super) fn revive(&mut self, module: usize) {
        if self.instances.revive(module) {
            self.give_back_gathered(module);
        }
    }

    /// What a module had gathered went with its instance: the ops that this is of are handled again, before
    /// all that came of their keys since. What was emitted for them waits still, and is taken back.
    pub(super) fn give_back_gathered(&mut self, module: usize) {
        let gathered = self.segment.take_gathered(module);
        let Some((batch, ticket)) = self.segment.of().filter(|_| !gathered.is_empty()) else {
            return;
        };
        let batch = batch.clone();
        self.segment.take_back(module, module);
        self.count_parked(module, gathered.len() as i64);
        for (place, emitted, own) in gathered {
            let op = batch.op(place as usize);
            self.tally.lost(module, &op, emitted);
            let order = self.keys.of_parked(&op);
            let parked = Parked {
                batch: batch.clone(),
                ticket,
                place,
                own,
                // That it comes again is no failure of its own.
                tries: Tries::default(),
            };
            self.parked
                .put_before(Key { module, order }, Instant::now(), parked);
        }
    }
}
