//! Keeping a lease.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::watch,
    task::AbortHandle,
    time::{sleep, sleep_until},
};
use tracing::{error, warn};

use super::{Error, Holder, Lease, LeaseOptions, Store, lease::chain};

/// How a lease stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseState {
    /// Ours, since it was renewed within its time to live.
    Held,
    /// Not renewed for its time to live, because the store is away or this process was suspended:
    /// another process may have taken over. It is ours again if it can be renewed.
    Unsure,
    /// Another process has taken over; none means that it was taken away by hand.
    Lost(Option<Holder>),
}

/// Renews a lease in a task of its own. Dropping it ends that, and the lease runs out;
/// [`release`](Self::release) gives it back.
#[derive(Debug)]
pub struct Keeper {
    store: Store,
    lease: Lease,
    known: watch::Sender<Known>,
    task: AbortHandle,
}

/// What is known of the lease.
#[derive(Debug, Clone)]
struct Known {
    /// When the last attempt that succeeded began, by this machine's clock that only runs forward: a
    /// process that was suspended sees at once how much time has passed.
    renewed: Instant,
    lost: Option<Arc<Option<Holder>>>,
}

impl Keeper {
    /// Keeps a lease that was just taken.
    #[must_use]
    pub fn start(store: Store, lease: Lease, options: LeaseOptions) -> Self {
        let known = Known {
            renewed: Instant::now(),
            lost: None,
        };
        let known = watch::Sender::new(known);
        let task = tokio::spawn(keep(store.clone(), lease.clone(), options, known.clone()));
        Self {
            store,
            lease,
            known,
            task: task.abort_handle(),
        }
    }

    /// The lease.
    #[must_use]
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Something else has renewed it, which began at that time: a checkpoint that was saved does. The next
    /// renewal then comes that much later.
    pub fn renewed(&self, begun: Instant) {
        self.known.send_if_modified(|known| {
            let is_newer = begun > known.renewed;
            if is_newer {
                known.renewed = begun;
            }
            is_newer
        });
    }

    /// How it stands now.
    #[must_use]
    pub fn state(&self) -> LeaseState {
        let known = self.known.borrow();
        match &known.lost {
            Some(by) => LeaseState::Lost(by.as_ref().clone()),
            None if known.renewed.elapsed() < self.lease.ttl => LeaseState::Held,
            None => LeaseState::Unsure,
        }
    }

    /// Whether it is surely ours. Costs a look at the clock.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let known = self.known.borrow();
        known.lost.is_none() && known.renewed.elapsed() < self.lease.ttl
    }

    /// Waits until the lease is lost for good: the store has said that its epoch is over. A store
    /// that is away does not say so; see [`unsure`](Self::unsure). Cancellation safe.
    pub async fn lost(&self) -> Option<Holder> {
        let mut known = self.known.subscribe();
        let lost = known.wait_for(|known| known.lost.is_some()).await;
        match lost.ok().and_then(|known| known.lost.clone()) {
            Some(by) => by.as_ref().clone(),
            // The task ends only with that word, or with us.
            None => std::future::pending().await,
        }
    }

    /// Waits until the lease is not surely ours: not renewed for its time to live, or lost.
    /// Cancellation safe.
    pub async fn unsure(&self) {
        let mut known = self.known.subscribe();
        loop {
            if !self.is_valid() {
                return;
            }
            let end = known.borrow_and_update().renewed + self.lease.ttl;
            tokio::select! {
                () = sleep_until(end.into()) => {}
                changed = known.changed() => if changed.is_err() {
                    sleep_until(end.into()).await;
                },
            }
        }
    }

    /// Waits until the lease is surely ours again, or lost; tells which. Cancellation safe.
    pub async fn settled(&self) -> LeaseState {
        let mut known = self.known.subscribe();
        loop {
            known.mark_unchanged();
            match self.state() {
                LeaseState::Unsure => {}
                settled => return settled,
            }
            if known.changed().await.is_err() {
                return LeaseState::Unsure;
            }
        }
    }

    /// Stops renewing, and gives the lease back.
    ///
    /// # Errors
    /// As [`Store::release`]; the lease then runs out by itself.
    pub async fn release(self) -> Result<(), Error> {
        self.task.abort();
        self.store.release(&self.lease).await
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep(store: Store, lease: Lease, options: LeaseOptions, known: watch::Sender<Known>) {
    let name = &lease.name;
    let mut pause = options.renew_every;
    loop {
        sleep(pause).await;
        let renewed = known.borrow().renewed.elapsed();
        if renewed < options.renew_every {
            pause = options.renew_every - renewed;
            continue;
        }
        let begin = Instant::now();
        match store.renew(&lease).await {
            Ok(()) => {
                known.send_modify(|known| known.renewed = begin.max(known.renewed));
                pause = options.renew_every;
            }
            Err(Error::Fenced { by, .. }) => {
                let by = by.map(|by| *by);
                let holder = by.as_ref().map(ToString::to_string);
                error!(name, epoch = lease.epoch, holder, "the lease is lost");
                known.send_modify(|known| known.lost = Some(Arc::new(by)));
                return;
            }
            Err(failed) => {
                let silent = known.borrow().renewed.elapsed();
                warn!(
                    name,
                    error = chain(&failed),
                    silent_seconds = silent.as_secs(),
                    "the lease cannot be renewed now; trying again"
                );
                pause = (options.renew_every / 4).max(Duration::from_millis(10));
            }
        }
    }
}
