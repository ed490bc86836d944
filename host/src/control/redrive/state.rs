//! What became of letters, and what the store is still to be told of it.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use bson::DateTime;

use super::{End, OrderKey, RedriveError, RedriveSummary, caller::Failed, order_key};
use crate::dead_letters::{DeadLetter, Store};

/// How many letters are settled together, and how long the first of them waits for the others: after
/// a crash, those are delivered once more.
pub(super) const SETTLE_LETTERS: usize = 100;
pub(super) const SETTLE_AGE: Duration = Duration::from_secs(1);

/// What is known so far, and what the store is still to be told.
pub(super) struct State<'a> {
    store: &'a Store,
    pub(super) summary: RedriveSummary,
    pub(super) held_back: HashSet<OrderKey>,
    removed: Vec<String>,
    updated: Vec<DeadLetter>,
    settled_at: Instant,
}

impl<'a> State<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self {
            store,
            summary: RedriveSummary::default(),
            held_back: HashSet::new(),
            removed: Vec::new(),
            updated: Vec::new(),
            settled_at: Instant::now(),
        }
    }

    pub(super) fn note(&mut self, group: Vec<DeadLetter>, end: End, digest: &str) {
        let count = group.len() as u64;
        match end {
            End::Failed(failed) => {
                self.summary.failed += count;
                self.held_back.insert(order_key(&group[0]));
                let updated = group
                    .into_iter()
                    .map(|letter| failed_again(letter, &failed, digest));
                self.updated.extend(updated);
                return;
            }
            End::Unwanted => self.summary.unwanted += count,
            End::Delivered(documents) => self.summary.delivered += documents,
        }
        self.summary.succeeded += count;
        self.removed
            .extend(group.into_iter().map(|letter| letter.id));
    }

    pub(super) fn is_due(&self) -> bool {
        let waiting = self.removed.len() + self.updated.len();
        waiting >= SETTLE_LETTERS || (waiting > 0 && self.settled_at.elapsed() >= SETTLE_AGE)
    }

    pub(super) async fn settle(&mut self) -> Result<(), RedriveError> {
        self.store.settle(&self.removed, &self.updated).await?;
        self.removed.clear();
        self.updated.clear();
        self.settled_at = Instant::now();
        Ok(())
    }
}

fn failed_again(letter: DeadLetter, failed: &Failed, digest: &str) -> DeadLetter {
    DeadLetter {
        digest: digest.to_owned(),
        attempts: letter.attempts.saturating_add(1),
        last_failed_ms: DateTime::now().timestamp_millis(),
        ..letter
    }
    .failed(&failed.kind, failed.export, &failed.message)
    .with_traces(&failed.stderr, &failed.backtrace)
}
