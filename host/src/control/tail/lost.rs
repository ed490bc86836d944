//! What a tail does about a lost position.

use tracing::{error, warn};

use super::{Error, Event, session::Session};
use crate::{
    checkpoint::Gap,
    control::{OnPositionLost, begin::Begin},
    op::{Scope, Since},
    source,
};

impl Session {
    /// Goes on at the oldest entries that are left.
    pub(super) async fn pass_over(&mut self, error: &source::Error) -> Result<(), Error> {
        self.record(error).await;
        self.stop_reading().await;
        // What was given before the gap cannot be read again.
        self.window.idle().await;
        let shared = self.shared.clone();
        let (kind, namespace) = (shared.options.source, &shared.options.oplog_namespace);
        let start = source::resolve(&Since::Oldest, kind, &shared.server, namespace).await?;
        self.go_to(Begin::at(start)).await;
        Ok(())
    }

    /// Shows and keeps a lost position; does nothing for other errors.
    pub(super) async fn record(&self, lost: &source::Error) {
        let source::Error::PositionLost {
            position,
            oldest,
            reason,
        } = lost
        else {
            return;
        };
        let options = &self.shared.options;
        let policy = options.on_position_lost;
        error!(from = %position, to = oldest.map(|to| to.to_string()), reason,
            policy = policy.as_str(), "the position is lost: changes between these two were not seen");
        if policy == OnPositionLost::Skip {
            self.shared.tell(Event::PositionLost {
                from: position.clone(),
                to: *oldest,
                reason: reason.clone(),
            });
        }
        let (Some(store), Some(saving)) = (&self.shared.store, &options.saving) else {
            return;
        };
        let scope = Scope::new(options.watch.iter().cloned());
        let gap = Gap {
            name: saving.name.clone(),
            cluster: None,
            source: options.source,
            from: position.clone(),
            to: *oldest,
            namespaces: scope.namespaces().iter().map(ToString::to_string).collect(),
            reason: reason.clone(),
            policy: policy.as_str().to_owned(),
            at_ms: bson::DateTime::now().timestamp_millis(),
        };
        if let Err(error) = store.record_gap(&gap).await {
            warn!(%error, "the gap cannot be recorded");
        }
    }
}
