//! The threads that work on ops.

use std::{sync::Arc, thread::JoinHandle};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::{Gate, OrderingGuarantee, partition::Partitioner};
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
    /// Works on some ops, in order. Between two ops, and when it waits, it looks whether the [`Gate`]
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

/// A worker panicked: what it was at is not done.
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
        gate: &Gate,
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
            let gate = gate.clone();
            let thread = std::thread::Builder::new()
                .name(format!("lane-{index}"))
                .stack_size(options.stack_bytes)
                .spawn(move || {
                    while let Some(work) = receiver.blocking_recv() {
                        if gate.is_thrown() || worker.work(&work).is_err() {
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

    /// Hands a batch to the lanes; waits while they have too much to do. Not cancellation safe: after
    /// a dropped call only [`drain`](Self::drain) is left.
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
    use std::{
        sync::{Mutex, mpsc as std_mpsc},
        time::Duration,
    };

    use tokio::time::timeout;

    use super::*;
    use crate::op::{BatchBuilder, Operation, Position, Record, SourceKind, Timestamp};

    /// A batch of `ops` ops that weighs at least `bytes` bytes.
    fn batch(first: u32, ops: u32, bytes: usize) -> Batch {
        let mut builder = BatchBuilder::new(vec![0; bytes].into());
        let namespace = builder.make(|extra| extra.extend_from_slice(b"a.b"));
        for second in first..first + ops {
            builder.push(Record::new(
                Operation::Insert,
                namespace,
                Timestamp::new(second, 1),
            ));
        }
        builder.finish(
            SourceKind::Oplog,
            Position::Time(Timestamp::new(first + ops, 1)),
            false,
        )
    }

    /// Notes the ops it sees; waits for a word before each piece of work; stops at a given op.
    struct Recorder {
        seen: Arc<Mutex<Vec<u32>>>,
        go: std_mpsc::Receiver<()>,
        stop_at: Option<u32>,
    }

    impl Worker for Recorder {
        fn work(&mut self, work: &Work) -> Result<(), Stop> {
            // The test has ended when nobody can give the word any more.
            let _ = self.go.recv();
            for &place in &work.places {
                let second = work.batch.op(place as usize).timestamp().seconds;
                if self.stop_at == Some(second) {
                    return Err(Stop);
                }
                self.seen.lock().unwrap().push(second);
            }
            Ok(())
        }

        fn finish(&mut self) {
            self.seen.lock().unwrap().push(u32::MAX);
        }
    }

    struct Fixture {
        lanes: Lanes,
        gate: Gate,
        seen: Arc<Mutex<Vec<u32>>>,
        go: std_mpsc::Sender<()>,
    }

    /// One lane with room for 100 KiB.
    fn one_lane(stop_at: Option<u32>) -> Fixture {
        let options = Options {
            ordering: OrderingGuarantee::Oplog,
            bytes_max: 100 << 10,
            stack_bytes: 1 << 20,
        };
        let (go, receiver) = std_mpsc::channel();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let worker = Recorder {
            seen: seen.clone(),
            go: receiver,
            stop_at,
        };
        let gate = Gate::default();
        let lanes = Lanes::start(&options, vec![worker], &gate).unwrap();
        Fixture {
            lanes,
            gate,
            seen,
            go,
        }
    }

    /// How long a test waits for what must not happen.
    const A_WHILE: Duration = Duration::from_millis(100);

    #[tokio::test]
    async fn work_is_done_in_order_and_finished_before_a_drain_ends() {
        let Fixture {
            mut lanes,
            seen,
            go,
            ..
        } = one_lane(None);
        drop(go);
        lanes.dispatch(batch(1, 3, 0), 0).await.unwrap();
        lanes.dispatch(batch(4, 2, 0), 0).await.unwrap();
        lanes.drain().await.unwrap();
        assert_eq!(*seen.lock().unwrap(), [1, 2, 3, 4, 5, u32::MAX]);
    }

    #[tokio::test]
    async fn the_source_waits_when_the_lanes_hold_too_many_bytes() {
        let Fixture { mut lanes, go, .. } = one_lane(None);
        lanes.dispatch(batch(1, 1, 60 << 10), 0).await.unwrap();
        let waits = timeout(A_WHILE, lanes.dispatch(batch(2, 1, 60 << 10), 0)).await;
        assert!(waits.is_err(), "there is no room for a second batch");
        go.send(()).unwrap();
        timeout(
            Duration::from_secs(10),
            lanes.dispatch(batch(3, 1, 60 << 10), 0),
        )
        .await
        .unwrap()
        .unwrap();
        drop(go);
        lanes.drain().await.unwrap();
    }

    #[tokio::test]
    async fn a_batch_larger_than_the_bound_goes_alone() {
        let Fixture {
            mut lanes,
            seen,
            go,
            ..
        } = one_lane(None);
        drop(go);
        lanes.dispatch(batch(1, 1, 900 << 10), 0).await.unwrap();
        lanes.dispatch(batch(2, 1, 900 << 10), 0).await.unwrap();
        lanes.drain().await.unwrap();
        assert_eq!(*seen.lock().unwrap(), [1, 2, u32::MAX]);
    }

    #[tokio::test]
    async fn what_waits_is_left_alone_after_a_cut() {
        let Fixture {
            mut lanes,
            gate,
            seen,
            go,
        } = one_lane(None);
        for first in [1, 2, 3] {
            lanes.dispatch(batch(first, 1, 0), 0).await.unwrap();
        }
        go.send(()).unwrap();
        while seen.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        gate.throw();
        drop(go);
        lanes.drain().await.unwrap();
        let seen = seen.lock().unwrap();
        // The second may have begun before the gate; the last one cannot have.
        assert!(seen.len() <= 3 && !seen.contains(&3), "{seen:?}");
    }

    struct Clumsy;

    impl Worker for Clumsy {
        fn work(&mut self, _: &Work) -> Result<(), Stop> {
            panic!("told to");
        }

        fn finish(&mut self) {}
    }

    #[tokio::test]
    async fn a_panic_in_a_lane_is_told() {
        let options = Options {
            ordering: OrderingGuarantee::Oplog,
            bytes_max: 1 << 20,
            stack_bytes: 1 << 20,
        };
        let mut lanes = Lanes::start(&options, vec![Clumsy], &Gate::default()).unwrap();
        lanes.dispatch(batch(1, 1, 0), 0).await.unwrap();
        assert_eq!(lanes.drain().await, Err(Panicked));
    }

    #[tokio::test]
    async fn a_lane_that_stops_is_seen_by_who_waits_for_room() {
        let Fixture { mut lanes, go, .. } = one_lane(Some(1));
        lanes.dispatch(batch(1, 1, 90 << 10), 0).await.unwrap();
        drop(go);
        // Both ways lead here: no room, and no receiver.
        let dispatched = async {
            loop {
                if lanes.dispatch(batch(2, 1, 90 << 10), 0).await.is_err() {
                    return;
                }
            }
        };
        timeout(Duration::from_secs(10), dispatched).await.unwrap();
        lanes.drain().await.unwrap();
    }
}
