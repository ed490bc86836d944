//! What a run reads directly, for all that have to do with it: streams, readers, the saver, who asks
//! how it stands.

use std::sync::{Arc, Mutex, MutexGuard, Weak};

use tokio::sync::watch;

use super::{
    coverage::Coverage,
    meant::Meant,
    read::{Phase, Read},
    stage::Stage,
};
use crate::{
    checkpoint::{AckWindow, Checkpoint, DirectRead, Progress},
    control::{Deployments, DirectReadStatus, Plan},
    op::{Cluster, Namespace, Timestamp},
};

/// What a run reads directly. It outlives sessions.
#[derive(Debug, Default)]
pub(in crate::control) struct DirectReads {
    /// The lock is held for a look at one batch, or to note what happened to a segment.
    coverage: Mutex<Coverage>,
    /// Told whenever a segment is further than before: streams wait for that.
    changes: watch::Sender<()>,
    /// Told whenever a stream is: readers of segments that follow wait for that.
    moves: watch::Sender<()>,
    /// What is read, and of which deployments. The lock is held to look at it or to add to it.
    meant: Mutex<Meant>,
    /// What the store holds. The lock is held to read or replace it.
    saved: Mutex<Vec<DirectRead>>,
    /// What the present session gives goes through that. The lock is held to look at it, or to replace it.
    window: Mutex<Weak<AckWindow>>,
}

impl DirectReads {
    /// What a run is to read of each deployment, where a process before has come so far; what `given`
    /// does not have, it was only of some deployments to. A run that goes on from a checkpoint may have
    /// given changes of what it has not read yet.
    pub(in crate::control) fn new(
        deployments: &Deployments,
        (plan, given): (&Plan, &Plan),
        saved: Option<&Checkpoint>,
    ) -> Arc<Self> {
        let reads = Arc::new(Self::default());
        let clusters: Vec<_> = clusters(deployments).cloned().collect();
        let saved_of = match saved {
            Some(saved) => saved.direct_reads_of(&clusters),
            None => vec![Vec::new(); clusters.len()],
        };
        let mut meant = Meant::default();
        for read in &given.reads {
            meant.add_everywhere(&read.namespace);
        }
        for (cluster, saved) in clusters.iter().zip(&saved_of) {
            for namespace in saved.iter().filter_map(|read| read.namespace.parse().ok()) {
                meant.add(&namespace, cluster);
            }
        }
        *reads.meant() = meant;
        reads.extend(deployments, plan);
        let mut coverage = reads.coverage();
        for at in 0..coverage.reads.len() {
            let read = &mut coverage.reads[at];
            if saved.is_none() {
                // Nothing of it was given yet.
                read.set_follows(false);
            }
            let mut known = saved_of[read.deployment].iter();
            let Some(known) = known.find(|known| {
                let are_served = match read.modules.is_empty() {
                    // For a program without modules.
                    true => known.modules.is_empty(),
                    false => read.modules.iter().all(|name| known.modules.contains(name)),
                };
                known.namespace == read.namespace && are_served
            }) else {
                continue;
            };
            read.uuid = known.uuid;
            read.seen_at = known.seen;
            // One that was not looked at has nothing to be compared with.
            read.is_known = known.seen != Timestamp::default();
            read.was_complete = known.complete_ms.is_some();
            read.tally.complete_ms = known.complete_ms;
            read.tally.begun_ms = known.begun_ms;
            read.tally.finished_documents = known.documents;
            coverage.restore(at, &known.ranges);
        }
        drop(coverage);
        let saved = saved.map(|saved| &saved.direct_reads[..]);
        reads.are_saved(saved.unwrap_or_default());
        reads
    }

    /// A session begins, with the streams of that plan in each of these deployments.
    pub(in crate::control) fn begin(&self, deployments: &Deployments, plan: &Plan) {
        self.extend(deployments, plan);
        self.take_pipelines(plan);
        let mut coverage = self.coverage();
        coverage.begin(clusters(deployments), plan.streams.len());
        let coverage = &mut *coverage;
        coverage.by_namespace.clear();
        for (at, read) in coverage.reads.iter_mut().enumerate() {
            let first = read.deployment * plan.streams.len();
            let streams = plan.reads[read.place].streams.iter();
            read.streams = streams.map(|stream| first + stream).collect();
            let namespace = read.namespace.clone();
            coverage.by_namespace.entry(namespace).or_default().push(at);
        }
    }

