//! Collections are read directly while a run works: because somebody asks for it, or because changes of
//! them were lost.

use std::sync::Arc;

use tracing::info;

use super::{
    CommandError, Deployment, Deployments, Error, Plan, PlanError,
    assembly::Assembly,
    begin::{self, Begin},
    handle::Answer,
    supervisor::{AtWork, Next, Reply, Supervisor},
};
use crate::{
    checkpoint::Checkpoint,
    mongo::{self, Server},
    op::{Cluster, Frontier, Namespace, OWN_DATABASE, Position, Scope},
    source,
};

const VERB: &str = "snapshot";

/// Databases that hold nothing of the user's.
const INTERNAL_DATABASES: [&str; 3] = ["admin", "config", "local"];

impl Supervisor<'_> {
    /// Ends the session at a border, and lets another one begin there that also reads this.
    pub(super) async fn snapshot(
        &mut self,
        at_work: &mut AtWork,
        namespace: &Namespace,
        answer: Answer,
    ) -> Result<Option<Next>, Error> {
        let is_own = namespace.database() == Some(OWN_DATABASE);
        let planned = match (is_own, self.assembly.deployments.listed().is_some()) {
            (true, _) => Err("it is Oplet's own".to_owned()),
            (_, true) => Err(Error::ReadOfShards.to_string()),
            (false, false) => {
                let planned = self.reading(vec![namespace.clone()]).await;
                planned.map_err(|error| error.to_string())
            }
        };
        let plan = match planned {
            Ok(plan) => plan,
            Err(reason) => {
                let _ = answer.send(Err(CommandError::Failed { verb: VERB, reason }));
                return Ok(None);
            }
        };
        let word = self.close(at_work).await?;
        if self.shutdown.is_cancelled() || self.desk.drain.is_cancelled() {
            let _ = answer.send(Err(CommandError::Ended));
            return Ok(Some(Next::End));
        }
        let frontiers = at_work.session.window.frontiers();
        self.assembly.reads.put_back(&at_work.session.window.look());
        self.assembly.reads.add_everywhere(namespace);
        let begins = self.read_anew(plan, |_, other| *namespace == *other, &frontiers)?;
        info!(%namespace, "reading directly, as asked for");
        Ok(Some(Next::Session(
            begins,
            word,
            Some(Reply::Position(answer)),
        )))
    }

    /// Turns to a plan that reads these from their beginning; where its streams begin.
    fn read_anew(
        &mut self,
        plan: Arc<Plan>,
        is_meant: impl Fn(&Cluster, &Namespace) -> bool,
        frontiers: &[Frontier],
    ) -> Result<Vec<Begin>, Error> {
        let before = std::mem::replace(&mut self.assembly.plan, plan);
        let Assembly {
            deployments,
            plan,
            options,
            ..
        } = &self.assembly;
        let begins = begin::go_on(frontiers, deployments, (&before, plan), options)?;
        // What is new is read from its beginning anyway.
        self.assembly.reads.renew(is_meant);
        Ok(begins)
    }

    /// The plan with these to be read as well. The modules are asked, which takes as long as they take.
    async fn reading(&mut self, namespaces: Vec<Namespace>) -> Result<Arc<Plan>, PlanError> {
        let plan = self.assembly.plan.clone();
        let asked = tokio::task::spawn_blocking(move || plan.with_direct_reads(&namespaces));
        let asked = self.desk.hold_while(asked).await;
        asked.expect("asking does not panic").map(Arc::new)
    }

    /// Lets everything that the run reads directly of a deployment whose changes were lost be read again,
    /// and where that is nothing, all collections whose changes were. The streams that lost them go on at
    /// the present. What is read of other deployments is not read again.
    pub(super) async fn read_again(&mut self, at_work: &AtWork) -> Result<Vec<Begin>, Error> {
        let window = &at_work.session.window;
        self.assembly.reads.put_back(&window.look());
        let mut frontiers = window.frontiers();
        let mut again: Vec<(Cluster, Vec<Namespace>)> = Vec::new();
        for (
            at,
            Deployment {
                cluster, server, ..
            },
        ) in self.assembly.deployments.read().to_vec().iter().enumerate()
        {
            let lost = at_work.lost.iter().map(|lost| lost.stream);
            let lost: Vec<_> = lost
                .filter(|stream| self.assembly.stream(*stream).at == at)
                .collect();
            if lost.is_empty() {
                continue;
            }
            // Not when the run connected.
            let newest = self.desk.hold_while(server.newest_time()).await;
            let position = Position::Time(newest.unwrap_or(server.operation_time));
            let mut watched = Vec::new();
            for stream in lost {
                frontiers[stream] = Frontier::at(position.clone());
                let scope = &self.assembly.stream(stream).plan.scope;
                watched.extend_from_slice(scope.namespaces());
            }
            let mut namespaces = self.assembly.reads.namespaces_of(cluster);
            if namespaces.is_empty() {
                namespaces = collections(server, &Scope::new(watched)).await?;
            }
            let are_told_apart = self.assembly.deployments.are_told_apart();
            info!(
                cluster = are_told_apart.then(|| cluster.name()),
                collections = namespaces.len(),
                "what was lost is read again"
            );
            self.assembly.reads.add(&namespaces, cluster);
            again.push((cluster.clone(), namespaces));
        }
        let mut all: Vec<Namespace> = Vec::new();
        for namespace in again.iter().flat_map(|(_, namespaces)| namespaces) {
            if !all.contains(namespace) {
                all.push(namespace.clone());
            }
        }
        let plan = self.reading(all).await?;
        let is_meant = |cluster: &Cluster, namespace: &Namespace| {
            let mut again = again.iter();
            again.any(|(of, namespaces)| of.is_same(cluster) && namespaces.contains(namespace))
        };
        self.read_anew(plan, is_meant, &frontiers)
    }
}

