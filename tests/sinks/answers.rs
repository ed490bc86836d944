//! A way to a mongod on which answers get lost.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::SeqCst},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// What becomes of the answer to a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// The connection is closed instead.
    Cut,
    /// It never comes, and the connection stays.
    Swallowed,
}

/// Hands everything to a server on the same machine and back, but for some answers to writes.
#[derive(Debug)]
pub(super) struct Answers {
    port: u16,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    cut: AtomicU32,
    swallowed: AtomicU32,
    writes: AtomicU64,
}

impl Answers {
    pub(super) async fn of(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State::default());
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // While the server is gone, so are its connections.
                if let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await {
                    tokio::spawn(relay(client, server, shared.clone()));
                }
            }
        });
        Self { port, state }
    }

    /// The connection string of the way; the driver must not find the server by itself.
    pub(super) fn uri(&self) -> String {
        format!(
            "mongodb://127.0.0.1:{}/?directConnection=true&serverSelectionTimeoutMS=2000",
            self.port
        )
    }

    /// The next so many writes are carried out, and their answers are lost.
    pub(super) fn lose(&self, count: u32, fate: Fate) {
        match fate {
            Fate::Cut => self.state.cut.store(count, SeqCst),
            Fate::Swallowed => self.state.swallowed.store(count, SeqCst),
        }
    }

    /// How many write commands were sent so far.
    pub(super) fn writes(&self) -> u64 {
        self.state.writes.load(SeqCst)
    }
}

async fn relay(client: TcpStream, server: TcpStream, state: Arc<State>) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // What becomes of the next answer is in here, by the time it comes.
    let (tell, told) = tokio::sync::watch::channel(None);
    let requests = requests(from_client, to_server, &state, &tell);
    let answers = answers(from_server, to_client, told);
    tokio::select! { _ = requests => {}, _ = answers => {} }
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    state: &State,
    tell: &tokio::sync::watch::Sender<Option<Fate>>,
) -> std::io::Result<()> {
    let take = |count: &AtomicU32| {
        let less = count.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
        less.is_ok()
    };
    loop {
        let message = read_message(&mut from).await?;
        let is_write = is_write(&message);
        let mut fate = None;
        if is_write {
            state.writes.fetch_add(1, SeqCst);
            if take(&state.cut) {
                fate = Some(Fate::Cut);
            } else if take(&state.swallowed) {
                fate = Some(Fate::Swallowed);
            }
        }
        tell.send_replace(fate);
        to.write_all(&message).await?;
    }
}

async fn answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    told: tokio::sync::watch::Receiver<Option<Fate>>,
) -> std::io::Result<()> {
    loop {
        // The whole answer: the write is done, and its majority reached.
        let message = read_message(&mut from).await?;
        let fate = *told.borrow();
        match fate {
            None => to.write_all(&message).await?,
            Some(Fate::Cut) => return Ok(()),
            Some(Fate::Swallowed) => {}
        }
    }
}

async fn read_message(from: &mut OwnedReadHalf) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length).await?;
    let mut message = vec![0; u32::from_le_bytes(length) as usize];
    message[..4].copy_from_slice(&length);
    from.read_exact(&mut message[4..]).await?;
    Ok(message)
}

/// Whether a message (header, flags, kind of section, document) is a write command: its first key is
/// the command's name.
fn is_write(message: &[u8]) -> bool {
    const OP_MSG: [u8; 4] = 2013_u32.to_le_bytes();
    let name = message.get(26..).unwrap_or_default();
    message[12..16] == OP_MSG
        && [&b"insert\0"[..], b"update\0", b"delete\0"]
            .iter()
            .any(|write| name.starts_with(write))
}
