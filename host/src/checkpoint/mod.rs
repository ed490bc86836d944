//! Stage 5: which ops are done, and positions made durable.
//!
//! Enters: batches as sources give them, and the word from lanes, sinks and dead letters that ops are
//! done, in any order. The [`AckWindow`] makes of it how far each stream is done, and holds back the
//! sources while too much is under way. Leaves: a [`Checkpoint`] in a [`Store`], and at the next start
//! the positions to [resume](Checkpoint::resume) from. Promised: nothing lies below a frontier that is
//! not done; of all the processes that believe to work under a name, only the one with the
//! [`Lease`]'s newest epoch can save; what is stored and cannot be understood is told, never guessed.
//! The [`Error`] says whether the store is away, whether another process is at work, and what people
//! can do about it.

mod ack_window;
mod direct_read;
mod error;
mod fields;
mod gaps;
mod holder;
mod identity;
mod keeper;
mod lease;
mod module_ref;
mod record;
mod resume;
mod store;
mod version;

pub use ack_window::{AckWindow, InFlight, Progress, WindowOptions};
pub use direct_read::DirectRead;
pub use error::{Cause, Error};
pub use gaps::Gap;
pub use holder::{Holder, Holding};
pub use identity::{StreamIdentity, digest_of};
pub use keeper::{Keeper, LeaseState};
pub(crate) use lease::chain;
pub use lease::{Lease, LeaseOptions, Standby, take};
pub use module_ref::ModuleRef;
pub use record::{Checkpoint, StreamCheckpoint};
pub use store::Store;
pub use version::{KeptVersion, VERSIONS_MAX, VersionKey};

/// The collection of Oplet's own database that checkpoints lie in when nobody says otherwise.
pub const COLLECTION: &str = "checkpoints";
