//! One of several deployments.

use bson::{Document, doc};
use mongodb::{Client, Collection};
use oplet_testkit::{Options, ReplicaSet};

/// A replica set of a test's own, whose time moves each second while nothing happens.
pub(crate) struct Member {
    pub(crate) set: ReplicaSet,
    pub(crate) client: Client,
}

impl Member {
    pub(crate) async fn start(name: &str) -> Self {
        Self::start_with(name, &[]).await
    }

    pub(crate) async fn start_with(name: &str, arguments: &[&str]) -> Self {
        let mut arguments: Vec<_> = arguments.iter().map(ToString::to_string).collect();
        arguments.push("--setParameter=periodicNoopIntervalSecs=1".into());
        let set = ReplicaSet::start(Options {
            set_name: name.into(),
            arguments,
            ..Options::default()
        });
        let set = set.await.unwrap();
        let client = set.client().await.unwrap();
        Self { set, client }
    }

    pub(crate) fn things(&self) -> Collection<Document> {
        self.client.database("shop").collection("things")
    }

    /// Inserts documents of these ids, a command each.
    pub(crate) async fn insert(&self, ids: std::ops::Range<i32>) {
        let things = self.things();
        for id in ids {
            let document = doc! { "_id": id, "n": id };
            things.insert_one(document).await.unwrap();
        }
    }
}
