//! Lets so many cursors read side by side, over everything that is to be read.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, interval_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    DirectReadOptions, DirectReads, Horizon, Way,
    forecast::Forecast,
    reader::{Ending, Part, Readers, Slot},
};
use crate::{
    checkpoint::AckWindow,
    control::{Bounds, Error, Plan, Stats, session::StreamEnd, share::Share, transaction::Ledger},
    mongo::Server,
    source::{
        self,
        direct_read::{Pace, Splitting},
    },
};

/// How often it is told how far it all is.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// How often it is looked whether everything that was given is done, at the end.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What a session gives to who reads for it.
pub(in crate::control) struct Wiring<'a> {
    pub(in crate::control) reads: &'a Arc<DirectReads>,
    pub(in crate::control) options: &'a DirectReadOptions,
    pub(in crate::control) plan: &'a Plan,
    pub(in crate::control) server: &'a Server,
    pub(in crate::control) window: &'a Arc<AckWindow>,
    pub(in crate::control) ledger: Option<Arc<Ledger>>,
    pub(in crate::control) bounds: &'a Bounds,
    /// The part of this process, where others have the rest.
    pub(in crate::control) share: Option<Arc<Share>>,
    pub(in crate::control) stats: &'a Arc<Stats>,
    pub(in crate::control) sources: &'a Arc<source::Stats>,
    pub(in crate::control) stop: &'a CancellationToken,
    pub(in crate::control) horizon: Horizon,
}

/// The readers of a session.
#[derive(Debug)]
pub(in crate::control) struct Conductor {
    readers: Arc<Readers>,
    free: Vec<Slot>,
    horizon: Horizon,
    forecast: Forecast,
}

impl Conductor {
    /// How many streams of the window the readers of a plan need.
    pub(in crate::control) fn streams(plan: &Plan, options: &DirectReadOptions) -> usize {
        groups(plan).len() * options.concurrency
    }

    /// Which modules see what comes by each of these streams.
    pub(in crate::control) fn modules(plan: &Plan, options: &DirectReadOptions) -> Vec<Vec<usize>> {
        let groups = groups(plan).into_iter();
        let streams = groups.flat_map(|group| std::iter::repeat_n(group, options.concurrency));
        streams.collect()
    }

    /// The readers of a session, whose streams of the window come behind those of the plan.
    /// `way` makes a way for the documents.
    pub(in crate::control) fn new(wiring: Wiring<'_>, way: impl Fn() -> Way) -> Self {
        let Wiring {
            reads,
            options,
            plan,
            server,
            window,
            ledger,
            bounds,
            share,
            stats,
            sources,
            stop,
            horizon,
        } = wiring;
        let groups = groups(plan);
        let parts = plan.reads.iter().map(|read| Part {
            namespace: read.namespace.clone(),
            group: groups
                .iter()
                .position(|group| *group == read.modules)
                .unwrap_or_default(),
            target: std::sync::OnceLock::new(),
            halvings: 0.into(),
        });
        let free = (0..options.concurrency)
            .rev()
            .map(|number| Slot { number, way: way() });
        Self {
            free: free.collect(),
            forecast: Forecast::default(),
            horizon,
            readers: Arc::new(Readers {
                parts: parts.collect(),
                reads: reads.clone(),
                server: server.clone(),
                window: window.clone(),
                ledger,
                // Where changes end is no bound for what is read directly.
                bounds: Bounds {
                    ops_left: bounds.ops_left.clone(),
                    ..Bounds::default()
                },
                share,
                stats: stats.clone(),
                sources: sources.clone(),
                splitting: splitting(options),
                pace: options
                    .documents_per_second
                    .map(|rate| Arc::new(Pace::new(rate))),
                first_stream: plan.streams.len(),
                slots: options.concurrency,
                stop: stop.child_token(),
            }),
        }
    }

    /// Reads everything, and waits until it is done.
    pub(in crate::control) async fn run(mut self) -> StreamEnd {
        let mut work: JoinSet<(Slot, Result<(), Ending>)> = JoinSet::new();
        let mut ticks = interval_at(Instant::now() + TELL_EVERY, TELL_EVERY);
        let stop = self.readers.stop.clone();
        let mut has_given_all = false;
        let failed = loop {
            while !has_given_all && let Some(slot) = self.free.pop() {
                let Some(step) = self.readers.reads.next() else {
                    self.free.push(slot);
                    break;
                };
                let readers = self.readers.clone();
                let mut slot = slot;
                work.spawn(async move {
                    let ended = readers.work(&mut slot, step).await;
                    (slot, ended)
                });
            }
            if work.is_empty() {
                break None;
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => break None,
                Some(ended) = work.join_next() => match ended {
                    Ok((slot, Ok(()))) => self.free.push(slot),
                    Ok((_, Err(Ending::Bound))) => {
                        // The others have batches that count: these are given, and then nothing is.
                        has_given_all = true;
                        self.readers.reads.give_up();
                    }
                    Ok((_, Err(ending))) => break Some(ending.into()),
                    Err(error) if error.is_panic() => break Some(StreamEnd::Panicked),
                    Err(_) => {}
                },
                _ = ticks.tick() => self.tell(),
            }
        };
        if failed.is_some() {
            // Nobody is to wait for what is not read any more.
            self.readers.stop.cancel();
            self.readers.reads.give_up();
        }
        // What was given to a lane is given whole: nobody is cut off in the middle of that.
        while work.join_next().await.is_some() {}
        if let Some(failed) = failed {
            return failed;
        }
        if !has_given_all {
            self.finish(&stop).await;
        }
        StreamEnd::Done
    }

    /// Waits until everything that was given is done, and notes that.
    async fn finish(&self, stop: &CancellationToken) {
        let Readers {
            window,
            reads,
            first_stream,
            ..
        } = &*self.readers;
        loop {
            reads.settle(window, &window.look());
            let is_done = reads.are_given() && window.is_idle_from(*first_stream);
            if stop.is_cancelled() || is_done || !reads.are_under_way() {
                return;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Tells how far it all is, and warns of what it will lead to.
    fn tell(&mut self) {
        let progress = self.readers.window.look();
        self.readers.reads.settle(&self.readers.window, &progress);
        let statuses = self.readers.reads.statuses();
        for read in statuses.iter().filter(|read| read.state == "reading") {
            info!(
                namespace = read.namespace,
                documents = read.documents,
                expected = read.documents_expected,
                segments = format!("{}/{}", read.segments_read, read.segments),
                seconds = read.seconds.map(f64::round),
                "reading directly"
            );
        }
        let (done, oldest) = self.horizon.reach();
        let warning = self.forecast.look(Instant::now(), &statuses, done, oldest);
        if let Some(text) = warning {
            warn!("{text}");
        }
    }
}

impl From<Ending> for StreamEnd {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Bound => Self::Done,
            Ending::LaneEnded => Self::LaneEnded,
            Ending::Failed(namespace, source) => Self::ReadFailed(Error::DirectRead {
                namespace,
                source: Box::new(source),
            }),
        }
    }
}

/// The modules that share a read, each set once.
fn groups(plan: &Plan) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for read in &plan.reads {
        if !groups.contains(&read.modules) {
            groups.push(read.modules.clone());
        }
    }
    groups
}

fn splitting(options: &DirectReadOptions) -> Splitting {
    Splitting {
        boundaries_max: match options.split {
            0 => None,
            split => Some(u32::try_from(split).unwrap_or(0)),
        },
        is_bounded: options.bounded,
        ..Splitting::default()
    }
}
