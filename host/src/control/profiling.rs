//! Where a module spends its time, seen while it works.
//!
//! Every lane samples its own instance. A profile is of one instance: that of the lane which was seen to
//! work most is the one that is given.

use std::time::Duration;

use tokio::{
    sync::oneshot,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    CommandError,
    instances::Instances,
    orders::Order,
    supervisor::{AtWork, Supervisor},
};
use crate::guest::Profile;

/// Where a profile goes.
pub type ProfileAnswer = oneshot::Sender<Result<Profile, ProfileError>>;

/// The longest time that samples are taken: they are kept in memory.
pub const PROFILE_TIME_MAX: Duration = Duration::from_secs(300);

/// How long lanes get to come to the end of the op that they are at.
const LANE_TIME: Duration = Duration::from_secs(10);

/// Why there is no profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// No module has that name.
    #[error("there is no module `{module}`; there is `{}`", .known.join("`, `"))]
    NoSuchModule {
        /// The name.
        module: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// It would take too long.
    #[error("a profile takes at most {} seconds", PROFILE_TIME_MAX.as_secs())]
    TooLong,
    /// In every lane the instance has been replaced meanwhile: by another version, after a trap, or by a
    /// profile that somebody else asked for.
    #[error("the module `{module}` was replaced or profiled by somebody else meanwhile")]
    Replaced {
        /// Its name.
        module: String,
    },
    /// The run does not do that now.
    #[error(transparent)]
    Command(#[from] CommandError),
}

/// Profiles that are being taken.
#[derive(Debug, Default)]
pub(super) struct Profiles(JoinSet<Due>);

/// A profile whose time is over.
#[derive(Debug)]
pub(super) struct Due {
    module: String,
    answer: ProfileAnswer,
}

impl Profiles {
    /// The next one whose time is over. Cancellation safe.
    pub(super) async fn due(&mut self) -> Due {
        loop {
            match self.0.join_next().await {
                Some(Ok(due)) => return due,
                // Waiting does not panic.
                Some(Err(_)) => {}
                None => return std::future::pending().await,
            }
        }
    }
}

impl Supervisor<'_> {
    /// Has every lane sample a module; the answer follows when that time is over.
    pub(super) fn begin_profile(
        &mut self,
        at_work: &AtWork,
        module: String,
        time: Duration,
        answer: ProfileAnswer,
    ) {
        let plan = &self.assembly.plan;
        let refused = match plan.find(&module) {
            _ if time > PROFILE_TIME_MAX => ProfileError::TooLong,
            Some(index) => {
                for lane in 0..self.assembly.options.workers {
                    at_work.shared.orders.give(lane, Order::BeginProfile(index));
                }
                at_work.session.wake_lanes();
                self.profiles.0.spawn(async move {
                    sleep(time).await;
                    Due { module, answer }
                });
                return;
            }
            None => ProfileError::NoSuchModule {
                known: plan.names(),
                module,
            },
        };
        let _ = answer.send(Err(refused));
    }

    /// Has the lanes give what they saw; the answer follows by itself.
    pub(super) fn end_profile(&self, at_work: &AtWork, due: Due) {
        let Due { module, answer } = due;
        let Some(index) = self.assembly.plan.find(&module) else {
            let _ = answer.send(Err(ProfileError::Replaced { module }));
            return;
        };
        let mut lanes = Vec::with_capacity(self.assembly.options.workers);
        for lane in 0..self.assembly.options.workers {
            let (answer, answered) = oneshot::channel();
            let module = index;
            at_work
                .shared
                .orders
                .give(lane, Order::EndProfile { module, answer });
            lanes.push(answered);
        }
        at_work.session.wake_lanes();
        tokio::spawn(async move {
            let busiest = timeout(LANE_TIME, busiest(lanes)).await.ok().flatten();
            let _ = answer.send(busiest.ok_or(ProfileError::Replaced { module }));
        });
    }
}

/// The profile of the lane with the most samples; one that has ended has none.
async fn busiest(lanes: Vec<oneshot::Receiver<Option<Profile>>>) -> Option<Profile> {
    let mut busiest: Option<Profile> = None;
    for answered in lanes {
        if let Ok(Some(profile)) = answered.await
            && busiest
                .as_ref()
                .is_none_or(|busiest| profile.samples > busiest.samples)
        {
            busiest = Some(profile);
        }
    }
    busiest
}

impl Instances {
    /// Begins to sample a module.
    pub(super) fn begin_profile(&mut self, module: usize) {
        self.get(module).start_profile();
    }

    /// Ends that; none when the instance is another one.
    pub(super) fn end_profile(&mut self, module: usize) -> Option<Profile> {
        self.get(module).finish_profile()
    }
}
