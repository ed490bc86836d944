//! How far a batch has come that is given again.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
};

use crate::sink::{OutputBatch, Rejection};

/// How many batches are remembered. Each worker has one under way; what is beyond was given up.
const BATCHES_MAX: usize = 256;

/// What became of the first documents of a batch.
#[derive(Debug, Default, Clone)]
pub(super) struct Settled {
    /// How many of its first documents are accepted or rejected.
    pub(super) count: usize,
    /// Key of the last of them.
    last_key: String,
    pub(super) rejections: Vec<Rejection>,
}

/// How far the batches have come that are under way.
///
/// A batch takes many requests. When one of them fails, or the time limit cuts the attempt off, the
/// next one goes on behind the documents that were accepted: they would be posted twice otherwise,
/// and a batch whose requests take longer than the limit would never come to an end.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<HashMap<String, Settled>>);

impl Progress {
    fn map(&self) -> MutexGuard<'_, HashMap<String, Settled>> {
        self.0.lock().expect("no holder of this lock panics")
    }

    /// How far this batch has come; it is known by its first document's key.
    pub(super) fn of(&self, batch: &OutputBatch) -> Settled {
        let settled = self.map().get(&batch.key(0)).cloned();
        settled
            .filter(|settled| {
                settled.count <= batch.len() && batch.key(settled.count - 1) == settled.last_key
            })
            .unwrap_or_default()
    }

    /// Some more documents are accepted, or rejected.
    pub(super) fn advance(&self, batch: &OutputBatch, settled: &mut Settled, count: usize) {
        settled.count += count;
        settled.last_key = batch.key(settled.count - 1);
        let mut map = self.map();
        if map.len() >= BATCHES_MAX {
            map.clear();
        }
        map.insert(batch.key(0), settled.clone());
    }

    /// The batch is done.
    pub(super) fn forget(&self, batch: &OutputBatch) {
        self.map().remove(&batch.key(0));
    }
}