    /// The way of a stream's batches, while something is read that decides about them.
    pub(in crate::control) fn stage(self: &Arc<Self>, stream: usize) -> Option<Stage> {
        self.are_any()
            .then(|| Stage::new(self.clone(), stream, self.changes()))
    }

    /// Whether there is something to read, or to look at whether there is.
    pub(in crate::control) fn are_under_way(&self) -> bool {
        let coverage = self.coverage();
        let is_over = |read: &Read| matches!(read.phase, Phase::Complete | Phase::Ended(_));
        !coverage.reads.iter().all(is_over)
    }

    /// What is given from now on goes through that window.
    pub(in crate::control) fn follow(&self, window: &Arc<AckWindow>) {
        let mut followed = self.window.lock().expect("no holder of this lock panics");
        *followed = Arc::downgrade(window);
    }

    /// Notes what is finished when everything in a window is so far done, and tells how far it all is. What
    /// is done in the window of a session before says nothing of the present one.
    pub(in crate::control) fn settle(
        &self,
        window: &Arc<AckWindow>,
        progress: &Progress,
    ) -> Vec<DirectRead> {
        let mut coverage = self.coverage();
        if coverage.reads.is_empty() {
            return Vec::new();
        }
        let followed = self.window.lock().expect("no holder of this lock panics");
        if std::ptr::eq(followed.as_ptr(), Arc::as_ptr(window)) {
            coverage.settle(progress);
        }
        coverage.reads.iter().map(Read::record).collect()
    }

    pub(in crate::control) fn saved(&self) -> Vec<DirectRead> {
        let saved = self.saved.lock().expect("no holder of this lock panics");
        saved.clone()
    }

    pub(in crate::control) fn are_saved(&self, reads: &[DirectRead]) {
        let mut saved = self.saved.lock().expect("no holder of this lock panics");
        reads.clone_into(&mut saved);
    }

    /// A session is over, and everything is so far done: the rest is read again.
    pub(in crate::control) fn put_back(&self, progress: &Progress) {
        let mut coverage = self.coverage();
        coverage.settle(progress);
        coverage.put_back();
    }

    /// Changes are to be given again that were covered.
    pub(in crate::control) fn forget(&self) {
        self.coverage().forget();
    }

    /// Reads these once more, from the beginning.
    pub(in crate::control) fn renew(&self, is_meant: impl Fn(&Cluster, &Namespace) -> bool) {
        let mut coverage = self.coverage();
        let is_meant = |read: &Read| {
            let namespace = read.namespace.parse();
            namespace.is_ok_and(|namespace| is_meant(&read.cluster, &namespace))
        };
        let reads = coverage.reads.iter_mut();
        reads.filter(|read| is_meant(read)).for_each(Read::renew);
    }

    /// A collection is to be read of every deployment that has it.
    pub(in crate::control) fn add_everywhere(&self, namespace: &Namespace) {
        self.meant().add_everywhere(namespace);
    }

    /// Collections are to be read of one deployment.
    pub(in crate::control) fn add(&self, namespaces: &[Namespace], cluster: &Cluster) {
        let mut meant = self.meant();
        namespaces.iter().for_each(|one| meant.add(one, cluster));
    }

    /// What is read of a deployment, each collection once.
    pub(in crate::control) fn namespaces_of(&self, cluster: &Cluster) -> Vec<Namespace> {
        let coverage = self.coverage();
        let reads = coverage.reads.iter();
        let reads = reads.filter(|read| read.cluster.is_same(cluster));
        let mut namespaces: Vec<_> = reads
            .filter_map(|read| read.namespace.parse().ok())
            .collect();
        // Reads of a collection, for several modules, lie side by side.
        namespaces.dedup();
        namespaces
    }

