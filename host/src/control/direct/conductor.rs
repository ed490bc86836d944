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
    control::{
        Bounds, Deployments, Error, Plan, Stats, session::StreamEnd, share::Share,
        transaction::Ledger,
    },
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
    pub(in crate::control) deployments: &'a Deployments,
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
    /// Of each deployment.
    forecasts: Vec<Forecast>,
}

/// A stream of the window that readers give documents by.
#[derive(Debug)]
pub(in crate::control) struct ReaderStream {
    /// The deployment that these are of.
    pub(in crate::control) deployment: usize,
    /// The modules that they go to.
    pub(in crate::control) modules: Vec<usize>,
}

impl Conductor {
    /// The streams of the window that the readers of a plan need: for each deployment and each group of
    /// modules, one for each of its cursors.
    pub(in crate::control) fn streams(
        deployments: &Deployments,
        plan: &Plan,
        options: &DirectReadOptions,
    ) -> Vec<ReaderStream> {
        let groups = groups(plan);
        let mut streams = Vec::new();
        for deployment in 0..deployments.read().len() {
            for modules in &groups {
                streams.extend((0..options.concurrency).map(|_| ReaderStream {
                    deployment,
                    modules: modules.clone(),
                }));
            }
        }
        streams
    }

    /// The readers of a session, whose streams of the window come behind those of the plan.
    /// `way` makes a way for the documents.
    pub(in crate::control) fn new(wiring: Wiring<'_>, way: impl Fn() -> Way) -> Self {
        let Wiring {
            reads,
            options,
            plan,
            deployments,
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
        let places = reads.places().into_iter();
        let parts = places.map(|(deployment, place)| {
            let read = &plan.reads[place];
            let group = groups.iter().position(|group| *group == read.modules);
            let of = &deployments.read()[deployment];
            Part {
                namespace: read.namespace.clone(),
                server: of.server.clone(),
                cluster: deployments.are_told_apart().then(|| of.cluster.clone()),
                group: deployment * groups.len() + group.unwrap_or_default(),
                target: std::sync::OnceLock::new(),
                halvings: 0.into(),
            }
        });
        // One that is away holds up no other: each has cursors of its own.
        let of_each = 0..deployments.read().len();
        let free = of_each.clone().flat_map(|deployment| {
            let numbers = 0..options.concurrency;
            numbers.map(move |number| (deployment, number))
        });
        let free = free.map(|(deployment, number)| Slot {
            deployment,
            number,
            way: way(),
        });
        Self {
            free: free.collect(),
            forecasts: of_each.map(|_| Forecast::default()).collect(),
            horizon,
            readers: Arc::new(Readers {
                parts: parts.collect(),
                reads: reads.clone(),
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
                first_stream: deployments.streams(plan).len(),
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
            let free = match has_given_all {
                true => Vec::new(),
                false => std::mem::take(&mut self.free),
            };
            for mut slot in free {
                let Some(step) = self.readers.reads.next(slot.deployment) else {
                    self.free.push(slot);
                    continue;
                };
                let readers = self.readers.clone();
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

    /// Waits until everything that was given is done and the streams are beyond it, and notes that: a
    /// run may have no saver that does.
    async fn finish(&self, stop: &CancellationToken) {
        let Readers {
            window,
            reads,
            first_stream,
            ..
        } = &*self.readers;
        loop {
            // What is done by now is in the look at it that follows.
            let is_done = reads.are_given() && window.is_idle_from(*first_stream);
            let is_last = stop.is_cancelled() || is_done && reads.are_streams_over();
            reads.settle(window, &window.look());
            if is_last || !reads.are_under_way() {
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
                cluster = read.cluster,
                namespace = read.namespace,
                documents = read.documents,
                expected = read.documents_expected,
                segments = format!("{}/{}", read.segments_read, read.segments),
                seconds = read.seconds.map(f64::round),
                "reading directly"
            );
        }
        for (deployment, forecast) in self.forecasts.iter_mut().enumerate() {
            let (cluster, done, oldest) = self.horizon.reach(deployment);
            let of_it = statuses.iter().filter(|read| read.cluster == cluster);
            let statuses: Vec<_> = of_it.cloned().collect();
            if let Some(text) = forecast.look(Instant::now(), &statuses, done, oldest) {
                warn!(cluster, "{text}");
            }
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
