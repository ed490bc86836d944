//! Why nothing was swapped, in words.

use super::{PlanError, SwapError};
use crate::guest::{self, Finding};

impl SwapError {
    /// All that is wrong with a module that was refused; empty for the other errors.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        match self {
            Self::Load(error) => error.findings(),
            _ => &[],
        }
    }

    /// What happened, with what caused it, in one line. Where there are several findings they are not
    /// in it.
    #[must_use]
    pub fn summary(&self) -> String {
        match self {
            Self::Load(error) => match &**error {
                guest::Error::Refused { module, findings } if findings.len() > 1 => {
                    format!("the module `{module}` is refused")
                }
                _ => chain(self),
            },
            _ => chain(self),
        }
    }

    /// The same, with every finding.
    #[must_use]
    pub fn in_full(&self) -> String {
        chain(self)
    }

    /// What to do about it, each way out once.
    #[must_use]
    pub fn hints(&self) -> Vec<String> {
        let hint = |hint: &str| vec![hint.to_owned()];
        match self {
            Self::NoSuchModule { module, known } => {
                let near = known
                    .iter()
                    .map(|name| (strsim::damerau_levenshtein(name, module), name))
                    .min()
                    .filter(|(distance, _)| *distance <= 2);
                match near {
                    Some((_, name)) => vec![format!("did you mean `{name}`?")],
                    None => Vec::new(),
                }
            }
            Self::Load(error) => {
                let mut hints: Vec<String> = Vec::new();
                let found = error.findings().iter().filter_map(Finding::hint);
                for hint in found.chain(error.hint()) {
                    if !hints.contains(&hint) {
                        hints.push(hint);
                    }
                }
                hints
            }
            Self::Plan(error) => match &**error {
                PlanError::PipelineOnOplog { .. } => hint(
                    "the run reads the oplog: leave the `pipeline` out, or start it with \
                     `--source change-stream` or `--ignore-pipeline`",
                ),
                PlanError::OrderOverStreams { .. } => {
                    hint("start the run with `--ordering document`, or with `--ignore-pipeline`")
                }
                PlanError::Guest { .. } | PlanError::Pipeline { .. } => Vec::new(),
            },
            Self::Late { .. } => hint("try again when the sinks keep up: `oplet status` tells"),
            Self::LastModule { .. } => hint("`oplet drain` ends the run"),
            Self::Lane { .. } | Self::NoVersionBefore { .. } | Self::Refused(_) | Self::Ended => {
                Vec::new()
            }
        }
    }
}

#[cfg(test)]
impl SwapError {
    /// A module of which two things are wrong, for tests of those who tell it.
    pub(crate) fn of_two_findings(module: &str) -> Self {
        Self::Load(std::sync::Arc::new(guest::Error::Refused {
            module: module.to_owned(),
            findings: vec![
                Finding::NoHandler,
                Finding::MissingExport { name: "memory" },
            ],
        }))
    }
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn refused(findings: Vec<Finding>) -> SwapError {
        SwapError::Load(Arc::new(guest::Error::Refused {
            module: "audit".into(),
            findings,
        }))
    }

    #[test]
    fn every_finding_is_told_and_every_way_out_once() {
        let one = refused(vec![Finding::NoHandler]);
        assert_eq!(one.summary(), one.in_full());
        assert!(one.summary().contains("exports none of"), "{one}");
        let many = refused(vec![
            Finding::NoHandler,
            Finding::NoHandler,
            Finding::SharedMemory,
        ]);
        assert_eq!(many.summary(), "the module `audit` is refused");
        assert!(many.in_full().contains("shared between threads"), "{many}");
        assert_eq!(many.findings().len(), 3);
        assert_eq!(many.hints().len(), 2);
    }

    #[test]
    fn a_slip_of_the_pen_is_told_from_another_name() {
        let absent = |module: &str| SwapError::NoSuchModule {
            module: module.into(),
            known: vec!["audit".into(), "welcome".into()],
        };
        assert_eq!(
            absent("audti").to_string(),
            "there is no module `audti`; there is `audit`, `welcome`"
        );
        assert_eq!(absent("audti").hints(), ["did you mean `audit`?"]);
        assert_eq!(absent("orders").hints(), [""; 0]);
    }
}
