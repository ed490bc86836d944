//! The HTTP face of a run: how it stands, and what it is asked to do.
//!
//! Enters: a [`Handle`](crate::control::Handle) and [`Metrics`](crate::telemetry::Metrics). Leaves: a
//! [`Server`] that answers until it is told to close. [`serve`] binds its port before it returns, so
//! that a run that cannot be reached does not begin. Everything is JSON, but for the metrics;
//! errors are `{code, message, hints}`. No other room sees the HTTP library.
//!
//! Promised: on an address that others can reach, nothing is told or done without the token, but for
//! `GET /live` and `GET /ready`; on loopback without a token, web pages in a browser of the same
//! machine cannot use it. Every request has a bound in size and time. A command that was taken on is
//! answered, also when the run ends by it.

mod access;
mod answer;
mod connections;
mod modules;
mod routes;
mod server;

#[cfg(test)]
mod tests;

pub use server::{Server, serve};

use std::{io, net::SocketAddr};

/// Where the admin API listens, and who may use it.
#[derive(Clone)]
pub struct Options {
    /// The address; port 0 takes a free one.
    pub address: SocketAddr,
    /// Who shows this may use it. Required where the address is not loopback.
    pub token: Option<String>,
    /// How large a module may be that is put, in bytes.
    pub module_bytes_max: usize,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("address", &self.address)
            .field("token", &self.token.as_ref().map(|_| "..."))
            .field("module_bytes_max", &self.module_bytes_max)
            .finish()
    }
}

/// Why the admin API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Others could reach it, and there is no token to keep them out.
    #[error("the admin API is not served on {address} without a token")]
    NoToken {
        /// The address.
        address: SocketAddr,
    },
    /// A token that nobody can show.
    #[error("the token of the admin API is empty, or has characters that no HTTP header can carry")]
    BadToken,
    /// The port cannot be had.
    #[error("cannot serve the admin API on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}
