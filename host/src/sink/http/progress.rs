//! How far a batch has come that is given again.

use std::sync::{Mutex, MutexGuard};

use crate::sink::{OutputBatch, Rejection, place::Place};

/// What became of the first documents of a batch.
#[derive(Debug, Default, Clone)]
pub(super) struct Settled {
    /// How many of its first documents are accepted or rejected.
    pub(super) count: usize,
    pub(super) rejections: Vec<Rejection>,
}

/// How far the batches have come that are under way.
///
/// A batch takes many requests. When one of them fails, or the time limit cuts the attempt off, the
/// next one goes on behind the documents that were accepted: they would be posted twice otherwise,
/// and a batch whose requests take longer than the limit would never come to an end.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<Vec<Attempted>>);

/// A batch that was begun. It is known by the place of its first and its last settled document, not
/// by their keys: what is read and emitted anew has the same keys, and is to be posted anew.
#[derive(Debug)]
struct Attempted {
    first: Place,
    last: Place,
    settled: Settled,
}

impl Progress {
    fn list(&self) -> MutexGuard<'_, Vec<Attempted>> {
        self.0.lock().expect("no holder of this lock panics")
    }

    /// How far this batch has come.
    pub(super) fn of(&self, batch: &OutputBatch) -> Settled {
        let list = self.list();
        let attempted = list.iter().find(|attempted| attempted.first.is(batch, 0));
        attempted
            .filter(|Attempted { last, settled, .. }| {
                settled.count <= batch.len() && last.is(batch, settled.count - 1)
            })
            .map(|attempted| attempted.settled.clone())
            .unwrap_or_default()
    }

    /// Some more documents are accepted, or rejected.
    pub(super) fn advance(&self, batch: &OutputBatch, settled: &mut Settled, count: usize) {
        settled.count += count;
        let attempted = Attempted {
            first: Place::of(batch, 0),
            last: Place::of(batch, settled.count - 1),
            settled: settled.clone(),
        };
        let mut list = self.list();
        // Also those that were given up: nobody holds their chunks any more.
        list.retain(|other| other.first.is_held() && !other.first.is(batch, 0));
        list.push(attempted);
    }

    /// The batch is done.
    pub(super) fn forget(&self, batch: &OutputBatch) {
        self.list().retain(|other| !other.first.is(batch, 0));
    }
}
