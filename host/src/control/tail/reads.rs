//! What a tail reads directly: what there is to read, and what is told of it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::{Error, Event, Options, handle::Shared};
use crate::{
    checkpoint::Checkpoint,
    control::{DirectReadStatus, Plan, ReadPlan, StreamPlan},
    op::{Namespace, OWN_DATABASE, Scope},
};

/// How often it is looked how far everything is, while something is read.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What was told of the read of each collection.
pub(super) type Told = HashMap<String, Stage>;

/// How far a read has come, of which was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Begun,
    Over,
}

/// Whether a collection or view can be read.
///
/// # Errors
/// [`Error::Options`].
pub(super) fn check(namespace: &Namespace) -> Result<(), Error> {
    let reason = match namespace {
        Namespace::Collection { database, .. } if database == OWN_DATABASE => {
            format!("{namespace} is Oplet's own, and is not read directly")
        }
        Namespace::Collection { .. } => return Ok(()),
        _ => format!("{namespace} is no collection or view, and is not read directly"),
    };
    Err(Error::Options { reason })
}

/// What there is to read: also what a process before was asked for and has not come to the end of.
///
/// # Errors
/// [`Error::Options`] where that was for modules.
pub(super) fn plan(options: &Options, saved: Option<&Checkpoint>) -> Result<Plan, Error> {
    let stream = StreamPlan {
        scope: Scope::new(options.watch.iter().cloned()),
        pipeline: options.pipeline.clone(),
        modules: Vec::new(),
    };
    let mut plan = Plan::without_modules(stream, options.source);
    for namespace in &options.direct.namespaces {
        add(&mut plan, namespace, options);
    }
    let reads = saved.into_iter().flat_map(|saved| &saved.direct_reads);
    for read in reads.filter(|read| read.complete_ms.is_none() && read.ended.is_none()) {
        if !read.modules.is_empty() {
            let reason =
                "the checkpoint is of a run that has not come to the end of its direct reads";
            let reason = reason.to_owned();
            return Err(Error::Options { reason });
        }
        if let Ok(namespace) = read.namespace.parse() {
            add(&mut plan, &namespace, options);
        }
    }
    Ok(plan)
}

/// Also reads that, if it is not read yet.
pub(super) fn add(plan: &mut Plan, namespace: &Namespace, options: &Options) {
    if plan.reads.iter().any(|read| read.namespace == *namespace) {
        return;
    }
    let mut pipelines = options.direct_pipelines.iter();
    let pipeline = pipelines.find(|(of, _)| of == namespace);
    let is_watched = plan.streams[0].scope.contains(&namespace.to_string());
    if !is_watched {
        tracing::warn!(%namespace, "what is read directly is not watched: its changes do not follow");
    }
    plan.reads.push(ReadPlan {
        namespace: namespace.clone(),
        pipeline: pipeline
            .map(|(_, stages)| stages.clone())
            .unwrap_or_default(),
        modules: Vec::new(),
        streams: is_watched.then_some(0).into_iter().collect(),
    });
}

/// Tells what becomes of reads, until the tail has ended.
pub(super) async fn watch(shared: Arc<Shared>) {
    let mut changes = shared.reads.changes();
    loop {
        shared.tell_of_reads();
        let is_at_work = shared.reads.are_under_way();
        let next = async {
            match is_at_work {
                // Of what is done nobody tells.
                true => tokio::time::sleep(LOOK_EVERY).await,
                // The sender lives as long as we do.
                false => drop(changes.changed().await),
            }
        };
        tokio::select! {
            biased;
            () = shared.stop.cancelled() => return,
            () = next => {}
        }
    }
}

impl Shared {
    /// Notes what is finished, and tells what was not told yet.
    pub(super) fn tell_of_reads(&self) {
        if !self.reads.are_any() {
            return;
        }
        self.settle();
        let mut told = self.told.lock().expect("no holder of this lock panics");
        for read in self.reads.statuses() {
            self.tell_of(&mut told, read);
        }
    }

    fn tell_of(&self, told: &mut Told, read: DirectReadStatus) {
        let DirectReadStatus {
            namespace,
            state,
            documents,
            segments,
            ..
        } = read;
        let before = told.get(&namespace).copied();
        let now = match state {
            "planned" => {
                told.remove(&namespace);
                return;
            }
            "reading" => Stage::Begun,
            _ => Stage::Over,
        };
        if before == Some(now) {
            return;
        }
        told.insert(namespace.clone(), now);
        // What a process before has read to the end was not begun by this one.
        if before != Some(Stage::Begun) && segments > 0 {
            self.tell(Event::DirectReadBegun {
                namespace: namespace.clone(),
                documents_expected: read.documents_expected,
            });
        }
        match (now, read.reason) {
            (Stage::Begun, _) => {}
            (Stage::Over, None) => self.tell(Event::DirectReadComplete {
                namespace,
                documents,
                segments,
            }),
            (Stage::Over, Some(reason)) => self.tell(Event::DirectReadEnded {
                namespace,
                documents,
                reason,
            }),
        }
    }
}
