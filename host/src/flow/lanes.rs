//! The threads that work on ops.

use std::{sync::Arc, thread::JoinHandle};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::{Cut, OrderingGuarantee, partition::Partitioner};
use crate::op::Batch;

/// How the lanes are set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// What stays in order.
    pub ordering: OrderingGuarantee,
    /// How many bytes of batches may be in the lanes, at most. A batch larger than this goes alone.
    pub bytes_max: usize,
    /// Stack of a lane's thread, in bytes.
    pub stack_bytes: usize,
}

/// How many batches may wait in front of one lane, besides the bound in bytes.
const BATCHES_PER_LANE: usize = 16;

/// The bound in bytes is counted in units of this many, since the counter has 32 bits.
const BUDGET_UNIT: usize = 1024;

/// Some ops of a batch.
#[derive(Debug)]
pub struct Work {
    /// The batch, shared with other lanes.
    pub batch: Arc<Batch>,
    /// Places of this lane's ops in it, in order.
    pub places: Vec<u32>,
    /// Which of the run's streams the batch came from.
    pub stream: usize,
    /// Gives its bytes back when the last lane is done with the batch.
    _budget: Arc<OwnedSemaphorePermit>,
}

/// Why a worker will not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop;

/// What a lane does with its ops.
pub trait Worker: Send + 'static {
    /// Works on some ops, in order. Between two ops, and when it waits, it looks whether the [`Cut`]
    /// was thrown, and then leaves the rest alone.
    ///
    /// # Errors
    /// [`Stop`]: the worker cannot go on; the lane ends, and with it all lanes.
    fn work(&mut self, work: &Work) -> Result<(), Stop>;

    /// Called once at the end, when all work is done.
    fn finish(&mut self);
}

/// A set of lanes.
///
/// Dropping it lets the lanes finish what they have, in the background; [`drain`](Self::drain) waits
/// for that.
#[derive(Debug)]
pub struct Lanes {
    senders: Vec<mpsc::Sender<Work>>,
    threads: Vec<(JoinHandle<()>, oneshot::Receiver<()>)>,
    partitioner: Partitioner,
    budget: Arc<Semaphore>,
    budget_max: u32,
}

/// The lanes have ended: a worker could not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

/// A worker panicked, so that its ops are not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Panicked;

impl Lanes {
    /// Starts one lane per worker. When `cut` is thrown, what waits in the lanes is left alone.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start<W: Worker>(
        options: &Options,
        workers: Vec<W>,
        cut: &Cut,
    ) -> std::io::Result<Self> {
        let budget_max = u32::try_from(options.bytes_max / BUDGET_UNIT)
            .unwrap_or(u32::MAX)
            .max(1);
        let partitioner = Partitioner::new(options.ordering, workers.len());
        let mut lanes = Self {
            senders: Vec::new(),
            threads: Vec::new(),
            partitioner,
            budget: Arc::new(Semaphore::new(budget_max as usize)),
            budget_max,
        };
        for (index, mut worker) in workers.into_iter().enumerate() {
            let (sender, mut receiver) = mpsc::channel::<Work>(BATCHES_PER_LANE);
            let (done, is_done) = oneshot::channel();
            let cut = cut.clone();
            let thread = std::thread::Builder::new()
                .name(format!("lane-{index}"))
                .stack_size(options.stack_bytes)
                .spawn(move || {
                    while let Some(work) = receiver.blocking_recv() {
                        if cut.is_thrown() || worker.work(&work).is_err() {
                            break;
                        }
                    }
                    drop(receiver);
                    worker.finish();
                    // Nobody may be waiting any more.
                    let _ = done.send(());
                })?;
            lanes.senders.push(sender);
            lanes.threads.push((thread, is_done));
        }
        Ok(lanes)
    }

    /// Hands a batch to the lanes; waits while they have too much to do.
    ///
    /// # Errors
    /// [`Closed`] when a lane has ended.
    pub async fn dispatch(&mut self, batch: Batch, stream: usize) -> Result<(), Closed> {
        let units = u32::try_from(batch.bytes().div_ceil(BUDGET_UNIT)).unwrap_or(u32::MAX);
        let units = units.clamp(1, self.budget_max);
        let budget = self.budget.clone().acquire_many_owned(units);
        let budget = tokio::select! {
            budget = budget => Arc::new(budget.map_err(|_| Closed)?),
            // A lane that ended does not give back what waits in front of it.
            () = any_closed(&self.senders) => return Err(Closed),
        };
        let batch = Arc::new(batch);
        for (places, sender) in self
            .partitioner
            .assign(&batch)
            .iter_mut()
            .zip(&self.senders)
        {
            if places.is_empty() {
                continue;
            }
            let places = std::mem::take(places);
            let work = Work {
                batch: batch.clone(),
                places,
                stream,
                _budget: budget.clone(),
            };
            sender.send(work).await.map_err(|_| Closed)?;
        }
        Ok(())
    }

    /// Takes no more work, and waits until the lanes have done what they have. Not cancellation safe.
    ///
    /// # Errors
    /// [`Panicked`] when a worker did.
    pub async fn drain(&mut self) -> Result<(), Panicked> {
        self.senders.clear();
        let mut drained = Ok(());
        for (thread, is_done) in self.threads.drain(..) {
            // An error means that the worker panicked; joining tells.
            let _ = is_done.await;
            if thread.join().is_err() {
                drained = Err(Panicked);
            }
        }
        drained
    }
}

async fn any_closed(senders: &[mpsc::Sender<Work>]) {
    let closed = senders.iter().map(|sender| Box::pin(sender.closed()));
    futures_util::future::select_all(closed).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{BatchBuilder, Operation, Position, Record, SourceKind, Timestamp};

    struct Panics;

    impl Worker for Panics {
        fn work(&mut self, _: &Work) -> Result<(), Stop> {
            panic!("told to panic");
        }

        fn finish(&mut self) {}
    }

    #[tokio::test]
    async fn a_worker_that_panics_is_told_of() {
        let options = Options {
            ordering: OrderingGuarantee::Oplog,
            bytes_max: 1 << 20,
            stack_bytes: 1 << 20,
        };
        let mut lanes = Lanes::start(&options, vec![Panics], &Cut::default()).unwrap();
        let mut builder = BatchBuilder::new(Vec::new().into());
        let namespace = builder.make(|extra| extra.extend_from_slice(b"a.b"));
        let time = Timestamp::new(1, 1);
        builder.push(Record::new(Operation::Insert, namespace, time));
        let batch = builder.finish(SourceKind::Oplog, Position::Time(time), true);
        lanes.dispatch(batch, 0).await.unwrap();
        assert_eq!(lanes.drain().await, Err(Panicked));
    }
}
