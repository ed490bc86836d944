//! Reads one field of every op and counts the ops: the least that a useful handler does.
#![forbid(unsafe_code)]

use oplet_sdk::{Handler, Op, Outcome};

/// Counts in memory, and tells nobody.
#[derive(Default)]
struct Count {
    ops: u64,
    sum: i64,
}

impl Handler for Count {
    /// Keeps every op but those whose `data.n` is negative.
    fn filter(&self, op: &Op) -> bool {
        op.get_i64("data.n").is_none_or(|n| n >= 0)
    }

    fn handle(&mut self, op: &Op) -> Outcome {
        self.ops += 1;
        self.sum = self
            .sum
            .wrapping_add(op.get_i64("data.n").unwrap_or_default());
        // Never so, but the compiler cannot know: what is counted must be counted.
        if self.ops == u64::MAX {
            return Err(oplet_sdk::Error::reject(self.sum));
        }
        Ok(())
    }
}

oplet_sdk::export!(Count);
