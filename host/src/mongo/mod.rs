//! The only room that builds a driver client, and the tables of what the server's answers mean.
//!
//! Enters: a connection string. Leaves: a [`Server`] that was seen to answer, with what it told of
//! itself, and [`Reader`]s that fetch raw replies ahead of whoever consumes them. A [`Fault`] says
//! what an error of the driver means to a caller: try again, give up, or the position is lost. A [`Throwaway`]
//! is a server for as long as somebody tries something out.

mod capabilities;
mod connect;
mod fault;
mod identity;
mod reader;
mod remains;
mod server;
mod sessions;
mod shards;
mod throwaway;
mod uri;

pub use capabilities::Capabilities;
pub use connect::{Error, Options, connect_client};
pub use fault::{Fault, code, describe, has_code};
pub use reader::{Reader, ReaderOptions, Reply, answer_in_time, only_reply};
pub use remains::Remains;
pub use server::{Server, Topology};
pub use sessions::end_sessions;
pub use shards::{Shard, shards};
pub use throwaway::{Throwaway, ThrowawayError};
pub use uri::parse_uri;
