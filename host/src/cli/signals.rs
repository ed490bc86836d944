//! SIGINT and SIGTERM: the first asks for an end, the second is one.

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
