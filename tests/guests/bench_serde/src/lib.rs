//! Does what `guest-count` does, but by serde: what that costs is the difference between the two.
#![forbid(unsafe_code)]

use oplet_sdk::{Handler, Op, Outcome};
use serde::Deserialize;

/// Counts in memory, and tells nobody.
#[derive(Default)]
struct Count {
    ops: u64,
    sum: i64,
    text_bytes: usize,
}

/// As a handler has it that takes a document apart: text is borrowed, what is not named is passed over.
#[derive(Deserialize)]
struct Data<'a> {
    #[serde(default)]
    n: i64,
    #[serde(borrow, default)]
    name: Option<&'a str>,
}

impl Handler for Count {
    /// Keeps every op but those whose `data.n` is negative.
    fn filter(&self, op: &Op) -> bool {
        op.get_i64("data.n").is_none_or(|n| n >= 0)
    }

    fn handle(&mut self, op: &Op) -> Outcome {
        self.ops += 1;
        if let Some(Data { n, name }) = op.data_as()? {
            self.sum = self.sum.wrapping_add(n);
            self.text_bytes += name.map_or(0, str::len);
        }
        // Never so, but the compiler cannot know: what is counted must be counted.
        if self.ops == u64::MAX {
            return Err(oplet_sdk::Error::reject(self.sum + self.text_bytes as i64));
        }
        Ok(())
    }
}

oplet_sdk::export!(Count);
