//! How the server stands beside a run: how far its history reaches.

use std::time::Duration;

use tokio::{sync::watch, task::AbortHandle};

use crate::{
    mongo::Server,
    op::Timestamp,
    source::{default_oplog_namespace, oldest_entry},
};

/// How often the server is asked.
const EVERY: Duration = Duration::from_secs(5);

/// How far the server's history reaches; what is not known is none.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Vitals {
    /// The newest cluster time that a majority has.
    pub(super) newest: Option<Timestamp>,
    /// The oldest entry of the oplog, where the user may read it.
    pub(super) oldest: Option<Timestamp>,
}

/// Asks the server again and again, until it is dropped.
#[derive(Debug)]
pub(super) struct VitalsWatch {
    latest: watch::Receiver<Vitals>,
    task: AbortHandle,
}

impl VitalsWatch {
    pub(super) fn start(server: &Server) -> Self {
        let first = Vitals {
            newest: Some(server.majority_time),
            oldest: None,
        };
        let (sender, latest) = watch::channel(first);
        let server = server.clone();
        let task = tokio::spawn(async move {
            loop {
                let vitals = ask(&server).await;
                // Nobody looks any more when the run is over.
                if sender.send(vitals).is_err() {
                    return;
                }
                tokio::time::sleep(EVERY).await;
            }
        });
        Self {
            latest,
            task: task.abort_handle(),
        }
    }

    pub(super) fn latest(&self) -> Vitals {
        *self.latest.borrow()
    }
}

impl Drop for VitalsWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn ask(server: &Server) -> Vitals {
    let newest = tokio::time::timeout(EVERY, server.newest_time()).await;
    // A user who may not read the oplog is not told every few seconds.
    let namespace = default_oplog_namespace();
    let oldest = oldest_entry(&server.client, &namespace);
    let oldest = tokio::time::timeout(EVERY, oldest).await;
    Vitals {
        newest: newest.ok().flatten(),
        oldest: oldest
            .ok()
            .and_then(Result::ok)
            .flatten()
            .map(|entry| entry.timestamp),
    }
}
