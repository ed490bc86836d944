//! Ending what another process has begun.

use std::time::Duration;

use bson::{Uuid, doc};
use mongodb::Client;

use super::describe;

/// How long the server may take to end sessions.
const TIME: Duration = Duration::from_secs(10);

/// Ends server sessions: what runs in them is interrupted, or waited for, and a transaction that was
/// left open is aborted. Whatever fails is left to run out by itself.
pub async fn end_sessions(client: &Client, sessions: &[Uuid]) {
    if sessions.is_empty() {
        return;
    }
    let sessions: Vec<_> = sessions.iter().map(|id| doc! { "id": *id }).collect();
    let admin = client.database("admin");
    let kill = admin.run_command(doc! { "killSessions": sessions });
    match tokio::time::timeout(TIME, kill).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::debug!(error = describe(&error), "sessions could not be ended"),
        Err(_) => tracing::debug!("sessions could not be ended in time"),
    }
}
