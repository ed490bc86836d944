//! Write commands that a server knows again.
//!
//! A replica set keeps, per session, the number of the last write command (`txnNumber`) and which of
//! its statements were carried out and changed something, in the same storage transaction as the writes
//! themselves. The same command under the same number does what is left of it, and is answered as if it
//! had done all: on the same server, on the next primary, and after a crash. What had changed nothing is
//! done again, too, which is why not [every statement](super::statement::Among) may be beside others. The driver numbers only the writes that it
//! builds by itself, and repeats them once; these commands are numbered here, so that they can be
//! repeated for as long as it takes.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicI64, Ordering::Relaxed},
};

use bson::{Bson, Uuid};
use mongodb::{Client, ClientSession, error::Error, options::SessionOptions};
use tracing::warn;

use crate::mongo::{describe, has_code};

/// The next number, whichever the session: a server takes no number that is less than the last one of
/// its session, and sessions change hands. The first is more than the driver ever counted to, in case
/// that it used the session before.
static NEXT: AtomicI64 = AtomicI64::new(1 << 40);

/// What a server answers when it can no longer tell what became of a numbered command.
const FORGOTTEN: [i32; 2] = [
    217, // IncompleteTransactionHistory
    225, // TransactionTooOld
];

/// What to do about an error of a numbered command, other than to send it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Commands cannot be numbered here; this one was not carried out.
    Unnumbered,
    /// Nobody can tell any more whether it was carried out.
    Forgotten,
}

impl Trouble {
    pub(super) fn of(error: &Error) -> Option<Self> {
        if has_code(error, &FORGOTTEN) {
            return Some(Self::Forgotten);
        }
        // By their words: a standalone's code, 20, has other meanings, and other servers that speak
        // the protocol have codes of their own.
        let text = describe(error).to_ascii_lowercase();
        let is_about_numbers =
            text.contains("transaction numbers") || text.contains("retryable writes");
        is_about_numbers.then_some(Self::Unnumbered)
    }
}

/// Sessions of a client whose writes are numbered here.
#[derive(Debug)]
pub(super) struct Numbers {
    client: Client,
    is_known: AtomicBool,
    idle: Mutex<Vec<ClientSession>>,
}

impl Numbers {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            is_known: AtomicBool::new(true),
            idle: Mutex::default(),
        }
    }

    /// The number of the next command on a collection; `None` where the server knows none.
    pub(super) fn next(&self, namespace: &str) -> Option<i64> {
        // What is not replicated cannot be numbered, on any server.
        let is_replicated = !namespace.starts_with("local.");
        (is_replicated && self.is_known.load(Relaxed)).then(|| NEXT.fetch_add(1, Relaxed))
    }

    /// The deployment knows no numbers.
    pub(super) fn give_up(&self, error: &Error) {
        if self.is_known.swap(false, Relaxed) {
            warn!(
                reason = describe(error),
                "the deployment does not tell whether a write was done already: one whose answer is lost is done again"
            );
        }
    }

    /// A session that nobody uses.
    pub(super) async fn session(&self) -> Result<ClientSession, Error> {
        let idle = self
            .idle
            .lock()
            .expect("no holder of this lock panics")
            .pop();
        match idle {
            Some(session) => Ok(session),
            None => self.new_session().await,
        }
    }

    /// Makes sessions in advance, and tells their ids.
    pub(super) async fn reserve(&self, count: usize) -> Vec<Uuid> {
        let mut ids = Vec::new();
        for _ in 0..count {
            // Without one it is made when it is needed.
            let Ok(session) = self.new_session().await else {
                break;
            };
            if let Some(Bson::Binary(id)) = session.id().get("id") {
                ids.extend(id.to_uuid());
            }
            self.put_back(session);
        }
        ids
    }

    /// A session that was not used here.
    pub(super) async fn new_session(&self) -> Result<ClientSession, Error> {
        // The writes wait for nothing but each other.
        let options = SessionOptions::builder().causal_consistency(false).build();
        self.client.start_session().with_options(options).await
    }

    /// The outcome of all its commands is known.
    pub(super) fn put_back(&self, session: ClientSession) {
        let mut idle = self.idle.lock().expect("no holder of this lock panics");
        idle.push(session);
    }
}
