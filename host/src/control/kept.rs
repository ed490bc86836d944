//! What a run holds that keeps a checkpoint: taken over at its start, given back at its end.

use std::{sync::Arc, time::Duration};

use tracing::info;

use super::{Error, Options, RunState, board::Board, delivery::Delivery};
use crate::{
    checkpoint::{Holder, Holding, Keeper, Lease, LeaseOptions, Standby, Store, take},
    mongo::Server,
    op::StoreSpec,
};

/// How long giving back the lease may take: without that it runs out.
const RELEASE_TIME: Duration = Duration::from_secs(2);

/// What a run that keeps a checkpoint holds.
pub(super) struct Kept {
    pub(super) store: Store,
    pub(super) lease: Lease,
    pub(super) keeper: Arc<Keeper>,
}

impl Kept {
    /// Opens the store, and waits for the lease.
    pub(super) async fn take_over(
        spec: &StoreSpec,
        options: &Options,
        home: &Server,
        delivery: &Delivery,
        holder: Holder,
        board: &Board,
    ) -> Result<Self, Error> {
        let client = match &delivery.ledger {
            Some(ledger) => ledger.client(),
            None => &home.client,
        };
        let store = Store::open(spec, client);
        if delivery.ledger.is_some() && !store.has_transactions() {
            let reason = format!("the checkpoint is in {spec}, which is not on its deployment");
            return Err(Error::Transactional { reason });
        }
        let holder = Holder {
            sessions: delivery.sessions().await,
            ..holder
        };
        let lease_options = LeaseOptions::with_ttl(options.lease);
        let standby = match options.standby {
            true => Standby::Wait,
            false => Standby::Refuse,
        };
        let on_wait = |by: &Holding| {
            let reason = format!("{} holds the lease", by.holder);
            let (name, holder) = (&options.name, &by.holder);
            match standby {
                Standby::Wait => {
                    info!(name, %holder, "standing by: another process holds the lease");
                    board.enter(RunState::Standby, Some(reason));
                }
                Standby::Refuse => {
                    info!(name, %holder, "looking whether the process that holds the lease is still alive");
                }
            }
        };
        let lease = take(
            &store,
            &options.name,
            &holder,
            &lease_options,
            standby,
            on_wait,
        )
        .await?;
        let keeper = Keeper::start(store.clone(), lease.clone(), lease_options);
        if !lease.replaced.is_empty() {
            // Before anything is read: what the one before had sent last must not come after it.
            delivery.end(&lease.replaced).await;
            if let Err(error) = store.settle(&lease).await {
                // Whoever takes over from this one does it again, which is harmless.
                tracing::debug!(%error, "it cannot be noted that nothing is left of the holder before");
            }
        }
        Ok(Self {
            store,
            lease,
            keeper: Arc::new(keeper),
        })
    }

    /// Gives the lease back.
    pub(super) async fn release(self) {
        // Who was fenced has nothing to give back.
        let released = tokio::time::timeout(RELEASE_TIME, self.store.release(&self.lease)).await;
        if !matches!(released, Ok(Ok(()))) {
            tracing::debug!("the lease is not given back, and runs out");
        }
    }
}
