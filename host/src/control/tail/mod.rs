//! Changes without modules: what gtm is for Go, for Rust programs, and for `oplet tail` and `record`.
//!
//! Enters: a connection string or a client, and [`Options`]. Leaves: a [`Tail`], a stream of batches
//! in the server's order, or [`Ops`], a stream of the changes one by one; and a [`Handle`], which
//! pauses, resumes, seeks and stops it, and knows how far it is done. What lies in collections comes in the
//! same stream, where it is asked for. Promised: each change comes once,
//! and after a crash again only if it was not done; what is read and not done is bounded in bytes; a
//! position is never passed over in silence; every command is answered within a bounded time, also
//! while nothing happens and nobody reads. An [`Error`] comes as the last item of the stream; faults
//! that pass are [`Event`]s.
//!
//! One task reads (`task`), session after session (`session`); the stream only takes what it gives.
//! `docs/gtm.md` says what became of each name of gtm.

mod batch;
mod builder;
mod change;
mod decode;
mod deployment;
mod error;
mod event;
mod giver;
mod handle;
mod lost;
mod ops;
mod options;
mod reading;
mod reads;
mod session;
mod start;
mod stream;
mod task;

pub use batch::Batch;
pub use builder::TailBuilder;
pub use change::{Change, DecodeError};
pub use decode::{Decoded, DecodedChange, Deserialize, OnUndecodable};
pub use deployment::Deployment;
pub use error::Error;
pub use event::{Event, Events};
pub(super) use giver::Giver;
pub use handle::Handle;
pub use ops::Ops;
pub use options::{Acknowledgement, Begin, Filter, NamespaceFilter, OnRefusal, Options, Saving};
pub use stream::Tail;

/// Tails a deployment. When this returns, the server was seen to answer, it is known where the tail
/// begins, and, where positions are kept, that is durable: what happens from now on is not missed.
///
/// Needs a Tokio runtime, which reads in the background. Not cancellation safe only in that a lease
/// that was just taken has to run out.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let mut options = oplet::tail::Options::default();
/// options.watch = vec!["shop.orders".parse()?];
/// let mut ops = oplet::tail("mongodb://localhost:27017", options).await?.ops();
/// while let Some(change) = ops.next().await {
///     let change = change?;
///     println!("{} {}", change.op_id(), change.namespace());
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error`]: there is no server to work with, the start cannot be found, the position that was saved
/// cannot be gone on from, or another process works under the name.
pub async fn tail(from: impl Into<Deployment>, options: Options) -> Result<Tail, Error> {
    // On the heap: it holds the opening of every kind of store.
    Box::pin(start::start(from.into(), options)).await
}
