//! Two deployments for one run.

use oplet_testkit::{Oplet, RunningOplet};
use tempfile::TempDir;

use super::{
    member::Member,
    several::{begun, run},
};

/// Two replica sets, and a place for what a run keeps.
pub(crate) struct Pair {
    pub(crate) eu: Member,
    pub(crate) us: Member,
    pub(crate) folder: TempDir,
}

impl Pair {
    pub(crate) async fn start() -> Self {
        Self::with(Member::start("us")).await
    }

    /// With that one as the second.
    pub(crate) async fn with(us: impl Future<Output = Member>) -> Self {
        let (eu, us) = tokio::join!(Member::start("eu"), us);
        Self {
            eu,
            us,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// `oplet run` on these sets, of a module that passes on what it gets; not started.
    pub(crate) fn run(&self, sets: &[&Member], source: &str) -> Oplet {
        run(self.folder.path(), source).args(
            sets.iter()
                .flat_map(|one| ["--uri".to_owned(), one.set.uri()]),
        )
    }

    pub(crate) fn run_both(&self, source: &str) -> Oplet {
        self.run(&[&self.eu, &self.us], source)
    }

    pub(crate) async fn start_run(&self, source: &str, arguments: &[&str]) -> RunningOplet {
        begun(self.run_both(source).args(arguments)).await
    }
}
