//! Shards of a cluster join a run, and leave it.

use tracing::{info, warn};

use super::{
    Bounds, Deployment, Error, RunState,
    begin::Begin,
    deployments::StreamOf,
    shards::Change,
    supervisor::{AtWork, Next, Supervisor},
};
use crate::{
    op::{Cluster, Position, Timestamp},
    source::Start,
};

impl Supervisor<'_> {
    /// Takes in what has changed among the shards. One that joins makes another session begin, at the
    /// same positions; one that leaves is read to its end first.
    pub(super) async fn shards_changed(
        &mut self,
        at_work: &mut AtWork,
        change: Change,
    ) -> Result<Option<Next>, Error> {
        match change {
            Change::Joined(deployment, after) => {
                self.redeploy(at_work, Some((*deployment, after))).await
            }
            Change::Left(cluster) => {
                if let Some(deployment) = self.deployment(&cluster) {
                    info!(%cluster, "a shard was removed: what it still has is read");
                    deployment.leaving.cancel();
                }
                Ok(None)
            }
            Change::Gone(cluster) => {
                let Some(deployment) = self.deployment(&cluster) else {
                    return Ok(None);
                };
                warn!(%cluster, "the shard that was removed does not come to its end: the rest is not read");
                deployment.gone.cancel();
                self.redeploy(at_work, None).await
            }
        }
    }

    /// A stream has given all that its deployment had left.
    pub(super) async fn stream_left(
        &mut self,
        at_work: &mut AtWork,
        stream: usize,
    ) -> Result<Option<Next>, Error> {
        at_work.left.push(stream);
        let StreamOf { at, deployment, .. } = self.assembly.stream(stream);
        let share = self.assembly.plan.streams.len();
        let mut of_deployment = at * share..(at + 1) * share;
        if !of_deployment.all(|stream| at_work.left.contains(&stream)) {
            return Ok(None);
        }
        deployment.gone.cancel();
        self.redeploy(at_work, None).await
    }

    fn deployment(&self, cluster: &Cluster) -> Option<&Deployment> {
        let mut read = self.assembly.deployments.read().iter();
        read.find(|deployment| deployment.cluster.is_same(cluster))
    }

    /// Ends the session at a border, and lets another one begin there, without the deployments that are
    /// gone and with one that joins behind a cluster time.
    async fn redeploy(
        &mut self,
        at_work: &mut AtWork,
        joined: Option<(Deployment, Timestamp)>,
    ) -> Result<Option<Next>, Error> {
        if joined.is_none() && self.desk.board.state() == RunState::Paused {
            // What was read of it is not done yet; it goes with the next change.
            return Ok(None);
        }
        let word = self.close(at_work).await?;
        if self.shutdown.is_cancelled() || self.desk.drain.is_cancelled() {
            return Ok(Some(Next::End));
        }
        let window = &at_work.session.window;
        let is_all_done = window.in_flight().ops == 0;
        let frontiers = window.frontiers();
        let before = &self.assembly.deployments;
        let share = self.assembly.plan.streams.len();
        let (mut read, mut begins, mut bounds) = (Vec::new(), Vec::new(), Vec::new());
        for (at, deployment) in before.read().iter().enumerate() {
            let comes_back = joined
                .as_ref()
                .filter(|(joined, _)| joined.cluster.is_same(&deployment.cluster));
            let is_last = read.is_empty() && at + 1 == before.read().len() && joined.is_none();
            if comes_back.is_none() && deployment.gone.is_cancelled() && is_all_done && !is_last {
                info!(cluster = %deployment.cluster, "a shard has left");
                tokio::spawn(deployment.server.clone().shutdown());
                continue;
            }
            read.push(match comes_back {
                Some((joined, _)) => joined.clone(),
                // A run without any deployment would be over.
                None if is_last => {
                    let Deployment {
                        cluster, server, ..
                    } = deployment.clone();
                    Deployment::new(cluster, server)
                }
                None => deployment.clone(),
            });
            bounds.push(self.assembly.bounds[at].clone());
            let of_deployment = frontiers[at * share..(at + 1) * share].iter();
            begins.extend(of_deployment.cloned().map(Begin::after));
        }
        if let Some((joined, after)) = joined
            && !read
                .iter()
                .any(|known| known.cluster.is_same(&joined.cluster))
        {
            let mut of_joined = Bounds::of(&joined.server, self.assembly.options).await?;
            if let Some(first) = bounds.first() {
                of_joined.ops_left.clone_from(&first.ops_left);
            }
            info!(cluster = %joined.cluster, %after, "a shard has joined");
            bounds.push(of_joined);
            let begin = Begin::at(Start::After(Position::Time(after)));
            begins.extend(vec![begin; share]);
            read.push(joined);
        }
        match before.with(read) {
            Ok(deployments) => {
                self.desk.board.show_deployments(&deployments);
                self.assembly.deployments = deployments;
                self.assembly.bounds = bounds;
            }
            Err(error) => {
                warn!(%error, "a shard that joins cannot be told from others, and is not read");
                begins = frontiers.into_iter().map(Begin::after).collect();
            }
        }
        Ok(Some(Next::Session(begins, word, None)))
    }
}