    /// Takes up what a plan reads that is not there yet, and drops what it does not read. A module that
    /// joins those that share a read sees what comes from now on.
    pub(in crate::control) fn extend(&self, deployments: &Deployments, plan: &Plan) {
        let meant = self.meant().clone();
        let mut coverage = self.coverage();
        let mut before = std::mem::take(&mut coverage.reads);
        for (deployment, cluster) in clusters(deployments).enumerate() {
            for (place, wanted) in plan.reads.iter().enumerate() {
                if !meant.includes(&wanted.namespace, cluster) {
                    continue;
                }
                let (namespace, names) = (wanted.namespace.to_string(), wanted.names(plan));
                let is_it = |read: &Read| {
                    let is_shared = read.modules.iter().any(|name| names.contains(name));
                    read.cluster.is_same(cluster)
                        && read.namespace == namespace
                        && (is_shared || read.modules == names)
                };
                let mut read = match before.iter().position(is_it) {
                    Some(known) => before.remove(known),
                    None => {
                        let mut read = Read::new(cluster.clone(), namespace, Vec::new(), true);
                        read.tally.begun_ms = bson::DateTime::now().timestamp_millis();
                        read
                    }
                };
                read.modules = names;
                read.cluster = cluster.clone();
                read.is_told_apart = deployments.are_told_apart();
                (read.deployment, read.place) = (deployment, place);
                coverage.reads.push(read);
            }
        }
    }

    /// What the server is to do to documents is as a plan says from now on.
    pub(in crate::control) fn take_pipelines(&self, plan: &Plan) {
        for read in &mut self.coverage().reads {
            let wanted = &plan.reads[read.place];
            read.pipeline.clone_from(&wanted.pipeline);
        }
    }

    /// Of each read the deployment that it is in, and which one of the plan's it is.
    pub(super) fn places(&self) -> Vec<(usize, usize)> {
        let coverage = self.coverage();
        let reads = coverage.reads.iter();
        reads.map(|read| (read.deployment, read.place)).collect()
    }

    /// How it all stands.
    pub(in crate::control) fn statuses(&self) -> Vec<DirectReadStatus> {
        self.coverage().reads.iter().map(Read::status).collect()
    }

    fn meant(&self) -> MutexGuard<'_, Meant> {
        self.meant.lock().expect("no holder of this lock panics")
    }

    pub(super) fn coverage(&self) -> MutexGuard<'_, Coverage> {
        self.coverage.lock().expect("no holder of this lock panics")
    }

    /// Whether it was [given up](Self::give_up) in this session.
    pub(in crate::control) fn are_given_up(&self) -> bool {
        self.coverage().is_given_up()
    }

    /// Waits until the lanes have everything. Cancellation safe.
    pub(in crate::control) async fn all_given(&self) {
        let mut changes = self.changes.subscribe();
        while !self.are_given() {
            // The sender lives as long as we do.
            let _ = changes.changed().await;
        }
    }

    pub(super) fn changed(&self) {
        self.changes.send_replace(());
    }

    /// Told of whenever a segment is further than before.
    pub(in crate::control) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Whether there is anything that is, or was, read.
    pub(in crate::control) fn are_any(&self) -> bool {
        !self.coverage().reads.is_empty()
    }

    pub(super) fn moves(&self) -> watch::Receiver<()> {
        self.moves.subscribe()
    }

    pub(super) fn moved(&self) {
        self.moves.send_replace(());
    }

    /// As many ops as the run is to give were given, or the readers cannot go on: who waits for documents, or
    /// for a stream, waits no more.
    pub(in crate::control) fn give_up(&self) {
        self.coverage().give_up();
        self.changed();
        self.moved();
    }

    /// Whether the lanes have everything.
    pub(in crate::control) fn are_given(&self) -> bool {
        self.coverage().is_given()
    }
}

fn clusters(deployments: &Deployments) -> impl Iterator<Item = &Cluster> {
    let read = deployments.read().iter();
    read.map(|deployment| &deployment.cluster)
}
