//! Documents of updates, where a deployment that is away holds up no other.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::{
    flow::{Documents, Lookup},
    op::{Cluster, Op},
};

/// How long a lane waits for documents of one of several deployments before it goes on with ops of others.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often it is looked whether a deployment is there again.
const EVERY: Duration = Duration::from_secs(1);

/// Where the documents of a stream's updates are looked up.
#[derive(Debug)]
pub(super) struct Reach {
    lookup: Lookup,
    /// Of a stream that may not hold up others; none where an update is waited for as long as it takes.
    impatience: Option<(Cluster, Arc<AtomicBool>)>,
}

impl Reach {
    /// Waits for as long as it takes.
    pub(super) fn patient(lookup: Lookup) -> Self {
        Self {
            lookup,
            impatience: None,
        }
    }

    /// Gives up soon, until the deployment is there again.
    pub(super) fn impatient(lookup: Lookup, cluster: Cluster) -> Self {
        Self {
            lookup,
            impatience: Some((cluster, Arc::default())),
        }
    }

    /// Fetches documents as [`Lookup::fetch`] does; tells whether it could.
    ///
    /// # Errors
    /// As [`Lookup::fetch`].
    pub(super) async fn fetch(
        &self,
        ops: &[Op<'_>],
        documents: &mut Documents,
    ) -> Result<bool, mongodb::error::Error> {
        let fetch = self.lookup.fetch(ops, documents);
        let Some((cluster, is_away)) = &self.impatience else {
            return fetch.await.map(|()| true);
        };
        if is_away.load(Relaxed) {
            return Ok(false);
        }
        if let Ok(fetched) = timeout(PATIENCE, fetch).await {
            return fetched.map(|()| true);
        }
        if !is_away.swap(true, Relaxed) {
            warn!(%cluster, "documents cannot be looked up there at present: what needs them waits");
            let (lookup, cluster) = (self.lookup.clone(), cluster.clone());
            tokio::spawn(notice(lookup, cluster, Arc::downgrade(is_away)));
        }
        Ok(false)
    }
}

/// Waits until the deployment is there again, or nobody cares any more.
async fn notice(lookup: Lookup, cluster: Cluster, is_away: std::sync::Weak<AtomicBool>) {
    loop {
        sleep(EVERY).await;
        let answers = timeout(PATIENCE, lookup.answers()).await;
        let Some(is_away) = is_away.upgrade() else {
            return;
        };
        if answers == Ok(true) {
            info!(%cluster, "documents can be looked up there again");
            is_away.store(false, Relaxed);
            return;
        }
    }
}
