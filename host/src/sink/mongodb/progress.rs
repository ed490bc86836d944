//! The batches that are being written.

use std::sync::{Arc, Mutex, MutexGuard};

use super::work::Work;
use crate::sink::{OutputBatch, place::Place};

/// The batches that are being written, each with what is left of it.
///
/// A batch takes several commands. When one of them fails, or the time limit cuts the attempt off,
/// the next attempt goes on where that one stood: documents would go back to what they were, and
/// operators such as `$inc` be applied twice otherwise.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<Vec<UnderWay>>);

/// A batch that was begun. It is known by the places of its documents, not by their keys: what is
/// read and emitted anew has the same keys, and is to be written anew.
#[derive(Debug)]
struct UnderWay {
    first: Place,
    last: Place,
    len: usize,
    work: Arc<tokio::sync::Mutex<Work>>,
}

impl UnderWay {
    fn is(&self, batch: &OutputBatch) -> bool {
        self.len == batch.len() && self.first.is(batch, 0) && self.last.is(batch, batch.len() - 1)
    }
}

impl Progress {
    fn list(&self) -> MutexGuard<'_, Vec<UnderWay>> {
        self.0.lock().expect("no holder of this lock panics")
    }

    /// What is left of a batch, which is not empty. One that is new is begun.
    pub(super) fn of(
        &self,
        batch: &OutputBatch,
        begin: impl FnOnce() -> Work,
    ) -> Arc<tokio::sync::Mutex<Work>> {
        let known = |list: &[UnderWay]| {
            let known = list.iter().find(|under_way| under_way.is(batch));
            known.map(|under_way| under_way.work.clone())
        };
        if let Some(work) = known(&self.list()) {
            return work;
        }
        // Out of the lock, since it takes its time.
        let work = Arc::new(tokio::sync::Mutex::new(begin()));
        let mut list = self.list();
        // Those that were given up: nobody holds their chunks any more.
        list.retain(|other| other.first.is_held());
        list.push(UnderWay {
            first: Place::of(batch, 0),
            last: Place::of(batch, batch.len() - 1),
            len: batch.len(),
            work: work.clone(),
        });
        work
    }

    /// The batch is done.
    pub(super) fn forget(&self, batch: &OutputBatch) {
        self.list().retain(|other| !other.is(batch));
    }
}
