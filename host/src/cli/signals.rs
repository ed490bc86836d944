//! SIGINT and SIGTERM: the first asks for an end, the second is one. SIGHUP: look at the modules' files.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The exit code when a second signal ends the process at once: 128 and the number of SIGINT.
const INTERRUPTED: i32 = 130;

/// A token that the first signal cancels. Signals are caught from here on.
pub(super) fn shutdown_token() -> CancellationToken {
    let token = CancellationToken::new();
    let cancelled = token.clone();
    let Some(mut signals) = Signals::catch() else {
        // Without handlers, the system's own reaction to a signal stands.
        return token;
    };
    tokio::spawn(async move {
        signals.next().await;
        cancelled.cancel();
        signals.next().await;
        tracing::warn!("a second signal: leaving at once");
        #[expect(
            clippy::exit,
            reason = "a second signal means now, whatever is still running"
        )]
        std::process::exit(INTERRUPTED);
    });
    token
}

/// Is told of each SIGHUP, which ends the process no longer.
#[cfg(unix)]
pub(super) fn hangups() -> Arc<Notify> {
    use tokio::signal::unix::{SignalKind, signal};
    let told = Arc::new(Notify::new());
    // Without a handler, the system's own reaction to the signal stands.
    if let Ok(mut hangups) = signal(SignalKind::hangup()) {
        let tell = told.clone();
        tokio::spawn(async move {
            while hangups.recv().await.is_some() {
                tell.notify_one();
            }
        });
    }
    told
}

#[cfg(not(unix))]
pub(super) fn hangups() -> Arc<Notify> {
    Arc::new(Notify::new())
}

/// Signals that ask for an end. Caught once for all: one that came between two catches would be lost.
#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn catch() -> Option<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Some(Self {
            interrupt: signal(SignalKind::interrupt()).ok()?,
            terminate: signal(SignalKind::terminate()).ok()?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn catch() -> Option<Self> {
        Some(Self)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
