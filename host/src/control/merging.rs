//! The streams of several deployments, read in the one order of cluster time.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, SystemTime},
};

use futures_util::future::select_all;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{Span, info, warn};

use super::{
    direct::{Idleness, Stage},
    outflow::Outflow,
    session::{Stream, StreamEnd},
};
use crate::{
    flow::Merge,
    op::{Batch, Cluster, Position},
};

/// After how long it is said which deployment holds up the others. An idle one does for as long as its
/// server takes to note the time in its oplog, which is ten seconds unless it is set otherwise.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which deployment holds up the others, and since when. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Holdup(Arc<Mutex<Option<(Cluster, SystemTime)>>>);

impl Holdup {
    /// Who holds up the others now, if anybody does.
    pub(super) fn get(&self) -> Option<(Cluster, SystemTime)> {
        self.lock().clone()
    }

    /// Gives who it was before, when that changes.
    fn set(&self, cluster: Option<&Cluster>) -> Option<Option<Cluster>> {
        let mut held = self.lock();
        if held.as_ref().map(|(cluster, _)| cluster) == cluster {
            return None;
        }
        let now = cluster.map(|cluster| (cluster.clone(), SystemTime::now()));
        let before = std::mem::replace(&mut *held, now);
        Some(before.map(|(cluster, _)| cluster))
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Cluster, SystemTime)>> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

/// What a stream that is read has to say.
#[derive(Debug)]
enum Fed {
    Batch(Batch),
    /// It has reached its end.
    Over,
}

/// Brings what several streams give into one order, and hands that over.
///
/// Each stream is read by a task of its own, since reading cannot be broken off.
#[derive(Debug)]
pub(super) struct Merger {
    merge: Merge,
    inputs: Vec<Input>,
    /// What each stream's batches pass on their way, while something is read directly.
    stages: Vec<Option<Stage>>,
    outflow: Outflow,
    holdup: Holdup,
    /// When it is said who holds up the others; none when nobody does, or it was said.
    tell_at: Option<Instant>,
    stop: CancellationToken,
}

#[derive(Debug)]
struct Input {
    /// Closed when the stream has ended without having come to its end: what follows is not known, and
    /// is waited for.
    batches: Option<mpsc::Receiver<Fed>>,
    cluster: Option<Cluster>,
    /// After all that was given.
    position: Position,
}

/// Reads one stream for a merger.
#[derive(Debug)]
pub(super) struct Feeder {
    stream: Stream,
    /// While something is read directly.
    idleness: Option<Idleness>,
    batches: mpsc::Sender<Fed>,
}

impl Feeder {
    pub(super) fn span(&self) -> Span {
        self.stream.span()
    }

    /// Reads to the end.
    pub(super) async fn read(mut self) -> StreamEnd {
        let idle_at = self.stream.bounds.idle_at;
        loop {
            if let Some(idleness) = &self.idleness {
                self.stream.bounds.idle_at = idleness.idle_at(idle_at);
            }
            let (batch, end) = match self.stream.next().await {
                Ok(next) => next,
                Err(end) => return end,
            };
            // The merger is gone when the session ends.
            if self.batches.send(Fed::Batch(batch)).await.is_err() {
                return StreamEnd::Done;
            }
            if let Some(end) = end {
                let _ = self.batches.send(Fed::Over).await;
                return end;
            }
        }
    }
}

impl Merger {
    /// A merger of these streams, and who reads them for it.
    pub(super) fn new(
        streams: Vec<(Stream, Option<Stage>)>,
        outflow: Outflow,
        holdup: Holdup,
        stop: CancellationToken,
    ) -> (Self, Vec<Feeder>) {
        let merge = Merge::new(streams.iter().map(|(stream, _)| stream.position.clone()));
        let mut ops_left = None;
        let mut inputs = Vec::new();
        let mut feeders = Vec::new();
        let mut stages = Vec::new();
        for (mut stream, stage) in streams {
            // One that is read, and one that waits for its turn.
            let (sender, receiver) = mpsc::channel(1);
            inputs.push(Input {
                batches: Some(receiver),
                cluster: stream.cluster.clone(),
                position: stream.position.clone(),
            });
            // Which ops are the first so many shows only in the order of all.
            ops_left = stream.bounds.ops_left.take();
            feeders.push(Feeder {
                stream,
                idleness: stage.as_ref().map(Stage::idleness),
                batches: sender,
            });
            stages.push(stage.map(Stage::merged));
        }
        let merger = Self {
            merge,
            inputs,
            stages,
            outflow: outflow.counting(ops_left),
            holdup,
            tell_at: None,
            stop,
        };
        (merger, feeders)
    }

