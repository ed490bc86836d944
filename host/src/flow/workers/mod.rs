//! Which of several processes an op belongs to.
//!
//! Processes that run the same modules share the work: each is a *worker* with a name, and all of them
//! are told the same [`WorkerList`]. A [`Ring`] gives each document to one of them, by its `_id` alone,
//! so that a document keeps its worker when its collection is renamed. Ops without an `_id` (commands)
//! are every worker's, since each of them holds a part of what a `drop` is about.
//!
//! A list can change. A [`Membership`] is the lists that held one after another, each from a cluster
//! time on: an op at a later time than that belongs by that list. So the processes agree on each op,
//! however far each of them has come. Nothing here does any input or output but [`FileList::load`].

mod file;
mod gtm;
mod list;
mod membership;
mod ring;

pub use file::{FileError, FileList};
pub use list::{ListError, WorkerList};
pub use membership::{Membership, Spell};
pub use ring::{Ring, RingKind};
