//! The threads that work on ops.

use std::{ops::Range, sync::Arc, thread::JoinHandle, time::Instant};

use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
    time::{sleep_until, timeout_at},
};

use super::{Gate, OrderingGuarantee, partition::Partitioner};
use crate::op::{Batch, BatchTicket};

/// How the lanes are set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// What stays in order.
    pub ordering: OrderingGuarantee,
    /// Stack of a lane's thread, in bytes.
    pub stack_bytes: usize,
}

/// How many batches may wait in front of one lane. Who reads the batches bounds their ops and bytes.
const BATCHES_PER_LANE: usize = 16;

/// Some ops of a batch.
#[derive(Debug)]
pub struct Work {
    /// The batch, shared with other lanes.
    pub batch: Arc<Batch>,
    /// Places of this lane's ops in it, in order.
    pub places: Vec<u32>,
    /// Names the batch to who wants to know which ops are done.
    pub ticket: BatchTicket,
}

/// Why a worker will not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop;

/// What a lane does with its ops.
///
/// Between two ops, and when it waits, a worker looks at the [`Gate`]: it stands still while that is
/// closed, and once it was thrown it leaves the rest alone. A [`Turn`](super::Turn) does this for it.
pub trait Worker: Send + 'static {
    /// Works on some ops, in order.
    ///
    /// # Errors
    /// [`Stop`]: the worker cannot go on; the lane ends.
    fn work(&mut self, work: &Work) -> Result<(), Stop>;

    /// When ops that were put off want to be tried again, or something comes round, if anything does.
    fn due(&self) -> Option<Instant>;

    /// Whether ops were put off: they are waited for at the end, what comes round is not.
    fn has_put_off(&self) -> bool {
        self.due().is_some()
    }

    /// Tries what is due.
    ///
    /// # Errors
    /// [`Stop`]: the worker cannot go on; the lane ends.
    fn wake(&mut self) -> Result<(), Stop>;

    /// Called when somebody wants the worker to look around, between two pieces of work.
    ///
    /// # Errors
    /// [`Stop`]: the worker cannot go on; the lane ends.
    fn look(&mut self) -> Result<(), Stop>;

    /// Called once at the end, when all work is done.
    fn finish(&mut self);
}

/// What comes into a lane.
#[derive(Debug)]
enum Item {
    Work(Work),
    /// An idle lane is to look around.
    Look,
    /// The lane is to say that it has worked on all that came before.
    Tell(oneshot::Sender<()>),
}

/// A set of lanes.
///
/// Dropping it and its dispatchers lets the lanes finish what they have, in the background;
/// [`drain`](Self::drain) waits for that.
#[derive(Debug)]
pub struct Lanes {
    ordering: OrderingGuarantee,
    senders: Vec<mpsc::Sender<Item>>,
    threads: Vec<(JoinHandle<()>, oneshot::Receiver<()>)>,
}

/// Hands one stream's batches to the lanes.
#[derive(Debug)]
pub struct Dispatcher {
    senders: Vec<mpsc::Sender<Item>>,
    partitioner: Partitioner,
}

/// A lane has ended: its worker could not go on, and has noted why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

/// A worker panicked: what it was at is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Panicked;

impl Lanes {
    /// Starts one lane per worker. When the gate is thrown, what waits in the lanes is left alone.
    ///
    /// # Errors
    /// When a thread cannot be started.
    ///
    /// # Panics
    /// Outside of a tokio runtime, whose clock the lanes wait by.
    pub fn start<W: Worker>(
        options: &Options,
        workers: Vec<W>,
        gate: &Gate,
    ) -> std::io::Result<Self> {
        let mut lanes = Self {
            ordering: options.ordering,
            senders: Vec::new(),
            threads: Vec::new(),
        };
        for (index, worker) in workers.into_iter().enumerate() {
            let (sender, work) = mpsc::channel::<Item>(BATCHES_PER_LANE);
            let (done, is_done) = oneshot::channel();
            let mut lane = Lane {
                worker,
                work,
                gate: gate.clone(),
                runtime: Handle::current(),
                has_woken: false,
            };
            let thread = std::thread::Builder::new()
                .name(format!("lane-{index}"))
                .stack_size(options.stack_bytes)
                .spawn(move || {
                    // Either way the lane is at its end.
                    let _ = lane.run();
                    let Lane {
                        mut worker, work, ..
                    } = lane;
                    drop(work);
                    worker.finish();
                    // Nobody may be waiting any more.
                    let _ = done.send(());
                })?;
            lanes.senders.push(sender);
            lanes.threads.push((thread, is_done));
        }
        Ok(lanes)
    }

    /// A way into the lanes, for one stream. To be dropped before the lanes are drained.
    #[must_use]
    pub fn dispatcher(&self) -> Dispatcher {
        Dispatcher {
            senders: self.senders.clone(),
            partitioner: Partitioner::new(self.ordering, self.senders.len()),
        }
    }

    /// Makes idle lanes look around. Those that are at work are to do so between two ops by themselves.
    pub fn wake(&self) {
        for sender in &self.senders {
            // A lane without room has work.
            let _ = sender.try_send(Item::Look);
        }
    }

    /// Whether a lane has ended, though there may be work for it.
    #[must_use]
    pub fn has_lost_one(&self) -> bool {
        self.threads.iter().any(|(thread, _)| thread.is_finished())
    }

