//! Dead letters: the ops that a module failed on, and the documents that a sink refused, kept until
//! somebody has mended what was wrong.
//!
//! Enters: [`DeadLetter`]s with the duty to acknowledge their ops, through a [`Writer`]. Leaves: the
//! same letters, in the order of their ops, from a [`Store`]: a collection or a file. Promised: an op
//! is acknowledged only when its letter is as safe as the store can make it, so that none is lost;
//! storing a letter again changes nothing but its attempts and times. While the store is away,
//! letters wait in bounded memory, and whoever brings more waits with them. The one [`Error`] tells
//! whether waiting helps.

mod collection;
mod encoding;
mod error;
mod fields;
mod file;
mod filter;
mod record;
mod store;
mod writer;

pub use error::Error;
pub use filter::Filter;
pub use record::{DeadLetter, Place, RejectedOutput, kind};
pub use store::{Letters, Store};
pub use writer::{Counts, Writer};

/// The collection of Oplet's own database that letters lie in when nobody says otherwise.
pub const COLLECTION: &str = "dead_letters";
