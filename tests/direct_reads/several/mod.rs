//! Several deployments in one run: each is read by itself, beside its own changes.

mod load;
mod lost;

use std::collections::BTreeMap;

use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use oplet_testkit::{Oplet, RunningOplet, eventually};
use serde_json::Value;

use super::{
    asked::{admin, ask},
    scene::{end, stop},
};
use crate::{
    DEADLINE,
    delivery::{
        member::Member,
        pair::Pair,
        scrape::Scrape,
        several::{begun, run, told},
    },
};

/// By deployment and `_id` as JSON text.
type Versions = BTreeMap<(String, String), i64>;

impl Pair {
    fn members(&self) -> [(&str, &Member); 2] {
        [("eu", &self.eu), ("us", &self.us)]
    }

    fn read(&self, source: &str) -> Oplet {
        let run = self.run_both(source);
        run.args(["--direct-read", "shop.things"])
    }

    /// The versions of all documents.
    async fn versions(&self) -> Versions {
        let mut versions = Versions::new();
        for (cluster, member) in self.members() {
            let found = member.things().find(doc! {}).await.unwrap();
            let documents: Vec<Document> = found.try_collect().await.unwrap();
            for document in documents {
                let id = document.get("_id").unwrap().clone().into_relaxed_extjson();
                let version = document.get_i64("v").unwrap();
                versions.insert((cluster.to_owned(), id.to_string()), version);
            }
        }
        versions
    }
}

/// The ops that were passed on, without the last line of a process that was killed in its midst.
fn ops(running: &RunningOplet) -> Vec<Value> {
    let lines = running.stdout().all();
    let ops = lines
        .iter()
        .filter_map(|line| serde_json::from_str(line).ok());
    ops.collect()
}

fn is_read(op: &Value) -> bool {
    op["source"] == "directRead"
}

fn read_directly(running: &RunningOplet) -> Vec<Value> {
    let mut ops = ops(running);
    ops.retain(is_read);
    ops
}

/// Documents of these ids of each deployment.
fn of(clusters: &[(&str, std::ops::Range<i64>)]) -> Vec<(String, i64)> {
    let of_each = clusters.iter();
    let of_each = of_each.flat_map(|(name, ids)| ids.clone().map(|id| ((*name).to_owned(), id)));
    of_each.collect()
}

/// Waits until it is said that the read of a deployment is complete, with these words.
async fn complete(running: &RunningOplet, cluster: &str, words: &str) {
    let cluster = format!("cluster=\"{cluster}\"");
    let is_it = |line: &str| {
        let mut parts = ["the direct read is complete", &cluster, words].into_iter();
        parts.all(|part| line.contains(part))
    };
    if let Err(error) = running.wait_for_stderr(is_it, DEADLINE * 2).await {
        panic!("{error:#}\n{}", running.stderr().all().join("\n"));
    }
}

#[tokio::test]
async fn what_was_read_of_one_is_not_read_again_beside_another() {
    let scene = Pair::start().await;
    scene.eu.insert(0..20).await;
    scene.us.insert(0..30).await;
    let flags = ["--direct-read", "shop.things", "--exit-when-idle"];
    let alone = run(scene.folder.path(), "oplog")
        .args(["--uri", &scene.eu.set.uri()])
        .args(flags);
    let alone = alone.start().unwrap();
    end(&alone).await;
    assert_eq!(read_directly(&alone).len(), 20);
    assert!(
        read_directly(&alone)
            .iter()
            .all(|op| op["cluster"].is_null())
    );

    let both = scene.read("oplog").arg("--exit-when-idle").start().unwrap();
    end(&both).await;
    assert_eq!(told(&read_directly(&both)), of(&[("us", 0..30)]));
    // In another order, and none of it is there that would have to be read.
    let swapped = run(scene.folder.path(), "oplog")
        .args(["--uri", &scene.us.set.uri()])
        .args(["--uri", &scene.eu.set.uri()])
        .args(flags);
    let swapped = swapped.start().unwrap();
    end(&swapped).await;
    assert!(ops(&swapped).is_empty(), "{:?}", ops(&swapped));
    let checkpoint = format!("file:{}", scene.folder.path().join("checkpoint").display());
    let shown = crate::oplet()
        .args(["checkpoint", "show", "several", "--format", "text"])
        .args(["--checkpoint", &checkpoint])
        .start()
        .unwrap();
    end(&shown).await;
    let shown = shown.stdout().all().join("\n");
    for words in ["shop.things of eu, for", "shop.things of us, for"] {
        assert!(shown.contains(words), "{shown}");
    }
}

