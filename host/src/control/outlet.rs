//! What lanes hand outputs and failed ops to.

use std::fmt::Debug;

use futures_util::future::BoxFuture;

use crate::{
    op::{Ack, Timestamp},
    sink::{Chunk, Closed, Encoding},
};

/// A sink as the lanes see it.
pub(super) trait Outlet: Send + Sync + Debug {
    /// How it wants its documents written.
    fn encoding(&self) -> Encoding;

    /// How many workers it has, at least 1. All documents of an order key go to the same one.
    fn workers(&self) -> usize;

    /// Hands a chunk to a worker; waits while that has too much to do. A call that is dropped before
    /// its end hands over nothing, and the chunk's ops are not acknowledged.
    fn send(&self, worker: usize, chunk: Chunk) -> BoxFuture<'_, Result<(), Closed>>;
}

/// Where ops go that a module will not handle.
pub(super) trait Letters: Send + Sync + Debug {
    /// Takes an op over, and tells by `ack` when it is stored; waits while there is too much to do. A
    /// call that is dropped before its end takes nothing over.
    fn put(&self, letter: Letter, ack: Ack) -> BoxFuture<'_, ()>;
}

/// An op that a module will not handle, and why.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Letter {
    /// The op document as the module saw it.
    pub(super) op: Vec<u8>,
    pub(super) op_id: String,
    pub(super) namespace: String,
    /// Cluster time of the op.
    pub(super) timestamp: Timestamp,
    /// Which op of that cluster time; none where ops have no order of their own.
    pub(super) index: Option<u32>,
    /// Which of the run's streams the op came from.
    pub(super) stream: usize,
    pub(super) module: String,
    /// The module's version: SHA-256 of its bytes, in hex.
    pub(super) digest: String,
    /// How it failed: a [`Class`](crate::guest::Class) of a guest's failure, or `retry`, `reject`,
    /// `output`, `breaker`.
    pub(super) class: &'static str,
    /// What was called.
    pub(super) export: &'static str,
    pub(super) message: String,
    /// The last lines that the call wrote to standard error.
    pub(super) stderr: Vec<String>,
    /// Names of the guest's functions, the innermost first.
    pub(super) backtrace: Vec<String>,
    /// How often it was tried; 0 behind an open breaker.
    pub(super) attempts: u32,
    /// When it failed first, in milliseconds since 1970.
    pub(super) first_failed_ms: i64,
    /// When it was given up.
    pub(super) failed_ms: i64,
}
