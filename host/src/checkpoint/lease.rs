//! Becoming the one process that works under a name.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::warn;

use super::{Error, Holder, Holding, Store};
use crate::{backoff::Backoff, mongo::Remains};

/// The right to work under a name, and to save its checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The name.
    pub name: String,
    /// Counts the holders of the name.
    pub epoch: u64,
    /// Who holds it.
    pub holder: Holder,
    /// For how long it holds without being renewed.
    pub ttl: Duration,
    /// What is left of holders before that have not given their lease back, until somebody has ended
    /// it and [said so](Store::settle).
    pub replaced: Remains,
}

/// How leases are taken and kept. Another process takes over within `ttl` and `poll_every`, and some
/// round trips.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseOptions {
    /// For how long a lease holds without being renewed.
    pub ttl: Duration,
    /// How often it is renewed: often enough that two attempts may fail.
    pub renew_every: Duration,
    /// How often who waits for it looks.
    pub poll_every: Duration,
}

impl Default for LeaseOptions {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(7),
            renew_every: Duration::from_secs(2),
            poll_every: Duration::from_secs(1),
        }
    }
}

impl LeaseOptions {
    /// A lease that holds for that long, renewed so often that two attempts may fail.
    #[must_use]
    pub fn with_ttl(ttl: Duration) -> Self {
        let default = Self::default();
        Self {
            ttl,
            renew_every: default.renew_every.min(ttl / 3),
            poll_every: default.poll_every.min(ttl / 3),
        }
    }
}

/// What to do about another process that holds the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standby {
    /// Wait until it is gone.
    Wait,
    /// Give up, unless it does not renew its lease: then it is gone, and this is a restart.
    Refuse,
}

/// How many times a holder must be seen to have renewed its lease to be believed alive. Once is not
/// enough: a write that a killed process had sent may be done, or become visible, after the first look.
const RENEWALS_OF_THE_LIVING: u32 = 2;

/// How many times its time to live a silent holder is watched before it is believed after all: the
/// lease should have run out by the store's clock.
const SILENCE_MAX: u32 = 3;

/// Takes the lease of a name, waiting for it as `standby` says. `on_wait` is told of each holder that
/// has to be waited for, once. Faults that pass are waited out.
///
/// Cancellation safe, but for one thing: a lease that was just taken then has to run out.
///
/// # Errors
/// [`Error::Held`] where `standby` does not allow to wait; else as [`Store::acquire`].
pub async fn take(
    store: &Store,
    name: &str,
    holder: &Holder,
    options: &LeaseOptions,
    standby: Standby,
    mut on_wait: impl FnMut(&Holding),
) -> Result<Lease, Error> {
    let mut backoff = Backoff::new();
    let mut watched: Option<Watched> = None;
    loop {
        let delay = match store.acquire(name, holder, options.ttl).await {
            Ok(lease) => return Ok(lease),
            Err(Error::Held { name, by }) => {
                backoff.reset();
                match watched
                    .as_mut()
                    .filter(|watched| watched.holding.holder.id == by.holder.id)
                {
                    None => {
                        // Another one has taken it while we watched: that one is alive.
                        if standby == Standby::Refuse && watched.is_some() {
                            return Err(Error::Held { name, by });
                        }
                        on_wait(&by);
                        watched = Some(Watched::begin(*by));
                    }
                    Some(watched) => {
                        watched.see(&by);
                        if standby == Standby::Refuse && watched.is_alive() {
                            return Err(Error::Held { name, by });
                        }
                    }
                }
                options.poll_every
            }
            Err(error) if error.is_passing() => {
                let delay = backoff.next_delay();
                warn!(name, error = chain(&error), attempt = backoff.attempts(), retry_in = ?delay,
                    "the lease cannot be taken now; trying again");
                delay
            }
            Err(error) => return Err(error),
        };
        sleep(delay).await;
    }
}

/// A holder that is looked at again and again.
struct Watched {
    /// As it was seen last.
    holding: Holding,
    since: Instant,
    renewals: u32,
}

impl Watched {
    fn begin(holding: Holding) -> Self {
        Self {
            holding,
            since: Instant::now(),
            renewals: 0,
        }
    }

    fn see(&mut self, holding: &Holding) {
        if self.holding.renewed_at_ms != holding.renewed_at_ms {
            self.renewals += 1;
            self.holding = holding.clone();
        }
    }

    fn is_alive(&self) -> bool {
        self.renewals >= RENEWALS_OF_THE_LIVING
            || self.since.elapsed() > self.holding.ttl * SILENCE_MAX
    }
}

/// An error and its cause in one line of the log.
pub(crate) fn chain(error: &Error) -> String {
    let cause = std::error::Error::source(error).map(|cause| match cause.downcast_ref() {
        Some(error) => crate::mongo::describe(error),
        None => cause.to_string(),
    });
    match cause {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