#[tokio::test]
async fn a_collection_that_one_does_not_have_is_read_of_the_other() {
    let scene = Pair::start().await;
    scene.eu.insert(0..20).await;
    for ordering in ["document", "oplog"] {
        let flags = [
            "--exit-when-idle",
            "--checkpoint",
            "none",
            "--ordering",
            ordering,
        ];
        let running = scene.read("oplog").args(flags).start().unwrap();
        end(&running).await;
        for (cluster, counts) in [("eu", "documents=20 "), ("us", "documents=0 ")] {
            complete(&running, cluster, counts).await;
        }
        assert_eq!(told(&read_directly(&running)), of(&[("eu", 0..20)]));
    }
}

#[tokio::test]
async fn a_snapshot_is_of_all_and_one_that_is_away_holds_up_no_other() {
    let scene = Pair::start().await;
    for (_, member) in scene.members() {
        member.insert(0..40).await;
    }
    for ordering in ["document", "oplog"] {
        let flags = ["--checkpoint", "none", "--admin", "127.0.0.1:0"];
        let running = scene
            .run_both("oplog")
            .args(flags)
            .args(["--ordering", ordering]);
        let running = begun(running).await;
        let address = admin(&running).await;
        scene.us.set.suspend().await.unwrap();
        ask(&address, &["snapshot", "shop.things"]).await;
        let of_eu = async || ops(&running).len() >= 40;
        eventually(DEADLINE, of_eu).await.unwrap();
        assert_eq!(told(&ops(&running)), of(&[("eu", 0..40)]));
        scene.us.set.resume().await.unwrap();
        let of_both = async || ops(&running).len() >= 80;
        eventually(DEADLINE * 2, of_both).await.unwrap();
        let documents = ops(&running);
        assert_eq!(told(&documents), of(&[("eu", 0..40), ("us", 0..40)]));
        let mut op_ids: Vec<_> = documents.iter().map(|op| op["opId"].to_string()).collect();
        op_ids.sort();
        op_ids.dedup();
        assert_eq!(op_ids.len(), 80, "no two have one id");

        let complete = async || {
            let text = ask(&address, &["status", "--format", "text"]).await;
            let lines = [
                "shop.things of eu: complete, 40",
                "shop.things of us: complete, 40",
            ];
            lines.iter().all(|line| text.contains(line))
        };
        eventually(DEADLINE, complete).await.unwrap();
        let scrape = Scrape::of(&running).await;
        for cluster in ["eu", "us"] {
            let series = |name, rest| format!("oplet_{name}{{cluster=\"{cluster}\"{rest}}}");
            let documents = series("direct_read_documents", ",namespace=\"shop.things\"");
            assert_eq!(scrape.value(&documents) as i64, 40);
            assert!(scrape.value(&series("source_position_timestamp_seconds", "")) > 1e9);
            assert_eq!(scrape.value(&series("source_gaps_total", "")) as i64, 0);
        }
        let lags = async || {
            Scrape::of(&running)
                .await
                .all("oplet_source_lag_seconds")
                .len()
                == 2
        };
        eventually(DEADLINE, lags).await.unwrap();
        stop(&running).await;
    }
}
