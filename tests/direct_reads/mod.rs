//! Direct reads as a run does them: beside its streams, through its lanes, into its checkpoint.
//!
//! - `load`: under writes and kills, what was given leads to the collection
//! - `resumed`: a read goes on where it was, and is not done twice
//! - `asked`: snapshots at runtime, and after a lost position
//! - `endings`: collections that end while they are read, and other kinds of them
//! - `idle`: a server on which nothing happens meanwhile
//! - `sessions`: a run begins anew in the middle of a read, and modules want different things of it
//! - `bounds`: where a run ends by itself while it reads, and what it shows until then
//! - `several`: of several deployments, each is read by itself

mod asked;
mod bounds;
mod endings;
mod idle;
mod load;
mod resumed;
mod scene;
mod sessions;
mod several;

pub(crate) use load::{KEYS, Writers, replay};
pub(crate) use scene::{Emitted, Reading, emitted, end, ids, read_directly, said, stop};
