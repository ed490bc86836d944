//! How far a stream is done.

use super::{Position, Timestamp};

/// Where an op stands in the order of a stream: its cluster time, and which op of that time it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpPoint {
    /// Cluster time of the op.
    pub timestamp: Timestamp,
    /// Which of the ops of that cluster time, from 0.
    pub index: u32,
}

/// How far a stream is done: every op up to here was acknowledged.
///
/// A position lies between batches; an op inside one is named by its point. A source that is opened
/// again at `position` gives the ops up to `done` once more, and they are passed over.
#[derive(Debug, Clone, PartialEq)]
pub struct Frontier {
    /// Where the source is to be opened again.
    pub position: Position,
    /// The last op below which all is done, also where it lies before `position`. None before the
    /// first op, and where ops have no order of their own: behind a mongos, two shards write at one
    /// cluster time.
    pub done: Option<OpPoint>,
}

impl Frontier {
    /// A stream of which nothing was read yet.
    #[must_use]
    pub fn at(position: Position) -> Self {
        Self {
            position,
            done: None,
        }
    }
}
