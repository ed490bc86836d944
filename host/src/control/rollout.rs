//! How it is written in which way a version takes over.

use super::{Canary, Rollout, Shadow};

/// In which way a version takes over, as it was written; what was left out has its default.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RolloutWords {
    /// It sees this share of the keys first.
    pub canary: Option<f64>,
    /// It runs beside the present version.
    pub shadow: bool,
    /// After how many ops of its own the trial ends.
    pub ops: Option<u64>,
    /// How many of a canary's ops may fail.
    pub failures: Option<u64>,
}

/// Words that make no sense together, or a value that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RolloutError {
    /// No share of the keys.
    #[error("`{0}` is no share: it is written `5%` or `0.05`, and is above 0 and at most 100%")]
    Share(String),
    /// Both kinds of trial.
    #[error("a version is either a canary or a shadow")]
    Both,
    /// A bound of a trial, without one.
    #[error("`{0}` bounds a canary or a shadow, and neither is asked for")]
    NoTrial(&'static str),
    /// A budget of failures for what is thrown away anyway.
    #[error("`failures` bounds a canary: what a shadow does has no effect")]
    ShadowFailures,
    /// A trial that ends before it begins.
    #[error("`ops` is at least 1")]
    NoOps,
}

/// Reads a share of the keys, as in `5%` or `0.05`.
///
/// # Errors
/// [`RolloutError::Share`].
pub fn share(text: &str) -> Result<f64, RolloutError> {
    let refused = || RolloutError::Share(text.to_owned());
    let (number, whole) = match text.strip_suffix('%') {
        Some(number) => (number, 100.0),
        None => (text, 1.0),
    };
    let share = number.trim().parse::<f64>().map_err(|_| refused())? / whole;
    // Not a number is in no range.
    match share > 0.0 && share <= 1.0 {
        true => Ok(share),
        false => Err(refused()),
    }
}

impl TryFrom<RolloutWords> for Rollout {
    type Error = RolloutError;

    fn try_from(words: RolloutWords) -> Result<Self, RolloutError> {
        if words.ops == Some(0) {
            return Err(RolloutError::NoOps);
        }
        match (words.canary, words.shadow) {
            (Some(_), true) => Err(RolloutError::Both),
            (Some(share), false) => {
                let default = Canary::default();
                Ok(Self::Canary(Canary {
                    share,
                    ops: words.ops.unwrap_or(default.ops),
                    failures_max: words.failures.unwrap_or(default.failures_max),
                }))
            }
            (None, true) if words.failures.is_some() => Err(RolloutError::ShadowFailures),
            (None, true) => Ok(Self::Shadow(Shadow {
                ops: words.ops.unwrap_or(Shadow::default().ops),
            })),
            (None, false) => match words {
                RolloutWords { ops: Some(_), .. } => Err(RolloutError::NoTrial("ops")),
                RolloutWords {
                    failures: Some(_), ..
                } => Err(RolloutError::NoTrial("failures")),
                _ => Ok(Self::AtOnce),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_as_people_write_them() {
        for (text, expected) in [
            ("5%", 0.05),
            ("0.05", 0.05),
            ("100%", 1.0),
            ("1", 1.0),
            ("0.5 %", 0.005),
        ] {
            assert!((share(text).unwrap() - expected).abs() < 1e-9, "{text}");
        }
        for text in ["", "0", "0%", "5", "101%", "-1%", "nan", "inf%", "x", "%"] {
            let error = share(text).unwrap_err();
            assert_eq!(error, RolloutError::Share(text.into()));
        }
    }

    #[test]
    fn words_that_make_no_sense_together_are_refused() {
        let at_once = RolloutWords::default();
        let canary = RolloutWords {
            canary: Some(0.05),
            ..at_once
        };
        let shadow = RolloutWords {
            shadow: true,
            ..at_once
        };
        assert_eq!(at_once.try_into(), Ok(Rollout::AtOnce));
        assert_eq!(canary.try_into(), Ok(Rollout::Canary(Canary::default())));
        assert_eq!(shadow.try_into(), Ok(Rollout::Shadow(Shadow::default())));
        let ops = |words| RolloutWords {
            ops: Some(7),
            ..words
        };
        assert_eq!(
            ops(shadow).try_into(),
            Ok(Rollout::Shadow(Shadow { ops: 7 }))
        );
        let failures = |words| RolloutWords {
            failures: Some(3),
            ..words
        };
        let bounded = Canary {
            ops: 7,
            failures_max: 3,
            ..Canary::default()
        };
        assert_eq!(
            failures(ops(canary)).try_into(),
            Ok(Rollout::Canary(bounded))
        );
        let both = RolloutWords {
            shadow: true,
            ..canary
        };
        let none = RolloutWords {
            ops: Some(0),
            ..canary
        };
        for (words, error) in [
            (both, RolloutError::Both),
            (none, RolloutError::NoOps),
            (ops(at_once), RolloutError::NoTrial("ops")),
            (failures(at_once), RolloutError::NoTrial("failures")),
            (failures(shadow), RolloutError::ShadowFailures),
        ] {
            assert_eq!(Rollout::try_from(words), Err(error));
        }
    }
}
