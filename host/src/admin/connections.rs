//! Connections, bounded in number and in how long they may do nothing: who can reach the port, token
//! or not, must not use up what the run itself needs.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use futures_util::task::AtomicWaker;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep},
};

/// Connections at one time; who comes then waits for a place. A few scrapers and people are usual.
const CONNECTIONS_MAX: usize = 64;

/// A listener that has so many places.
#[derive(Debug)]
pub(super) struct Bounded {
    listener: TcpListener,
    places: Arc<Semaphore>,
    idle_time_max: Duration,
}

impl Bounded {
    /// Connections of this listener may be without a request for `idle_time_max`.
    pub(super) fn new(listener: TcpListener, idle_time_max: Duration) -> Self {
        Self {
            listener,
            places: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            idle_time_max,
        }
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let place = self.places.clone().acquire_owned().await;
        let place = place.expect("the places are never closed");
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let connection = Connection {
            stream,
            busy: Busy::default(),
            was_busy: false,
            idle_time_max: self.idle_time_max,
            idle_until: Box::pin(sleep(self.idle_time_max)),
            _place: place,
        };
        (connection, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Whether a request of the connection is being answered: that may take any time.
#[derive(Debug, Clone, Default)]
pub(super) struct Busy(Arc<Answering>);

#[derive(Debug, Default)]
struct Answering {
    is_under_way: AtomicBool,
    /// Who read in the meantime: the HTTP library does not read again by itself when an answer is
    /// sent, and nobody would look at the time.
    reader: AtomicWaker,
}

impl Busy {
    /// Says so until the guard is dropped.
    pub(super) fn begin(&self) -> BusyGuard {
        self.0.is_under_way.store(true, Relaxed);
        BusyGuard(self.clone())
    }
}

/// While it lives, its connection is busy.
#[derive(Debug)]
pub(super) struct BusyGuard(Busy);

impl Drop for BusyGuard {
    fn drop(&mut self) {
        let answering = &self.0.0;
        answering.is_under_way.store(false, Relaxed);
        answering.reader.wake();
    }
}

impl Connected<IncomingStream<'_, Bounded>> for Busy {
    fn connect_info(stream: IncomingStream<'_, Bounded>) -> Self {
        stream.io().busy.clone()
    }
}

/// A connection that is closed when it is without a whole request for too long: a head that comes a
/// byte at a time is none.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    busy: Busy,
    was_busy: bool,
    idle_time_max: Duration,
    idle_until: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_ready() {
            return read;
        }
        // Registered first, so that an answer that ends just now is not missed.
        self.busy.0.reader.register(context.waker());
        if self.busy.0.is_under_way.load(Relaxed) {
            self.was_busy = true;
            return Poll::Pending;
        }
        if std::mem::take(&mut self.was_busy) {
            let until = Instant::now() + self.idle_time_max;
            self.idle_until.as_mut().reset(until);
        }
        let is_over = self.idle_until.as_mut().poll(context).is_ready();
        match is_over {
            true => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            false => Poll::Pending,
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, extract::ConnectInfo, routing::get};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const IDLE: Duration = Duration::from_millis(200);
    const HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

    /// Takes five times as long to answer as a connection may be idle.
    async fn served() -> SocketAddr {
        let slow = async |ConnectInfo(busy): ConnectInfo<Busy>| {
            let _busy = busy.begin();
            sleep(5 * IDLE).await;
            "done"
        };
        let routes = Router::new().route("/", get(slow));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = routes.into_make_service_with_connect_info::<Busy>();
        let served = axum::serve(Bounded::new(listener, IDLE), service);
        tokio::spawn(async move { served.await });
        address
    }

    /// Reads until the other end closes.
    async fn read_all(mut stream: TcpStream) -> String {
        let mut text = String::new();
        let read = stream.read_to_string(&mut text);
        let read = tokio::time::timeout(Duration::from_secs(30), read).await;
        read.expect("it is closed").unwrap();
        text
    }

    #[tokio::test]
    async fn a_connection_without_a_whole_request_is_closed() {
        let address = served().await;
        let silent = TcpStream::connect(address).await.unwrap();
        let mut half = TcpStream::connect(address).await.unwrap();
        half.write_all(&HEAD[..20]).await.unwrap();
        assert_eq!(read_all(silent).await, "");
        assert_eq!(read_all(half).await, "");
    }

    #[tokio::test]
    async fn a_request_is_answered_however_long_that_takes_and_then_time_begins_anew() {
        let address = served().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(HEAD).await.unwrap();
        // The connection is kept for another request, and closed when none comes.
        assert!(read_all(stream).await.ends_with("done"));
    }

    #[tokio::test]
    async fn who_comes_when_all_places_are_taken_waits_for_one() {
        let address = served().await;
        let mut others = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            others.push(TcpStream::connect(address).await.unwrap());
        }
        let mut late = TcpStream::connect(address).await.unwrap();
        late.write_all(HEAD).await.unwrap();
        assert!(read_all(late).await.ends_with("done"));
    }
}
