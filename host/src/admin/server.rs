//! The port, from bound to closed.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::Semaphore, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{
    Error, Options,
    access::Access,
    connections::{Bounded, Busy},
    routes::{Face, router},
};
use crate::{control::Handle, telemetry::Metrics};

/// How long answers that are under way may take once the server closes. What they wait for has
/// happened by then; a client that does not read is left.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(2);

/// How long a connection may be without a request: scrapers come every 10 to 60 seconds, and keep
/// theirs.
const IDLE_TIME_MAX: Duration = Duration::from_secs(90);

/// How many modules may be in memory that are put at the same time; more wait.
const UPLOADS_MAX: usize = 2;

/// A server at work. Dropping it does not stop it: the token that it was given does.
#[derive(Debug)]
pub struct Server {
    local_addr: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    /// The address, with the port that was taken where 0 was asked for.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Closes: nothing new is taken on, and answers under way are sent. The last step of a run's end.
    pub async fn close(mut self) {
        self.shutdown.cancel();
        if tokio::time::timeout(CLOSE_TIME_MAX, &mut self.task)
            .await
            .is_err()
        {
            tracing::warn!("a client of the admin API took too long, and was left");
            self.task.abort();
        }
    }
}

/// Binds the port and answers from then on, until `shutdown` is cancelled. Call
/// [`Server::close`] at the end, so that answers under way are still sent.
///
/// # Errors
/// [`Error`], before anything is answered.
pub async fn serve(
    options: &Options,
    handle: Handle,
    metrics: Metrics,
    shutdown: CancellationToken,
) -> Result<Server, Error> {
    let address = options.address;
    match options.token.as_deref() {
        Some(token) if !is_token(token) => return Err(Error::BadToken),
        None if !address.ip().is_loopback() => return Err(Error::NoToken { address }),
        Some(_) | None => {}
    }
    let refuse = |source| Error::Bind { address, source };
    let listener = TcpListener::bind(address).await.map_err(refuse)?;
    let local_addr = listener.local_addr().map_err(refuse)?;
    let routes = router(Face {
        access: Access::new(options.token.as_deref()),
        handle,
        metrics,
        module_bytes_max: options.module_bytes_max,
        uploads: Arc::new(Semaphore::new(UPLOADS_MAX)),
    });
    let closes = shutdown.clone();
    let service = routes.into_make_service_with_connect_info::<Busy>();
    let serving = axum::serve(Bounded::new(listener, IDLE_TIME_MAX), service)
        .with_graceful_shutdown(closes.cancelled_owned());
    let task = tokio::spawn(async move {
        // It never fails: a connection that cannot be accepted is tried again.
        let _ = serving.await;
    });
    tracing::info!(address = %local_addr, "the admin API is served");
    Ok(Server {
        local_addr,
        shutdown,
        task,
    })
}

/// Whether an HTTP header can carry it as it is: a space at its end would be lost on the way.
fn is_token(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())
}
