//! Looks what there is to be read, and reads one segment of it.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering::Relaxed},
};

use tokio_util::sync::CancellationToken;

use super::{DirectReads, Way, coverage::Step};
use crate::{
    checkpoint::AckWindow,
    control::{Bounds, Stats, share::Share, transaction::Ledger},
    mongo::Server,
    op::{Batch, BatchTicket, Cluster, KeyRange, Namespace, SourceKind, Timestamp},
    source::{
        self,
        direct_read::{
            Cut, Error, Pace, Read, ReadOptions, SegmentReader, Splitting, Stages, Target, examine,
            split,
        },
    },
};

/// How far behind the newest entry streams may be when a segment that follows them is opened: it waits
/// for them, and they wait for it.
const LAG_SECONDS_MAX: u32 = 20;

/// How often segments are made shorter, each time by half, where the server does not keep their time
/// for so long.
const HALVINGS_MAX: u32 = 10;

/// One of the cursors that work side by side.
#[derive(Debug)]
pub(super) struct Slot {
    /// Of which deployment.
    pub(super) deployment: usize,
    /// Which one of these.
    pub(super) number: usize,
    pub(super) way: Way,
}

/// What all readers of a session share.
#[derive(Debug)]
pub(super) struct Readers {
    pub(super) reads: Arc<DirectReads>,
    pub(super) window: Arc<AckWindow>,
    pub(super) ledger: Option<Arc<Ledger>>,
    pub(super) bounds: Bounds,
    /// The part of this process, where others have the rest.
    pub(super) share: Option<Arc<Share>>,
    pub(super) stats: Arc<Stats>,
    pub(super) sources: Arc<source::Stats>,
    pub(super) splitting: Splitting,
    pub(super) pace: Option<Arc<Pace>>,
    /// By read.
    pub(super) parts: Vec<Part>,
    /// The window's stream of the first slot.
    pub(super) first_stream: usize,
    pub(super) slots: usize,
    pub(super) stop: CancellationToken,
}

/// What is known of a read in this session.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) namespace: Namespace,
    /// Where it is found.
    pub(super) server: Server,
    /// The deployment, where several are read.
    pub(super) cluster: Option<Cluster>,
    /// The modules that its documents go to, as a number of the session's for its deployment.
    pub(super) group: usize,
    pub(super) target: std::sync::OnceLock<Arc<Target>>,
    pub(super) halvings: AtomicU32,
}

/// Why a reader cannot go on.
#[derive(Debug)]
pub(super) enum Ending {
    /// As many ops were given as the run is to give.
    Bound,
    /// A lane has ended, and noted why.
    LaneEnded,
    /// The server refuses.
    Failed(Namespace, Error),
}

impl Readers {
    /// Carries out a step. When it is told to stop, or cannot go on, it leaves it half done.
    pub(super) async fn work(&self, slot: &mut Slot, step: Step) -> Result<(), Ending> {
        let (Step::Plan { read } | Step::Segment { read, .. }) = step;
        let id = match step {
            Step::Plan { .. } => None,
            Step::Segment { id, .. } => Some(id),
        };
        let ended = match step {
            Step::Plan { read } => self.unless_stopped(self.plan(read)).await,
            Step::Segment {
                read,
                id,
                range,
                follows,
            } => Some(self.segment(slot, read, id, range, follows).await),
        };
        match ended.unwrap_or(Ok(Ok(()))) {
            Ok(ended) => ended,
            Err(error) if error.is_gone() => {
                self.reads.gone(read, id, "the collection is no more there");
                Ok(())
            }
            Err(error) => Err(Ending::Failed(self.parts[read].namespace.clone(), error)),
        }
    }

    /// Looks what there is, and where to cut it.
    async fn plan(&self, at: usize) -> Result<Result<(), Ending>, Error> {
        let part = &self.parts[at];
        let target = examine(&part.server, &part.namespace).await?;
        // Later than that: an earlier end was that of another collection.
        let seen = part.server.newest_time().await.unwrap_or_default();
        let target = Arc::new(target);
        // What was examined once in a session stays so: a collection that is made anew is another one.
        let target = part.target.get_or_init(|| target).clone();
        let Some(gaps) = self.reads.look_at(at, &target, seen) else {
            return Ok(Ok(()));
        };
        let stages = Stages::new(self.reads.pipeline(at));
        let splitting = Splitting {
            after: self.reads.latest(at),
            ..self.splitting
        };
        let ranges = split(&part.server, &target, &stages, &splitting).await?;
        let parts = gaps.iter().map(|gap| {
            if *gap == KeyRange::all() {
                return ranges.clone();
            }
            match target.orders_by_bytes() {
                true => ranges
                    .iter()
                    .filter_map(|range| common(range, gap))
                    .collect(),
                // Only the server can tell which range lies in it; a reader cuts what is too long.
                false => vec![gap.clone()],
            }
        });
        self.reads.cut(at, parts.collect());
        Ok(Ok(()))
    }

