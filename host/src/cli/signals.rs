//! SIGINT and SIGTERM: the first asks for an end, the second is one.

use tokio_util::sync::CancellationToken;

/// The exit code when a second signal ends the process at once: 128 and the number of SIGINT.
const INTERRUPTED: i32 = 130;

/// A token that the first signal cancels.
pub(super) fn shutdown_token() -> CancellationToken {
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        next_signal().await;
        cancelled.cancel();
        next_signal().await;
        tracing::warn!("a second signal: leaving at once");
        #[expect(
            clippy::exit,
            reason = "a second signal means now, whatever is still running"
        )]
        std::process::exit(INTERRUPTED);
    });
    token
}

#[cfg(unix)]
async fn next_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        // Without handlers, the system's own reaction to a signal stands.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(not(unix))]
async fn next_signal() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
