//! What becomes of an op that a module failed on.

use std::{str::FromStr, time::Duration};

/// Reads a choice by its word; there is no more to say of a wrong one than the list of words.
macro_rules! from_words {
    ($($choice:ty),*) => {$(
        impl FromStr for $choice {
            type Err = ();

            fn from_str(text: &str) -> Result<Self, ()> {
                let found = Self::WORDS.iter().find(|(word, _)| *word == text);
                found.map(|(_, choice)| *choice).ok_or(())
            }
        }
    )*};
}

from_words!(OnError, WhenOpen, OnPositionLost);

/// What becomes of an op that a module failed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// It is tried again, up to a number of attempts; then it goes into the dead letters.
    #[default]
    Retry,
    /// It goes into the dead letters.
    DeadLetter,
    /// It is given up, for this module.
    Skip,
    /// The run stops, so that nothing is passed over.
    Stop,
}

impl OnError {
    /// Every policy with the word that users write.
    pub const WORDS: [(&'static str, Self); 4] = [
        ("retry", Self::Retry),
        ("dead-letter", Self::DeadLetter),
        ("skip", Self::Skip),
        ("stop", Self::Stop),
    ];

    /// The word that users write.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        let word = Self::WORDS.iter().find(|(_, policy)| *policy == self);
        word.map_or("", |(word, _)| word)
    }
}

/// What follows when a module fails on one op after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenOpen {
    /// The run pauses until somebody says `resume`: nothing is lost, and nothing moves.
    #[default]
    Pause,
    /// Its ops go straight into the dead letters; every so often one is tried.
    DeadLetter,
}

impl WhenOpen {
    /// Every choice with the word that users write.
    pub const WORDS: [(&'static str, Self); 2] =
        [("pause", Self::Pause), ("dead-letter", Self::DeadLetter)];
}

/// How failures of one module are met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailurePolicy {
    /// What becomes of an op that it failed on.
    pub on_error: OnError,
    /// With [`OnError::Retry`]: how often an op is tried, the first time included; at least 1.
    pub attempts_max: u32,
    /// The first delay before another try; each further one is twice as long, with a random part
    /// added.
    pub backoff_min: Duration,
    /// The longest delay, before the random part.
    pub backoff_max: Duration,
    /// After so many failed ops in a row the module's breaker opens; 0 for never. Under
    /// [`OnError::Skip`] and [`OnError::Stop`] there is none: skipping is what was asked for.
    pub breaker_failures: u32,
    /// What an open breaker does.
    pub breaker: WhenOpen,
}

impl Default for FailurePolicy {
    fn default() -> Self {
        Self {
            on_error: OnError::default(),
            attempts_max: 5,
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(10),
            breaker_failures: 20,
            breaker: WhenOpen::default(),
        }
    }
}

/// What follows when a position is lost: the oplog no longer reaches back to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnPositionLost {
    /// The run ends, with an exit code of its own.
    #[default]
    Fail,
    /// The run goes on with the oldest entry that is left.
    Skip,
    /// The collections are read again from the start. Refused until there are direct reads.
    Resnapshot,
}

impl OnPositionLost {
    /// The word that users write.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        let word = Self::WORDS.iter().find(|(_, policy)| *policy == self);
        word.map_or("", |(word, _)| word)
    }

    /// Every policy with the word that users write.
    pub const WORDS: [(&'static str, Self); 3] = [
        ("fail", Self::Fail),
        ("skip", Self::Skip),
        ("resnapshot", Self::Resnapshot),
    ];
}
