//! What came of a file that has changed.

use std::{io, path::PathBuf};

use crate::control::{SwapError, Swapped};

/// What came of a file that has changed, or was asked for.
#[derive(Debug)]
pub enum Outcome {
    /// Its version has taken over.
    Swapped {
        /// The file.
        path: PathBuf,
        /// What has changed.
        swapped: Swapped,
    },
    /// It holds the version that works. Told only when it was asked for.
    Same {
        /// The module's name.
        module: String,
        /// Its digest.
        digest: String,
    },
    /// The version before goes on.
    Refused {
        /// The module's name.
        module: String,
        /// The file.
        path: PathBuf,
        /// The digest of what the file holds.
        digest: String,
        /// Why.
        error: SwapError,
        /// Whether it is tried again without being asked.
        is_tried_again: bool,
    },
    /// The file cannot be read, or does not come to rest. Told once, and when it was asked for.
    Unreadable {
        /// The module's name.
        module: String,
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// Logs an outcome, with every finding and what can be done about it.
pub fn log(outcome: &Outcome) {
    match outcome {
        Outcome::Swapped { path, swapped } => {
            let generation = swapped.to.as_ref().map(|version| version.generation);
            let digest = swapped.to.as_ref().map(|version| version.digest.as_str());
            tracing::info!(
                module = swapped.module,
                path = %path.display(),
                digest,
                generation,
                reopened = swapped.reopened,
                pause_us = swapped.pause_us,
                lanes_without_state = swapped.lanes_without_state,
                "the module's file has changed: its version has taken over"
            );
        }
        Outcome::Same { module, digest } => {
            tracing::info!(
                module,
                digest,
                "the module's file holds the version that works"
            );
        }
        Outcome::Refused {
            module,
            path,
            digest,
            error,
            is_tried_again,
        } => {
            let hints = error.hints();
            tracing::error!(
                module,
                path = %path.display(),
                digest,
                error = error.in_full(),
                hints = (!hints.is_empty()).then(|| hints.join("; ")),
                is_tried_again,
                "the module's file has changed, and the version before goes on"
            );
        }
        Outcome::Unreadable {
            module,
            path,
            error,
        } => {
            tracing::error!(
                module,
                path = %path.display(),
                %error,
                "the module's file cannot be read, and the version before goes on"
            );
        }
    }
}
