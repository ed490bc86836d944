//! The word to leave alone what has not begun.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use tokio_util::sync::CancellationToken;

/// A switch that is thrown once. Looking at it costs next to nothing, so that a lane can do it
/// between any two ops.
#[derive(Debug, Clone, Default)]
pub struct Cut {
    flag: Arc<AtomicBool>,
    token: CancellationToken,
}

impl Cut {
    /// Throws the switch.
    pub fn throw(&self) {
        self.flag.store(true, Relaxed);
        self.token.cancel();
    }

    /// Whether it was thrown.
    #[must_use]
    pub fn is_thrown(&self) -> bool {
        self.flag.load(Relaxed)
    }

    /// Waits until it is thrown. Cancellation safe.
    pub async fn thrown(&self) {
        self.token.cancelled().await;
    }
}
