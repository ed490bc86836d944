//! What was read and cannot be decoded, put aside before the source goes on behind it.

use std::{fmt::Debug, sync::Arc};

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::op::{SourceKind, Timestamp};

/// An entry or event that cannot be decoded.
#[derive(Debug, Clone)]
pub struct Undecodable {
    /// Where it was read.
    pub kind: SourceKind,
    /// Its cluster time, when that could be read.
    pub timestamp: Option<Timestamp>,
    /// What is wrong with it.
    pub reason: String,
    /// It, as it came.
    pub bytes: Bytes,
}

/// Who keeps what cannot be decoded.
pub trait Aside: Send + Sync + Debug {
    /// Keeps it; waits until it is stored, since the position moves behind it then.
    fn keep(&self, undecodable: Undecodable) -> BoxFuture<'_, ()>;
}

/// What is to be put aside before the next batch is given.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    entries: Vec<Undecodable>,
    keeper: Option<Arc<dyn Aside>>,
}

impl Shelf {
    /// From now on, this one keeps what comes.
    pub(crate) fn set_keeper(&mut self, keeper: Arc<dyn Aside>) {
        self.keeper = Some(keeper);
    }

    /// Puts some there; without a keeper they are gone.
    pub(super) fn put(&mut self, entries: impl IntoIterator<Item = Undecodable>) {
        if self.keeper.is_some() {
            self.entries.extend(entries);
        }
    }

    /// Hands them to their keeper.
    pub(super) async fn hand_over(&mut self) {
        for entry in self.entries.drain(..) {
            if let Some(keeper) = &self.keeper {
                keeper.keep(entry).await;
            }
        }
    }
}
