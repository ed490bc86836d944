//! Sharded clusters.
//!
//! Without a mongos at hand: a config server whose list of shards is written by the test, and replica
//! sets that it names.

use std::{ops::Range, time::Duration};

use bson::{Document, doc};
use mongodb::options::WriteConcern;
use oplet_testkit::{Oplet, RunningOplet, eventually};

use crate::{
    DEADLINE,
    delivery::{
        member::Member,
        several::{begun, ops, run, stop, told, wait_for},
    },
};

/// A cluster of shards, and the deployment where runs keep what they keep.
struct Cluster {
    config: Member,
    home: Member,
    folder: tempfile::TempDir,
}

impl Cluster {
    async fn start() -> Self {
        let (config, home) = tokio::join!(
            Member::start_with("config", &["--configsvr"]),
            Member::start("home")
        );
        Self {
            config,
            home,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// Enters a shard in the list, as `addShard` does.
    async fn add(&self, shard: &Member, name: &str) {
        let host = format!("{name}/{}", shard.set.host());
        let listed = doc! { "_id": name, "host": host, "state": 1 };
        let list = self.list();
        let listed = list.insert_one(listed);
        let majority = WriteConcern::majority();
        listed.write_concern(majority).await.unwrap();
    }

    /// Takes it off the list, as `removeShard` does when all is moved away.
    async fn remove(&self, name: &str) {
        let list = self.list();
        let removed = list.delete_one(doc! { "_id": name });
        let majority = WriteConcern::majority();
        removed.write_concern(majority).await.unwrap();
    }

    fn list(&self) -> mongodb::Collection<Document> {
        self.config.client.database("config").collection("shards")
    }

    fn run(&self) -> Oplet {
        run(self.folder.path(), "oplog")
            .args(["--uri", &self.home.set.uri()])
            .args(["--config-uri", &self.config.set.uri()])
    }
}

fn of(shard: &str, ids: Range<i64>) -> Vec<(String, i64)> {
    ids.map(|id| (shard.to_owned(), id)).collect()
}

async fn heard(running: &RunningOplet, words: &[&str]) {
    let has_all = |line: &str| words.iter().all(|word| line.contains(word));
    if let Err(error) = running.wait_for_stderr(has_all, DEADLINE).await {
        panic!("{words:?}: {error:#}");
    }
}

#[tokio::test]
async fn a45_shards_join_and_leave_while_running() {
    let cluster = Cluster::start().await;
    let (one, two) = tokio::join!(Member::start("one"), Member::start("two"));
    cluster.add(&one, "one").await;
    let first = begun(cluster.run()).await;
    one.insert(0..3).await;
    wait_for(&first, 3).await;
    // What is written to a shard between its joining and the moment when that is noticed is the cluster's,
    // too.
    two.insert(0..2).await;
    cluster.add(&two, "two").await;
    // Here no mongos tells the sets of one another's times: within a second they cannot be compared.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    two.insert(10..14).await;
    heard(&first, &["a shard has joined", "two"]).await;
    two.insert(14..16).await;
    one.insert(3..5).await;
    // What it wrote just before it joined may come as well.
    let expected = [of("one", 0..5), of("two", 10..16)].concat();
    let joined = || {
        let mut told = told(&ops(&first));
        told.retain(|(shard, id)| shard == "one" || *id >= 10);
        told
    };
    let _ = eventually(DEADLINE, async || joined().len() >= expected.len()).await;
    assert_eq!(joined(), expected);
    stop(&first).await;

    // Each goes on at its own position.
    one.insert(5..7).await;
    two.insert(16..19).await;
    let second = begun(cluster.run()).await;
    wait_for(&second, 5).await;
    assert_eq!(
        told(&ops(&second)),
        [of("one", 5..7), of("two", 16..19)].concat()
    );
    // What a shard still has when it is removed is read.
    one.insert(7..9).await;
    cluster.remove("one").await;
    heard(&second, &["a shard has left", "one"]).await;
    two.insert(19..21).await;
    wait_for(&second, 9).await;
    stop(&second).await;
    assert_eq!(
        told(&ops(&second)),
        [of("one", 5..9), of("two", 16..21)].concat()
    );

    // One that joined while nobody looked is read from where the others were.
    one.set.kill().await.unwrap();
    let three = Member::start("three").await;
    cluster.add(&three, "three").await;
    three.insert(0..4).await;
    let third = begun(cluster.run()).await;
    wait_for(&third, 4).await;
    stop(&third).await;
    assert_eq!(told(&ops(&third)), of("three", 0..4));
}

#[tokio::test]
async fn an_idle_shard_holds_up_one_order_no_longer_than_its_server_takes_to_note_the_time() {
    let cluster = Cluster::start().await;
    let (busy, idle) = tokio::join!(Member::start("busy"), Member::start("idle"));
    cluster.add(&busy, "busy").await;
    cluster.add(&idle, "idle").await;
    let running = begun(cluster.run().args(["--ordering", "oplog"])).await;
    for round in 0..3 {
        busy.insert(round * 10..round * 10 + 10).await;
        wait_for(&running, (round as usize + 1) * 10).await;
    }
    stop(&running).await;
    assert_eq!(told(&ops(&running)), of("busy", 0..30));
}

#[tokio::test]
async fn what_is_no_list_of_shards_is_refused() {
    let cluster = Cluster::start().await;
    let refused = async |oplet: Oplet, words: &str| {
        let running = oplet.start().unwrap();
        let code = running.wait_exit(DEADLINE).await.unwrap();
        let said = running.stderr().all().join("\n");
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(words), "`{words}` in {said}");
    };
    refused(cluster.run(), "lists no shards").await;
    let streams = run(cluster.folder.path(), "change-stream");
    let streams = streams.args(["--config-uri", &cluster.config.set.uri()]);
    refused(streams, "give --source oplog").await;
    let homeless = run(cluster.folder.path(), "oplog");
    let homeless = homeless.args(["--config-uri", &cluster.config.set.uri()]);
    refused(homeless, "needs one `uri` beside it").await;
}
