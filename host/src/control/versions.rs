//! The versions of a module that a run knows.

use std::{collections::VecDeque, sync::Arc, time::SystemTime};

use serde::Serialize;

use super::{ModuleSpec, Version, board::shown};
use crate::checkpoint::ModuleRef;

/// How many versions of a module stay known, the present one included.
pub(super) const KNOWN_MAX: usize = 5;

/// The versions of a module, the present one last.
#[derive(Debug, Clone)]
pub(super) struct Versions {
    known: VecDeque<Known>,
    /// Counts the versions that took over.
    generation: u64,
    /// Digest of the file that the run was started with.
    given: String,
}

#[derive(Debug, Clone)]
struct Known {
    spec: Arc<ModuleSpec>,
    generation: u64,
    since: SystemTime,
}

/// A version that a run knows, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KnownVersion {
    /// The version.
    #[serde(flatten)]
    pub version: Version,
    /// When it took over, by RFC 3339.
    pub since: String,
}

impl Versions {
    /// A module that begins with this version.
    pub(super) fn begin(spec: Arc<ModuleSpec>, generation: u64) -> Self {
        let mut versions = Self {
            known: VecDeque::new(),
            generation: generation.saturating_sub(1),
            given: spec.module.digest().to_owned(),
        };
        versions.take_over(spec);
        versions
    }

    /// A module that goes on with another version than the given one.
    pub(super) fn restored(given: Arc<ModuleSpec>, spec: Arc<ModuleSpec>, generation: u64) -> Self {
        let mut versions = Self::begin(given, generation.saturating_sub(1));
        versions.take_over(spec);
        versions
    }

    /// The file that the run was started with has changed to the present version.
    pub(super) fn is_given(&mut self) {
        self.given = self.present().module.digest().to_owned();
    }

    /// As a checkpoint tells it.
    pub(super) fn to_ref(&self) -> ModuleRef {
        let present = self.last();
        ModuleRef {
            name: present.spec.module.name().to_owned(),
            digest: present.spec.module.digest().to_owned(),
            generation: present.generation,
            given: self.given.clone(),
        }
    }

    /// The version that works.
    pub(super) fn present(&self) -> &Arc<ModuleSpec> {
        &self.last().spec
    }

    /// The same, as it is shown.
    pub(super) fn version(&self) -> Version {
        self.last().version()
    }

    /// The version before, to which a rollback leads.
    pub(super) fn before(&self) -> Option<&Arc<ModuleSpec>> {
        let before = self.known.len().checked_sub(2)?;
        Some(&self.known[before].spec)
    }

    /// Another version has taken over.
    pub(super) fn take_over(&mut self, spec: Arc<ModuleSpec>) {
        self.generation += 1;
        // One that comes again is known once.
        let digest = spec.module.digest();
        self.known
            .retain(|known| known.spec.module.digest() != digest);
        if self.known.len() == KNOWN_MAX {
            self.known.pop_front();
        }
        self.known.push_back(Known {
            spec,
            generation: self.generation,
            since: SystemTime::now(),
        });
    }

    /// The version before has taken over again; the one that it replaced is no longer one to go back to.
    pub(super) fn roll_back(&mut self) {
        self.known.pop_back();
        self.generation += 1;
        if let Some(last) = self.known.back_mut() {
            last.generation = self.generation;
            last.since = SystemTime::now();
        }
    }

    /// All that are known, the present one last.
    pub(super) fn shown(&self) -> Vec<KnownVersion> {
        let shown = |known: &Known| KnownVersion {
            version: known.version(),
            since: shown(known.since),
        };
        self.known.iter().map(shown).collect()
    }

    fn last(&self) -> &Known {
        self.known.back().expect("one version is always known")
    }
}

impl Known {
    fn version(&self) -> Version {
        Version {
            digest: self.spec.module.digest().to_owned(),
            generation: self.generation,
        }
    }
}
