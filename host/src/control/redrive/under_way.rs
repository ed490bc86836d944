//! Letters whose outputs were handed to sinks, and have no verdict yet.

use std::time::Instant;

use super::{
    End, OrderKey,
    caller::Failed,
    deliver::{RedriveSinks, Sent, Undelivered},
    state::{SETTLE_AGE, SETTLE_LETTERS, State},
};
use crate::dead_letters::DeadLetter;

/// How many bytes of letters may be under way before they are waited for.
const BYTES_MAX: usize = 16 << 20;

/// Letters under way, one per document at most: a later one must not go out before it is known whether
/// the earlier one stays.
#[derive(Debug, Default)]
pub(super) struct UnderWay {
    letters: Vec<Letter>,
    bytes: usize,
    since: Option<Instant>,
}

/// The letters of one call of the module.
#[derive(Debug)]
struct Letter {
    group: Vec<DeadLetter>,
    key: OrderKey,
    documents: u64,
    sent: Sent,
}

impl UnderWay {
    /// Adds the letters of one call.
    pub(super) fn push(
        &mut self,
        group: Vec<DeadLetter>,
        key: OrderKey,
        documents: usize,
        sent: Sent,
    ) {
        self.bytes += group.iter().map(DeadLetter::bytes).sum::<usize>();
        self.since.get_or_insert_with(Instant::now);
        self.letters.push(Letter {
            group,
            key,
            documents: documents as u64,
            sent,
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.letters.is_empty()
    }

    pub(super) fn is_due(&self) -> bool {
        self.letters.len() >= SETTLE_LETTERS
            || self.bytes >= BYTES_MAX
            || self
                .since
                .is_some_and(|since| since.elapsed() >= SETTLE_AGE)
    }

    pub(super) fn holds(&self, key: &OrderKey) -> bool {
        self.letters.iter().any(|letter| letter.key == *key)
    }

    /// Notes what became of all of them; returns of how many that is not known. They stay as they were.
    pub(super) fn note(
        &mut self,
        sinks: &mut RedriveSinks,
        state: &mut State<'_>,
        digest: &str,
    ) -> usize {
        let mut unknown = 0;
        for letter in self.letters.drain(..) {
            let end = match sinks.verdict(&letter.sent) {
                Some(Ok(())) => End::Delivered(letter.documents),
                Some(Err(Undelivered::Refused { class, message })) => {
                    End::Failed(Failed::new(class, &message))
                }
                _ => {
                    unknown += 1;
                    continue;
                }
            };
            state.note(letter.group, end, digest);
        }
        sinks.forget();
        (self.bytes, self.since) = (0, None);
        unknown
    }
}