    async fn segment(
        &self,
        slot: &mut Slot,
        at: usize,
        id: u64,
        range: KeyRange,
        follows: bool,
    ) -> Result<Result<(), Ending>, Error> {
        let part = &self.parts[at];
        let target = part
            .target
            .get()
            .expect("it was examined before it was cut");
        if follows && self.unless_stopped(self.catch_up(at)).await.is_none() {
            return Ok(Ok(()));
        }
        let Some(after) = self.reads.open(at, id) else {
            return Ok(Ok(()));
        };
        let mut options = ReadOptions::new(self.reads.started(at));
        let halvings = part.halvings.load(Relaxed);
        options.stages = Stages::new(self.reads.pipeline(at));
        options.documents_max = (options.documents_max >> halvings).max(1);
        options.bytes_max = (options.bytes_max >> halvings).max(1);
        options.time_max /= 1 << halvings;
        options.pace.clone_from(&self.pace);
        let to = range.to.clone();
        let sources = self.sources.clone();
        let mut reader = SegmentReader::new(&part.server, target.clone(), range, options, sources);
        let Some(time) = self.unless_stopped(reader.open(after)).await.transpose()? else {
            return Ok(Ok(()));
        };
        self.reads.opened(at, id, time);
        if follows
            && self
                .unless_stopped(self.wait_beyond(at, time))
                .await
                .is_none()
        {
            return Ok(Ok(()));
        }
        let stream = self.first_stream + part.group * self.slots + slot.number;
        let mut counts = self.stats.namespaces.counts();
        let mut behind = (stream, 0);
        let mut documents = 0;
        loop {
            let Some(next) = self.unless_stopped(reader.next()).await.transpose()? else {
                return Ok(Ok(()));
            };
            let key = match next {
                Read::Batch(mut batch) => {
                    if let Some(cluster) = &part.cluster {
                        batch.set_cluster(cluster.clone());
                    }
                    if let Some(share) = &self.share
                        && self
                            .unless_stopped(share.keep_own(&mut batch))
                            .await
                            .is_none()
                    {
                        return Ok(Ok(()));
                    }
                    let is_last = self.bounds.apply(&mut batch, SourceKind::Oplog);
                    let len = batch.len() as u64;
                    documents += len;
                    self.reads.gave(at, len);
                    Stats::add(&self.stats.read, len);
                    batch.ops().for_each(|op| counts.of(&op).read += 1);
                    counts.tell();
                    let batch = Arc::new(batch);
                    let Some(ticket) = self.unless_stopped(self.admit(stream, &batch)).await else {
                        return Ok(Ok(()));
                    };
                    behind.1 = ticket.sequence + 1;
                    // Not given up half way: the ops of one batch are handled together or not at all.
                    if slot.way.give(&batch, ticket, &self.stop).await.is_err() {
                        return Ok(Err(Ending::LaneEnded));
                    }
                    if is_last {
                        return Ok(Err(Ending::Bound));
                    }
                    continue;
                }
                Read::End => None,
                Read::Cut(Cut::Full(key)) => Some(key),
                Read::Cut(Cut::SnapshotLost(key)) => {
                    self.shorten(part);
                    if key.is_none() {
                        let given = (documents > 0).then_some(time);
                        self.reads.failed(at, id, given);
                        return Ok(Ok(()));
                    }
                    key
                }
            };
            if key.is_some() {
                self.reads.shorten(at, id, KeyRange { from: key, to });
            }
            self.reads.given(at, id, time, behind, documents);
            return Ok(Ok(()));
        }
    }

    async fn admit(&self, stream: usize, batch: &Arc<Batch>) -> BatchTicket {
        if let Some(ledger) = &self.ledger {
            ledger.room().await;
        }
        self.window.admit(stream, batch).await
    }

    /// None when nothing more is to be read. What is half read then is read again.
    async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            done = work => Some(done),
        }
    }

    fn shorten(&self, part: &Part) {
        let halved = |halvings: u32| (halvings < HALVINGS_MAX).then_some(halvings + 1);
        // At the end of halving, it stays as it is.
        let _ = part.halvings.fetch_update(Relaxed, Relaxed, halved);
        tracing::warn!(
            cluster = part.cluster.as_ref().map(Cluster::name),
            namespace = %part.namespace,
            "the server no longer has the time of a segment; the next ones are shorter"
        );
    }

    /// Waits until the streams are not far behind.
    async fn catch_up(&self, at: usize) {
        if let Some(newest) = self.parts[at].server.newest_time().await {
            let seconds = newest.seconds.saturating_sub(LAG_SECONDS_MAX);
            self.wait_beyond(at, Timestamp::new(seconds, 0)).await;
        }
    }

    async fn wait_beyond(&self, at: usize, time: Timestamp) {
        let mut moves = self.reads.moves();
        while !self.reads.are_beyond(at, time) {
            // The sender lives as long as we do.
            if moves.changed().await.is_err() {
                return;
            }
        }
    }
}

/// What two ranges have in common.
fn common(a: &KeyRange, b: &KeyRange) -> Option<KeyRange> {
    let from = a.from.clone().max(b.from.clone());
    let to = match (&a.to, &b.to) {
        (Some(a), Some(b)) => Some(a.min(b).clone()),
        (to, None) | (None, to) => to.clone(),
    };
    let is_empty = matches!((&from, &to), (Some(from), Some(to)) if from >= to);
    (!is_empty).then_some(KeyRange { from, to })
}