    /// Merges until all streams are at their ends, or a stop is asked for.
    pub(super) async fn run(mut self) -> StreamEnd {
        let end = self.give_all().await;
        let _ = self.holdup.set(None);
        end
    }

    async fn give_all(&mut self) -> StreamEnd {
        loop {
            while let Some((stream, batch)) = self.merge.take() {
                if let Err(end) = self.give(stream, batch).await {
                    return end;
                }
            }
            if self.merge.is_over() {
                return StreamEnd::Done;
            }
            let Some((stream, fed)) = self.fed().await else {
                return StreamEnd::Done;
            };
            match fed {
                Some(Fed::Batch(batch)) => {
                    if let Some(empty) = self.merge.push(stream, batch)
                        && let Err(end) = self.give(stream, empty).await
                    {
                        return end;
                    }
                }
                Some(Fed::Over) => {
                    self.merge.end(stream);
                    self.pass_no_more(stream);
                }
                None => self.inputs[stream].batches = None,
            }
        }
    }

    /// Hands over what is next.
    async fn give(&mut self, stream: usize, batch: Batch) -> Result<(), StreamEnd> {
        let input = &mut self.inputs[stream];
        let before = std::mem::replace(&mut input.position, batch.position().clone());
        match &mut self.stages[stream] {
            // In the order of all, so that what has to wait holds up all.
            Some(stage) => {
                let passed = self.outflow.pass_by(stage, stream, batch, &before);
                passed.await?;
            }
            None => self.outflow.give_counted(stream, batch, &before).await?,
        }
        self.pass_no_more(stream);
        Ok(())
    }

    /// Lets go of a stream's stage where nothing of the stream will pass it any more, or need not.
    fn pass_no_more(&mut self, stream: usize) {
        let stage = &mut self.stages[stream];
        let has_ended = self.merge.has_ended(stream);
        if stage
            .as_ref()
            .is_some_and(|stage| has_ended || stage.is_over())
        {
            *stage = None;
        }
    }

    /// What a stream that is wanted has to say; none when a stop is asked for.
    async fn fed(&mut self) -> Option<(usize, Option<Fed>)> {
        self.note_holdup();
        loop {
            let wanted = self.inputs.iter_mut().enumerate();
            let wanted = wanted.filter(|(stream, _)| self.merge.wants(*stream));
            let wanted = wanted.filter_map(|(stream, input)| {
                let batches = input.batches.as_mut()?;
                Some(Box::pin(async move { (stream, batches.recv().await) }))
            });
            let wanted: Vec<_> = wanted.collect();
            let next = async {
                match wanted.is_empty() {
                    // Streams that have failed hold up the others, until somebody decides about that.
                    true => std::future::pending().await,
                    false => select_all(wanted).await.0,
                }
            };
            let tell_at = self.tell_at;
            let patience = async {
                match tell_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return None,
                () = self.outflow.spent() => return None,
                next = next => return Some(next),
                () = patience => {}
            }
            self.tell_at = None;
            if let Some((cluster, _)) = self.holdup.get() {
                warn!(%cluster, "the other deployments wait for this one: without it the order of what they have is not \
                    known");
            }
        }
    }

    /// Notes who holds up the others now.
    fn note_holdup(&mut self) {
        let stream = self.merge.waits_for();
        let cluster = stream.and_then(|stream| self.inputs[stream].cluster.as_ref());
        if let Some(before) = self.holdup.set(cluster) {
            if self.tell_at.is_none()
                && let Some(before) = before
            {
                info!(cluster = %before, "the other deployments wait for this one no longer");
            }
            self.tell_at = cluster.map(|_| Instant::now() + PATIENCE);
        }
    }
}