/// The plan, which also reads what a process before was asked to and has not come to the end of.
pub(super) async fn with_unfinished_reads(
    plan: &Arc<Plan>,
    deployments: &Deployments,
    saved: Option<&Checkpoint>,
) -> Result<Arc<Plan>, PlanError> {
    let read = deployments.read().iter();
    let clusters: Vec<_> = read.map(|deployment| deployment.cluster.clone()).collect();
    let reads = saved.map(|saved| saved.direct_reads_of(&clusters));
    let reads = reads.into_iter().flatten().flatten();
    let unfinished = reads.filter(|read| read.complete_ms.is_none() && read.ended.is_none());
    let namespaces = unfinished.filter_map(|read| read.namespace.parse().ok());
    let namespaces: Vec<Namespace> = namespaces.collect();
    let known = |namespace: &Namespace| plan.reads.iter().any(|read| read.namespace == *namespace);
    if namespaces.iter().all(known) {
        return Ok(plan.clone());
    }
    let plan = plan.clone();
    let asked = tokio::task::spawn_blocking(move || plan.with_direct_reads(&namespaces));
    asked.await.expect("asking does not panic").map(Arc::new)
}

/// All collections that are watched, but for Oplet's own and those that the server keeps for itself.
async fn collections(server: &Server, scope: &Scope) -> Result<Vec<Namespace>, Error> {
    let refused = |source| source::Error::Refused {
        what: "list the collections that are watched".into(),
        source,
    };
    let names = mongo::answer_in_time(server.client.list_database_names().into_future());
    let mut found = Vec::new();
    for database in names.await.map_err(refused)? {
        if database == OWN_DATABASE || INTERNAL_DATABASES.contains(&database.as_str()) {
            continue;
        }
        let listed = server.client.database(&database);
        let filter = bson::doc! { "type": "collection" };
        let names = listed.list_collection_names().filter(filter).into_future();
        let mut names = mongo::answer_in_time(names).await.map_err(refused)?;
        names.sort();
        for collection in names {
            let name = format!("{database}.{collection}");
            if !collection.starts_with("system.") && scope.contains(&name) {
                found.push(Namespace::Collection {
                    database: database.clone(),
                    collection,
                });
            }
        }
    }
    Ok(found)
}