    /// Takes no more work, and waits until the lanes have done what they have, also what was put off.
    /// Not cancellation safe.
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

impl Dispatcher {
    /// Hands these places of a batch to the lanes; waits while one that is to have a part of them has
    /// too much to do. Not cancellation safe: after a dropped call some lanes have their part and
    /// others do not.
    ///
    /// # Errors
    /// [`Closed`] when a lane has ended.
    pub async fn dispatch(
        &mut self,
        batch: &Arc<Batch>,
        places: Range<usize>,
        ticket: BatchTicket,
    ) -> Result<(), Closed> {
        let senders = &self.senders;
        let assigned = self.partitioner.assign(batch, places);
        for (places, sender) in assigned.iter_mut().zip(senders) {
            if places.is_empty() {
                continue;
            }
            let work = Work {
                batch: batch.clone(),
                places: std::mem::take(places),
                ticket,
            };
            send(sender, Item::Work(work), senders).await?;
        }
        Ok(())
    }

    /// Waits until the lanes have worked on all that was handed to them before, by whomever. What they
    /// have put off may be left. While the gate is closed that does not come. Cancellation safe.
    ///
    /// # Errors
    /// [`Closed`] when a lane has ended.
    pub async fn worked_off(&self) -> Result<(), Closed> {
        let mut told = Vec::with_capacity(self.senders.len());
        for sender in &self.senders {
            let (tell, is_told) = oneshot::channel();
            send(sender, Item::Tell(tell), &self.senders).await?;
            told.push(is_told);
        }
        for is_told in told {
            is_told.await.map_err(|_| Closed)?;
        }
        Ok(())
    }
}

async fn send(
    sender: &mpsc::Sender<Item>,
    item: Item,
    all: &[mpsc::Sender<Item>],
) -> Result<(), Closed> {
    let Err(error) = sender.try_send(item) else {
        return Ok(());
    };
    tokio::select! {
        sent = sender.send(error.into_inner()) => sent.map_err(|_| Closed),
        // The lane that has no room may never have any, when another one has ended.
        () = any_closed(all) => Err(Closed),
    }
}

async fn any_closed(senders: &[mpsc::Sender<Item>]) {
    let closed = senders.iter().map(|sender| Box::pin(sender.closed()));
    futures_util::future::select_all(closed).await;
}

/// One lane, on its thread.
struct Lane<W> {
    worker: W,
    work: mpsc::Receiver<Item>,
    gate: Gate,
    runtime: Handle,
    /// What was due had its turn last.
    has_woken: bool,
}

/// What a lane does next.
enum Next {
    Work(Work),
    Wake,
    Look,
    Tell(oneshot::Sender<()>),
    /// There will be no more work.
    Finish,
    /// What is left is left alone.
    Leave,
}

impl Next {
    fn of(item: Item) -> Self {
        match item {
            Item::Work(work) => Self::Work(work),
            Item::Look => Self::Look,
            Item::Tell(tell) => Self::Tell(tell),
        }
    }
}

impl<W: Worker> Lane<W> {
    fn run(&mut self) -> Result<(), Stop> {
        loop {
            match self.next() {
                Next::Work(work) => self.worker.work(&work)?,
                Next::Wake => self.worker.wake()?,
                Next::Look => self.worker.look()?,
                Next::Tell(tell) => {
                    // Nobody may want to know any more.
                    let _ = tell.send(());
                }
                Next::Finish => break,
                Next::Leave => return Ok(()),
            }
        }
        while self.worker.has_put_off()
            && let Some(due) = self.worker.due()
        {
            if !self.sleep_until(due) {
                break;
            }
            self.worker.wake()?;
        }
        Ok(())
    }

    fn next(&mut self) -> Next {
        let next = match self.worker.due() {
            None => self.work.blocking_recv().map_or(Next::Finish, Next::of),
            Some(due) if due <= Instant::now() => self.wake_or_work(),
            Some(due) => {
                let (gate, work) = (&self.gate, &mut self.work);
                self.runtime.block_on(async {
                    tokio::select! {
                        biased;
                        // First: a lane that was left behind has no timers any more.
                        () = gate.thrown() => Next::Leave,
                        work = timeout_at(due.into(), work.recv()) => match work {
                            Ok(work) => work.map_or(Next::Finish, Next::of),
                            Err(_) => Next::Wake,
                        },
                    }
                })
            }
        };
        match self.gate.is_thrown() {
            true => Next::Leave,
            false => next,
        }
    }

    /// What is due comes before work, which would put it off for ever; and then comes work, since what is
    /// due again and again, because it takes longer than that, would put off the work.
    fn wake_or_work(&mut self) -> Next {
        if self.has_woken {
            match self.work.try_recv() {
                Ok(item) => {
                    self.has_woken = false;
                    return Next::of(item);
                }
                Err(mpsc::error::TryRecvError::Disconnected) => return Next::Finish,
                Err(mpsc::error::TryRecvError::Empty) => {}
            }
        }
        self.has_woken = true;
        Next::Wake
    }

    /// `false` when the gate was thrown.
    fn sleep_until(&self, due: Instant) -> bool {
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.gate.thrown() => false,
                () = sleep_until(due.into()) => true,
            }
        })
    }
}

#[cfg(test)]
mod tests;
